#!/usr/bin/env bash
# Starts the cluster of compose.yaml and waits until all of it is healthy. It makes what is missing of .env.cluster, with what
# may be changed, and of the secrets. FILEs are laid over compose.yaml and stay chosen, until others are.
# Usage: scripts/start-cluster.sh [--monitoring|--no-monitoring] [--build] [-f FILE]...
# CLUSTER_ENV and SECRETS_DIR take other places than .env.cluster and ./secrets.
set -euo pipefail
cd "$(dirname "$0")/.."

ENV_FILE="${CLUSTER_ENV:-.env.cluster}"
PATIENCE="${CLUSTER_PATIENCE:-240}" # seconds until everything must be healthy
monitoring=ask
build=auto
overlays=()

fail() { echo "start-cluster: $*" >&2; exit 1; }
say() { echo "start-cluster: $*"; }

while [ $# -gt 0 ]; do
    case "$1" in
        --monitoring) monitoring=yes ;;
        --no-monitoring) monitoring=no ;;
        --build) build=yes ;;
        -f) [ -f "${2:?-f wants a file}" ] || fail "there is no file $2"; overlays+=("$2"); shift ;;
        *) echo "usage: scripts/start-cluster.sh [--monitoring|--no-monitoring] [--build] [-f FILE]..." >&2; exit 64 ;;
    esac
    shift
done

# setting NAME: what the environment or the file says, or nothing.
setting() { if [ -n "${!1:-}" ]; then echo "${!1}"; else written "$1"; fi; }

# written NAME: what the file says, without quotes and comments, as docker compose reads it.
written() {
    [ -f "$ENV_FILE" ] || return 0
    tr -d '\r' <"$ENV_FILE" | sed -nE "
        s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*//
        t value
        d
        :value
        s/^\"([^\"]*)\".*/\1/
        t print
        s/^'([^']*)'.*/\1/
        t print
        s/[[:space:]]+#.*//
        s/[[:space:]]+\$//
        :print
        p" | tail -n 1
}

# write NAME VALUE: has the file say so, and nothing else of NAME.
write() {
    local others
    others="$(grep -v "^$1=" "$ENV_FILE" || true)"
    printf '%s\n' "$others" "$1=$2" >"$ENV_FILE"
}

# The folder is for its owner alone; the files in it are for whoever a container runs as.
make_secrets() {
    local name directory
    directory="$(setting SECRETS_DIR)"
    mkdir -p "$directory"
    chmod 700 "$directory"
    # A JWT_SECRET that is there already, of an application that makes tokens with it, is taken over.
    local given
    given="$(setting JWT_SECRET)"
    if [ -n "$given" ] && [ ! -s "$directory/jwt_secret" ]; then
        [ "$(printf '%s' "$given" | wc -c)" -ge 32 ] || fail "JWT_SECRET is shorter than the 32 bytes that nodes ask for (openssl rand -hex 32 makes one)"
        printf '%s' "$given" >"$directory/jwt_secret"
    elif [ -n "$given" ] && [ "$given" != "$(cat "$directory/jwt_secret")" ]; then
        say "JWT_SECRET has no effect: $directory/jwt_secret is there and holds another"
    fi
    for name in jwt_secret api_key nats_gateway_password nats_backend_password nats_system_password nats_route_password redis_password grafana_admin_password; do
        [ -s "$directory/$name" ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$directory/$name"
        chmod 644 "$directory/$name"
    done
}

make_environment() {
    (umask 077 && cat >"$ENV_FILE") <<END
# What compose.yaml runs with, made by scripts/start-cluster.sh. Everything that can be set: docs/deployment.md.
# Secrets are files in this folder; nothing of them stands in an environment.
SECRETS_DIR=${SECRETS_DIR:-./secrets}

# Your web application: the origin that browsers may come from. Several by comma.
FRONTEND_URL=${FRONTEND_URL:-http://localhost:3000}
# A Supabase project whose tokens are taken too.
SUPABASE_URL=${SUPABASE_URL:-}

# Of each node.
MAX_CONNECTIONS=${MAX_CONNECTIONS:-5000}
GATEWAY_CPUS=${GATEWAY_CPUS:-1}
GATEWAY_MEMORY=${GATEWAY_MEMORY:-1G}

# The only port that is open to others; Grafana and the nodes themselves are at 127.0.0.1.
HTTP_PORT=${HTTP_PORT:-80}
# And with compose/tls.yaml.
HTTPS_PORT=${HTTPS_PORT:-443}
GRAFANA_PORT=${GRAFANA_PORT:-3000}
# Balancers in front of nginx whose X-Forwarded-For is believed: 10.0.0.0/8
TRUSTED_PROXIES=${TRUSTED_PROXIES:-}
# Of one client address.
CONNECTIONS_PER_CLIENT=${CONNECTIONS_PER_CLIENT:-200}
HANDSHAKES_PER_SECOND=${HANDSHAKES_PER_SECOND:-20}
HANDSHAKE_BURST=${HANDSHAKE_BURST:-200}

# Open files of each process: the machine must allow as many (ulimit -Hn).
NOFILE=$(files_allowed)
END
    say "made $ENV_FILE"
}

# What every later `docker compose` needs, also of a file that somebody wrote for themselves.
complete_environment() {
    chmod 600 "$ENV_FILE"
    [ -n "$(written SECRETS_DIR)" ] || write SECRETS_DIR "${SECRETS_DIR:-./secrets}"
    [ -n "$(written NOFILE)" ] || write NOFILE "$(files_allowed)"
    [ ${#overlays[@]} = 0 ] || write COMPOSE_FILE "$(overlaid)"
    # What docker compose reads by itself.
    [ "$ENV_FILE" != .env.cluster ] || [ -e .env ] || ln -sf .env.cluster .env
}

files_allowed() {
    local hard
    hard="${NOFILE:-$(ulimit -Hn)}"
    if [ "$hard" = unlimited ] || [ "$hard" -gt 65536 ]; then hard=65536; fi
    echo "$hard"
}

# The compose files that are laid over each other, as COMPOSE_FILE has them: those that are asked for, or that were.
overlaid() { if [ ${#overlays[@]} = 0 ]; then written COMPOSE_FILE; else (IFS=: && echo "compose.yaml:${overlays[*]}"); fi; }

# missing DIRECTORY FILE...: those that are not there.
missing() {
    local directory="$1" file
    shift
    for file in "$@"; do [ -s "$directory/$file" ] || echo "$directory/$file"; done | xargs
}

# Before anything is changed: Docker would say that a file is missing, and not what makes it, and nginx would end again and
# again with the old one gone.
check_certificates() {
    local directory missing key
    case ":$(overlaid):" in *:compose/nats-tls.yaml:*)
        directory="$(setting SECRETS_DIR)"
        directory="${directory:-./secrets}"
        missing="$(missing "$directory" nats_ca nats_certificate nats_key)"
        [ -z "$missing" ] || fail "compose/nats-tls.yaml needs certificates, and there is no $missing: SECRETS_DIR=$directory scripts/nats-certificates.sh makes them"
    esac
    case ":$(overlaid):" in *:compose/tls.yaml:*)
        directory="$(setting CERTIFICATES_DIR)"
        directory="${directory:-./nginx/ssl}"
        missing="$(missing "$directory" fullchain.pem privkey.pem)"
        [ -z "$missing" ] || fail "compose/tls.yaml needs a certificate, and there is no $missing (docs/deployment.md#variants)"
        key="$(stat -Lc '%u %g %a' "$directory/privkey.pem")"
        case "$key" in 101\ * | *\ 101\ * | *[4567]) ;; *)
            say "$directory/privkey.pem must be readable for the user 101 of the container, if nginx does not start: chown 101 $directory/privkey.pem" ;;
        esac
    esac
}

choose_monitoring() {
    local answer
    [ "$monitoring" = ask ] || return 0
    monitoring=no
    [ -t 0 ] || return 0
    read -r -p "Start Prometheus and Grafana too? [y/N] " answer
    case "$answer" in [yY]*) monitoring=yes ;; esac
}

# unhealthy: the services that are not healthy yet. It fails where that cannot be seen. Containers that have ended count;
# those of `run`, and of services that are not chosen, do not.
unhealthy() {
    local services ids states
    services="$("${compose[@]}" config --services)" || return 1
    # shellcheck disable=SC2086
    ids="$("${compose[@]}" ps -q --all $services)" && [ -n "$ids" ] || return 1
    # shellcheck disable=SC2086
    states="$(docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{if not .State.Running}}{{.State.Status}}{{else if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.Status}}{{end}} {{index .Config.Labels "com.docker.compose.oneoff"}}' $ids)" || return 1
    awk '$2 != "healthy" && $3 != "True" { print $1 }' <<<"$states" | sort -u | xargs
}

wait_until_healthy() {
    local until=$((SECONDS + PATIENCE)) left
    until left="$(unhealthy)" && [ -z "$left" ]; do
        if [ "$SECONDS" -ge "$until" ]; then
            "${compose[@]}" ps --all || true
            # shellcheck disable=SC2086
            [ -z "$left" ] || "${compose[@]}" logs --tail=20 $left || true
            fail "not healthy within $PATIENCE s: ${left:-the containers cannot be seen}"
        fi
        sleep 1
    done
}

command -v docker >/dev/null || fail "no docker here"
docker info >/dev/null 2>&1 || fail "the Docker engine cannot be reached (is it running, may you use it?)"
if docker compose version >/dev/null 2>&1; then compose=(docker compose)
elif command -v docker-compose >/dev/null; then compose=(docker-compose) # 1.29
else fail "neither docker compose nor docker-compose is here"
fi
export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1

[ -e "$ENV_FILE" ] || make_environment
check_certificates
complete_environment
make_secrets
choose_monitoring
laid="$(written COMPOSE_FILE)"
files=()
for file in ${laid//:/ }; do files+=(-f "$file"); done
named="${compose[*]}"
[ .env -ef "$ENV_FILE" ] || named="$named --env-file $ENV_FILE" # .env is another's
compose+=(--env-file "$ENV_FILE" "${files[@]}")
[ "$monitoring" = no ] || compose+=(--profile monitoring)

image="$(setting MIDPLANE_IMAGE)"
if [ "$build" = yes ] || ! docker image inspect "${image:-midplane:local}" >/dev/null 2>&1; then
    say "building the node"
    revision="$(git describe --always --dirty 2>/dev/null || true)"
    REVISION="${REVISION:-${revision:-unknown}}" "${compose[@]}" build gateway-1
fi
"${compose[@]}" up -d
say "waiting until everything is healthy"
wait_until_healthy

port() { local value; value="$(setting "$1")"; echo "${value:-$2}"; }
directory="$(setting SECRETS_DIR)"
case ":$laid:" in
    *:compose/tls.yaml:*) s=s front="localhost:$(port HTTPS_PORT 443)" ;;
    *) s="" front="localhost:$(port HTTP_PORT 80)" ;;
esac
cat <<END

The cluster runs.
  clients          ws$s://$front/connection/websocket
  health           http$s://$front/health
  nodes            http://127.0.0.1:$(port GATEWAY_1_PORT 3001) $(port GATEWAY_2_PORT 3002) $(port GATEWAY_3_PORT 3003): server API, metrics
  server API       X-API-Key: the content of $directory/api_key
  a token          $named exec gateway-1 midplane token --user ada
END
[ "$monitoring" = no ] || cat <<END
  Prometheus       http://127.0.0.1:$(port PROMETHEUS_PORT 9090)
  Grafana          http://127.0.0.1:$(port GRAFANA_PORT 3000), user admin, password in $directory/grafana_admin_password
END
cat <<END
Settings are in $ENV_FILE, secrets in $directory; after a change: $named up -d. docs/deployment.md tells the rest.
END
