//! What a person does with a model on the page.

use super::{PAGE, on_demand};
use crate::gateway::served::slow_toml;
use crate::support::World;

#[test]
fn a_model_is_restarted_suspended_and_resumed() {
    let world = World::new();
    world.tiny("chat");
    let (watcher, url) = world.serve(&[]);
    watcher.eventually_says("chat is ready");
    assert_eq!(world.client(PAGE, &["by_hand", &url, "chat"]), "another process\nsuspended\nresumed\n");
}

#[test]
fn a_model_is_started_by_keyboard_and_heard_to_run() {
    let world = World::new();
    on_demand(&world, "chat");
    let (_watcher, url) = world.serve(&[]);
    let seen = world.client(PAGE, &["keyboard", &url, "chat"]);
    assert_eq!(seen, "before it: Up for, chat\nstarted, and the focus is on Stop\n");
}

#[test]
fn a_model_is_tried_by_chat_and_by_embedding() {
    let world = World::new();
    let slow = slow_toml(&world, "chat");
    world.write_definition("chat", &slow);
    world.weights("vectors", "vectors ");
    world
        .write_definition("vectors", &format!("{}embedding = true\npooling = \"mean\"\n", World::tiny_toml("vectors")));
    let (watcher, url) = world.serve(&[]);
    watcher.eventually_says("chat is ready");
    watcher.eventually_says("vectors is ready");
    let seen = world.client(PAGE, &["tries", &url, "chat", "vectors"]);
    assert_eq!(seen, "streamed, and stopped\nembedded\nchat with it\n");
}

#[test]
fn a_key_without_admin_sees_its_models_and_why_it_may_change_nothing() {
    let world = World::new();
    on_demand(&world, "chat");
    on_demand(&world, "secret");
    for key in ["open", "sesame"] {
        std::fs::write(world.path().join(key), key).unwrap();
    }
    let settings = "[[serve.keys]]\nname = \"ann\"\nkey = { file = \"open\" }\nmodels = [\"chat\"]\n\n\
                    [[serve.keys]]\nname = \"boss\"\nkey = { file = \"sesame\" }\nadmin = true\n";
    std::fs::write(world.settings(), settings).unwrap();
    let (_watcher, url) = world.serve(&[]);
    let seen = world.client(PAGE, &["keys", &url, "chat", "secret", "open", "sesame"]);
    assert_eq!(
        seen,
        "sees the other: False\nthe key \"ann\" may not do this; it needs `admin = true`\n\
         sees the other: True\nSuspend chat: recorded\n"
    );
}
