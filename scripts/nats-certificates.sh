#!/usr/bin/env bash
# Makes what compose/nats-tls.yaml wants: a certificate for the NATS servers of the compose files, its key, and the authority that
# signed it. The authority's own key is thrown away, so nobody can sign another; to renew, remove the three files, run this
# again, and make the NATS servers and the nodes anew. Usage: scripts/nats-certificates.sh [NAME|ADDRESS]... for further names.
# SECRETS_DIR takes another place than ./secrets.
set -euo pipefail
cd "$(dirname "$0")/.."

directory="${SECRETS_DIR:-./secrets}"
names="DNS:nats,DNS:nats-1,DNS:nats-2,DNS:nats-3"
for name in "$@"; do
    case "$name" in
        *[!0-9.]*) names+=",DNS:$name" ;;
        *) names+=",IP:$name" ;;
    esac
done

command -v openssl >/dev/null || { echo "nats-certificates: openssl not found" >&2; exit 1; }
for file in nats_ca nats_certificate nats_key; do
    [ ! -e "$directory/$file" ] || { echo "nats-certificates: $directory/$file exists already" >&2; exit 1; }
done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
{
    openssl req -x509 "${curve[@]}" -days 3650 -subj "/CN=NATS of midplane" -keyout "$work/authority" -out "$work/ca"
    openssl req -new "${curve[@]}" -subj /CN=nats -keyout "$work/key" -out "$work/request"
    # Servers are each other's clients.
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" >"$work/extensions"
    openssl x509 -req -in "$work/request" -CA "$work/ca" -CAkey "$work/authority" -CAcreateserial -days 3650 \
        -extfile "$work/extensions" -out "$work/certificate"
} 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
mkdir -p "$directory"
chmod 700 "$directory"
for file in ca certificate key; do
    install -m 644 "$work/$file" "$directory/nats_$file" # for whoever a container runs as; the folder is its owner's alone
done
echo "made $directory/nats_ca, nats_certificate and nats_key for $names"
