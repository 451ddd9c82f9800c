//! Which process listens on which socket.
//!
//! The kernel lists listening sockets by inode ([`sock_diag`]; where that is
//! forbidden `/proc/net/tcp`, `tcp6`; `/proc/net/unix`) and a process's
//! descriptors as `socket:[inode]`; the two together say which process owns a
//! port, without asking anyone over the network.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::{fmt, io};

use super::{process, sock_diag};

/// The listening sockets of this network namespace, by inode.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// Every TCP socket.
    pub tcp: BTreeMap<u64, SocketAddr>,
    /// Every unix socket, or none if they were not read.
    pub unix: BTreeMap<u64, PathBuf>,
}

impl Listening {
    /// Lists every TCP socket, and every unix socket if `with_unix`: that list
    /// is long on a desktop, and few servers are in it.
    pub fn read(with_unix: bool) -> io::Result<Self> {
        let unix = if with_unix { unix_listeners()? } else { BTreeMap::new() };
        Ok(Self { tcp: tcp_listeners()?, unix })
    }

    /// The TCP ports in use.
    pub fn ports(&self) -> BTreeSet<u16> {
        self.tcp.values().map(SocketAddr::port).collect()
    }
}

/// From netlink, else from the tables that say the same and take longer.
fn tcp_listeners() -> io::Result<BTreeMap<u64, SocketAddr>> {
    sock_diag::tcp_listeners().or_else(|_forbidden| tcp_listeners_of_proc())
}

fn tcp_listeners_of_proc() -> io::Result<BTreeMap<u64, SocketAddr>> {
    let mut found = BTreeMap::new();
    for table in ["tcp", "tcp6"] {
        found.extend(read_table(table)?.split(|&b| b == b'\n').filter_map(tcp_line));
    }
    Ok(found)
}

fn unix_listeners() -> io::Result<BTreeMap<u64, PathBuf>> {
    Ok(read_table("unix")?.split(|&b| b == b'\n').filter_map(unix_line).collect())
}

/// A missing table (no IPv6) is empty.
fn read_table(name: &str) -> io::Result<Vec<u8>> {
    match std::fs::read(format!("/proc/net/{name}")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The inodes of the sockets `pid` holds; empty when its descriptors cannot
/// be read (it is gone, or not ours).
pub(super) fn sockets_of(pid: i32) -> BTreeSet<u64> {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    descriptors
        .filter_map(|entry| {
            let link = std::fs::read_link(entry.ok()?.path()).ok()?;
            let inode = link.as_os_str().as_bytes().strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
            std::str::from_utf8(inode).ok()?.parse().ok()
        })
        .collect()
}

/// The process that listens on a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// This process.
    Process(i32),
    /// A process whose descriptors cannot be read.
    Unseen,
}

impl fmt::Display for Holder {
    /// `pid 4711 (nginx)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => {
                let command = process::command(*pid).unwrap_or_else(|_| "name unknown".to_owned());
                write!(f, "pid {pid} ({command})")
            }
            Self::Unseen => f.write_str("a process of another user"),
        }
    }
}

/// Returns the process that listens on `port`; `None` if there is none.
pub(super) fn holder(port: u16) -> io::Result<Option<Holder>> {
    let tcp = tcp_listeners()?;
    let inodes: BTreeSet<u64> = tcp.into_iter().filter(|(_, address)| address.port() == port).map(|(i, _)| i).collect();
    if inodes.is_empty() {
        return Ok(None);
    }
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if !sockets_of(pid).is_disjoint(&inodes) {
            return Ok(Some(Holder::Process(pid)));
        }
    }
    Ok(Some(Holder::Unseen))
}

/// `0: 0100007F:1F90 00000000:0000 0A … inode …`: a line of `/proc/net/tcp`.
fn tcp_line(line: &[u8]) -> Option<(u64, SocketAddr)> {
    /// `TCP_LISTEN` of the kernel's `tcp_states.h`.
    const LISTEN: &str = "0A";
    let mut fields = std::str::from_utf8(line).ok()?.split_ascii_whitespace().skip(1);
    let local = fields.next()?;
    if fields.nth(1)? != LISTEN {
        return None;
    }
    let inode = fields.nth(5)?.parse().ok()?;
    Some((inode, hexadecimal_address(local)?))
}

/// `0100007F:1F90`. The address is printed as 32-bit words in the machine's
/// own byte order, the port as a number.
fn hexadecimal_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let mut bytes = [0; 16];
            bytes.iter_mut().zip(words.as_flattened()).for_each(|(to, from)| *to = *from);
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `ffff…: 00000002 00000000 00010000 0001 01 4711 /run/x.sock`: a line of
/// `/proc/net/unix`. The path is the rest of the line, spaces included.
fn unix_line(line: &[u8]) -> Option<(u64, PathBuf)> {
    /// `__SO_ACCEPTCON`: the socket listens.
    const LISTENS: u32 = 0x1_0000;
    let words = |line: &[u8], at: usize| {
        let mut words = line.split(|&b| b == b' ').filter(|word| !word.is_empty());
        std::str::from_utf8(words.nth(at)?).ok().map(str::to_owned)
    };
    let flags = u32::from_str_radix(&words(line, 3)?, 16).ok()?;
    let inode = words(line, 6)?.parse().ok()?;
    let path = line.get(line.iter().position(|&b| b == b'/')?..)?;
    (flags & LISTENS != 0).then(|| (inode, PathBuf::from(OsStr::from_bytes(path))))
}

/// Reads `bytes` as the kernel's tables of sockets.
#[cfg(test)]
pub(super) fn hostile(bytes: &[u8]) {
    for line in bytes.split(|&b| b == b'\n') {
        let _ = (tcp_line(line), unix_line(line));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const TCP: &[u8] =
        b"   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 31337 1 0 100 0 0 10 0";

    #[test]
    #[cfg(target_endian = "little")]
    fn a_listening_line_gives_inode_and_address() {
        assert_eq!(tcp_line(TCP), Some((31337, "127.0.0.1:8080".parse().unwrap())));
        let connected = String::from_utf8(TCP.to_vec()).unwrap().replace(" 0A ", " 01 ");
        assert_eq!(tcp_line(connected.as_bytes()), None);
        let heading =
            b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
        assert_eq!(tcp_line(heading), None);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn ipv6_addresses_are_words_too_and_mapped_ones_are_ipv4() {
        let loopback = hexadecimal_address("00000000000000000000000001000000:0050").unwrap();
        assert_eq!(loopback, "[::1]:80".parse().unwrap());
        let mapped = hexadecimal_address("0000000000000000FFFF00000100007F:0050").unwrap();
        assert_eq!(mapped, "127.0.0.1:80".parse().unwrap());
        assert_eq!(hexadecimal_address("0100007:0050"), None);
        assert_eq!(hexadecimal_address("0100007F:FFFFF"), None);
    }

    #[test]
    fn a_unix_path_may_hold_spaces() {
        let line = b"ffff88810: 00000002 00000000 00010000 0001 01    47 /run/my models/x.sock";
        assert_eq!(unix_line(line), Some((47, PathBuf::from("/run/my models/x.sock"))));
        let connected = b"ffff88810: 00000003 00000000 00000000 0001 03 48213 /run/x.sock";
        assert_eq!(unix_line(connected), None);
    }

    #[test]
    fn our_own_listener_is_found_by_inode_and_named_as_holder() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        for tcp in [tcp_listeners().unwrap(), tcp_listeners_of_proc().unwrap()] {
            assert!(sockets_of(pid).iter().any(|inode| tcp.get(inode) == Some(&address)));
        }
        let found = holder(address.port()).unwrap().unwrap();
        assert_eq!(found, Holder::Process(pid));
        assert!(found.to_string().starts_with(&format!("pid {pid} (")));
        assert_eq!(holder(0).unwrap(), None, "nobody can listen on port 0");
    }

    #[test]
    fn our_own_unix_listener_is_found_by_inode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let unix = unix_listeners().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(sockets_of(pid).iter().any(|inode| unix.get(inode) == Some(&path)));
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parsers_panic(line in prop::collection::vec(any::<u8>(), 0..200), text in ".*") {
            let _ = (tcp_line(&line), unix_line(&line), tcp_line(text.as_bytes()), hexadecimal_address(&text));
        }
    }
}
