//! A web server for files, as strict with pages as a careful site is.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// Pages may run the scripts of this site and compile WebAssembly, and talk to whom they want; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src *";

/// Serves folders and files on a free port of this machine. Dropped: it ends, with all its connections.
pub struct Files {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl Files {
    /// Each mount: what addresses begin with (`/kit`), and the folder or the file that stands there. The first that fits is taken.
    pub async fn start(mounts: Vec<(&'static str, PathBuf)>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(accept(listener, Arc::new(mounts)));
        Ok(Files { address, task })
    }

    /// `http://127.0.0.1:…`, without a slash at its end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Mounts = Arc<Vec<(&'static str, PathBuf)>>;

async fn accept(listener: TcpListener, mounts: Mounts) {
    // Connections end with this task.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let mounts = mounts.clone();
        connections.spawn(async move {
            let service = service_fn(|request| {
                let answer = answer(&mounts, &request);
                async { Ok::<_, Infallible>(answer) }
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

fn answer(mounts: &Mounts, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let found = find(mounts, path).and_then(|file| Some((std::fs::read(&file).ok()?, content_type(&file))));
    let (status, (body, content_type)) = match found {
        Some(found) => (StatusCode::OK, found),
        None => (StatusCode::NOT_FOUND, (format!("there is no {path}").into_bytes(), "text/plain")),
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn find(mounts: &Mounts, path: &str) -> Option<PathBuf> {
    if path.split('/').any(|part| part == "..") {
        return None;
    }
    let (rest, place) = mounts.iter().find_map(|(prefix, place)| Some((path.strip_prefix(prefix)?, place)))?;
    let file = place.join(rest.trim_start_matches('/'));
    match (rest.is_empty(), rest.ends_with('/')) {
        (true, _) => Some(place.clone()),
        (_, true) => Some(file.join("index.html")),
        _ => Some(file),
    }
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        _ => "text/plain; charset=utf-8",
    }
}
