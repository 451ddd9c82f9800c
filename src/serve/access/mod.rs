//! Who may use what.
//!
//! | file | holds |
//! |---|---|
//! | `keys` | the keys of clients |
//! | `browser` | what pages may do: `Host`, `Origin`, CORS |
//! | `denied` | why a request is refused |
//! | [`passed_on`] | what herdsmen say of requests that they send on |
//!
//! | from | without a key | with a key of `[[serve.keys]]` | with another one |
//! |---|---|---|---|
//! | this machine: loopback, a unix socket | everything | what the key may | 401 |
//! | elsewhere | 401; everything with `open = true` | what the key may | 401 |
//!
//! Where no keys are set, those that are sent do not count, and 403 says so. A request
//! that a proxy on this machine forwards (`Forwarded`, `X-Forwarded-For`, `X-Real-IP`)
//! is from elsewhere, unless herdsman never had a key: that proxy is for everybody,
//! and the loss of the last key must not make it so. A model that a key may not use does
//! not exist for it: 404, so that keys do not tell what else there is.

mod browser;
mod denied;
mod keys;
pub mod passed_on;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use hyper::HeaderMap;
use hyper::http::request::Parts;

use self::browser::Sites;
use self::keys::Keys;
use crate::model::ModelName;
use crate::owner::settings::serve::listen::is_loopback;
use crate::owner::settings::serve::{Listen, Serve};

pub use browser::Cors;
pub use denied::{Denied, Open};

/// Headers by which proxies say for whom they ask.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A unix socket.
    Unix,
    /// The herdsman before this one, which has checked whom it lets wait.
    Predecessor,
    /// The address of the client.
    Tcp(IpAddr),
}

/// Who may use what, by the settings.
#[derive(Debug)]
pub struct Access {
    keys: Keys,
    sites: Sites,
    open: bool,
    /// Whether the settings name keys, or did at some time, also in the time of a
    /// herdsman before this one.
    has_had_keys: bool,
}

impl Access {
    /// Reads the keys that the settings name. One that cannot be read is logged, and
    /// works once it can.
    #[must_use]
    pub fn new(serve: &Serve) -> Self {
        Self {
            keys: Keys::new(&serve.keys),
            sites: Sites::new(&serve.hosts, &serve.cors_origins),
            open: serve.open && serve.keys.is_empty(),
            has_had_keys: !serve.keys.is_empty(),
        }
    }

    /// As [`Access::new`], where the herdsman before this one had keys.
    #[must_use]
    pub fn after_keys(serve: &Serve) -> Self {
        Self { has_had_keys: true, ..Self::new(serve) }
    }

    /// Whether the settings name keys, or did at some time, also of a herdsman before
    /// this one.
    #[must_use]
    pub const fn has_had_keys(&self) -> bool {
        self.has_had_keys
    }

    /// Reads changed settings. Where there were keys once, a proxy's requests need one
    /// from then on, unless the owner says `open = true`.
    #[must_use]
    pub fn changed_to(&self, serve: &Serve) -> Self {
        let new = Self::new(serve);
        Self { has_had_keys: new.has_had_keys || self.has_had_keys, ..new }
    }

    /// Looks at the files of the keys: one that was changed or removed stops working.
    /// It may wait for a disk.
    pub fn look_at_keys(&self) {
        self.keys.look();
    }

    /// Returns who sends a request, by the keys as they were looked at last.
    ///
    /// # Errors
    /// It has no valid key where one is needed, or a page of another site sends it.
    pub fn check(&self, parts: &Parts, peer: Peer) -> Result<Caller, Denied> {
        if peer == Peer::Predecessor {
            let Some(name) = passed_on::caller(&parts.headers) else { return Ok(Caller::anyone()) };
            // Its key, or the file of it, may have been removed meanwhile.
            return self.keys.named(&name).cloned().ok_or(Denied::WrongKey);
        }
        let caller = self.caller(&parts.headers, peer)?;
        // A page that knows no key may have any name; browsers do not reach sockets.
        if caller.name.is_none() && peer != Peer::Unix {
            self.sites.check_host(parts)?;
        }
        self.sites.check_origin(parts)?;
        Ok(caller)
    }

    /// Returns what a caller may now that the settings may have changed; `None`: its
    /// key was removed.
    #[must_use]
    pub fn again(&self, caller: &Caller) -> Option<Caller> {
        match &caller.name {
            None => Some(caller.clone()),
            Some(name) => self.keys.named(name).cloned(),
        }
    }

    fn caller(&self, headers: &HeaderMap, peer: Peer) -> Result<Caller, Denied> {
        let presented = if self.keys.is_empty() { Vec::new() } else { keys::presented(headers) };
        if !presented.is_empty() {
            return self.keys.caller(&presented).cloned().ok_or(Denied::WrongKey);
        }
        let is_local = match peer {
            Peer::Unix | Peer::Predecessor => true,
            Peer::Tcp(address) => is_loopback(address),
        };
        let is_forwarded = || FORWARDED.iter().any(|name| headers.contains_key(*name));
        if self.open || (is_local && !(self.has_had_keys && is_forwarded())) {
            return Ok(Caller::anyone());
        }
        Err(if self.keys.is_empty() { Denied::Keyless } else { Denied::NoKey })
    }

    /// Returns the headers that answer a CORS preflight (204), if the request is one.
    /// It has no key yet: ask this first.
    ///
    /// # Errors
    /// Pages of that site may not use it.
    pub fn preflight(&self, parts: &Parts) -> Option<Result<HeaderMap, Denied>> {
        self.sites.preflight(parts)
    }

    /// Returns what the answer says to a page of another site.
    #[must_use]
    pub fn cors(&self, parts: &Parts) -> Cors {
        self.sites.cors(parts)
    }
}

/// Refuses to listen where anybody could use the models.
///
/// # Errors
/// The first address that others can reach, if there are no keys and the owner did not
/// say `open = true`.
pub fn refuse_open(addresses: &[Listen], serve: &Serve) -> Result<(), Open> {
    if serve.open || !serve.keys.is_empty() {
        return Ok(());
    }
    match addresses.iter().find(|address| !address.is_local()) {
        Some(address) => Err(Open(address.clone())),
        None => Ok(()),
    }
}

/// Who sent a request, and what they may use.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name of their key; `None`: no key is needed here.
    pub name: Option<Arc<str>>,
    /// Patterns of the models they may use, with `*`.
    pub models: Arc<[String]>,
    /// Whether they may change what runs.
    pub admin: bool,
}

impl Caller {
    /// Returns the caller that needs no key: it may use and change everything.
    #[must_use]
    pub fn anyone() -> Self {
        static EVERY: LazyLock<Arc<[String]>> = LazyLock::new(|| Arc::from(["*".to_owned()]));
        Self { name: None, models: Arc::clone(&EVERY), admin: true }
    }

    /// Whether they may use this model. If not, it does not exist for them.
    #[must_use]
    pub fn may_use(&self, model: &ModelName) -> bool {
        self.models.iter().any(|pattern| matches(pattern, model.as_str()))
    }

    /// Checks that they may change what runs.
    ///
    /// # Errors
    /// Their key has no `admin = true`.
    pub fn require_admin(&self) -> Result<(), Denied> {
        match &self.name {
            _ if self.admin => Ok(()),
            name => Err(Denied::NotAdmin(name.as_deref().unwrap_or_default().to_owned())),
        }
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    // As most patterns are.
    if pattern == "*" {
        return true;
    }
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first place that fits each part leaves the most for the others.
    for part in between.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}
