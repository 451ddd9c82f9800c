//! llama.cpp's own web page, in Chromium.

use std::time::Duration;

use insta::assert_snapshot;

use super::definitions::{define_on_demand, embeds_on_demand, on_demand};
use crate::support::{World, eventually, llama_server};

const BROWSER: &str = "browser.py";
const OPENAI: &str = "openai_client.py";
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_servers_own_page_works_below_its_name_and_starts_it() {
    let world = World::new();
    on_demand(&world, "chat");
    let (_watcher, url) = world.serve(&[]);
    let page = format!("{url}/upstream/chat/");
    assert_eq!(world.client(BROWSER, &["one_server", &page, "chat"]), "answer: chat chat chat\n");
}

#[test]
fn the_page_of_all_models_loads_the_one_that_is_chosen_also_after_an_update_of_the_binary() {
    let world = World::new();
    on_demand(&world, "chat");
    on_demand(&world, "coder");
    embeds_on_demand(&world, "embed");
    let binary = world.path().join("llama-server");
    update(&binary, 1);
    let mut herdsman = world.command();
    herdsman.env("HERDSMAN_LLAMA_SERVER", &binary);
    let (_watcher, url) = world.serve_by(herdsman, &[]);
    let page = format!("{url}/chat/");
    assert_eq!(world.instances(), []);
    assert_snapshot!(world.client(BROWSER, &["all_models", &page, "coder", "chat", "embed"]), @"
    models: Available models
      model: chat
      model: coder
      model: embed
    loaded: coder
    answer: coder coder coder
    ");
    update(&binary, 2);
    assert_snapshot!(world.client(BROWSER, &["all_models", &page, "chat", "coder", "embed"]), @"
    models: Loaded models
      model: coder
    models: Available models
      model: chat
      model: embed
    loaded: chat
    answer: chat chat chat
    ");
}

/// Writes or replaces a wrapper of llama-server, at once as a package manager does.
fn update(binary: &std::path::Path, version: u32) {
    use std::os::unix::fs::PermissionsExt;
    let partial = binary.with_extension("partial");
    let text = format!("#!/bin/sh\n# Version {version}.\nexec '{}' \"$@\"\n", llama_server().display());
    std::fs::write(&partial, text).unwrap();
    std::fs::set_permissions(&partial, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(&partial, binary).unwrap();
}

#[test]
fn tabs_left_open_keep_no_model_awake_and_start_none() {
    let world = World::new();
    world.tiny("chat");
    define_on_demand(&world, "chat", &format!("{}[idle]\nstop_after = \"1s\"\n", World::tiny_toml("chat")));
    let (_watcher, url) = world.serve(&[]);
    let stops = || eventually("the idle model stops", PATIENCE, || world.instances().is_empty());

    let mut all = world.start_client(world.client_command(BROWSER, &["left_open", &format!("{url}/chat/")]));
    all.eventually_prints("open");
    assert_eq!(world.instances(), []);
    assert_eq!(world.client(OPENAI, &["one", &url, "chat"]), "chat: 'chat chat '\n");
    stops();

    // A visit starts it; the page that stays open does not.
    let page = format!("{url}/upstream/chat/");
    let mut one = world.start_client(world.client_command(BROWSER, &["left_open", &page]));
    one.eventually_prints("open");
    stops();
    assert_eq!(all.ends(), "open\n");
    // Its server was gone before it had asked for all that it wants: it complains.
    assert!(one.ends().starts_with("open\n"));
}
