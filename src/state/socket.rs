//! `herdsman.sock`, on which the watcher's gateway answers passes of other processes.
//!
//! A path of a unix socket has 107 bytes at most, and a state directory may be longer.
//! So the directory is opened, and the socket named through it: `/proc/self/fd/N/…`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::StateDir;

const NAME: &str = "herdsman.sock";

impl StateDir {
    /// The socket of the watcher's gateway.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path().join(NAME)
    }

    /// Listens on the socket, for this user only. What a watcher before left there is
    /// replaced: call it under the watcher's lock.
    ///
    /// # Errors
    /// It cannot be made, or something else is in its place.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let directory = Directory::open(self.path())?;
        let (path, new) = (directory.file(NAME), directory.file("herdsman.sock.new"));
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.file_type().is_socket()) {
            return Err(io::Error::new(ErrorKind::AlreadyExists, "another file is in its place"));
        }
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, Permissions::from_mode(0o600))?;
        // Nobody finds it before it is private.
        fs::rename(&new, &path)?;
        Ok(listener)
    }

    /// Connects to the socket, without waiting; `None`: nobody listens on it.
    ///
    /// # Errors
    /// Somebody may listen, and cannot be reached; [`ErrorKind::WouldBlock`]: too many
    /// wait there already.
    pub fn connect(&self) -> io::Result<Option<UnixStream>> {
        let is_nobody = |error: &io::Error| {
            matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory)
        };
        let connected = || {
            let directory = Directory::open(self.path())?;
            let address = SocketAddrUnix::new(directory.file(NAME))?;
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            connect(&socket, &address)?;
            Ok(UnixStream::from(socket))
        };
        match connected() {
            Ok(stream) => Ok(Some(stream)),
            Err(error) if is_nobody(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns what tells the socket's file from another in its place.
    #[must_use]
    pub fn socket_identity(&self) -> Option<(u64, u64)> {
        fs::symlink_metadata(self.socket()).ok().map(|found| (found.dev(), found.ino()))
    }
}

/// An open directory, through which paths are short.
struct Directory(File);

impl Directory {
    fn open(path: &Path) -> io::Result<Self> {
        let flags = (OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed();
        Ok(Self(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_long_directory_has_a_private_socket_that_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().join("d".repeat(200)));
        state.create().unwrap();
        assert!(state.connect().unwrap().is_none());
        let first = state.listen().unwrap();
        assert!(state.connect().unwrap().is_some());
        let identity = state.socket_identity();
        drop(first);
        assert!(state.connect().unwrap().is_none(), "nobody listens any more");
        let _second = state.listen().unwrap();
        assert!(state.connect().unwrap().is_some());
        assert_ne!(state.socket_identity(), identity);
        assert_eq!(fs::metadata(state.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::new(dir.path().to_owned());
        fs::write(state.socket(), "precious").unwrap();
        assert_eq!(state.listen().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert!(state.connect().unwrap().is_none());
    }
}
