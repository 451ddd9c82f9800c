//! What a page in a browser may do.
//!
//! A page of any site can make its visitor's browser send requests to this machine.
//! Two headers, which pages cannot forge, tell them apart:
//!
//! - `Host` is the name in the page's URL. If the page's own name was made to point
//!   here (DNS rebinding), it is a name that is not ours. IP addresses cannot be made to
//!   point elsewhere, so every one is ours.
//! - `Origin` is the site of the page. Browsers send it with every write and web
//!   socket.

use std::net::IpAddr;

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, UPGRADE, VARY,
};
use hyper::http::request::Parts;

use super::Denied;

/// Which names are ours, and which sites' pages may use `/v1`.
#[derive(Debug)]
pub(super) struct Sites {
    /// Lower case.
    hosts: Vec<String>,
    origins: Vec<String>,
}

impl Sites {
    pub fn new(hosts: &[String], origins: &[String]) -> Self {
        let machine = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
        let short = machine.split('.').next().unwrap_or_default().to_owned();
        let own = ["localhost".to_owned(), format!("{short}.local"), short, machine];
        Self { hosts: own.into_iter().chain(hosts.iter().cloned()).collect(), origins: origins.to_vec() }
    }

    /// Checks that the request names this machine. One without a name is not from a
    /// browser.
    pub fn check_host(&self, parts: &Parts) -> Result<(), Denied> {
        let headers = parts.headers.get_all(HOST).into_iter().map(|host| String::from_utf8_lossy(host.as_bytes()));
        let authority = parts.uri.authority().map(|authority| authority.as_str().into());
        for host in headers.chain(authority) {
            if !self.is_ours(name(&host)) {
                return Err(Denied::ForeignHost(host.into_owned()));
            }
        }
        Ok(())
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_below_localhost = || {
            const BELOW: &str = ".localhost";
            let end = host.len().checked_sub(BELOW.len()).and_then(|at| host.get(at..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(BELOW))
        };
        let is_address = || host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) || is_address() || is_below_localhost()
    }

    /// Checks that no page of another site writes or opens a web socket.
    pub fn check_origin(&self, parts: &Parts) -> Result<(), Denied> {
        let Some(origin) = parts.headers.get(ORIGIN) else { return Ok(()) };
        let only_reads = matches!(parts.method, Method::GET | Method::HEAD) && !parts.headers.contains_key(UPGRADE);
        if only_reads || is_same(origin, parts) || self.shares(parts, origin) {
            return Ok(());
        }
        Err(Denied::ForeignOrigin(String::from_utf8_lossy(origin.as_bytes()).into_owned()))
    }

    /// Whether pages of this origin may use what the request asks for.
    fn shares(&self, parts: &Parts, origin: &HeaderValue) -> bool {
        is_shared(parts.uri.path())
            && self.origins.iter().any(|shared| shared == "*" || shared.as_bytes() == origin.as_bytes())
    }

    pub fn cors(&self, parts: &Parts) -> Cors {
        Cors(parts.headers.get(ORIGIN).filter(|origin| self.shares(parts, origin)).cloned())
    }

    /// Returns the headers that answer a preflight, if the request is one.
    pub fn preflight(&self, parts: &Parts) -> Option<Result<HeaderMap, Denied>> {
        let origin = parts.headers.get(ORIGIN)?;
        let method = parts.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        if parts.method != Method::OPTIONS || !is_shared(parts.uri.path()) {
            return None;
        }
        if !self.shares(parts, origin) {
            return Some(Err(Denied::ForeignOrigin(String::from_utf8_lossy(origin.as_bytes()).into_owned())));
        }
        let mut headers = HeaderMap::new();
        self.cors(parts).apply(&mut headers);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, method.clone());
        if let Some(names) = parts.headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(Ok(headers))
    }
}

/// What an answer says to a page of another site.
#[derive(Clone, Debug)]
pub struct Cors(Option<HeaderValue>);

impl Cors {
    /// Replaces the server's own `Access-Control-*` headers.
    pub fn apply(&self, headers: &mut HeaderMap) {
        let is_one = |name: &&HeaderName| name.as_str().starts_with("access-control-");
        let theirs: Vec<HeaderName> = headers.keys().filter(is_one).cloned().collect();
        for name in theirs {
            headers.remove(name);
        }
        let Some(origin) = &self.0 else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("*"));
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

/// Whether pages of other sites may be let in there at all.
fn is_shared(path: &str) -> bool {
    path.strip_prefix("/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the page came from where it sends this request to. Schemes may differ: a
/// proxy may speak TLS for us.
fn is_same(origin: &HeaderValue, parts: &Parts) -> bool {
    let Some((_, site)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    let host = parts.uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| parts.headers.get(HOST)?.to_str().ok());
    host.is_some_and(|host| host.eq_ignore_ascii_case(site))
}

/// Returns the host in `host:port`.
fn name(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}
