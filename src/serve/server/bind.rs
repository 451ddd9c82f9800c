//! Addresses to listen on.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};
use tokio::net;

use crate::owner::settings::serve::Listen;
use crate::serve::access::Peer;

/// Why nothing can listen on an address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("cannot listen on {0}: the address is in use; stop the program that listens there, or choose another one")]
    InUse(String),
    /// The system refuses.
    #[error("cannot listen on {address}: {error}")]
    System {
        /// The address.
        address: String,
        /// Its answer.
        error: io::Error,
    },
}

/// A socket that accepts connections.
#[derive(Debug)]
pub enum Listener {
    /// Over TCP.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener),
    /// Where the herdsman before this one sends the requests that wait there.
    Hall(UnixListener),
}

/// The permissions of a unix socket: whoever may write to it needs no key.
const MODE: u32 = 0o660;

/// How many connections wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 4096;

/// Listens on an address. A socket that a program left behind is replaced; the file of
/// a unix socket is for its user and group alone.
///
/// # Errors
/// Names the address, and what to do.
pub fn bind(listen: &Listen) -> Result<Listener, BindError> {
    let bound = match listen {
        Listen::Tcp(address) => TcpListener::bind(address).map(Listener::Tcp),
        Listen::Unix(path) => bind_unix(path).map(Listener::Unix),
    };
    bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse(listen.to_string()),
        _ => BindError::System { address: listen.to_string(), error },
    })
}

fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let address = SocketAddrUnix::new(path)?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    match rustix::net::bind(&socket, &address) {
        Err(rustix::io::Errno::ADDRINUSE) if is_left_behind(path) => {
            std::fs::remove_file(path)?;
            rustix::net::bind(&socket, &address)?;
        }
        bound => bound?,
    }
    // Nobody connects before it listens.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// The file of a unix socket that herdsman made, which it removes when it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Returns the file at `path`.
    ///
    /// # Errors
    /// It is gone.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = std::fs::symlink_metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// Removes it, unless another one has taken its place.
    pub fn remove(&self) {
        if Self::of(&self.path).is_ok_and(|found| found == *self)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!("cannot remove the socket {}: {error}", self.path.display());
        }
    }
}

/// Whether a socket is there, and nobody listens on it.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) | Self::Hall(listener) => listener.as_fd(),
        }
    }
}

impl Listener {
    /// Returns where it listens, as [`bind`] takes it.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(listener.local_addr()?.to_string()),
            Self::Unix(listener) | Self::Hall(listener) => {
                let address = listener.local_addr()?;
                Ok(format!("unix:{}", address.as_pathname().unwrap_or(Path::new("")).display()))
            }
        }
    }

    /// Hands it to the runtime that this is called in.
    pub(super) fn listen(self) -> io::Result<Listening> {
        match self {
            Self::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                net::TcpListener::from_std(listener).map(Listening::Tcp)
            }
            Self::Unix(listener) => unix(listener, Peer::Unix),
            Self::Hall(listener) => unix(listener, Peer::Predecessor),
        }
    }
}

/// A [`Listener`] in a runtime.
pub(super) enum Listening {
    Tcp(net::TcpListener),
    Unix(net::UnixListener, Peer),
}

fn unix(listener: UnixListener, peer: Peer) -> io::Result<Listening> {
    listener.set_nonblocking(true)?;
    Ok(Listening::Unix(net::UnixListener::from_std(listener)?, peer))
}

/// A connection from a client.
pub(super) enum Accepted {
    Tcp(net::TcpStream, Peer),
    Unix(net::UnixStream, Peer),
}

impl Listening {
    /// Whether a herdsman before this one sends its requests here.
    pub fn is_hall(&self) -> bool {
        matches!(self, Self::Unix(_, Peer::Predecessor))
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                // Fails only if the client has left already.
                let _ = stream.set_nodelay(true);
                Ok(Accepted::Tcp(stream, Peer::Tcp(from.ip().to_canonical())))
            }
            Self::Unix(listener, peer) => Ok(Accepted::Unix(listener.accept().await?.0, *peer)),
        }
    }
}
