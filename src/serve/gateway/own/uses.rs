//! Which requests use a model: these start it and keep it awake, polls do not.
//!
//! What a page asks for was seen in Chromium (b10434), open for minutes: its files
//! once, `sw.js` every minute, and `/props`, `/tools`, `/v1/models`, `/slots`,
//! `/v1/streams/lookup` whenever it is looked at.

use hyper::Method;
use hyper::header::{ACCEPT, HeaderMap, HeaderName, REFERER};
use hyper::http::request::Parts;

use super::query::{decoded, parameter};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What may be asked of a model without using it.
const POLLS: [&str; 13] = [
    "/cors-proxy",
    "/health",
    "/metrics",
    "/models",
    "/models/sse",
    "/props",
    "/slots",
    "/tools",
    "/v1/health",
    "/v1/models",
    "/v1/stream",
    "/v1/streams/lookup",
    "/v1/chat/completions/control",
];

/// Of these a POST changes or computes something, so it uses the model.
const USED_BY_POST: [&str; 2] = ["/props", "/slots"];

/// Whether a request that is forwarded to a model uses it. `below` is what its path
/// leaves below `/upstream/NAME`, if it is such a path.
///
/// `autoload=false` says no and `autoload=true` says yes, as in llama-server's
/// router.
#[must_use]
pub fn uses(parts: &Parts, below: Option<&str>) -> bool {
    // Another site's image or frame must not start a model, or stop one for it.
    let is_foreign = || parts.headers.get(SEC_FETCH_SITE).is_some_and(|site| site == "cross-site");
    if is_read(&parts.method) && is_foreign() {
        return false;
    }
    match parameter(&parts.uri, "autoload").as_deref() {
        Some("false" | "0") => return false,
        Some("true" | "1") => return true,
        _ => {}
    }
    match below {
        Some(path) if is_of_page(path) => parts.method == Method::GET && is_visit(path, &parts.headers),
        Some(path) => needs_model(&parts.method, path),
        None => needs_model(&parts.method, parts.uri.path()),
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn needs_model(method: &Method, path: &str) -> bool {
    let path = decoded(path);
    let path = path.trim_end_matches('/');
    let is_poll = POLLS.contains(&path) || path.starts_with("/v1/models/");
    match *method {
        Method::OPTIONS => false,
        Method::GET | Method::HEAD | Method::DELETE => !is_poll,
        _ => !is_poll || USED_BY_POST.contains(&path),
    }
}

/// Whether it is the page's root or one of its files.
pub(super) fn is_of_page(path: &str) -> bool {
    let below = path.trim_start_matches('/');
    match below.split_once('/').map_or(below, |(first, _)| first) {
        "" | "_app" => true,
        // Names of models have dots, too.
        "v1" | "models" | "upstream" | "api" | "logs" => false,
        _ => path.rsplit_once('/').map_or(path, |(_, last)| last).contains('.'),
    }
}

/// Whether a person opens the page, in a browser or with a program like curl: a GET of
/// the page itself, unless a page or the browser evidently asks for it by itself.
///
/// Over plain HTTP from another machine, browsers send no `Sec-Fetch-*`. They accept
/// HTML where they show what they get, and a page's `fetch` (`*/*`) names the page in
/// `Referer`.
fn is_visit(path: &str, headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_prefetch = |name| text(name).is_some_and(|purpose| purpose.contains("prefetch"));
    if ["sec-purpose", "purpose", "x-moz"].into_iter().any(is_prefetch) {
        return false;
    }
    let is_page = matches!(path, "/" | "/index.html");
    match (text("sec-fetch-mode"), text("sec-fetch-dest")) {
        (None, None) if text(ACCEPT.as_str()).is_some_and(|accepted| accepted.contains("text/html")) => is_page,
        (None, None) => is_page && !headers.contains_key(REFERER) && !headers.contains_key("service-worker"),
        (mode, dest) => mode == Some("navigate") || dest == Some("document"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hyper::Request;

    use super::*;

    /// A line of the table: method, address, headers.
    fn parts(line: &str) -> Parts {
        let mut words = line.split(' ');
        let mut request = Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
        for header in words {
            let (name, value) = header.split_once('=').unwrap();
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_request_that_needs_the_model_uses_it_and_a_poll_does_not() {
        let uses_it = [
            "POST /v1/chat/completions",
            "POST /v1/messages",
            "POST /v1/messages/count_tokens",
            "POST /completion",
            "POST /tokenize",
            "POST /v1/audio/transcriptions",
            "POST /slots/0?action=save&model=a",
            "POST /props?model=a",
            "GET /lora-adapters?model=a",
            "GET /something/new?model=a",
            "GET /props?model=a&autoload=true",
            "POST /upstream/a/v1/chat/completions",
            "POST /upstream/a/completion",
            "GET /upstream/a/lora-adapters",
            // A person opens the page.
            "GET /upstream/a/ sec-fetch-mode=navigate sec-fetch-dest=document",
            "GET /upstream/a sec-fetch-mode=navigate",
            "GET /upstream/a/index.html sec-fetch-dest=document",
            "GET /upstream/a/ accept=text/html,application/xhtml+xml",
            "GET /upstream/a/ accept=text/html referer=http://h:8080/upstream/a/",
            "GET /upstream/a/?x=1 accept=*/*",
            "GET /upstream/a/",
        ];
        let polls = [
            "GET /health",
            "GET /metrics?model=a",
            "GET /v1/models",
            "GET /v1/models/a",
            "GET /props?model=a",
            "GET /props?model=a&autoload=false",
            "GET /slots?model=a",
            "HEAD /slots?model=a",
            "GET /slots/?model=a",
            "GET /sl%6Fts?model=a",
            "POST /v1/streams/lookup",
            "GET /v1/stream?conv_id=c&from=0",
            "DELETE /v1/stream?conv_id=c",
            "POST /v1/chat/completions/control",
            "OPTIONS /v1/chat/completions",
            "POST /v1/chat/completions?autoload=false",
            // Another site asks.
            "GET /lora-adapters?model=a sec-fetch-site=cross-site",
            "GET /upstream/a/ sec-fetch-site=cross-site sec-fetch-mode=navigate sec-fetch-dest=iframe",
            // What a page asks for by itself.
            "GET /upstream/a/ sec-fetch-mode=cors sec-fetch-dest=empty accept=text/html",
            "GET /upstream/a/ sec-fetch-site=same-origin sec-fetch-mode=same-origin sec-fetch-dest=serviceworker",
            "GET /upstream/a/ accept=*/* referer=http://h:8080/upstream/a/",
            "GET /upstream/a/ accept=*/* service-worker=script",
            "GET /upstream/a/ accept=text/html purpose=prefetch",
            "HEAD /upstream/a/ accept=*/*",
            "POST /upstream/a/",
            "GET /upstream/a/ sec-fetch-mode=navigate sec-purpose=prefetch;prerender",
            "GET /upstream/a/_app/immutable/bundle.js accept=text/html",
            "GET /upstream/a/_app/version.json",
            "GET /upstream/a/build.json",
            "GET /upstream/a/favicon.svg",
            "GET /upstream/a/manifest.webmanifest",
            "GET /upstream/a/sw.js",
            "GET /upstream/a/workbox-b3c04f83.js",
            "GET /upstream/a/recommended-mcp/exa.ico",
            "GET /upstream/a/tools",
            "POST /upstream/a/tools",
            "GET /upstream/a/props",
            "GET /upstream/a/props?model=x&autoload=false",
            "GET /upstream/a/slots",
            "GET /upstream/a/v1/models",
            "GET /upstream/a/models/sse",
            "POST /upstream/a/v1/streams/lookup",
        ];
        let uses = |line: &str| {
            let parts = parts(line);
            let below =
                parts.uri.path().strip_prefix("/upstream/a").map(|below| if below.is_empty() { "/" } else { below });
            uses(&parts, below)
        };
        let wrong: Vec<_> = uses_it.iter().filter(|line| !uses(line)).collect();
        assert!(wrong.is_empty(), "use the model: {wrong:?}");
        let wrong: Vec<_> = polls.iter().filter(|line| uses(line)).collect();
        assert!(wrong.is_empty(), "do not use it: {wrong:?}");
    }
}
