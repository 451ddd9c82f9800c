//! TLS: the certificate of the owner's settings, read again when its files change.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::owner::settings::serve::Tls;
use crate::sys::regular;
use crate::sys::seen::Seen;

/// The longest file that is read, bytes: a chain has some KB.
const LONGEST: u64 = 1 << 20;

/// How often the files are looked at, at most.
const LOOK: Duration = Duration::from_secs(1);

/// How long a client may take for the handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {} (`[serve] tls`): {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A file does not contain what it should.
    #[error("{} (`[serve] tls`) contains no {what} in PEM format{cause}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should contain.
        what: &'static str,
        /// Why not, after a colon.
        cause: String,
    },
    /// They do not belong together, or are not supported.
    #[error("cannot use the certificate {} with the key {} (`[serve] tls`): {cause}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
}

/// Speaks TLS with clients; clones share the certificate.
#[derive(Clone)]
pub struct Acceptor(Arc<Inner>);

struct Inner {
    files: Tls,
    /// How long a client may take for the handshake.
    patience: Duration,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    looked: Instant,
    /// The files as they were when they were read last, usable or not.
    seen: [Seen; 2],
    /// What was said about files that cannot be used.
    said: Option<String>,
}

impl Acceptor {
    /// Reads the certificate and its key.
    ///
    /// # Errors
    /// [`TlsError`] names the file and says what is wrong with it.
    pub fn new(tls: &Tls) -> Result<Self, TlsError> {
        let seen = look(tls);
        let config = read(tls)?;
        let current = Current { config, looked: Instant::now(), seen, said: None };
        Ok(Self(Arc::new(Inner { files: tls.clone(), patience: HANDSHAKE, current: Mutex::new(current) })))
    }

    /// Shakes hands with a client, which chooses `h2` or `http/1.1` (ALPN).
    ///
    /// # Errors
    /// The client does not speak TLS, does not trust the certificate, or takes more
    /// than 10 s.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.0.is_due() {
            let inner = Arc::clone(&self.0);
            // Files may be on a slow disk.
            spawn_blocking(move || inner.refresh()).await.map_err(io::Error::other)?;
        }
        let config = Arc::clone(&self.0.current().config);
        timeout(self.0.patience, TlsAcceptor::from(config).accept(stream)).await?
    }
}

impl std::fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Acceptor").field(&self.0.files).finish()
    }
}

impl Inner {
    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to look at the files now; others need not.
    fn is_due(&self) -> bool {
        let mut current = self.current();
        let is_due = current.looked.elapsed() >= LOOK;
        if is_due {
            current.looked = Instant::now();
        }
        is_due
    }

    /// Reads the files if they have changed. Those that cannot be used change nothing,
    /// and are reported once.
    fn refresh(&self) {
        let [cert, key] = self.current().seen;
        if cert.is_unchanged(&self.files.cert) && key.is_unchanged(&self.files.key) {
            return;
        }
        let seen = look(&self.files);
        let config = read(&self.files);
        let mut current = self.current();
        current.seen = seen;
        match config {
            Ok(config) => {
                current.config = config;
                current.said = None;
            }
            Err(error) => {
                let error = error.to_string();
                if current.said.as_ref() != Some(&error) {
                    tracing::error!("{error}; the previous certificate stays in use");
                    current.said = Some(error);
                }
            }
        }
    }
}

fn look(tls: &Tls) -> [Seen; 2] {
    [Seen::of(&tls.cert), Seen::of(&tls.key)]
}

fn read(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes(&tls.cert)?).collect();
    let not_pem = |path: &Path, what, cause| TlsError::NotPem { path: path.to_owned(), what, cause };
    let chain = chain.map_err(|error| not_pem(&tls.cert, "certificate", format!(": {error}")))?;
    if chain.is_empty() {
        return Err(not_pem(&tls.cert, "certificate", String::new()));
    }
    let key = PrivateKeyDer::from_pem_slice(&bytes(&tls.key)?);
    let key = key.map_err(|error| not_pem(&tls.key, "private key", format!(": {error}")))?;
    let unusable = |cause| TlsError::Unusable { cert: tls.cert.clone(), key: tls.key.clone(), cause };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    regular::read(path, LONGEST).map_err(|cause| TlsError::Unreadable { path: path.to_owned(), cause })
}
