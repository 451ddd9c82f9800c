//! Where herdsman listens: `HOST:PORT`, or `unix:/PATH` for a socket.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::instance;

/// A bound address.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A unix socket.
    Unix(UnixListener, SocketFile),
}

/// The file of a unix socket, which goes with its listener.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Why herdsman cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {why}; choose another address with --listen or [serve] listen")]
pub struct ListenError {
    address: String,
    why: String,
}

impl Listener {
    /// Binds one of each address; a name may stand for several.
    ///
    /// # Errors
    /// One of them is invalid, or in use.
    pub fn all(addresses: &[String]) -> Result<Vec<Self>, ListenError> {
        let mut listeners = Vec::new();
        for address in addresses {
            let failed = |why: String| ListenError { address: address.clone(), why };
            match address.strip_prefix("unix:") {
                Some(path) => listeners.push(unix(Path::new(path)).map_err(|error| failed(error.to_string()))?),
                None => listeners.extend(tcp(address).map_err(failed)?),
            }
        }
        Ok(listeners)
    }

    /// The address, in which a port 0 is the one that was found free; `None`: a unix
    /// socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("a closed socket"),
            },
            Self::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

fn tcp(address: &str) -> Result<Vec<Listener>, String> {
    const FORM: &str = "it is not HOST:PORT, such as 127.0.0.1:8080, nor unix:/PATH";
    let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    if !has_port {
        return Err(FORM.to_owned());
    }
    let mut addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    addresses.dedup();
    let bind = |address: &SocketAddr| TcpListener::bind(address).map_err(|error| in_use(*address, &error));
    addresses.iter().map(|address| bind(address).map(Listener::Tcp)).collect()
}

fn in_use(address: SocketAddr, error: &io::Error) -> String {
    // No definition is in the empty directory, so every holder is a stranger there.
    let holder = || instance::stranger_on(address.port(), Path::new(""));
    match (error.kind() == ErrorKind::AddrInUse).then(holder).flatten() {
        Some(holder) => format!("{holder} uses port {}", address.port()),
        None => error.to_string(),
    }
}

/// Binds a unix socket, in place of one on which nobody listens any more.
fn unix(path: &Path) -> io::Result<Listener> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_stale(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    };
    let listener = bound?;
    let found = std::fs::symlink_metadata(path)?;
    let path = std::path::absolute(path)?;
    Ok(Listener::Unix(listener, SocketFile { path, identity: (found.dev(), found.ino()) }))
}

fn is_stale(path: &Path) -> bool {
    let is_refused = || UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) && is_refused()
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = |found: std::fs::Metadata| (found.dev(), found.ino()) == self.identity;
        if std::fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            // Nobody listens on what is left.
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn all(addresses: &[&str]) -> Result<Vec<Listener>, String> {
        let addresses: Vec<String> = addresses.iter().map(|&address| address.to_owned()).collect();
        Listener::all(&addresses).map_err(|error| error.to_string())
    }

    #[test]
    fn a_taken_port_and_a_wrong_address_say_what_to_do() {
        let first = all(&["127.0.0.1:0"]).unwrap();
        let address = first[0].to_string();
        let taken = all(&[&address]).unwrap_err();
        let named = format!("cannot listen on {address}: pid {} ", std::process::id());
        assert!(
            taken.starts_with(&named) && taken.ends_with("choose another address with --listen or [serve] listen"),
            "{taken}"
        );
        for wrong in ["8080", "127.0.0.1", "host:port", "127.0.0.1:99999"] {
            assert!(all(&[wrong]).unwrap_err().contains("it is not HOST:PORT"), "{wrong}");
        }
    }

    #[test]
    fn a_unix_socket_replaces_one_nobody_listens_on_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gateway.sock");
        let address = format!("unix:{}", path.display());
        drop(UnixListener::bind(&path).unwrap());
        let first = all(&[&address]).unwrap();
        assert_eq!(first[0].to_string(), address);
        assert!(all(&[&address]).unwrap_err().contains("in use"), "somebody listens");
        drop(first);
        assert!(!path.exists());
        std::fs::write(&path, "precious").unwrap();
        assert!(all(&[&address]).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }
}
