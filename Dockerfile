# docker build -t rejoin . && docker run -p 8787:8787 -v ./key:/etc/rejoin/key:ro rejoin --auth-key-file /etc/rejoin/key
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src
COPY . .
RUN cargo build --release --locked --package rejoin --bin rejoin

# The program, the libraries it is linked to, and the certificates of the public authorities: nothing else is in the image.
RUN mkdir -p /image/usr/local/bin /image/etc/ssl/certs \
 && cp target/release/rejoin /image/usr/local/bin/ \
 && for library in $(ldd target/release/rejoin | grep -o '/[^ ]*'); do cp -L --parents "$library" /image; done \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
COPY --from=build /image /
USER 65532:65532
# The server refuses this without --auth-key-file: everybody who reaches the port could do everything.
ENV REJOIN_LISTEN=0.0.0.0:8787
EXPOSE 8787
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/rejoin"]
