//! A person edits definitions, in Chromium.

use std::fs;

use super::client::get;
use crate::support::{Watcher, World};

fn served(names: &[&str], settings: &str) -> (World, Watcher, String) {
    let world = World::new();
    world.weights("new", "word ");
    for name in names {
        world.weights(name, "word ");
        world.write_definition(name, &format!("state = \"on_demand\"\n{}", World::tiny_toml(name)));
    }
    fs::write(world.settings(), format!("[serve]\n{settings}\n")).unwrap();
    let (watcher, url) = world.serve(&["--debounce", "50ms"]);
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(get(port, &format!("/api/models/{}", names[0])).status, 200);
    (world, watcher, url)
}

fn person(world: &World, flow: &str, url: &str) -> String {
    world.client("edit.py", &[flow, url, world.models_dir().to_str().unwrap()])
}

#[test]
fn creates_changes_and_deletes_a_model() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    let seen = "caret: model = \"/path/to/weights.gguf\n\
                created: # \"mine\" \\ <b>\n\
                changed: ctx_size = 1024\n\
                deleted: True\n";
    let is = person(&world, "models", &url);
    // The column is the reader's to choose.
    let caret =
        |text: &str| text.split_once('\n').map(|(first, rest)| (first.starts_with("caret: model = "), rest.to_owned()));
    assert_eq!(caret(&is), caret(seen), "{is}");
}

#[test]
fn loses_nothing_when_somebody_else_changes_the_file() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(person(&world, "conflict", &url), "loaded the new text\nkept: # theirs and mine\n");
}

#[test]
fn sees_why_nothing_can_be_changed() {
    let (world, _watcher, url) = served(&["chat"], "edit = false");
    assert_eq!(person(&world, "read_only", &url), "save is disabled: True\n");
}

#[test]
fn gives_the_permission_that_a_plan_waits_for() {
    let (world, _watcher, url) = served(&["a", "b", "c", "d"], "");
    assert_eq!(person(&world, "apply", &url), "asked again\napplied\n");
}

#[test]
fn comes_to_the_model_that_a_new_file_names() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(person(&world, "other_name", &url), "shows the model of file.toml\n");
}

#[test]
fn creates_a_file_again_that_somebody_else_has_deleted() {
    let (world, _watcher, url) = served(&["chat", "other"], "edit = true");
    assert_eq!(person(&world, "deleted", &url), "created again: True\n");
}

#[test]
fn saves_and_checks_again_after_a_check_without_an_answer() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(person(&world, "offline", &url), "can be saved\nchecked again\n");
}

#[test]
fn hears_that_line_ends_are_mixed() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(person(&world, "line_ends", &url), "LF only: True\n");
}

#[test]
fn types_while_it_is_saved() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(
        person(&world, "typing_while_saving", &url),
        "checks meanwhile: 0\nchecked with 200\nsaved: ['# one', '# two']\n"
    );
}

#[test]
fn stays_where_they_went_while_it_is_saved() {
    let (world, _watcher, url) = served(&["chat"], "edit = true");
    assert_eq!(person(&world, "leaving_while_saving", &url), "is at /\n");
}
