//! OpenAI's and Anthropic's own clients.

use insta::assert_snapshot;

use super::definitions::{embeds_on_demand, on_demand, slow};
use crate::support::World;

const OPENAI: &str = "openai_client.py";
const ANTHROPIC: &str = "anthropic_client.py";

#[test]
fn openai_gets_answers_of_each_kind_from_models_that_did_not_run() {
    let world = World::new();
    on_demand(&world, "chat");
    embeds_on_demand(&world, "embed");
    let (_watcher, url) = world.serve(&[]);
    assert_eq!(world.instances(), []);
    assert_snapshot!(world.client(OPENAI, &["answers", &url, "chat", "embed"]), @"
    models: chat embed
    chat: chat 'chat chat chat ' length 3
    stream: ['chat ', 'chat ', 'chat '] 3
    completion: 'chat chat '
    response: 'chat chat '
    response stream: ['chat ', 'chat ']
    embeddings: [0, 1] 16 True
    ");
    world.pid("chat");
    world.pid("embed");
}

#[test]
fn anthropic_gets_answers_of_each_kind_from_a_model_that_did_not_run() {
    let world = World::new();
    on_demand(&world, "chat");
    let (_watcher, url) = world.serve(&[]);
    assert_eq!(world.instances(), []);
    assert_snapshot!(world.client(ANTHROPIC, &["answers", &url, "chat"]), @"
    message: chat ['chat chat chat '] max_tokens 3
    stream: ['chat ', 'chat ', 'chat '] max_tokens 3
    tokens: True
    ");
    world.pid("chat");
}

#[test]
fn an_unknown_model_is_not_found_to_either_client() {
    let world = World::new();
    on_demand(&world, "chat");
    let (_watcher, url) = world.serve(&[]);
    assert_snapshot!(world.client(OPENAI, &["refused", &url, "chatt"]), @r#"
    NotFoundError 404 invalid_request_error model_not_found
    there is no model "chatt"; did you mean chat?
    NotFoundError 404 invalid_request_error model_not_found
    there is no model "chatt"; did you mean chat?
    "#);
    assert_snapshot!(world.client(ANTHROPIC, &["refused", &url, "chatt"]), @r#"
    NotFoundError 404 error not_found_error
    there is no model "chatt"; did you mean chat?
    NotFoundError 404 error not_found_error
    there is no model "chatt"; did you mean chat?
    "#);
}

#[test]
fn a_model_that_cannot_start_is_an_error_that_says_why() {
    let world = World::new();
    on_demand(&world, "broken");
    world.weights_that_die("broken");
    let (_watcher, url) = world.serve(&[]);
    let printed = world.client(OPENAI, &["refused", &url, "broken"]);
    assert!(printed.starts_with("InternalServerError 503 "), "{printed}");
    // llama-server at times ends before the line that says why is out.
    assert!(printed.contains("unknown model architecture") || printed.contains("no error in its log"), "{printed}");
}

#[test]
fn a_wrong_key_is_an_authentication_error_to_either_client() {
    let world = World::new();
    on_demand(&world, "chat");
    std::fs::write(world.path().join("ann"), "sesame\n").unwrap();
    let key = world.path().join("ann").display().to_string();
    std::fs::write(world.settings(), format!("[[serve.keys]]\nname = \"ann\"\nkey = {{ file = \"{key}\" }}\n"))
        .unwrap();
    let (_watcher, url) = world.serve(&[]);
    assert_snapshot!(world.client(OPENAI, &["refused", &url, "chat"]), @"
    AuthenticationError 401 authentication_error invalid_api_key
    the key is not valid; use one that `[[serve.keys]]` in the settings names
    AuthenticationError 401 authentication_error invalid_api_key
    the key is not valid; use one that `[[serve.keys]]` in the settings names
    ");
    assert_snapshot!(world.client(ANTHROPIC, &["refused", &url, "chat"]), @"
    AuthenticationError 401 error authentication_error
    the key is not valid; use one that `[[serve.keys]]` in the settings names
    AuthenticationError 401 error authentication_error
    the key is not valid; use one that `[[serve.keys]]` in the settings names
    ");
    assert_eq!(world.instances(), []);

    let mut openai = world.client_command(OPENAI, &["one", &url, "chat"]);
    openai.env("OPENAI_API_KEY", "sesame");
    assert_eq!(world.start_client(openai).ends(), "chat: 'chat chat '\n");
    let mut anthropic = world.client_command(ANTHROPIC, &["answers", &url, "chat"]);
    anthropic.env("ANTHROPIC_API_KEY", "sesame");
    assert!(world.start_client(anthropic).ends().starts_with("message: chat "));
}

#[test]
fn a_client_that_gives_up_breaks_nothing() {
    let world = World::new();
    slow(&world, "slow");
    let (_watcher, url) = world.serve(&[]);
    assert_eq!(world.client(OPENAI, &["one", &url, "slow"]), "chat: 'slow slow '\n");
    let pid = world.pid("slow");
    assert_snapshot!(world.client(OPENAI, &["gives_up", &url, "slow"]), @r"
    APITimeoutError
    left the stream after its first event
    chat: 'slow slow '
    ");
    assert_eq!(world.pid("slow"), pid);
}

#[test]
fn a_stream_whose_server_is_killed_is_an_error_and_the_next_request_succeeds() {
    let world = World::new();
    slow(&world, "slow");
    let (_watcher, url) = world.serve(&[]);
    for (script, next) in [(OPENAI, "one"), (ANTHROPIC, "answers")] {
        let mut client = world.start_client(world.client_command(script, &["broken", &url, "slow"]));
        client.eventually_prints("streaming");
        world.kill("slow");
        let printed = client.ends();
        assert!(printed.contains("\nbroken: API"), "{printed}");
        let printed = world.client(script, &[next, &url, "slow"]);
        assert!(printed.contains("'slow slow "), "{printed}");
    }
}
