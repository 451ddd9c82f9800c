#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use hyper::Request;

use super::*;
use crate::model::SecretSource;
use crate::owner::settings::Text;
use crate::owner::settings::serve::Key;

const HERE: Peer = Peer::Tcp(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
const ELSEWHERE: Peer = Peer::Tcp(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)));

/// A request; of the path, the headers follow in pairs.
fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn key(name: &str, text: Text, models: &[&str], admin: bool) -> Key {
    Key { name: name.to_owned(), key: text, models: models.iter().map(|&model| model.to_owned()).collect(), admin }
}

/// The keys of ann, who may use chat models, and bob, the admin.
fn keyed() -> Serve {
    let ann = key("ann", Text::Given("ann-s3cret".to_owned()), &["chat-*"], false);
    let bob = key("bob", Text::Given("bob:s3cret".to_owned()), &["*"], true);
    Serve { keys: vec![ann, bob], hosts: vec!["llm.example.org".to_owned()], ..Serve::default() }
}

/// Who sends a request with these headers, in short.
fn who(serve: &Serve, peer: Peer, headers: &[(&str, &str)]) -> String {
    match Access::new(serve).check(&request("GET", "/v1/models", headers), peer) {
        Ok(caller) => caller.name.map_or_else(|| "anyone".to_owned(), |name| name.to_string()),
        Err(denied) => format!("{} {denied:?}", denied.status().as_u16()),
    }
}

#[test]
fn a_key_is_needed_only_from_elsewhere() {
    let none = Serve::default();
    let open = Serve { open: true, ..Serve::default() };
    let open_with_keys = Serve { open: true, ..keyed() };
    let sent = [("x-api-key", "x")];
    let forwarded = [("host", "localhost"), ("x-forwarded-for", "192.0.2.7")];
    let mapped = Peer::Tcp("::ffff:127.0.0.1".parse().unwrap());
    type Case<'c> = (&'c Serve, Peer, &'c [(&'c str, &'c str)], &'c str);
    let cases: [Case<'_>; 14] = [
        (&none, HERE, &[], "anyone"),
        (&none, HERE, &sent, "anyone"),
        (&none, HERE, &forwarded, "anyone"),
        (&none, mapped, &[], "anyone"),
        (&none, Peer::Unix, &[], "anyone"),
        (&none, ELSEWHERE, &[], "403 Keyless"),
        (&open, ELSEWHERE, &[], "anyone"),
        (&open, ELSEWHERE, &sent, "anyone"),
        (&keyed(), HERE, &[], "anyone"),
        (&keyed(), HERE, &sent, "401 WrongKey"),
        (&keyed(), HERE, &forwarded, "401 NoKey"),
        (&keyed(), Peer::Unix, &[], "anyone"),
        (&keyed(), ELSEWHERE, &[], "401 NoKey"),
        (&open_with_keys, ELSEWHERE, &[], "401 NoKey"),
    ];
    for (serve, peer, headers, wanted) in cases {
        assert_eq!(who(serve, peer, headers), wanted, "{peer:?} {headers:?} {:?}", serve.keys.len());
    }
}

#[test]
fn the_loss_of_the_last_key_lets_nobody_in_through_a_proxy() {
    let (none, open) = (Serve::default(), Serve { open: true, ..Serve::default() });
    let sent = ("x-api-key", "ann-s3cret");
    let who = |access: &Access, headers: &[(&str, &str)]| {
        let headers = [&[("host", "localhost")], headers].concat();
        let caller = access.check(&request("GET", "/v1/models", &headers), HERE);
        caller.map_or_else(|denied| format!("{denied:?}"), |caller| caller.name.unwrap_or("anyone".into()).to_string())
    };
    let lost = Access::new(&keyed()).changed_to(&none);
    let again = lost.changed_to(&none);
    for access in [&lost, &again] {
        assert_eq!(who(access, &[]), "anyone", "this machine needs no key");
        assert_eq!(who(access, &[sent]), "anyone");
        for name in FORWARDED {
            assert_eq!(who(access, &[(name, "192.0.2.7")]), "Keyless", "{name}");
            assert_eq!(who(access, &[(name, "192.0.2.7"), sent]), "Keyless", "{name} with a key of before");
        }
    }
    let forwarded = ("x-forwarded-for", "192.0.2.7");
    assert_eq!(who(&again.changed_to(&open), &[forwarded]), "anyone");
    assert_eq!(who(&again.changed_to(&open).changed_to(&none), &[forwarded]), "Keyless");
    assert_eq!(who(&again.changed_to(&keyed()), &[forwarded, sent]), "ann");
    assert_eq!(who(&Access::new(&none).changed_to(&none), &[forwarded]), "anyone", "there was no key ever");
}

#[test]
fn a_key_that_cannot_be_read_lets_nobody_in_through_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ann");
    let text = Text::Secret(SecretSource::File(path.to_string_lossy().into_owned()));
    let serve = Serve { keys: vec![key("ann", text, &["*"], false)], ..Serve::default() };
    let forwarded = [("host", "localhost"), ("x-forwarded-for", "192.0.2.7")];
    let access = Access::new(&serve);
    let ask = || access.check(&request("GET", "/", &forwarded), HERE).unwrap_err();
    assert_eq!(ask(), Denied::NoKey, "there is no file");
    for text in ["first", ""] {
        std::fs::write(&path, text).unwrap();
        assert_eq!(ask(), Denied::NoKey, "{text:?}");
    }
}

#[test]
fn a_key_counts_however_it_is_sent() {
    let basic = |credentials: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
    };
    let cases = [
        ("authorization", "Bearer ann-s3cret".to_owned(), "ann"),
        ("authorization", "bearer  ann-s3cret ".to_owned(), "ann"),
        ("x-api-key", "ann-s3cret".to_owned(), "ann"),
        ("authorization", basic("any one:ann-s3cret"), "ann"),
        ("authorization", basic(":bob:s3cret"), "bob"),
        ("authorization", basic("ann-s3cret"), "401 WrongKey"),
        ("authorization", "Basic !".to_owned(), "401 WrongKey"),
        ("authorization", "Bearer ann-s3cre".to_owned(), "401 WrongKey"),
        ("authorization", "Bearer ann-s3crett".to_owned(), "401 WrongKey"),
        ("authorization", "Bearer ".to_owned(), "401 WrongKey"),
        ("authorization", "ann-s3cret".to_owned(), "401 WrongKey"),
        ("authorization", "Digest ann-s3cret".to_owned(), "401 WrongKey"),
        ("x-api-key", String::new(), "401 WrongKey"),
        ("cookie", "ann-s3cret".to_owned(), "401 NoKey"),
    ];
    for (name, value, wanted) in cases {
        assert_eq!(who(&keyed(), ELSEWHERE, &[(name, &value)]), wanted, "{name}: {value}");
    }
    // Some clients send a key of their own besides.
    let both = [("authorization", "Bearer dummy"), ("x-api-key", "ann-s3cret")];
    assert_eq!(who(&keyed(), ELSEWHERE, &both), "ann");
}

#[test]
fn a_key_that_is_changed_or_removed_stops_working_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ann");
    let text = Text::Secret(SecretSource::File(path.to_string_lossy().into_owned()));
    let serve = Serve { keys: vec![key("ann", text, &["*"], false)], ..Serve::default() };
    let access = Access::new(&serve);
    let ask = |key: &str| {
        access.look_at_keys();
        access.check(&request("GET", "/", &[("x-api-key", key)]), ELSEWHERE).is_ok()
    };
    assert!(!ask("first"), "there is no file yet");
    std::fs::write(&path, "first\n").unwrap();
    assert!(ask("first") && ask("first"));
    // Within the same tick of the clock of the file system, and of the same size.
    replace(&path, "other\n");
    assert!(!ask("first") && ask("other"));
    std::fs::write(&path, "").unwrap();
    assert!(!ask("other") && !ask(""));
    std::fs::write(&path, "third").unwrap();
    let passed_on = || access.check(&request("GET", "/", &[("herdsman-caller", "ann")]), Peer::Predecessor).is_ok();
    assert!(ask("third") && passed_on());
    std::fs::remove_file(&path).unwrap();
    assert!(!ask("third") && !passed_on(), "neither one that the herdsman before this one let in");
}

/// Replaces a file as careful programs do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, path).unwrap();
}

#[test]
fn a_key_opens_its_models_and_no_others() {
    let access = Access::new(&keyed());
    let caller = |key| access.check(&request("GET", "/", &[("x-api-key", key)]), ELSEWHERE).unwrap();
    let model = |name| ModelName::parse(name).unwrap();
    let ann = caller("ann-s3cret");
    assert!(ann.may_use(&model("chat-8b")) && ann.may_use(&model("chat-")) && !ann.may_use(&model("chat")));
    let denied = ann.require_admin().unwrap_err();
    assert_eq!((denied.status().as_u16(), denied.challenges().len()), (403, 0));
    let bob = caller("bob:s3cret");
    assert!(bob.may_use(&model("x")) && bob.require_admin().is_ok() && Caller::anyone().require_admin().is_ok());
}

#[test]
fn a_star_stands_for_any_text() {
    let cases = [
        ("*", "", true),
        ("a*", "a", true),
        ("a*", "ba", false),
        ("*a", "ba", true),
        ("a*a", "a", false),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "acb", false),
        ("*b*", "abc", true),
        ("a**c", "abc", true),
        ("*ab", "aab", true),
        ("*b*b", "ab", false),
        ("abc", "abc", true),
        ("abc", "abcd", false),
    ];
    for (pattern, text, fits) in cases {
        assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
    }
    let begun = std::time::Instant::now();
    assert!(!matches(&"*a".repeat(100), &"a".repeat(63).replace('a', "ab")));
    assert!(begun.elapsed().as_secs() < 1);
}

#[test]
fn a_forged_host_is_refused() {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let ours = [
        "localhost:8080",
        "LocalHost",
        "localhost.",
        "a.localhost:1",
        "127.0.0.1:8080",
        "127.9.9.9",
        "[::1]:8080",
        "[::1]",
        "192.0.2.1:80",
        "llm.example.org",
        "LLM.example.org:443",
        &machine,
    ];
    for host in ours {
        assert_eq!(who(&keyed(), HERE, &[("host", host)]), "anyone", "{host}");
    }
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "a@localhost"]
    {
        assert_eq!(who(&keyed(), HERE, &[("host", host)]), format!("403 ForeignHost({host:?})"));
        assert_eq!(who(&keyed(), Peer::Unix, &[("host", host)]), "anyone");
        // A page does not know a key, so a program that does may use any name.
        assert_eq!(who(&keyed(), ELSEWHERE, &[("host", host), ("x-api-key", "ann-s3cret")]), "ann");
    }
    assert_eq!(
        who(&keyed(), HERE, &[("host", "localhost"), ("host", "evil.example")]),
        "403 ForeignHost(\"evil.example\")"
    );
    let absolute = request("GET", "http://evil.example/v1/models", &[("host", "localhost")]);
    assert!(Access::new(&keyed()).check(&absolute, HERE).is_err());
}

#[test]
fn a_page_of_another_site_neither_writes_nor_opens_a_web_socket() {
    let shared = Serve { cors_origins: vec!["https://chat.example.org".to_owned()], ..keyed() };
    let socket = ("upgrade", "websocket");
    let plain = ("accept", "*/*");
    let (evil, friend) = ("https://evil.example", "https://chat.example.org");
    let cases = [
        ("POST", "/v1/chat/completions", "http://localhost:8080", plain, true),
        ("POST", "/api/models/m/start", "http://LOCALHOST:8080", plain, true),
        ("GET", "/upstream/m/ws", "http://localhost:8080", socket, true),
        ("POST", "/v1/chat/completions", friend, plain, true),
        ("POST", "/api/models/m/start", friend, plain, false),
        ("GET", "/upstream/m/ws", friend, socket, false),
        ("POST", "/v1x", friend, plain, false),
        ("POST", "/v1/chat/completions", evil, plain, false),
        ("POST", "/v1/chat/completions", "http://localhost", plain, false),
        ("POST", "/v1/chat/completions", "http://localhost:8081", plain, false),
        ("POST", "/v1/chat/completions", "null", plain, false),
        ("DELETE", "/v1/stream", evil, plain, false),
        ("OPTIONS", "/v1/models", evil, plain, false),
        ("GET", "/api/events", evil, socket, false),
        ("GET", "/v1/models", evil, plain, true),
        ("HEAD", "/v1/models", evil, plain, true),
    ];
    for (method, path, origin, other, is_allowed) in cases {
        let headers = [("host", "localhost:8080"), ("origin", origin), other];
        let result = Access::new(&shared).check(&request(method, path, &headers), HERE);
        assert_eq!(result.is_ok(), is_allowed, "{method} {path} {origin}");
        // A browser adds what its user typed in: a key does not help.
        let keyed = [headers.as_slice(), &[("x-api-key", "bob:s3cret")]].concat();
        let result = Access::new(&shared).check(&request(method, path, &keyed), ELSEWHERE);
        assert_eq!(result.is_ok(), is_allowed, "{method} {path} {origin} with a key");
    }
}

#[test]
fn pages_of_shared_origins_may_read_what_v1_answers() {
    let one = Serve { cors_origins: vec!["https://chat.example.org".to_owned()], ..Serve::default() };
    let any = Serve { cors_origins: vec!["*".to_owned()], ..Serve::default() };
    let cases = [
        (&one, "/v1/models", "https://chat.example.org", true),
        (&one, "/v1/models", "https://evil.example", false),
        (&one, "/api/models", "https://chat.example.org", false),
        (&any, "/v1", "https://evil.example", true),
        (&any, "/upstream/m/", "https://evil.example", false),
    ];
    for (serve, path, origin, is_shared) in cases {
        let parts = request("GET", path, &[("origin", origin)]);
        let mut headers = HeaderMap::new();
        headers.insert("access-control-allow-origin", "".parse().unwrap());
        headers.insert("access-control-allow-credentials", "true".parse().unwrap());
        headers.insert("vary", "accept".parse().unwrap());
        Access::new(serve).cors(&parts).apply(&mut headers);
        let allowed = headers.get("access-control-allow-origin").map(|value| value.to_str().unwrap());
        assert_eq!(allowed, is_shared.then_some(origin), "{path} {origin}");
        assert_eq!(headers.get("access-control-allow-credentials"), None);
        assert_eq!(headers.get_all("vary").iter().count(), if is_shared { 2 } else { 1 });
    }
}

#[test]
fn answers_preflights_for_v1_alone() {
    let serve = Serve { cors_origins: vec!["https://chat.example.org".to_owned()], ..keyed() };
    let ask = |method, path, origin| {
        let asked = ("access-control-request-method", "POST");
        let names = ("access-control-request-headers", "authorization,content-type");
        Access::new(&serve).preflight(&request(method, path, &[("origin", origin), asked, names]))
    };
    let friend = "https://chat.example.org";
    let headers = ask("OPTIONS", "/v1/chat/completions", friend).unwrap().unwrap();
    assert_eq!(headers["access-control-allow-origin"], friend);
    assert_eq!(headers["access-control-allow-methods"], "POST");
    assert_eq!(headers["access-control-allow-headers"], "authorization,content-type");
    assert!(ask("OPTIONS", "/v1/models", "https://evil.example").unwrap().is_err());
    assert!(ask("POST", "/v1/models", friend).is_none() && ask("OPTIONS", "/api/models", friend).is_none());
    let plain = request("OPTIONS", "/v1/models", &[("origin", friend)]);
    assert!(Access::new(&serve).preflight(&plain).is_none());
}

#[test]
fn refuses_to_listen_for_everybody_without_keys() {
    let listen: Vec<Listen> =
        ["127.0.0.1:8080", "unix:/x", "[::1]:1", "192.0.2.7:8080"].map(|text| text.parse().unwrap()).into();
    let open = Serve { open: true, ..Serve::default() };
    let said = refuse_open(&listen, &Serve::default()).unwrap_err().to_string();
    insta::assert_snapshot!(said, @"refusing to listen on 192.0.2.7:8080: everybody who reaches this address could use its models; add `[[serve.keys]]` to the settings, listen on 127.0.0.1 instead, or set `open = true` in `[serve]`");
    for (addresses, serve) in [(&listen[..3], &Serve::default()), (&listen, &open), (&listen, &keyed())] {
        assert_eq!(refuse_open(addresses, serve), Ok(()));
    }
}

#[test]
fn every_refusal_says_what_to_do() {
    let all = [
        Denied::NoKey,
        Denied::Keyless,
        Denied::WrongKey,
        Denied::NotAdmin("ann".to_owned()),
        Denied::ForeignHost("evil.example".to_owned()),
        Denied::ForeignOrigin("https://evil.example".to_owned()),
    ];
    let said = all.map(|denied| format!("{} {denied} {:?}\n", denied.status().as_u16(), denied.challenges())).concat();
    insta::assert_snapshot!(said, @r#"
    401 this address needs a key: send `Authorization: Bearer KEY` ["Basic realm=\"herdsman\", charset=\"UTF-8\"", "Bearer realm=\"herdsman\""]
    403 this herdsman has no keys, so it answers only requests from its own machine that no proxy forwards; add `[[serve.keys]]` to its settings, or set `open = true` in `[serve]` []
    401 the key is not valid; use one that `[[serve.keys]]` in the settings names ["Basic realm=\"herdsman\", charset=\"UTF-8\"", "Bearer realm=\"herdsman\""]
    403 the key "ann" may not do this; it needs `admin = true` []
    403 "evil.example" is not a name of this herdsman; add it to `hosts` in `[serve]`, or send a key []
    403 pages of https://evil.example may not do this; to let them use /v1, add it to `cors_origins` in `[serve]` []
    "#);
}

#[test]
fn nothing_shows_a_key() {
    let access = Access::new(&keyed());
    assert!(!format!("{access:?}").contains("s3cret"));
}
