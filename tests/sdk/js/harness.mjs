// Everything that a test needs to start the system and to talk to it.
export * from './harness/backend.mjs';
export * from './harness/bridged.mjs';
export * from './harness/clock.mjs';
export * from './harness/key_server.mjs';
export * from './harness/listening.mjs';
export * from './harness/nats.mjs';
export * from './harness/nginx.mjs';
export * from './harness/node.mjs';
export * from './harness/pace.mjs';
export * from './harness/publisher.mjs';
export * from './harness/raw.mjs';
export * from './harness/redis.mjs';
export * from './harness/sdk.mjs';
export * from './harness/socketio.mjs';
export * from './harness/tokens.mjs';
export * from './harness/topology.mjs';
export * from './harness/wait.mjs';
