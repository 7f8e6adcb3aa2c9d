import { suite } from './suite.mjs';
import { twoNodes } from './harness.mjs';

suite('two nodes on one nats-server', twoNodes);
