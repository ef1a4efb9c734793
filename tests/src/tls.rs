//! TLS as a test needs it: a pair of files that can be renewed, and a client that says what was agreed on.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Answer;
use crate::sse::Sse;
use crate::wait::soon;

/// A certificate for `localhost` and 127.0.0.1, and its key, in files. Dropped: the files are gone.
pub struct Pair {
    folder: TempDir,
}

impl Pair {
    /// A pair that nobody else has.
    pub fn new() -> Result<Self> {
        let pair = Pair { folder: tempfile::tempdir()? };
        pair.renew()?;
        Ok(pair)
    }

    /// Writes another pair to the same files.
    pub fn renew(&self) -> Result<()> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        std::fs::write(self.key(), made.signing_key.serialize_pem())?;
        std::fs::write(self.certificate(), made.cert.pem())?;
        Ok(())
    }

    /// The file of the certificate. Whoever trusts it trusts the server.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// The file of its key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The certificate that is in its file now.
    pub fn now(&self) -> Result<CertificateDer<'static>> {
        CertificateDer::from_pem_file(self.certificate()).map_err(|why| anyhow::anyhow!("{why}"))
    }
}

/// What is agreed on when only `trusted` is.
pub async fn shake_hands(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone())?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder.with_protocol_versions(versions)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost")?;
    let stream = TcpStream::connect(address).await?;
    Ok(soon("a handshake", TlsConnector::from(Arc::new(config)).connect(name, stream)).await??)
}

/// One encrypted HTTP/2 connection.
pub struct Http2 {
    sender: http2::SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    address: SocketAddr,
}

impl Http2 {
    /// Connects to a server that has this certificate.
    pub async fn connect(address: SocketAddr, trusted: &CertificateDer<'static>) -> Result<Self> {
        let versions = rustls::ALL_VERSIONS;
        let stream = shake_hands(address, trusted, &["h2", "http/1.1"], versions).await?;
        anyhow::ensure!(stream.get_ref().1.alpn_protocol() == Some(b"h2"), "HTTP/2 was not agreed on");
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Http2 { sender, connection, address })
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Result<hyper::Response<hyper::body::Incoming>> {
        let mut request = http::Request::builder().method(method).uri(format!("https://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body)))?;
        soon(path, self.sender.clone().send_request(request)).await?.with_context(|| format!("{method} {path}"))
    }

    /// One request and its answer.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: String) -> Result<Answer> {
        let (head, body) = self.open(method, path, headers, body).await?.into_parts();
        let body = soon(path, body.collect()).await??.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// A live stream from its first record on.
    pub async fn follow(&self, stream: &str) -> Result<Sse> {
        let path = format!("/v1/streams/{stream}/events");
        let response = self.open("GET", &path, &[("accept", "text/event-stream")], String::new()).await?;
        anyhow::ensure!(response.status() == 200, "no stream but {}", response.status());
        Ok(Sse::new(response))
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
