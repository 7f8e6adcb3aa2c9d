#!/bin/sh
# Becomes nats-server, with passwords from files. Its configuration takes them from variables only, and reads what stands in
# those as a value of its own syntax: 12345 would be a number, so all of them are in quotes.
set -eu

fail() { echo "nats/start.sh: $*" >&2; exit 78; }
there() { [ -s "$SECRETS/$1" ] || fail "$SECRETS/$1 is not there, or empty"; }
secret() { there "$1" && tr -d '\r\n' <"$SECRETS/$1"; }

SECRETS="${SECRETS:-/run/secrets}"
config="${NATS_CONFIG:-nats.conf}"
for user in gateway backend system; do
    password="$(secret "nats_${user}_password")"
    export "$(echo "$user" | tr a-z A-Z)_PASSWORD=\"$password\""
done
if [ "$config" = cluster.conf ]; then
    route="$(secret nats_route_password)"
    export "ROUTE_PASSWORD=\"$route\""
    number=0
    for server in ${NATS_ROUTES:-nats-1:6222 nats-2:6222 nats-3:6222}; do
        number=$((number + 1))
        export "ROUTE_$number=\"nats-route://route:$route@$server\""
    done
fi
if [ -n "${NATS_TLS:-}" ]; then
    for file in ca certificate key; do
        there "nats_$file"
        export "NATS_$(echo "$file" | tr a-z A-Z)=\"$SECRETS/nats_$file\""
    done
    config="${config%.conf}-tls.conf"
fi
export SERVER_NAME="${SERVER_NAME:-nats}" NATS_STORE="${NATS_STORE:-/var/tmp}" NATS_MAX_FILE_STORE="${NATS_MAX_FILE_STORE:-10GB}"
[ ! -e "$NATS_STORE" ] || [ -w "$NATS_STORE" ] || fail "the user $(id -u) may not write to $NATS_STORE: what is mounted there must be its own (chown)"
exec nats-server -c "$(dirname "$0")/$config" "$@"
