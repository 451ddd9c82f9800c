//! The shapes that clients parse, each once.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use http_body_util::BodyExt;

use super::*;

/// Returns the status, `Retry-After` and the body.
fn shown(error: &Error, shape: Shape) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (parts, body) = error.answer(shape).into_parts();
    let after = parts.headers.get(RETRY_AFTER).map_or("-", |after| after.to_str().unwrap());
    let body = runtime.block_on(body.collect()).unwrap().to_bytes();
    format!("{} {after} {}", parts.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn every_refusal_has_its_status_and_code() {
    let refusals = [
        Refusal::Unknown("m".into()),
        Refusal::Unavailable("it crashed 5 times".into()),
        Refusal::TimedOut(Duration::from_secs(600)),
        Refusal::TooMany(1000),
        Refusal::NotRunning,
    ];
    let shown = refusals.map(|refusal| shown(&Error::refused("m", &refusal), Shape::OpenAi)).join("\n");
    insta::assert_snapshot!(shown, @r#"
    404 - {"error":{"code":"model_not_found","message":"there is no model \"m\"","param":null,"type":"invalid_request_error"}}
    503 10 {"error":{"code":"model_unavailable","message":"model \"m\": it crashed 5 times","param":null,"type":"server_error"}}
    504 10 {"error":{"code":"model_not_ready","message":"model \"m\": the model was not ready within 10m 0s","param":null,"type":"server_error"}}
    429 1 {"error":{"code":"too_many_waiting","message":"model \"m\": 1000 requests already waiting (`[serve] max_waiting`)","param":null,"type":"rate_limit_error"}}
    503 10 {"error":{"code":"model_not_running","message":"model \"m\": it is not running","param":null,"type":"server_error"}}
    "#);
}

#[test]
fn other_errors_say_what_to_do() {
    let errors = [
        Error::unknown("codr", ["coder", "chat"].into_iter()),
        Error::unknown("x", ["coder", "chat"].into_iter()),
        Error::from(NamingError::TooLarge(256 << 20)),
        Error::from(NamingError::Crowded(4 << 30)),
        Error::from_body(Box::new(NamingError::Broken("eof".into()))),
        Error::upstream("model \"m\": lost the connection"),
    ];
    let shown = errors.map(|error| shown(&error, Shape::OpenAi)).join("\n");
    insta::assert_snapshot!(shown, @r#"
    404 - {"error":{"code":"model_not_found","message":"there is no model \"codr\"; did you mean coder?","param":null,"type":"invalid_request_error"}}
    404 - {"error":{"code":"model_not_found","message":"there is no model \"x\"; GET /v1/models lists the models","param":null,"type":"invalid_request_error"}}
    413 - {"error":{"code":"request_too_large","message":"the request body is larger than 256.0 MiB; send less, or raise `max_body` in `[serve]`","param":null,"type":"invalid_request_error"}}
    503 10 {"error":{"code":"no_room","message":"request bodies that wait take 4.0 GiB on disk already; try again later","param":null,"type":"server_error"}}
    400 - {"error":{"code":null,"message":"the request body ended early: eof","param":null,"type":"invalid_request_error"}}
    502 - {"error":{"code":"upstream_failed","message":"model \"m\": lost the connection","param":null,"type":"server_error"}}
    "#);
}

#[test]
fn anthropics_clients_get_anthropics_shape() {
    assert_eq!(Shape::of("/v1/messages"), Shape::Anthropic);
    assert_eq!(Shape::of("/v1/messages/count_tokens"), Shape::Anthropic);
    assert_eq!(Shape::of("/v1/messagesx"), Shape::OpenAi);
    let error = Error::refused("m", &Refusal::TooMany(1000));
    insta::assert_snapshot!(shown(&error, Shape::Anthropic), @r#"429 1 {"error":{"message":"model \"m\": 1000 requests already waiting (`[serve] max_waiting`)","type":"rate_limit_error"},"type":"error"}"#);
    insta::assert_snapshot!(String::from_utf8_lossy(&error.event(Shape::Anthropic)), @r#"
    event: error
    data: {"error":{"message":"model \"m\": 1000 requests already waiting (`[serve] max_waiting`)","type":"rate_limit_error"},"type":"error"}
    "#);
    insta::assert_snapshot!(String::from_utf8_lossy(&error.event(Shape::OpenAi)), @r#"data: {"error":{"code":"too_many_waiting","message":"model \"m\": 1000 requests already waiting (`[serve] max_waiting`)","param":null,"type":"rate_limit_error"}}"#);
}

#[test]
fn each_status_has_anthropics_word() {
    let word = |status: u16| Error::new(StatusCode::from_u16(status).unwrap(), "", "").anthropic();
    let words = [400, 401, 403, 404, 413, 415, 429, 502, 503, 504].map(|status| format!("{status} {}", word(status)));
    insta::assert_snapshot!(words.join("\n"), @"
    400 invalid_request_error
    401 authentication_error
    403 permission_error
    404 not_found_error
    413 request_too_large
    415 invalid_request_error
    429 rate_limit_error
    502 api_error
    503 overloaded_error
    504 timeout_error
    ");
}

#[test]
fn near_names_are_few_and_the_nearest_is_first() {
    let names = ["qwen3-coder-30b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "gemma"];
    assert_eq!(nearest("qwen3-4", names.into_iter()), ["qwen3-4b", "qwen3-14b", "qwen3-8b"]);
    assert_eq!(nearest("coder", names.into_iter()), ["qwen3-coder-30b"]);
    assert!(nearest("", names.into_iter()).is_empty());
}
