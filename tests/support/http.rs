//! Just enough HTTP to ask a llama-server, independent of herdsman's client.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

/// What the model behind `port` says: a few tokens of real completion.
///
/// # Panics
/// It does not answer.
pub fn ask(port: u16) -> String {
    try_ask(port).unwrap_or_else(|problem| panic!("no completion from port {port}: {problem}"))
}

/// What the model behind `port` says, or why there is no answer.
///
/// # Errors
/// No connection, a status other than 200, or no completion in it.
pub fn try_ask(port: u16) -> Result<String, String> {
    let (status, body) = post(port, "/completion", &json!({"prompt": "hi", "n_predict": 3, "temperature": 0}))?;
    match (status, body["content"].as_str()) {
        (200, Some(content)) => Ok(content.to_owned()),
        _ => Err(format!("{status} {body}")),
    }
}

/// GETs `path`: the status and the body as JSON (null if it is none).
///
/// # Errors
/// No connection or no HTTP answer.
pub fn get(port: u16, path: &str) -> Result<(u16, Value), String> {
    exchange(port, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

/// POSTs `body` as JSON to `path`: the status and the body as JSON.
///
/// # Errors
/// No connection or no HTTP answer.
pub fn post(port: u16, path: &str, body: &Value) -> Result<(u16, Value), String> {
    let body = body.to_string();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    exchange(port, &format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn exchange(port: u16, request: &str) -> Result<(u16, Value), String> {
    let answer = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = answer().map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("not HTTP: {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.ok_or_else(|| format!("no status: {head:?}"))?, serde_json::from_str(body).unwrap_or(Value::Null)))
}
