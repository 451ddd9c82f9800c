//! `[serve]`: where the gateway listens, who may use it, and how long it waits.

pub mod listen;
pub(super) mod read;

use std::path::PathBuf;
use std::time::Duration;

pub use listen::Listen;

use crate::model::text;

use super::Text;

/// What stands for no limit where a duration is needed.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// `[serve]`.
#[derive(Clone, Debug)]
pub struct Serve {
    /// `listen`: `HOST:PORT`, or `unix:/PATH` for a socket.
    pub listen: Vec<String>,
    /// `hosts`: further names by which clients reach the gateway, lower case.
    pub hosts: Vec<String>,
    /// `default_model`: the model of requests that name none.
    pub default_model: Option<String>,
    /// `hold`: how long a request waits for its model, from its arrival; `None`
    /// (`0`): for as long as its client.
    pub hold: Option<Duration>,
    /// `max_wait`: how long a request waits for a busy group to make room; `0` in the
    /// file is a century.
    pub max_wait: Duration,
    /// `max_waiting`: how many requests may wait for one model; more of them are
    /// refused (429). `0` in the file is `usize::MAX`.
    pub max_waiting: usize,
    /// `max_body`: the largest request body, decoded, bytes; `None` (`0`): any.
    pub max_body: Option<u64>,
    /// `keep_alive_comments`: how often a waiting event stream gets a comment;
    /// `None`: never.
    pub keep_alive_comments: Option<Duration>,
    /// `open`: listen on any address without keys.
    pub open: bool,
    /// `[[serve.keys]]`.
    pub keys: Vec<Key>,
    /// `cors_origins`: origins whose pages may use `/v1`, as browsers send them; `*`:
    /// any.
    pub cors_origins: Vec<String>,
    /// `tls`.
    pub tls: Option<Tls>,
    /// `edit`: whether definitions may be written by the API.
    pub edit: bool,
    /// `commit`: whether each such edit is a Git commit.
    pub commit: bool,
}

impl Serve {
    /// Says what is allowed and probably not meant.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let everybody = "`edit = true` in `[serve]` without keys: every user and program of this machine can have \
                         herdsman run what they choose, as its user; add `[[serve.keys]]` with `admin = true`";
        let is_for_everybody = self.edit && self.keys.is_empty();
        self.short_hold().into_iter().chain(is_for_everybody.then(|| everybody.to_owned())).collect()
    }

    fn short_hold(&self) -> Option<String> {
        let hold = self.hold.filter(|hold| *hold <= self.max_wait)?;
        let max_wait = if self.max_wait == FOREVER { "0".to_owned() } else { text::duration(self.max_wait) };
        Some(format!(
            "`hold` ({}) in `[serve]` is not longer than `max_wait` ({max_wait}): requests for a full, busy group fail \
             before it makes room; raise `hold`, or lower `max_wait`",
            text::duration(hold)
        ))
    }
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            hosts: Vec::new(),
            default_model: None,
            hold: Some(Duration::from_secs(600)),
            max_wait: Duration::from_secs(60),
            max_waiting: 1000,
            max_body: Some(256 << 20),
            keep_alive_comments: None,
            open: false,
            keys: Vec::new(),
            cors_origins: Vec::new(),
            tls: None,
            edit: false,
            commit: false,
        }
    }
}

/// `[[serve.keys]]`: what one client may use.
#[derive(Clone, Debug)]
pub struct Key {
    /// `name`: what metrics and the activity list call the client.
    pub name: String,
    /// `key`: where the key is read from.
    pub key: Text,
    /// `models`: patterns of the models it may use, with `*`.
    pub models: Vec<String>,
    /// `admin`: whether it may change what runs.
    pub admin: bool,
}

/// `tls`: the files of the certificate, read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}
