# A node. Builder and runtime are of the same Debian: a binary of a newer one would not find its libc.
ARG RUST_IMAGE=rust:1-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS build
# What this is built from, as midplane_build_info tells it.
ARG REVISION=unknown
WORKDIR /src
COPY . .
# Kept between builds; the binary is copied out of the cache at once.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    MIDPLANE_REVISION=${REVISION} cargo build --release --locked --features redis --bin midplane && cp target/release/midplane /midplane

FROM ${RUNTIME_IMAGE}
# What JWKS endpoints, hooks and NATS over TLS are trusted by.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /midplane /usr/local/bin/midplane
# Listens to more than this machine, so it refuses to start until it is told who may come in.
ENV MIDPLANE_HTTP__BIND=0.0.0.0:8000
EXPOSE 8000
# Writes nothing: the root may be read-only.
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["/usr/local/bin/midplane", "health"]
ENTRYPOINT ["/usr/local/bin/midplane"]
