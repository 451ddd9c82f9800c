//! What the page shows of what happens, without a reload.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use herdsman::instance::newest_log;
use herdsman::model::ModelName;
use rustix::process::{Pid, Signal, kill_process};

use super::PAGE;
use crate::api::client::post;
use crate::support::{Client, Watcher, World};

/// A world with the model `chat`, and a page of it that shows `flow`.
fn open(flow: &str, arguments: &[&str]) -> (World, Watcher, String, Client) {
    let world = World::new();
    world.tiny("chat");
    let (watcher, url) = world.serve(&[&["--debounce", "50ms"], arguments].concat());
    watcher.eventually_says("chat is ready");
    let mut page = world.start_client(world.client_command(PAGE, &[flow, &url, "chat"]));
    page.eventually_prints("open");
    (world, watcher, url, page)
}

#[test]
fn a_wrong_edit_one_that_restarts_and_one_that_is_rolled_back() {
    let (world, _watcher, _url, mut page) = open("edits", &[]);
    let toml = World::tiny_toml("chat");
    world.write_definition("chat", &toml.replace("ctx_size", "ctx_sise"));
    page.eventually_prints("wrong: line 3");
    world.write_definition("chat", &toml.replace("512", "1024"));
    page.eventually_prints("restarted: line 3");
    world.weights_that_die("bad");
    world.write_definition("chat", &World::tiny_toml("bad"));
    page.eventually_prints("rolled back");
    assert_eq!(page.ends(), "open\nwrong: line 3\nrestarted: line 3\nrolled back\nwithout a reload: True\n");
}

#[test]
fn the_plan_and_the_machine_while_a_definition_is_wrong() {
    let world = World::new();
    world.tiny("chat");
    world.write_definition("wrong", &World::tiny_toml("chat").replace("ctx_size", "ctx_sise"));
    let (watcher, url) = world.serve(&[]);
    watcher.eventually_says("chat is ready");
    assert_eq!(world.client(PAGE, &["busy_views", &url, "chat", "wrong"]), "plan and machine\n");
}

#[test]
fn a_crash() {
    let (world, _watcher, _url, page) = open("crash", &[]);
    let pid = Pid::from_raw(world.instances()[0].0).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eq!(page.ends(), "open\ncrashed\nruns again, without a reload: True\n");
}

#[test]
fn a_log_that_is_shortened_and_begun_anew() {
    let (world, _watcher, url, mut page) = open("log", &["--log-max-size", "128KiB", "--log-keep", "1"]);
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    append(&world.state_dir(), "before the rotation\n");
    page.eventually_prints("followed");
    append(&world.state_dir(), &format!("{}\n", "x".repeat(99)).repeat(6000));
    let restarted = post(port, "/api/models/chat/restart?wait=60s", "");
    assert_eq!(restarted.json()["outcome"], "done", "{restarted:?}");
    append(&world.state_dir(), "after the rotation\n");
    assert_eq!(page.ends(), "open\nfollowed\nholes: False\nat its end: True\n");
}

/// Writes what the newest server of `chat` might write.
fn append(state: &Path, text: &str) {
    let log = newest_log(&state.join("logs"), &ModelName::parse("chat").unwrap()).unwrap();
    OpenOptions::new().append(true).open(log).unwrap().write_all(text.as_bytes()).unwrap();
}
