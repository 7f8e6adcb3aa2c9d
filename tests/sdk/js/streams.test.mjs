// Every scenario again where no WebSocket comes through: over streams, with posts for what clients say.
import { suite } from './suite.mjs';
import { embedded, twoNodes } from './harness.mjs';

suite('one node over HTTP streams', embedded, { carrier: 'http_stream' });
suite('two nodes over HTTP streams, posts to the other one', twoNodes, { carrier: 'http_stream' });
suite('two nodes over server-sent events, posts to the other one', twoNodes, { carrier: 'sse', over: ['json'] });
