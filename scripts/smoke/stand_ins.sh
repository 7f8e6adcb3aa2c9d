#!/usr/bin/env bash
# Makes the images that cannot be pulled: the real programs of Debian and PyPI. They have names of their own
# (midplane-smoke/NAME:TAG), so that nobody takes them for what they stand for; whoever calls this removes them. An image that is
# there, or can be pulled, is used as it is. Usage: scripts/smoke/stand_ins.sh DIRECTORY TAG VARIABLE=IMAGE...; on standard output
# a line VARIABLE=NAME for each that has a stand-in. What takes long is kept in .tools/smoke. Needs root, apt-get, debootstrap.
set -euo pipefail
cd "$(dirname "$0")/../.."

WORK="${1:?a directory to work in}"
OURS="${2:?a tag for what is made}"
KEPT="$PWD/.tools/smoke"
MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
TOOLS="midplane-smoke/forky:$OURS" # nginx that can resolve, Prometheus, busybox
mkdir -p "$KEPT"

say() { echo "stand-ins: $*" >&2; }
there() { docker image inspect "$1" >/dev/null 2>&1; }
had() { there "$1" || timeout 300 docker pull -q "$1" >/dev/null 2>&1; }

# debian TAG SUITE SCRIPT PACKAGES: an image of a freshly bootstrapped Debian.
debian() {
    local name="${1%:*}"
    name="${name//\//-}"
    local tar="$KEPT/$name.tar" root="$WORK/$name"
    if [ ! -s "$tar" ]; then
        say "debootstrap $2 for $1"
        debootstrap --variant=minbase --include="$4" "$2" "$root" "$MIRROR" "$3" >"$WORK/$name.log" 2>&1 ||
            { tail -n 5 "$WORK/$name.log" >&2; return 1; }
        rm -rf "$root"/var/cache/apt/archives/*.deb
        tar -C "$root" -cf "$tar.part" .
        mv "$tar.part" "$tar"
        rm -rf "$root"
    fi
    docker import -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c 'CMD ["bash"]' "$tar" "$1" >/dev/null
}

# image TAG [FILE...] <DOCKERFILE: an image of these files.
image() {
    local tag="$1" context
    shift
    context="$(mktemp -d "$WORK/image.XXXXXX")"
    cat >"$context/Dockerfile"
    [ $# = 0 ] || cp -L "$@" "$context/"
    DOCKER_BUILDKIT=1 docker build -q -t "$tag" "$context" >/dev/null
    rm -rf "$context"
}

tools() { there "$TOOLS" || debian "$TOOLS" forky /usr/share/debootstrap/scripts/sid ca-certificates,nginx,prometheus,busybox-static; }

for each in "${@:3}"; do
    wanted="${each#*=}"
    if had "$wanted"; then continue; fi
    name="${wanted%:*}"
    tag="midplane-smoke/${name##*/}:$OURS"
    case "$wanted" in
        debian:*) debian "$tag" bookworm "" ca-certificates ;;
        nats:*)
            tools
            image "$tag" .tools/bin/nats-server <<END
FROM $TOOLS
RUN ln -s /bin/busybox /usr/local/bin/wget
COPY nats-server /usr/local/bin/nats-server
END
            ;;
        nginx:*)
            tools
            image "$tag" <<END
FROM $TOOLS
RUN ln -s /bin/busybox /usr/local/bin/wget
END
            ;;
        prom/prometheus:*)
            tools
            image "$tag" <<END
FROM $TOOLS
RUN ln -s /bin/busybox /usr/local/bin/wget && mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
END
            ;;
        grafana/grafana:*) # No Grafana can be had: something that says it is well, so that the rest of the file is run as it is.
            tools
            image "$tag" <<END
FROM $TOOLS
RUN ln -s /bin/busybox /usr/local/bin/wget && mkdir -p /www/api && echo '{"database":"ok"}' >/www/api/health
USER 472:0
CMD ["busybox", "httpd", "-f", "-p", "3000", "-h", "/www"]
END
            ;;
        rust:*) # This machine's toolchain on a Debian with a C compiler.
            debian "midplane-smoke/builder:$OURS" bookworm "" ca-certificates,gcc,g++,libc6-dev,make,pkg-config
            toolchain="$(rustc --print sysroot)"
            target="$(rustc -vV | sed -n 's/^host: //p')"
            mkdir -p "$WORK/toolchain/lib/rustlib"
            cp -a "$toolchain/bin" "$WORK/toolchain/"
            cp -a "$toolchain"/lib/*.so* "$WORK/toolchain/lib/"
            cp -a "$toolchain/lib/rustlib/$target" "$WORK/toolchain/lib/rustlib/"
            tar -C "$WORK" -cf "$WORK/toolchain.tar" toolchain
            image "$tag" "$WORK/toolchain.tar" /etc/ssl/certs/ca-certificates.crt <<END
FROM midplane-smoke/builder:$OURS
ADD toolchain.tar /opt
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV CARGO_HOME=/usr/local/cargo PATH=/opt/toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
END
            rm -rf "$WORK/toolchain" "$WORK/toolchain.tar"
            ;;
        *) say "no stand-in for $wanted"; exit 1 ;;
    esac
    say "$tag stands in for $wanted"
    echo "${each%%=*}=$tag"
done
