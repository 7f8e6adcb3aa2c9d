import { suite } from './suite.mjs';
import { embedded } from './harness.mjs';

suite('one embedded node', embedded);
