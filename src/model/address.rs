//! Where an instance listens.

use std::path::Path;

/// Where an instance listens, by its own command line: what everyone who talks to
/// it goes by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// `--host`: a name, an IP address, or the path of a unix socket.
    pub host: String,
    /// `--port`; `None` for a unix socket.
    pub port: Option<u16>,
    /// `--api-prefix`: every path begins with it.
    pub prefix: String,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Address {
    /// The unix socket it listens on, if it does.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.host.contains('/').then(|| Path::new(&self.host))
    }

    /// The URL that reaches it from its own machine; `None` for a unix socket.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        let host = match self.host.as_str() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            host if host.contains(':') => format!("[{host}]"),
            host => host.to_owned(),
        };
        let scheme = if self.tls { "https" } else { "http" };
        Some(format!("{scheme}://{host}:{}{}", self.port?, self.prefix))
    }
}
