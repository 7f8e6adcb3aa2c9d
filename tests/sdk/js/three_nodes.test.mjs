import { suite } from './suite.mjs';
import { threeNodes } from './harness.mjs';

suite('three nodes on a cluster of three', threeNodes);
