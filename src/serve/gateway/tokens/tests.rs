//! Answers of llama-server b10434, cut to what counts.

use super::super::record::{HEAD, TAIL};
use super::Tokens;

const TIMINGS: &str = r#""timings":{"cache_n":53,"prompt_n":1,"prompt_ms":0.44,"prompt_per_token_ms":0.44,"prompt_per_second":2272.7272727272725,"predicted_n":3,"predicted_ms":0.52,"predicted_per_token_ms":0.26,"predicted_per_second":3846.153846153846}"#;

/// Reads an answer as it is kept: its first and its last bytes.
fn read(answer: &str) -> (Option<u32>, Option<u32>) {
    let answer = answer.as_bytes();
    let tokens = Tokens::read(&answer[..answer.len().min(HEAD)], &answer[answer.len().saturating_sub(TAIL)..]);
    (tokens.prompt, tokens.generated)
}

#[test]
fn a_chat_says_its_usage() {
    let answer = r#"{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"la la la "}}],"created":1795916923,"model":"a","system_fingerprint":"b1-7e4c0a9","object":"chat.completion","usage":{"completion_tokens":3,"prompt_tokens":54,"total_tokens":57,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-rTmb",TIMINGS}"#;
    assert_eq!(read(&answer.replace("TIMINGS", TIMINGS)), (Some(54), Some(3)));
}

#[test]
fn a_stream_says_its_timings_in_the_last_event_and_its_usage_where_asked_for() {
    let text = r#"data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":"la "}}],"created":1795916923,"id":"chatcmpl-Rz5y","model":"a","object":"chat.completion.chunk"}"#;
    let last = r#"data: {"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1795916923,"id":"chatcmpl-Rz5y","model":"a","object":"chat.completion.chunk",TIMINGS}"#;
    let last = last.replace("TIMINGS", TIMINGS);
    let texts = format!("{text}\n\n").repeat(30);
    assert_eq!(read(&format!("{texts}{last}\n\ndata: [DONE]\n\n")), (Some(54), Some(3)));
    assert_eq!(read(&texts), (None, None), "cut off");
    let usage = r#"data: {"choices":[],"created":1795916923,"id":"chatcmpl-BI4U","model":"a","object":"chat.completion.chunk","usage":{"completion_tokens":3,"prompt_tokens":54,"total_tokens":57,"prompt_tokens_details":{"cached_tokens":53}},TIMINGS}"#;
    let usage = usage.replace("TIMINGS", TIMINGS);
    assert_eq!(read(&format!("{texts}{usage}\n\ndata: [DONE]\n\n")), (Some(54), Some(3)));
}

#[test]
fn a_completion_says_its_timings_behind_its_settings() {
    let settings = format!(r#""generation_settings":{{"grammar":"{}"}},"prompt":"<s> hi","#, "x".repeat(3000));
    let answer = format!(
        r#"{{"index":0,"content":"la la la ","tokens":[],"id_slot":3,"stop":true,"model":"a","tokens_predicted":3,"tokens_evaluated":54,{settings}"stop_type":"limit","tokens_cached":6,{TIMINGS}}}"#
    );
    assert_eq!(read(&answer), (Some(54), Some(3)));
    let stream = r#"data: {"index":0,"content":"la ","tokens":[260],"stop":false,"id_slot":-1,"tokens_predicted":N,"tokens_evaluated":4}"#;
    let cut_off = ["1", "2"].map(|n| stream.replace('N', n)).join("\n\n");
    assert_eq!(read(&format!("{cut_off}\n\ndata: {{\"index\":0,\"con")), (Some(4), Some(2)));
}

#[test]
fn embeddings_say_their_usage_before_the_vectors() {
    let vectors = "0.3202562928199768,".repeat(1000);
    let answer = format!(
        r#"{{"model":"a","object":"list","usage":{{"prompt_tokens":4,"total_tokens":4}},"data":[{{"embedding":[{vectors}0.1],"index":0,"object":"embedding"}}]}}"#
    );
    assert_eq!(read(&answer), (Some(4), None));
    assert_eq!(read(&answer["{\"model\":\"a\",\"object\":\"list\",".len()..]), (Some(4), None));
}

#[test]
fn messages_count_cached_tokens_apart() {
    let answer = r#"{"id":"chatcmpl-vblS","type":"message","role":"assistant","content":[{"type":"text","text":"la la la "}],"model":"a","stop_reason":"max_tokens","stop_sequence":null,"usage":{"cache_read_input_tokens":53,"input_tokens":1,"output_tokens":3}}"#;
    assert_eq!(read(answer), (Some(54), Some(3)));
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"chatcmpl-lJbW6Ppgi17SJIK0N5NI2rjCq8VDZmpC\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"a\",\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"cache_read_input_tokens\":53,\"input_tokens\":1,\"output_tokens\":0}}}\n\n";
    let text = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"la \"}}\n\n".repeat(30);
    let end = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":3}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    assert_eq!(read(&format!("{start}{text}{end}")), (Some(54), Some(3)));
    assert_eq!(read(&format!("{start}{text}")), (Some(54), Some(0)), "cut off");
}

#[test]
fn responses_say_their_usage_whole_and_streamed() {
    let usage = r#""usage":{"input_tokens":54,"output_tokens":3,"total_tokens":57,"input_tokens_details":{"cached_tokens":53}}"#;
    let answer = format!(r#"{{"object":"response","output":[],"status":"completed",{usage}}}"#);
    assert_eq!(read(&answer), (Some(54), Some(3)));
    let event = format!(
        "event: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{{\"object\":\"response\",{usage}}},{TIMINGS}}}\n\n"
    );
    assert_eq!(read(&event), (Some(54), Some(3)));
}

#[test]
fn what_the_model_writes_is_not_believed() {
    let text =
        r#"{"content":"he said \"usage\":{\"prompt_tokens\":9999,\"completion_tokens\":9999}","role":"assistant"}"#;
    assert_eq!(read(text), (None, None));
    for odd in
        [r#""usage":null"#, r#""usage":{"prompt_tokens":-1}"#, r#""usage":{"prompt_tokens":1e99}"#, r#""usage":"#]
    {
        assert_eq!(read(odd), (None, None), "{odd}");
    }
}
