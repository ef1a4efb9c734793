//! One connection for each request, through whatever stands in between: what was agreed on is part of the finding.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{Request, Response, Uri, Version};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What is sent: it may stay open.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Nothing that is waited for at a connection's begin takes longer.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The way to the server.
pub(super) struct Line {
    base: Uri,
    host: String,
    port: u16,
    authorization: Option<String>,
    tls: Option<TlsConnector>,
}

impl Line {
    /// `ca_file`: trusted instead of what the machine trusts. Errors: the address or the file cannot be used.
    pub(super) fn new(base: Uri, token: Option<&str>, ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let encrypted = match base.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("--url is http://… or https://…"),
        };
        let host = base.host().context("--url names no host")?.trim_matches(['[', ']']).to_owned();
        let port = base.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let tls = if encrypted { Some(TlsConnector::from(Arc::new(trusting(ca_file)?))) } else { None };
        Ok(Line { base, host, port, authorization: token.map(|token| format!("Bearer {token}")), tls })
    }

    /// Whether a token is sent.
    pub(super) fn has_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// What was agreed on for TLS is in the extensions of the answer.
    ///
    /// Errors: it cannot be reached, or breaks the connection.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port));
        let stream = within(stream).await?.with_context(|| format!("cannot connect to {}:{}", self.host, self.port))?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return self.ask(stream, false, self.request(method, path, headers, body)?).await;
        };
        let name = ServerName::try_from(self.host.clone()).context("not a name that a certificate may have")?;
        let stream = within(tls.connect(name, stream)).await?.map_err(|why| anyhow!("TLS: {why}"))?;
        let session = stream.get_ref().1;
        let (version, http2) = (session.protocol_version(), session.alpn_protocol() == Some(b"h2"));
        let mut response = self.ask(stream, http2, self.request(method, path, headers, body)?).await?;
        response.extensions_mut().insert(version);
        Ok(response)
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> anyhow::Result<Request<Body>> {
        let prefix = self.base.path().trim_end_matches('/');
        let authority = self.base.authority().context("--url names no host")?;
        let scheme = self.base.scheme_str().unwrap_or("http");
        let mut request = Request::builder().method(method).uri(format!("{scheme}://{authority}{prefix}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        Ok(request.body(body)?)
    }

    async fn ask<I>(&self, stream: I, http2: bool, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let io = TokioIo::new(stream);
        if http2 {
            let (mut sender, connection) = within(http2::handshake(TokioExecutor::new(), io)).await??;
            tokio::spawn(connection);
            return Ok(sender.send_request(request).await?);
        }
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        request.headers_mut().insert("host", host.parse()?);
        let origin_form = request.uri().path_and_query().map_or("/", |target| target.as_str()).parse()?;
        *request.uri_mut() = origin_form;
        let (mut sender, connection) = within(http1::handshake(io)).await??;
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }
}

/// For people: `HTTP/2 over TLS 1.3`.
pub(super) fn agreed<B>(response: &Response<B>) -> String {
    let http = match response.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_11 => "HTTP/1.1",
        _ => "an old HTTP",
    };
    match response.extensions().get::<Option<ProtocolVersion>>() {
        Some(Some(ProtocolVersion::TLSv1_3)) => format!("{http} over TLS 1.3"),
        Some(Some(ProtocolVersion::TLSv1_2)) => format!("{http} over TLS 1.2"),
        Some(_) => format!("{http} over TLS"),
        None => format!("{http}, not encrypted"),
    }
}

async fn within<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(CONNECT_MAX, work).await.with_context(|| format!("no connection within {CONNECT_MAX:?}"))
}

fn trusting(ca_file: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unusable = || format!("--ca-file {} cannot be used", path.display());
            for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
                roots.add(certificate.with_context(unusable)?).with_context(unusable)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        bail!("no certificate to trust: name a file with --ca-file");
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder.with_safe_default_protocol_versions()?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
