//! Asks the kernel for the listening TCP sockets, and for those alone.
//!
//! `/proc/net/tcp` walks the hash table of all connections there could be:
//! 12 ms on a machine with much memory, however few sockets there are. A query
//! over netlink walks the listening ones only: 0.1 ms.
//!
//! ```text
//! request   nlmsghdr  inet_diag_req_v2          one for IPv4, one for IPv6
//! answer    nlmsghdr  inet_diag_msg             one for each socket, many in a datagram
//!           nlmsghdr  i32 (0 or -errno)         NLMSG_DONE or NLMSG_ERROR: the end
//! ```
//!
//! The layouts are the kernel's `linux/netlink.h`, `linux/sock_diag.h` and
//! `linux/inet_diag.h`, which are stable interfaces: numbers in the machine's
//! byte order, ports and addresses in the network's. What arrives is checked
//! like any other input: bytes that do not fit are an error, never a guess.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

// linux/netlink.h
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The size of `struct inet_diag_req_v2`.
const QUERY: usize = 56;
/// `TCP_LISTEN` of the kernel's `net/tcp_states.h`.
const LISTEN: u8 = 10;
// linux/socket.h, linux/in.h
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;

/// The kernel's largest datagram of a dump (`netlink_recvmsg` in
/// `net/netlink/af_netlink.c`).
const LARGEST_DATAGRAM: usize = 32 << 10;

/// The kernel answers while the request is sent; only something else that
/// takes netlink's place could take longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// The listening TCP sockets of this network namespace, by inode.
///
/// # Errors
/// Netlink is not to be had (seccomp, gVisor, a kernel without
/// `CONFIG_INET_DIAG`), or the answer is not one.
pub(super) fn tcp_listeners() -> io::Result<BTreeMap<u64, SocketAddr>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    let mut listeners = BTreeMap::new();
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    for family in [AF_INET, AF_INET6] {
        retry_on_intr(|| send(&socket, &request(family), SendFlags::empty()))?;
        loop {
            // With TRUNC the length is that of the datagram, even where it is more than fits.
            let (_, length) = retry_on_intr(|| recv(&socket, &mut buffer[..], RecvFlags::TRUNC))?;
            if read(buffer.get(..length).ok_or_else(malformed)?, &mut listeners)? == Dump::Ended {
                break;
            }
        }
    }
    Ok(listeners)
}

/// The request for every listening TCP socket of one address family.
fn request(family: u8) -> [u8; HEADER + QUERY] {
    const LENGTH: [u8; 4] = 72_u32.to_ne_bytes();
    const STATES: [u8; 4] = (1_u32 << LISTEN).to_ne_bytes();
    let mut request = [0; HEADER + QUERY];
    let mut put = |at: usize, bytes: &[u8]| request.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
    put(0, &LENGTH);
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    put(HEADER, &[family, IPPROTO_TCP]);
    put(HEADER + 4, &STATES);
    request
}

/// Whether more datagrams follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dump {
    Goes,
    Ended,
}

/// Adds the sockets of one datagram.
fn read(mut datagram: &[u8], listeners: &mut BTreeMap<u64, SocketAddr>) -> io::Result<Dump> {
    while !datagram.is_empty() {
        let (kind, body, rest) = message(datagram).ok_or_else(malformed)?;
        match kind {
            NLMSG_DONE | NLMSG_ERROR => {
                return match i32::from_ne_bytes(field(body, 0).ok_or_else(malformed)?) {
                    0 => Ok(Dump::Ended),
                    code => Err(io::Error::from_raw_os_error(code.saturating_neg())),
                };
            }
            SOCK_DIAG_BY_FAMILY => {
                let (inode, address) = socket(body).ok_or_else(malformed)?;
                listeners.insert(inode, address);
            }
            _ => {}
        }
        datagram = rest;
    }
    Ok(Dump::Goes)
}

/// The first message of a datagram: its type, its body, and what follows it.
fn message(datagram: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(field(datagram, 0)?)).ok()?;
    let kind = u16::from_ne_bytes(field(datagram, 4)?);
    let body = datagram.get(HEADER..length)?;
    Some((kind, body, datagram.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default()))
}

/// `struct inet_diag_msg`: inode and local address.
fn socket(body: &[u8]) -> Option<(u64, SocketAddr)> {
    let [family] = field(body, 0)?;
    let port = u16::from_be_bytes(field(body, 4)?);
    let ip = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::from(field::<4>(body, 8)?)),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(field::<16>(body, 8)?)).to_canonical(),
        _ => return None,
    };
    let inode = u32::from_ne_bytes(field(body, 68)?);
    Some((u64::from(inode), SocketAddr::new(ip, port)))
}

/// The `N` bytes that begin at `at`, if they are there.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer about sockets is malformed")
}

/// Reads `bytes` as a datagram.
#[cfg(test)]
pub(super) fn hostile(bytes: &[u8]) {
    let mut listeners = BTreeMap::new();
    // A socket takes 72 bytes, an endless list of empty ones would be a hang.
    let _ = read(bytes, &mut listeners);
    assert!(listeners.len() <= bytes.len() / 72);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    fn body(inode: u32, address: SocketAddr) -> Vec<u8> {
        let (family, ip) = match address.ip() {
            IpAddr::V4(ip) => (AF_INET, ip.octets().to_vec()),
            IpAddr::V6(ip) => (AF_INET6, ip.octets().to_vec()),
        };
        let mut body = vec![family, LISTEN, 0, 0];
        body.extend(address.port().to_be_bytes());
        body.resize(8, 0);
        body.extend(ip);
        body.resize(68, 0);
        body.extend(inode.to_ne_bytes());
        body
    }

    fn listening(inode: u32, address: &str) -> Vec<u8> {
        framed(SOCK_DIAG_BY_FAMILY, &body(inode, address.parse().unwrap()))
    }

    fn done(code: i32) -> Vec<u8> {
        framed(NLMSG_DONE, &code.to_ne_bytes())
    }

    fn read_all(datagram: &[u8]) -> io::Result<(Dump, BTreeMap<u64, SocketAddr>)> {
        let mut listeners = BTreeMap::new();
        read(datagram, &mut listeners).map(|dump| (dump, listeners))
    }

    #[test]
    fn the_request_is_as_long_as_it_says_and_asks_for_listeners_only() {
        let request = request(AF_INET6);
        assert_eq!(u32::from_ne_bytes(field(&request, 0).unwrap()), 72);
        assert_eq!(request.len(), 72);
        assert_eq!(request[16..18], [AF_INET6, IPPROTO_TCP]);
        assert_eq!(u32::from_ne_bytes(field(&request, 20).unwrap()), 0x400);
    }

    #[test]
    fn a_datagram_holds_many_sockets_and_perhaps_the_end() {
        let sockets = [listening(7, "127.0.0.1:8080"), listening(8, "[::1]:80"), listening(9, "[::ffff:10.0.0.1]:1")];
        let (dump, found) = read_all(&sockets.concat()).unwrap();
        assert_eq!(dump, Dump::Goes);
        let expected = [(7, "127.0.0.1:8080"), (8, "[::1]:80"), (9, "10.0.0.1:1")];
        assert_eq!(found, expected.map(|(inode, address)| (inode, address.parse().unwrap())).into());
        assert_eq!(read_all(&[sockets.concat(), done(0)].concat()).unwrap(), (Dump::Ended, found));
    }

    #[test]
    fn an_error_of_the_kernel_is_that_error() {
        for answer in [done(-2), framed(NLMSG_ERROR, &(-2_i32).to_ne_bytes())] {
            assert_eq!(read_all(&answer).unwrap_err().kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_message_that_is_cut_is_an_error_and_an_unknown_one_is_skipped() {
        let whole = listening(7, "127.0.0.1:8080");
        for length in 1..whole.len() {
            assert!(read_all(&whole[..length]).is_err(), "{length}");
        }
        let other = framed(1, b"noop");
        assert_eq!(read_all(&[other, whole].concat()).unwrap().1.len(), 1);
    }

    #[test]
    fn the_kernel_lists_our_listeners_and_not_our_connections() {
        let before = tcp_listeners().expect("this is tested where netlink is not forbidden");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _connection = std::net::TcpStream::connect(address).unwrap();
        let _accepted = listener.accept().unwrap();
        let ours = |found: BTreeMap<u64, SocketAddr>| found.values().filter(|one| **one == address).count();
        assert_eq!((ours(before), ours(tcp_listeners().unwrap())), (0, 1));
        if let Ok(listener) = std::net::TcpListener::bind("[::1]:0") {
            let address = listener.local_addr().unwrap();
            assert!(tcp_listeners().unwrap().values().any(|one| *one == address));
        }
    }

    proptest! {
        #[test]
        fn every_address_comes_back(inode: u32, ip: IpAddr, port: u16) {
            let (read_inode, address) = socket(&body(inode, SocketAddr::new(ip, port))).unwrap();
            prop_assert_eq!((read_inode, address), (u64::from(inode), SocketAddr::new(ip.to_canonical(), port)));
        }

        #[test]
        fn no_bytes_make_the_reader_panic_or_run_for_ever(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = read_all(&bytes);
            let _ = read_all(&framed(SOCK_DIAG_BY_FAMILY, &bytes));
        }

        #[test]
        fn no_length_leads_out_of_the_datagram(length: u32, kind in 0_u16..30) {
            let mut bytes = [listening(7, "127.0.0.1:1"), done(0)].concat();
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            let _ = read_all(&bytes);
        }
    }
}
