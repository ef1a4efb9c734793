# docker build -t rejoin . && docker run -p 8787:8787 -v ./key:/etc/rejoin/key:ro rejoin --auth-key-file /etc/rejoin/key
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package rejoin --bin rejoin

# glibc, libgcc and the certificates of the public authorities; no shell. Runs as user 65532.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /src/target/release/rejoin /usr/local/bin/rejoin
# The server refuses this without --auth-key-file: everybody who reaches the port could do everything.
ENV REJOIN_LISTEN=0.0.0.0:8787
EXPOSE 8787
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/rejoin"]
