# syntax=docker/dockerfile:1

# Build. The dependencies are compiled in a layer of their own, from the manifest alone, so that
# a change of the sources does not compile them again.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# mimalloc is compiled from C. The versions are those of the pinned base image's release.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it tests/it_dev benches/compare \
 && touch src/lib.rs tests/it/main.rs tests/it_dev/main.rs tests/layout.rs \
 && echo 'fn main() {}' > src/main.rs \
 && cp src/main.rs benches/steps.rs \
 && cp src/main.rs benches/compare/main.rs \
 && cargo build --release --locked --bin ignite-gateway
COPY src src
COPY config config
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --bin ignite-gateway

# Run. distroless/cc: glibc and nothing to log in with. glibc rather than a static musl build
# because its memory and string functions are measurably faster on the data path.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="ignite-gateway" \
      org.opencontainers.image.description="The edge of the Ignite serverless platform" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /build/target/release/ignite-gateway /usr/local/bin/ignite-gateway
COPY config/gateway.toml /etc/ignite-gateway/gateway.toml
USER 65534:65534
EXPOSE 8080 9090
HEALTHCHECK --interval=5s --timeout=3s --start-period=2s --retries=3 \
    CMD ["/usr/local/bin/ignite-gateway", "health", "--admin", "127.0.0.1:9090"]
ENTRYPOINT ["/usr/local/bin/ignite-gateway"]
CMD ["serve", "--config", "/etc/ignite-gateway/gateway.toml"]
