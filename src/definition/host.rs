//! The key `host`: where a server listens.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use super::paths;

/// Where a server listens by default.
pub(super) const DEFAULT: &str = "127.0.0.1";

/// The longest path of a unix socket, bytes: `sun_path` without its final NUL.
const LONGEST_SOCKET: usize = 107;

const ACCEPTED: &str =
    "use an IP address such as `\"127.0.0.1\"`, `\"localhost\"`, or the absolute path of a unix socket";

/// Why a text is not a valid host: what is wrong, and the fix.
pub(crate) struct HostProblem {
    pub message: String,
    pub help: String,
}

/// Checks `text` and returns its one spelling.
///
/// Only names that mean this machine are accepted, so that no name server decides
/// where a server listens.
pub(crate) fn parse(text: &str) -> Result<String, HostProblem> {
    if text.contains('/') {
        return socket(text);
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    if text == "localhost" {
        return Ok(text.to_owned());
    }
    let message = format!("{text:?} is not an address to listen on");
    let help = match text.parse::<SocketAddr>() {
        Ok(both) => format!("set the port separately: `host = \"{}\"` and `port = {}`", both.ip(), both.port()),
        Err(_) => ACCEPTED.to_owned(),
    };
    Err(HostProblem { message, help })
}

fn socket(text: &str) -> Result<String, HostProblem> {
    let problem = |message: String, help: &str| Err(HostProblem { message, help: help.to_owned() });
    if !text.starts_with('/') {
        return problem(format!("{text:?} is neither an address nor an absolute path"), ACCEPTED);
    }
    // Measured: llama-server recognises a socket only by this ending.
    if !text.ends_with(".sock") {
        let message = format!("llama-server would not recognise {text:?} as a unix socket");
        return problem(message, "use a path that ends in `.sock`");
    }
    let path = paths::lexical(Path::new("/"), Path::new(text)).to_string_lossy().into_owned();
    if path.len() > LONGEST_SOCKET {
        let message =
            format!("the unix socket's path is too long: at most {LONGEST_SOCKET} bytes, this one has {}", path.len());
        return problem(message, "choose a shorter path, for example below `/run`");
    }
    if path.contains(char::is_control) {
        return problem("the unix socket's path contains a control character".to_owned(), "remove it");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_spelling() {
        let host = |text| parse(text).map_err(|problem| problem.message);
        assert_eq!(host("127.0.0.1").as_deref(), Ok("127.0.0.1"));
        assert_eq!(host("0:0::1").as_deref(), Ok("::1"));
        assert_eq!(host("[::1]").as_deref(), Ok("::1"));
        assert_eq!(host("localhost").as_deref(), Ok("localhost"));
        assert_eq!(host("/run/../run/a.sock").as_deref(), Ok("/run/a.sock"));
    }

    #[test]
    fn refuses_an_invalid_host_with_the_fix() {
        let help = |text: &str| parse(text).err().map(|problem| problem.help).unwrap_or_default();
        assert!(help("127.0.0.1:8080").contains("port = 8080"));
        assert!(help("gpu-box").contains("IP address"));
        assert!(help("").contains("IP address"));
        assert!(help("127.0.0.01").contains("IP address"));
        assert!(help("run/a.sock").contains("absolute"));
        assert!(help("/run/a").contains("`.sock`"));
        assert!(help(&format!("/{}.sock", "x".repeat(103))).contains("shorter"));
        assert!(help("/a\u{7}.sock").contains("remove"));
    }
}
