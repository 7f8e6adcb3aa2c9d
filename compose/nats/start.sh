#!/bin/sh
# Becomes nats-server, with passwords from files. Its configuration takes them from variables only, and reads what stands in
# those as a value of its own syntax: 12345 would be a number, so all of them are in quotes.
set -eu

secret() {
    [ -s "$SECRETS/$1" ] || { echo "nats/start.sh: $SECRETS/$1 is not there, or empty" >&2; exit 78; }
    tr -d '\r\n' <"$SECRETS/$1"
}

SECRETS="${SECRETS:-/run/secrets}"
here="$(dirname "$0")"
for user in gateway backend system; do
    password="$(secret "nats_${user}_password")"
    export "$(echo "$user" | tr a-z A-Z)_PASSWORD=\"$password\""
done
if [ "${NATS_CONFIG:-nats.conf}" = cluster.conf ]; then
    route="$(secret nats_route_password)"
    export "ROUTE_PASSWORD=\"$route\""
    for number in 1 2 3; do
        export "ROUTE_$number=\"nats-route://route:$route@nats-$number:6222\""
    done
fi
export SERVER_NAME="${SERVER_NAME:-nats}" NATS_STORE="${NATS_STORE:-/data}" NATS_MAX_FILE_STORE="${NATS_MAX_FILE_STORE:-10GB}"
exec nats-server -c "$here/${NATS_CONFIG:-nats.conf}" "$@"
