//! OpenAI's and Anthropic's own clients.

use insta::assert_snapshot;

use super::stand_in::StandIn;
use super::{embeds, slow};
use crate::support::World;

const OPENAI: &str = "openai_client.py";
const ANTHROPIC: &str = "anthropic_client.py";

#[test]
fn openai_gets_answers_of_each_kind_from_models_that_did_not_run() {
    let world = World::new();
    world.tiny("chat");
    embeds(&world, "embed");
    let gateway = StandIn::new(&world, &[]);
    assert_snapshot!(world.client(OPENAI, &["answers", &gateway.url, "chat", "embed"]), @"
    models: chat embed
    chat: chat 'chat chat chat ' length 3
    stream: ['chat ', 'chat ', 'chat '] 3
    completion: 'chat chat '
    response: 'chat chat '
    response stream: ['chat ', 'chat ']
    embeddings: [0, 1] 16 True
    ");
}

#[test]
fn anthropic_gets_answers_of_each_kind_from_a_model_that_did_not_run() {
    let world = World::new();
    world.tiny("chat");
    let gateway = StandIn::new(&world, &[]);
    assert_snapshot!(world.client(ANTHROPIC, &["answers", &gateway.url, "chat"]), @"
    message: chat ['chat chat chat '] max_tokens 3
    stream: ['chat ', 'chat ', 'chat '] max_tokens 3
    tokens: True
    ");
}

#[test]
fn an_unknown_model_is_the_clients_own_error() {
    let world = World::new();
    world.tiny("chat");
    let gateway = StandIn::new(&world, &[]);
    assert_snapshot!(world.client(OPENAI, &["refused", &gateway.url, "chatt"]), @"
    BadRequestError 400 invalid_request_error 400
    model 'chatt' not found
    BadRequestError 400 invalid_request_error 400
    model 'chatt' not found
    ");
    assert_snapshot!(world.client(ANTHROPIC, &["refused", &gateway.url, "chatt"]), @"
    BadRequestError 400 None invalid_request_error
    model 'chatt' not found
    BadRequestError 400 None invalid_request_error
    model 'chatt' not found
    ");
}

#[test]
fn a_wrong_key_is_the_clients_own_error() {
    let world = World::new();
    world.tiny("chat");
    let gateway = StandIn::new(&world, &["--api-key", "sesame"]);
    assert_snapshot!(world.client(OPENAI, &["refused", &gateway.url, "chat"]), @"
    AuthenticationError 401 authentication_error 401
    Invalid API Key
    AuthenticationError 401 authentication_error 401
    Invalid API Key
    ");
    assert_snapshot!(world.client(ANTHROPIC, &["refused", &gateway.url, "chat"]), @"
    AuthenticationError 401 None authentication_error
    Invalid API Key
    AuthenticationError 401 None authentication_error
    Invalid API Key
    ");
    let mut right = world.client_command(OPENAI, &["one", &gateway.url, "chat"]);
    right.env("OPENAI_API_KEY", "sesame");
    assert_eq!(world.start_client(right).ends(), "chat: 'chat chat '\n");
}

#[test]
fn a_client_that_gives_up_breaks_nothing() {
    let world = World::new();
    slow(&world, "slow");
    let gateway = StandIn::new(&world, &[]);
    world.client(OPENAI, &["one", &gateway.url, "slow"]);
    assert_snapshot!(world.client(OPENAI, &["gives_up", &gateway.url, "slow"]), @"
    APITimeoutError
    left the stream after its first event: True
    chat: 'slow slow '
    ");
}
