//! TLS: a certificate and its key from files, read again when they change. The server's only file that knows rustls.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::config;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What a browser picks from, the best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The pair that new connections get. Those that are open keep theirs.
pub struct Tls {
    files: Files,
    current: Mutex<Arc<ServerConfig>>,
    /// The bytes that were tried last, well or not.
    tried: Mutex<Pem>,
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What is in the files. `Debug` would show the key: there is none.
#[derive(Default, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the pair that the server was told to use; none when it was told none.
    ///
    /// Errors: one of the files cannot be used; the error names it and says why.
    pub fn load(told: &config::Tls) -> anyhow::Result<Option<Self>> {
        let (Some(certificate), Some(key)) = (&told.tls_cert_file, &told.tls_key_file) else { return Ok(None) };
        let files = Files { certificate: certificate.clone(), key: key.clone() };
        let pem = files.read().map_err(anyhow::Error::msg)?;
        let current = Mutex::new(Arc::new(files.config(&pem).map_err(anyhow::Error::msg)?));
        Ok(Some(Tls { files, current, tried: Mutex::new(pem) }))
    }

    /// Looks at the files until the server ends. A pair that cannot be used changes nothing and is logged once.
    pub async fn watch(&self, ended: CancellationToken) {
        let mut every = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = every.tick() => self.look().await,
                () = ended.cancelled() => return,
            }
        }
    }

    async fn look(&self) {
        let files = self.files.clone();
        // A file may lie on a disk that does not answer.
        let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { return };
        // While a file is being replaced it may be missing: the next look finds it.
        match read {
            Ok(pem) => self.offer(pem),
            Err(why) => tracing::warn!(%why, "cannot look whether the certificate has changed"),
        }
    }

    fn offer(&self, pem: Pem) {
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == pem {
            return;
        }
        match self.files.config(&pem) {
            Ok(config) => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(file = %self.files.certificate.display(), "new connections get the new certificate");
            }
            Err(why) => tracing::error!(%why, "the new certificate or key cannot be used: the old pair stays"),
        }
        *tried = pem;
    }

    /// Shakes hands. Errors: the peer speaks no TLS that we do, or is gone.
    pub async fn accept<I: AsyncRead + AsyncWrite + Unpin>(&self, stream: I) -> io::Result<TlsStream<I>> {
        let config = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TlsAcceptor::from(config).accept(stream).await
    }
}

impl Files {
    fn read(&self) -> Result<Pem, String> {
        let certificate = read("--tls-cert-file", &self.certificate)?;
        let key = read("--tls-key-file", &self.key)?;
        Ok(Pem { certificate, key })
    }

    fn config(&self, pem: &Pem) -> Result<ServerConfig, String> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem.certificate).collect();
        let chain = chain.map_err(|why| broken("--tls-cert-file", &self.certificate, why))?;
        if chain.is_empty() {
            return Err(broken("--tls-cert-file", &self.certificate, "there is no CERTIFICATE in PEM in it"));
        }
        let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|why| match why {
            pem::Error::NoItemsFound => broken(
                "--tls-key-file",
                &self.key,
                "there is no PRIVATE KEY in PEM in it (one with a password is none)",
            ),
            why => broken("--tls-key-file", &self.key, why),
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(|why| why.to_string())?;
        let mut config = builder.with_no_client_auth().with_single_cert(chain, key).map_err(|why| match why {
            rustls::Error::InconsistentKeys(_) => {
                let certificate = self.certificate.display();
                broken("--tls-key-file", &self.key, format!("it is not the key of the certificate in {certificate}"))
            }
            why => broken("--tls-cert-file", &self.certificate, why),
        })?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok(config)
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|why| broken(flag, path, why))
}

fn broken(flag: &str, path: &Path, why: impl fmt::Display) -> String {
    format!("{flag} {} cannot be used: {why}", path.display())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Pair {
        folder: tempfile::TempDir,
    }

    impl Pair {
        fn new() -> Self {
            let pair = Pair { folder: tempfile::tempdir().expect("a folder") };
            pair.renew();
            pair
        }

        fn renew(&self) {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
            self.write("c.pem", &made.cert.pem());
            self.write("k.pem", &made.signing_key.serialize_pem());
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).expect("room for it");
        }

        fn load(&self) -> anyhow::Result<Tls> {
            let (certificate, key) = (self.folder.path().join("c.pem"), self.folder.path().join("k.pem"));
            let told = config::Tls { tls_cert_file: Some(certificate), tls_key_file: Some(key) };
            Tls::load(&told).map(|tls| tls.expect("it was told of one"))
        }
    }

    fn refused(pair: &Pair) -> String {
        pair.load().err().expect("it cannot be used").to_string()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let (pair, other) = (Pair::new(), Pair::new());
        assert!(pair.load().is_ok());
        fs::copy(other.folder.path().join("k.pem"), pair.folder.path().join("k.pem")).expect("a copy");
        assert!(refused(&pair).contains("k.pem cannot be used: it is not the key of the certificate in"));
        pair.write("k.pem", "secret");
        let said = refused(&pair);
        assert!(said.contains("--tls-key-file") && said.contains("no PRIVATE KEY"), "{said}");
        assert!(!said.contains("secret"), "{said}");
        pair.renew();
        pair.write("c.pem", "");
        assert!(refused(&pair).contains("c.pem cannot be used: there is no CERTIFICATE"));
        pair.write("c.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert!(refused(&pair).contains("--tls-cert-file"));
        fs::remove_file(pair.folder.path().join("c.pem")).expect("it was there");
        assert!(refused(&pair).contains("c.pem cannot be used: No such file"));
    }

    #[tokio::test]
    async fn a_new_pair_is_taken_and_a_broken_one_changes_nothing() {
        let pair = Pair::new();
        let tls = pair.load().expect("a pair");
        let current = || Arc::as_ptr(&tls.current.lock().expect("no panic")) as usize;
        let first = current();
        tls.look().await;
        assert_eq!(current(), first, "nothing has changed");
        pair.write("c.pem", "half of it");
        tls.look().await;
        assert_eq!(current(), first, "the old pair stays");
        fs::remove_file(pair.folder.path().join("k.pem")).expect("it was there");
        tls.look().await;
        assert_eq!(current(), first, "the old pair stays");
        pair.renew();
        tls.look().await;
        assert_ne!(current(), first, "the new pair is taken");
    }
}
