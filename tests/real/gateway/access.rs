//! Who may not: wrong keys, pages of other sites, and forged names, as clients see it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::Value;

use super::served::Served;
use crate::support::{World, eventually};

/// Asks, and returns the status, and the type and the code of the error.
fn ask(port: u16, line: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let body = if line.starts_with("POST") { r#"{"model": "a", "prompt": "hi", "n_predict": 1}"# } else { "" };
    let length = body.len();
    let host = if headers.contains("Host: ") { "" } else { "Host: localhost\r\n" };
    let closes = if headers.contains("Upgrade") { "" } else { "Connection: close\r\n" };
    write!(stream, "{line} HTTP/1.1\r\n{host}{headers}{closes}Content-Length: {length}\r\n\r\n{body}").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = String::new();
    let mut buffer = [0; 4096];
    // A connection that was to be upgraded stays open.
    while !answer.ends_with('}') {
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
        }
    }
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let word = |name: &str| body["error"][name].as_str().unwrap_or("-").to_owned();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), format!("{} {}", word("type"), word("code")))
}

#[test]
fn who_may_not_is_refused_and_starts_nothing() {
    let world = World::new();
    for model in ["a", "b"] {
        world.weights(model, &format!("{model} "));
        world.write_definition(model, &format!("state = \"on_demand\"\n{}", World::tiny_toml(model)));
    }
    let key = |name: &str, models: &str| {
        let path = world.path().join(format!("{name}.key"));
        std::fs::write(&path, format!("{name}-secret\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!("[[serve.keys]]\nname = \"{name}\"\nkey = {{ file = \"{name}.key\" }}\nmodels = [\"{models}\"]\n")
    };
    let (ann, ben) = (key("ann", "a"), key("ben", "b*"));
    std::fs::write(world.settings(), format!("{ann}{ben}")).unwrap();
    let served = Served::new(world);
    let port = served.port;

    let (completion, chat) = ("POST /v1/completions", "POST /v1/chat/completions");
    let socket =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    let far = "X-Forwarded-For: 203.0.113.9\r\n";
    let evil = "Origin: http://evil.example\r\n";
    let anns = "Authorization: Bearer ann-secret\r\n";
    let bens = "Authorization: Bearer ben-secret\r\n";
    let (authentication, permission) = ("authentication_error -", "permission_error -");
    let wrong_key = "authentication_error invalid_api_key";
    let cases: &[(&str, &str, &[&str], u16, &str)] = &[
        ("no key, from elsewhere", completion, &[far], 401, authentication),
        ("no key, for the list", "GET /v1/models", &[far], 401, authentication),
        ("a wrong key", completion, &["Authorization: Bearer ann-secreT\r\n"], 401, wrong_key),
        ("a wrong key, from elsewhere", completion, &[far, "x-api-key: x\r\n"], 401, wrong_key),
        ("half a key", completion, &["Authorization: Bearer ann\r\n"], 401, wrong_key),
        ("an empty key", completion, &[far, "Authorization: Bearer \r\n"], 401, wrong_key),
        ("a wrong password", completion, &["Authorization: Basic eDp5\r\n"], 401, wrong_key),
        ("a wrong key, in Anthropic's shape", "POST /v1/messages", &["x-api-key: x\r\n"], 401, authentication),
        ("a key without that model", completion, &[bens], 404, "invalid_request_error model_not_found"),
        ("the same, by its path", "GET /upstream/a/", &[bens], 404, "invalid_request_error model_not_found"),
        ("the same, by the query", "GET /props?model=a", &[bens], 404, "invalid_request_error model_not_found"),
        ("the same, to load it", "POST /models/load", &[bens], 404, "not_found_error -"),
        ("a key that is no admin's", "POST /models/unload", &[anns], 403, permission),
        ("another origin writes", completion, &[evil], 403, permission),
        ("another origin writes, with a key", chat, &[evil, anns], 403, permission),
        ("a page without an origin writes", completion, &["Origin: null\r\n"], 403, permission),
        ("another port is another origin", completion, &["Origin: http://localhost:1\r\n"], 403, permission),
        ("another origin opens a web socket", "GET /upstream/a/ws", &[evil, socket], 403, permission),
        ("a forged name", completion, &["Host: evil.example\r\n"], 403, permission),
        ("a forged name reads", "GET /v1/models", &["Host: evil.example:80\r\n"], 403, permission),
        ("a forged name and its origin", completion, &["Host: evil.example\r\n", evil], 403, permission),
        ("a forged name in the line", "GET http://evil.example/v1/models", &[], 403, permission),
        (
            "a forged name opens a web socket",
            "GET /upstream/a/ws",
            &["Host: evil.example\r\n", socket],
            403,
            permission,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, line, headers, status, words) in cases {
        let answer = ask(port, line, &headers.concat());
        if answer != (*status, (*words).to_owned()) {
            wrong.push(format!("{what}: {answer:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(served.running(), Vec::<String>::new(), "a refused request started a model");

    // Who may, may; until the key is removed.
    assert_eq!(ask(port, completion, anns).0, 200);
    std::fs::write(served.world.settings(), ben).unwrap();
    eventually("it stops working", Duration::from_secs(5), || {
        ask(port, completion, anns) == (401, wrong_key.to_owned())
    });
    assert_eq!(ask(port, completion, &[far, anns].concat()), (401, wrong_key.to_owned()));
}
