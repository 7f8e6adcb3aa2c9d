#!/usr/bin/env bash
# The cluster of compose.yaml, run for real: started by scripts/start-cluster.sh with monitoring, used, broken, rolled, scaled,
# watched, and taken down. Where no Docker engine runs it installs Debian's and starts one of its own (root only), and where
# images cannot be pulled it makes stand-ins with the real programs (scripts/smoke/stand_ins.sh).
# Usage: scripts/smoke.sh [--full]
#   --full          compile inside the image; without it the image gets the binary of this machine
#   SMOKE_REQUIRED  1: to have no engine is a failure. Otherwise it says SKIP and succeeds.
#   MIDPLANE_BIN    the binary (target/debug/midplane)
set -euo pipefail
cd "$(dirname "$0")/.."

full=no
case "${1:-}" in
    "") ;;
    --full) full=yes ;;
    *) echo "usage: scripts/smoke.sh [--full]" >&2; exit 64 ;;
esac

WORK="$(mktemp -d)"
engine="" # the process that we started
bridge=none
started=no
say() { echo "smoke: $*"; }

# What this run has made; what was pulled stays.
remove_images() {
    [ -n "${MIDPLANE_IMAGE:-}" ] || return 0
    { echo "$MIDPLANE_IMAGE" && docker image ls --filter "reference=midplane-smoke/*:$$" --format '{{.Repository}}:{{.Tag}}'; } |
        xargs -r docker image rm -f >/dev/null 2>&1
}

cleaned() {
    local status=$?
    trap - EXIT INT TERM
    if [ "$started" = yes ]; then
        [ "$status" = 0 ] || docker compose --env-file "$CLUSTER_ENV" --profile monitoring --profile scaled logs --no-color >test-artifacts/smoke-containers.log 2>&1 || true
        docker compose --env-file "$CLUSTER_ENV" -f compose.yaml -f compose/scaled.yaml -f compose/nats3.yaml --profile monitoring --profile scaled \
            down --volumes --timeout 30 >"$WORK/down.log" 2>&1 || { cat "$WORK/down.log"; status=1; }
    fi
    remove_images || true
    if [ -n "$engine" ]; then
        kill "$engine" 2>/dev/null && { wait "$engine" || true; }
        umount "$WORK"/engine/exec/netns/* 2>/dev/null || true
        [ "$bridge" = there ] || ip link delete docker0 2>/dev/null || true
    fi
    rm -rf "$WORK"
    exit "$status"
}
trap cleaned EXIT
trap 'exit 130' INT TERM

no_engine() {
    if [ "${SMOKE_REQUIRED:-0}" = 1 ]; then say "FAILED: $*" >&2; exit 1; fi
    say "SKIP: $*"
    exit "${SMOKE_SKIPPED:-0}"
}

# Ours alone, in a folder that goes away.
start_engine() {
    [ "$(id -u)" = 0 ] || no_engine "no Docker engine can be reached, and only root can start one"
    if ! command -v dockerd >/dev/null || ! command -v debootstrap >/dev/null; then
        command -v apt-get >/dev/null || no_engine "no Docker engine, and no apt-get to install one"
        say "apt-get install docker.io debootstrap"
        { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends docker.io debootstrap; } >"$WORK/apt.log" 2>&1 ||
            no_engine "docker.io cannot be installed: $(tail -n 1 "$WORK/apt.log")"
    fi
    mkdir -p "$WORK/engine"
    [ ! -e /sys/class/net/docker0 ] || bridge=there
    export DOCKER_HOST="unix://$WORK/engine/socket"
    dockerd --data-root "$WORK/engine/data" --exec-root "$WORK/engine/exec" --pidfile "$WORK/engine/pid" -H "$DOCKER_HOST" >"$WORK/engine/log" 2>&1 &
    engine=$!
    for _ in $(seq 60); do
        ! docker info >/dev/null 2>&1 || return 0
        kill -0 "$engine" 2>/dev/null || break
        sleep 0.5
    done
    local why
    why="$(tail -n 1 "$WORK/engine/log")"
    kill "$engine" 2>/dev/null || true
    engine=""
    no_engine "dockerd does not start here: $why"
}

# Newer clients build only with a plugin; the one that came with the engine does without.
mkdir -p "$WORK/bin" "$WORK/docker/cli-plugins" test-artifacts
if docker info >/dev/null 2>&1; then say "the engine of this machine"
else
    [ ! -x /usr/bin/docker ] || ln -s /usr/bin/docker "$WORK/bin/docker"
    export PATH="$WORK/bin:$PATH"
    start_engine
    [ -x "$WORK/bin/docker" ] || [ ! -x /usr/bin/docker ] || ln -s /usr/bin/docker "$WORK/bin/docker"
    hash -r
    say "an engine of our own, $(docker version --format '{{.Server.Version}}')"
fi
scripts/install-tools.sh nats node compose
export PATH="$PWD/.tools/bin:$PATH"
if ! docker compose version >/dev/null 2>&1; then
    export DOCKER_CONFIG="$WORK/docker"
    ln -s "$(readlink -f .tools/bin/docker-compose)" "$DOCKER_CONFIG/cli-plugins/docker-compose"
fi

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
for name in HTTP_PORT HTTPS_PORT GATEWAY_1_PORT GATEWAY_2_PORT GATEWAY_3_PORT PROMETHEUS_PORT GRAFANA_PORT; do
    export "$name=$(free_port)"
done
export COMPOSE_PROJECT_NAME="midplane-smoke-$$" CLUSTER_ENV="$WORK/env" SECRETS_DIR="$WORK/secrets" CERTIFICATES_DIR="$WORK/certificates"
export MIDPLANE_IMAGE="midplane:smoke-$$"
# All clients of this test have one address.
export CONNECTIONS_PER_CLIENT=10000 HANDSHAKES_PER_SECOND=10000 HANDSHAKE_BURST=10000
export GATEWAY_CPUS="${GATEWAY_CPUS:-$(nproc)}"

# The project's Dockerfile, with a builder that has the binary already.
prebuilt() {
    local binary="${MIDPLANE_BIN:-target/debug/midplane}" context="$WORK/prebuilt"
    [ -x "$binary" ] || { say "no $binary: cargo build first, or --full" >&2; exit 1; }
    mkdir -p "$context"
    cp -L "$binary" "$context/midplane"
    printf '#!/bin/sh\nmkdir -p target/release && cp /usr/local/lib/midplane target/release/midplane\n' >"$context/cargo"
    chmod +x "$context/cargo"
    printf 'FROM %s\nCOPY midplane /usr/local/lib/midplane\nCOPY cargo /usr/local/bin/cargo\n' "${RUNTIME_IMAGE:-debian:bookworm-slim}" >"$context/Dockerfile"
    export RUST_IMAGE="midplane-smoke/prebuilt:$$"
    DOCKER_BUILDKIT=1 docker build -q -t "$RUST_IMAGE" "$context" >/dev/null
}

say "images"
# VARIABLE=IMAGE, as compose.yaml has them where nothing else is asked for.
images=()
while IFS='=' read -r variable image; do
    [ "$variable$full" = RUST_IMAGEno ] || images+=("$variable=${!variable:-$image}")
done < <(sed -nE 's/.*\$\{([A-Z]+_IMAGE):-([^}]+)\}.*/\1=\2/p' compose.yaml | grep -v ^MIDPLANE_IMAGE=)
scripts/smoke/stand_ins.sh "$WORK" $$ "${images[@]}" >"$WORK/stand-ins"
while IFS= read -r stand_in; do export "${stand_in?}"; done <"$WORK/stand-ins"
[ "$full" = yes ] || prebuilt

say "up"
started=yes
began=$SECONDS
scripts/start-cluster.sh --monitoring >"$WORK/up.log" 2>&1 || { tail -n 60 "$WORK/up.log"; exit 1; }
say "up and healthy in $((SECONDS - began)) s, with the image"
sed -n '/^The cluster runs/,$p' "$WORK/up.log"

status=0
(cd tests/sdk/js && node --test --test-reporter=spec --test-concurrency=1 smoke/cluster.smoke.mjs) 2>&1 | tee "$WORK/tests.log" || status=1

say "down"
passed="$(sed -nE 's/^(#|ℹ) pass ([0-9]+)$/\2/p' "$WORK/tests.log")"
failed="$(sed -nE 's/^(#|ℹ) (fail|cancelled) ([0-9]+)$/\3/p' "$WORK/tests.log" | awk '{ sum += $1 } END { print sum + 0 }')"
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "${passed:-0} passed, $failed failed"
exit "$status"
