//! The page, as files and in Chromium.

mod by_hand;
mod changes;
mod speed;

use super::client::{get, send};
use crate::gateway::served::Served;
use crate::support::World;

#[test]
fn its_files_are_whole_and_load_nothing_from_elsewhere() {
    let served = Served::new(World::new());
    let page = get(served.port, "/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{policy}");
    let mut left = vec!["/".to_owned()];
    let mut seen: Vec<String> = Vec::new();
    while let Some(path) = left.pop() {
        let file = get(served.port, &path);
        assert_eq!(file.status, 200, "{path}");
        assert!(!file.body.contains("http://") || path.ends_with(".svg"), "{path}");
        assert!(!file.body.contains("https://") && !file.body.contains("innerHTML"), "{path}");
        let quoted = file.body.split('"').skip(1).step_by(2);
        let named = quoted.filter_map(|text| text.strip_prefix("./").or_else(|| text.strip_prefix("page/")));
        left.extend(named.map(|name| format!("/page/{name}")).filter(|path| !seen.contains(path)));
        seen.push(path);
    }
    seen.sort();
    seen.dedup();
    assert!(seen.len() > 12, "{seen:?}");
    let tag = page.header("etag").unwrap();
    assert_eq!(send(served.port, "GET", "/", &[&format!("If-None-Match: {tag}")], "").status, 304);
}

const PAGE: &str = "page.py";

fn on_demand(world: &World, name: &str) {
    world.weights(name, &format!("{name} "));
    world.write_definition(name, &format!("state = \"on_demand\"\n{}", World::tiny_toml(name)));
}

#[test]
fn a_person_starts_tries_and_stops_a_model() {
    let world = World::new();
    on_demand(&world, "chat");
    on_demand(&world, "other");
    let (_watcher, url) = world.serve(&[]);
    let seen = world.client(PAGE, &["commands", &url, "chat"]);
    assert_eq!(seen, "list: 1 of 2 running\nstopped\n");
    assert_eq!(world.client(PAGE, &["views", &url]), "plan: nothing is to be done\nmachine and requests are there\n");
}

#[test]
fn what_definitions_and_other_programs_say_is_text() {
    let world = World::new();
    on_demand(&world, "chat");
    world.write_definition("bad", "model = \"<img src=x onerror=alert(1)>.gguf\"\n");
    let (watcher, url) = world.serve(&[]);
    watcher.eventually_says("watching");
    let database = rusqlite::Connection::open(super::client::database(&world)).unwrap();
    crate::support::eventually("the table is there", super::client::PATIENCE, || {
        let row = "INSERT INTO models (name, type, status, created_at, updated_at) VALUES (?1, 'gpt', 'stopped', 1, 1)";
        database.execute(row, ["<script>alert(2)</script><b>x"]).is_ok()
    });
    let seen = world.client(PAGE, &["injected", &url, "<script>alert(2)</script><b>x", "<img src=x onerror=alert(1)>"]);
    assert_eq!(seen, "elements of theirs: 0\n");
}

#[test]
fn a_lost_connection_is_said_and_comes_back_by_itself() {
    let mut served = Served::new({
        let world = World::new();
        on_demand(&world, "chat");
        world
    });
    let url = format!("http://127.0.0.1:{}/", served.port);
    let mut client = served.world.start_client(served.world.client_command(PAGE, &["lost", &url]));
    client.eventually_prints("live");
    drop(served.watcher.take());
    client.eventually_prints("lost");
    served.start();
    client.eventually_prints("back: 0 of 1 running");
}

#[test]
fn a_part_that_fails_says_so_and_heals_by_itself() {
    let world = World::new();
    world.tiny("chat");
    let (watcher, url) = world.serve(&[]);
    watcher.eventually_says("chat is ready");
    let healed = world.client(PAGE, &["heals", &url, "chat"]);
    assert_eq!(healed, "a view\nthe last requests\na definition\na log\n");
}
