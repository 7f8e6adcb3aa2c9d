#!/bin/sh
# Puts this folder into RUN, with what the environment says, and starts nginx there.
# `start.sh prepare` only writes; `start.sh reload` writes anew, checks, and tells the running nginx.
set -eu

HERE="$(cd "$(dirname "$0")" && pwd)"
RUN="${NGINX_RUN:-/run/nginx}"

refuse() { echo "nginx/start.sh: $*" >&2; exit 78; }
number() { case "$2" in "" | *[!0-9]*) refuse "$1 = \"$2\": not a number" ;; esac; }

prepare() {
    name="${NGINX_UPSTREAM:-nodes}" # a file in upstreams/
    server="${NGINX_SERVER:-http}"  # a file in servers/
    [ -f "$HERE/upstreams/$name.conf" ] || refuse "NGINX_UPSTREAM = \"$name\": no file upstreams/$name.conf"
    [ -f "$HERE/servers/$server.conf" ] || refuse "NGINX_SERVER = \"$server\": no file servers/$server.conf"
    for each in NGINX_CONNECTIONS_PER_CLIENT NGINX_HANDSHAKES_PER_SECOND NGINX_HANDSHAKE_BURST; do
        eval "number $each \"\${$each:-0}\""
    done

    mkdir -p "$RUN/run" "$RUN/temp"
    cp -R "$HERE/." "$RUN/"
    cp "$HERE/upstreams/$name.conf" "$RUN/run/upstream.conf"
    cp "$HERE/servers/$server.conf" "$RUN/run/server.conf"

    # Each worker has as many descriptors as the container lets it, and needs two of them for each client.
    files="$(ulimit -Hn)"
    [ "$files" != unlimited ] && [ "$files" -le 1048576 ] || files=1048576
    echo "worker_rlimit_nofile $files;" >"$RUN/run/main.conf"
    echo "worker_connections ${NGINX_WORKER_CONNECTIONS:-$((files / 2))};" >"$RUN/run/events.conf"

    {
        [ -n "${NGINX_LISTEN:-}" ] && echo "listen $NGINX_LISTEN;" || echo "listen 8080; listen [::]:8080;"
    } >"$RUN/run/listen_http.conf"
    {
        [ -n "${NGINX_LISTEN_TLS:-}" ] && echo "listen $NGINX_LISTEN_TLS ssl;" || echo "listen 8443 ssl; listen [::]:8443 ssl;"
    } >"$RUN/run/listen_tls.conf"
    https="${NGINX_HTTPS_PORT:-443}" # where clients find it
    https="${https##*:}"
    number NGINX_HTTPS_PORT "$https"
    [ "$https" = 443 ] && https="" || https=":$https"
    echo "return 308 https://\$host$https\$request_uri;" >"$RUN/run/redirect.conf"
    echo "resolver ${NGINX_RESOLVER:-127.0.0.11} valid=2s ipv6=off;" >"$RUN/run/resolver.conf"

    echo "limit_req_zone \$newcomer zone=handshakes:10m rate=${NGINX_HANDSHAKES_PER_SECOND:-20}r/s;" >"$RUN/run/rates.conf"
    {
        echo "limit_conn connections ${NGINX_CONNECTIONS_PER_CLIENT:-100};"
        echo "limit_req zone=handshakes burst=${NGINX_HANDSHAKE_BURST:-100} nodelay;"
    } >"$RUN/run/limits.conf"

    lines set_real_ip_from "${TRUSTED_PROXIES:-}" >"$RUN/run/proxies.conf"
    lines allow "${ADMIN_NETWORKS:-}" >"$RUN/run/admins.conf"
    lines allow "${CLUSTER_METRICS_NETWORKS-127.0.0.0/8,::1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7}" >"$RUN/run/insiders.conf"
}

# lines DIRECTIVE LIST: one line for each of a comma-separated list.
lines() { echo "$2" | tr ',' '\n' | while read -r each; do [ -z "$each" ] || echo "$1 $each;"; done; }

case "${1:-serve}" in
    prepare) prepare ;;
    reload)
        prepare
        nginx -p "$RUN" -c "$RUN/nginx.conf" -t
        nginx -p "$RUN" -c "$RUN/nginx.conf" -s reload
        ;;
    serve)
        prepare
        ulimit -n "$(ulimit -Hn)"
        exec nginx -p "$RUN" -c "$RUN/nginx.conf" -e stderr -g "daemon off;"
        ;;
    *) refuse "prepare, reload or serve, not $1" ;;
esac
