//! The page: files that are embedded in the program, without a build step. They hold no
//! data; what they show comes from the API.
//!
//! | view | modules | parts of them |
//! |---|---|---|
//! | frame | `app` chooses the view | `live` the models and the API, `announce`, `rights` |
//! | models | `list` | `row` |
//! | one model | `model` | `now`, `definition`, `history`, `activity`, `log`, `try` |
//! | edit | `edit` the form | `draft`, `check`, `save`, `conflict`, `code` the box |
//! | plan | `plan` | `diagnostics` |
//! | machine, requests | `machine`, `requests` | `activity` |
//! | everywhere | `dom` elements, `format` numbers, `words` | `commands`, `question` dialogs |

use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_NONE_MATCH,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::body::{Answer, empty, full};

/// Nothing is loaded from elsewhere, and nobody frames the page. Widths of meters are set
/// by script, as styles of elements.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($path:literal, $content_type:expr, $file:literal;)*) => {
        &[$(($path, $content_type, include_str!(concat!("static/", $file))),)*]
    };
}

/// Path, content type and content of each file.
const FILES: &[(&str, &str, &str)] = files![
    "/", HTML, "index.html";
    "/page/icon.svg", "image/svg+xml", "icon.svg";
    "/page/style.css", "text/css; charset=utf-8", "style.css";
    "/page/activity.js", SCRIPT, "activity.js";
    "/page/announce.js", SCRIPT, "announce.js";
    "/page/app.js", SCRIPT, "app.js";
    "/page/check.js", SCRIPT, "check.js";
    "/page/code.js", SCRIPT, "code.js";
    "/page/commands.js", SCRIPT, "commands.js";
    "/page/conflict.js", SCRIPT, "conflict.js";
    "/page/definition.js", SCRIPT, "definition.js";
    "/page/diagnostics.js", SCRIPT, "diagnostics.js";
    "/page/dom.js", SCRIPT, "dom.js";
    "/page/draft.js", SCRIPT, "draft.js";
    "/page/edit.js", SCRIPT, "edit.js";
    "/page/format.js", SCRIPT, "format.js";
    "/page/history.js", SCRIPT, "history.js";
    "/page/list.js", SCRIPT, "list.js";
    "/page/live.js", SCRIPT, "live.js";
    "/page/log.js", SCRIPT, "log.js";
    "/page/machine.js", SCRIPT, "machine.js";
    "/page/model.js", SCRIPT, "model.js";
    "/page/now.js", SCRIPT, "now.js";
    "/page/plan.js", SCRIPT, "plan.js";
    "/page/question.js", SCRIPT, "question.js";
    "/page/requests.js", SCRIPT, "requests.js";
    "/page/rights.js", SCRIPT, "rights.js";
    "/page/row.js", SCRIPT, "row.js";
    "/page/save.js", SCRIPT, "save.js";
    "/page/try.js", SCRIPT, "try.js";
    "/page/words.js", SCRIPT, "words.js";
];

/// Whether a request is for a file of the page.
#[must_use]
pub fn is_one(parts: &Parts) -> bool {
    FILES.iter().any(|(path, ..)| *path == parts.uri.path())
}

/// Answers a request for a file of the page; `None`: it is for something else.
#[must_use]
pub fn answer(parts: &Parts) -> Option<Answer> {
    let (_, content_type, content) = FILES.iter().find(|(path, ..)| *path == parts.uri.path())?;
    if !matches!(parts.method, Method::GET | Method::HEAD) {
        return None;
    }
    // A new herdsman has new files: the old ones must not outlive it.
    let tag = format!("\"{}\"", &blake3::hash(content.as_bytes()).to_hex()[..16]);
    let is_known = parts.headers.get_all(IF_NONE_MATCH).iter().any(|known| known.as_bytes() == tag.as_bytes());
    let mut answer = Response::new(if is_known { empty() } else { full(*content) });
    if is_known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = answer.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(HeaderValue::from_str(&tag).map(|tag| (ETAG, tag)));
    Some(answer)
}
