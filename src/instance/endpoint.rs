//! The address of a running server, from what it was started with.
//!
//! Its own command line and environment are the truth: it never reads them
//! again. Of an option given twice the last counts, and the command line wins
//! over the environment. Which socket it then really listens on is taken from
//! the kernel, so no name is ever resolved.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::marker::Environment;
use super::socket::Listening;
use crate::model::Address;
use crate::sys::regular;

/// The address options that a server was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// A key it accepts.
    pub key: Option<String>,
}

/// A server that accepts requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The socket it owns.
    pub socket: Socket,
    /// What every path begins with.
    pub prefix: String,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// The key to show.
    pub key: Option<String>,
}

/// Where to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads the bytes of `/proc/PID/cmdline` and the environment. Defaults
    /// are llama-server's.
    pub fn read(command_line: &[u8], environment: &Environment) -> Self {
        let words: Vec<&[u8]> = command_line.split(|&b| b == 0).collect();
        let option = |name: &str, variable: &str| {
            let given = words.windows(2).rev().find_map(|pair| (pair[0] == name.as_bytes()).then(|| pair[1]));
            given.map(OsStr::from_bytes).or_else(|| environment.get(variable)).filter(|value| !value.is_empty())
        };
        let text = |name, variable| option(name, variable).map(|value| value.to_string_lossy().into_owned());
        let host = text("--host", "LLAMA_ARG_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
        let port = match text("--port", "LLAMA_ARG_PORT") {
            _ if host.contains('/') => None,
            // The process is ending: its command line can no longer be read.
            _ if command_line.is_empty() => None,
            None => Some(8080),
            Some(port) => port.parse().ok(),
        };
        let keys = text("--api-key", "LLAMA_API_KEY")
            .or_else(|| first_key(&PathBuf::from(option("--api-key-file", "LLAMA_ARG_API_KEY_FILE")?)));
        Self {
            address: Address {
                host,
                port,
                prefix: text("--api-prefix", "LLAMA_ARG_API_PREFIX").unwrap_or_default(),
                tls: option("--ssl-key-file", "LLAMA_ARG_SSL_KEY_FILE").is_some()
                    && option("--ssl-cert-file", "LLAMA_ARG_SSL_CERT_FILE").is_some(),
            },
            // Several keys are separated by commas; any will do.
            key: keys.and_then(|keys| keys.split(',').next().map(str::to_owned)),
        }
    }

    /// Whether its address is a unix socket.
    pub fn is_unix(&self) -> bool {
        self.address.socket().is_some()
    }

    /// Returns the target, if the process that holds `sockets` owns the listening
    /// socket of this endpoint.
    pub fn target(&self, sockets: &BTreeSet<u64>, listening: &Listening) -> Option<Target> {
        let mut owned = sockets.iter();
        let socket = if self.is_unix() {
            owned.find_map(|inode| listening.unix.get(inode)).cloned().map(Socket::Unix)
        } else {
            let ours = |address: &&SocketAddr| Some(address.port()) == self.address.port;
            owned.find_map(|inode| listening.tcp.get(inode).filter(ours)).copied().map(reachable).map(Socket::Tcp)
        };
        let Address { prefix, tls, .. } = &self.address;
        Some(Target { socket: socket?, prefix: prefix.clone(), tls: *tls, key: self.key.clone() })
    }
}

/// The sockets that these endpoints may listen on: unix sockets are listed only
/// if one of them has one.
///
/// # Errors
/// The kernel's lists cannot be read.
pub(super) fn listening_for<'e>(endpoints: impl IntoIterator<Item = &'e Endpoint>) -> io::Result<Listening> {
    Listening::read(endpoints.into_iter().any(Endpoint::is_unix))
}

/// The address to connect to: loopback for a server that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The first key of an `--api-key-file`: one a line, `#` for comments.
fn first_key(path: &Path) -> Option<String> {
    /// Keys are far shorter, and the path may lead anywhere by now.
    const LONGEST: u64 = 64 << 10;
    let text = String::from_utf8(regular::read(path, LONGEST).ok()?).ok()?;
    text.lines().find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn read(words: &str, environment: &str) -> Endpoint {
        let environment = Environment::new(environment.replace(' ', "\0").into_bytes());
        Endpoint::read(words.replace(' ', "\0").as_bytes(), &environment)
    }

    #[test]
    fn of_an_option_given_twice_the_last_counts() {
        let endpoint = read("llama-server --port 1 --host 0.0.0.0 --port 8101 --api-prefix /v", "");
        assert_eq!(
            (endpoint.address.host.as_str(), endpoint.address.port, endpoint.address.prefix.as_str()),
            ("0.0.0.0", Some(8101), "/v")
        );
    }

    #[test]
    fn a_url_is_one_that_can_be_asked() {
        let url = |words: &str| read(words, "").address.url().unwrap_or_default();
        assert_eq!(url("x --host 0.0.0.0 --port 1 --api-prefix /v"), "http://127.0.0.1:1/v");
        assert_eq!(url("x --host :: --port 1"), "http://[::1]:1");
        assert_eq!(url("x --host fd00::1 --port 1 --ssl-key-file k --ssl-cert-file c"), "https://[fd00::1]:1");
        assert_eq!(url("x --host /run/a.sock"), "");
    }

    #[test]
    fn without_options_llama_servers_defaults_hold() {
        let endpoint = read("llama-server", "");
        assert_eq!(
            endpoint,
            Endpoint {
                address: Address { host: "127.0.0.1".into(), port: Some(8080), ..Address::default() },
                key: None
            }
        );
    }

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let endpoint = read("x --api-prefix /a", "LLAMA_ARG_API_PREFIX=/b LLAMA_ARG_PORT=9 LLAMA_API_KEY=k1,k2");
        assert_eq!(
            (endpoint.address.prefix.as_str(), endpoint.address.port, endpoint.key.as_deref()),
            ("/a", Some(9), Some("k1"))
        );
    }

    #[test]
    fn a_unix_socket_has_no_port_and_tls_takes_both_files() {
        assert_eq!(read("x --host /run/m.sock --port 8101", "").address.port, None);
        assert!(!read("x --ssl-key-file k", "").address.tls);
        assert!(read("x --ssl-key-file k", "LLAMA_ARG_SSL_CERT_FILE=c").address.tls);
    }

    #[test]
    fn a_port_that_is_none_matches_no_socket() {
        assert_eq!(read("x --port 99999", "").address.port, None);
    }

    #[test]
    fn lists_unix_sockets_only_for_an_endpoint_that_has_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let endpoint =
            |host: &str| Endpoint::read(format!("x\0--host\0{host}").as_bytes(), &Environment::new(Vec::new()));
        let listed = |host: &str| listening_for([&endpoint("127.0.0.1"), &endpoint(host)]).unwrap().unix;
        assert!(listed("/run/x.sock").values().any(|listed| *listed == path));
        assert!(listed("::1").is_empty());
    }

    #[test]
    fn a_key_file_gives_its_first_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("keys");
        std::fs::write(&path, "# ours\n\nfirst\nsecond\n").unwrap();
        assert_eq!(read(&format!("x --api-key-file {}", path.display()), "").key.as_deref(), Some("first"));
    }

    #[test]
    fn a_key_file_that_ends_never_or_is_a_pipe_by_now_gives_none() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert_eq!(read(&format!("x --api-key-file {}", path.display()), "").key, None);
        }
    }

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        let reach = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(reach("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reach("[::]:1"), "[::1]:1");
        assert_eq!(reach("10.0.0.7:1"), "10.0.0.7:1");
    }

    proptest! {
        #[test]
        fn no_command_line_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Endpoint::read(&bytes, &Environment::new(bytes.clone()));
        }
    }
}
