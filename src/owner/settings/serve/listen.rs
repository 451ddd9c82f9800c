//! Where the gateway listens: `HOST:PORT`, or a unix socket.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listen {
    /// A TCP address. Port 0: any that is free.
    Tcp(SocketAddr),
    /// The absolute path of a unix socket.
    Unix(PathBuf),
}

/// A text that is no address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not an address to listen on; use an IP address or `localhost` with a port, such as `127.0.0.1:8080`, or \
     `unix:/run/herdsman.sock`"
)]
pub struct NotAnAddress(pub String);

impl FromStr for Listen {
    type Err = NotAnAddress;

    /// Only `localhost` and IP addresses are hosts, so that no name server decides
    /// where herdsman listens.
    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let wrong = || NotAnAddress(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() { Ok(Self::Unix(path)) } else { Err(wrong()) };
        }
        if let Some(port) = text.strip_prefix("localhost:") {
            let port = port.parse().map_err(|_| wrong())?;
            return Ok(Self::Tcp(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)));
        }
        text.parse().map(Self::Tcp).map_err(|_| wrong())
    }
}

impl Listen {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => is_loopback(address.ip()),
            Self::Unix(_) => true,
        }
    }

    /// Returns the file of a unix socket.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Tcp(_) => None,
            Self::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Whether an address is one of this machine alone, also as IPv6 writes it.
#[must_use]
pub fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_to_listen_on_is_named() {
        for wrong in ["", "8080", "localhost", "127.0.0.1:x", "127.0.0.1:65536", "example.org:80", "unix:relative"] {
            assert_eq!(wrong.parse::<Listen>(), Err(NotAnAddress(wrong.to_owned())));
        }
    }

    #[test]
    fn an_address_is_printed_as_it_is_read() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/herdsman.sock"] {
            assert_eq!(text.parse::<Listen>().map(|listen| listen.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("localhost:80".parse::<Listen>(), "127.0.0.1:80".parse());
    }
}
