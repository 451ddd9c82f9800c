//! Listening sockets that this process was started with, by the service manager or by
//! the herdsman before it.

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use super::Inherited;
use crate::owner::settings::serve::Listen;
use crate::serve::server::{BindError, Listener};

/// Sockets that listen already, and where, as they were asked for.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(String, Listener)>);

impl Sockets {
    /// Takes the sockets of the service manager: `sd_listen_fds(3)`.
    ///
    /// # Errors
    /// One of them is no listening socket.
    pub fn by_service_manager() -> Result<Self, BindError> {
        let failed = |error| BindError::System { address: "the service manager's socket".to_owned(), error };
        let numbers = sd_notify::listen_fds().map_err(failed)?;
        let listeners = numbers.map(|number| {
            // SAFETY: the service manager opened it for this process, and this is
            // called once.
            let listener = listener(unsafe { OwnedFd::from_raw_fd(number) })?;
            Ok((listener.address()?, listener))
        });
        listeners.collect::<io::Result<_>>().map(Self).map_err(failed)
    }

    /// Takes those of the herdsman before this one.
    ///
    /// # Errors
    /// One of them is no listening socket.
    pub fn inherited(inherited: &mut Inherited) -> Result<Self, BindError> {
        let listeners = inherited.take_addresses().into_iter().map(|(address, socket)| match listener(socket) {
            Ok(listener) => Ok((address, listener)),
            Err(error) => Err(BindError::System { address, error }),
        });
        listeners.collect::<Result<_, _>>().map(Self)
    }

    /// Takes the one that listens at `address`, however that is written.
    pub fn take(&mut self, address: &str) -> Option<Listener> {
        let wanted = address.parse::<Listen>().ok();
        let is_wanted = |listens: &str| listens == address || (wanted.is_some() && listens.parse().ok() == wanted);
        let at = self.0.iter().position(|(listens, _)| is_wanted(listens))?;
        Some(self.0.swap_remove(at).1)
    }

    /// Returns where they listen.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(address, _)| address.as_str())
    }

    /// Returns those that were not taken.
    #[must_use]
    pub fn all(self) -> Vec<(String, Listener)> {
        self.0
    }
}

fn listener(socket: OwnedFd) -> io::Result<Listener> {
    let tcp = TcpListener::from(socket);
    match tcp.local_addr() {
        Ok(_) => Ok(Listener::Tcp(tcp)),
        Err(_) => {
            let unix = UnixListener::from(OwnedFd::from(tcp));
            unix.local_addr()?;
            Ok(Listener::Unix(unix))
        }
    }
}
