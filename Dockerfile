# syntax=docker/dockerfile:1

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# Packed relocations: a smaller program, which needs glibc 2.36; both images have it. scripts/bench reads this line.
ENV RUSTFLAGS="-C link-arg=-Wl,-z,pack-relative-relocs"
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin procwarden \
    && cp target/dist/procwarden /usr/local/bin/procwarden

FROM debian:bookworm-slim
# The certificates are for nodes with tls = "verify".
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 8686 procwarden \
    && useradd --uid 8686 --gid procwarden --home-dir /var/lib/procwarden --no-create-home \
        --shell /usr/sbin/nologin procwarden \
    && install --directory --owner procwarden --group procwarden --mode 0750 /var/lib/procwarden
COPY --from=build /usr/local/bin/procwarden /usr/local/bin/procwarden

# Inside a container the loopback address reaches nobody. On any other a read needs a token: set
# PROCWARDEN__SERVER__READ_TOKEN, or PROCWARDEN__SERVER__TRUSTED_PROXIES to the network of a proxy that lets in only who may
# read, or PROCWARDEN__SERVER__OPEN_READS=true where what is published decides who may call. Health routes are always open.
ENV PROCWARDEN__SERVER__LISTEN=0.0.0.0:8686 \
    PROCWARDEN__DATABASE__URL=sqlite:///var/lib/procwarden/procwarden.db
WORKDIR /var/lib/procwarden
VOLUME /var/lib/procwarden
EXPOSE 8686
# By number, so that runAsNonRoot of Kubernetes can tell.
USER 8686:8686
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["procwarden", "health"]
ENTRYPOINT ["procwarden"]
CMD ["serve"]
