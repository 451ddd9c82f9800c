//! Who may see and do what.

use super::client::{Answer, get, send};
use crate::gateway::served::Served;
use crate::support::World;

fn served() -> Served {
    let world = World::new();
    for name in ["chat", "secret"] {
        world.weights(name, "word ");
        world.write_definition(name, &format!("state = \"on_demand\"\n{}", World::tiny_toml(name)));
    }
    for (name, key) in [("ann", "open"), ("boss", "sesame")] {
        std::fs::write(world.path().join(name), format!("{key}\n")).unwrap();
    }
    let file = |name: &str| world.path().join(name).display().to_string();
    let settings = format!(
        "[[serve.keys]]\nname = \"ann\"\nkey = {{ file = \"{}\" }}\nmodels = [\"chat\"]\n\n\
         [[serve.keys]]\nname = \"boss\"\nkey = {{ file = \"{}\" }}\nadmin = true\n",
        file("ann"),
        file("boss")
    );
    std::fs::write(world.settings(), settings).unwrap();
    Served::new(world)
}

fn by(served: &Served, key: &str, method: &str, path: &str) -> Answer {
    send(served.port, method, path, &[&format!("Authorization: Bearer {key}")], "")
}

#[test]
fn a_key_sees_its_models_and_changes_nothing_without_admin() {
    let served = served();
    let list = by(&served, "open", "GET", "/api/models").json();
    assert_eq!(list["models"].as_array().unwrap().len(), 1, "{list}");
    let expected = [
        ("open", "GET", "/api/models/chat", 200),
        ("open", "GET", "/api/models/secret", 404),
        ("open", "GET", "/api/models/secret/why", 404),
        ("open", "POST", "/api/models/secret/start", 404),
        ("open", "POST", "/api/models/chat/start", 403),
        ("open", "GET", "/api/models/chat/logs", 403),
        ("open", "GET", "/api/plan", 403),
        ("open", "GET", "/api/machine", 403),
        ("wrong", "GET", "/api/models", 401),
        ("sesame", "GET", "/api/models/secret", 200),
        ("sesame", "GET", "/api/plan", 200),
        ("sesame", "POST", "/api/models/secret/start", 202),
    ];
    for (key, method, path, status) in expected {
        let answer = by(&served, key, method, path);
        assert_eq!(answer.status, status, "{key} {method} {path}: {answer:?}");
        if status >= 400 {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{key} {method} {path}");
            assert!(!answer.body.contains("secret") || path.contains("secret"), "{answer:?}");
        }
    }
}

#[test]
fn another_site_and_another_name_change_nothing() {
    let world = World::new();
    world.weights("chat", "word ");
    world.write_definition("chat", &format!("state = \"on_demand\"\n{}", World::tiny_toml("chat")));
    let served = Served::new(world);
    assert_eq!(get(served.port, "/api/models/chat").status, 200);
    let upgrade = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let with = |more: &'static str| [&upgrade[..], &[more]].concat();
    for (method, path, headers) in [
        ("POST", "/api/models/chat/start", vec!["Origin: http://evil.example"]),
        ("POST", "/api/models/chat/start", vec!["Host: evil.example"]),
        ("GET", "/api/models", vec!["Host: evil.example"]),
        ("GET", "/api/events", with("Origin: http://evil.example")),
        ("GET", "/api/events", with("Host: evil.example")),
    ] {
        let answer = send(served.port, method, path, &headers, "");
        assert_eq!(answer.status, 403, "{method} {path} {headers:?}: {answer:?}");
    }
    assert_eq!(served.running(), Vec::<String>::new());
}
