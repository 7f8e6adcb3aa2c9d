#!/usr/bin/env bash
# A cluster to play with: one nats-server with JetStream and two nodes, at ports 8000 and 8001. Ends with ctrl-c.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-tools.sh rust nats
cargo build --release --locked
store="$(mktemp -d)"
trap 'trap - EXIT; kill $(jobs -p) 2>/dev/null; wait; rm -rf "$store"' EXIT INT TERM

.tools/bin/nats-server --addr 127.0.0.1 --port 4222 --jetstream --store_dir "$store" --log "$store/nats.log" &
for port in 8000 8001; do
    NATS_URL=nats://127.0.0.1:4222 PORT=$port SERVER_ID="node-$port" target/release/midplane serve &
done
echo "two nodes: http://127.0.0.1:8000/?nodes=ws://127.0.0.1:8000/connection/websocket,ws://127.0.0.1:8001/connection/websocket"
wait
