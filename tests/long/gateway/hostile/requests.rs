//! Requests as they should be, from which hostile ones are made.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// What HTTP and the gateway know.
pub const WORDS: &[&[u8]] = &[
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0\r\n",
    b"Host: localhost\r\n",
    b"Content-Length: ",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Content-Encoding: zstd\r\n",
    b"Content-Type: multipart/form-data; boundary=",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"Origin: http://elsewhere\r\n",
    b"X-Conversation-Id: c\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"/upstream/",
    b"/v1/",
    b"%2F",
    b"%00",
    b"../",
    b"\"model\":",
    b"\"stream\":true,",
    b"\\u0000",
    b"\\ud800",
    b"--x--\r\n",
    b"name=\"model\"",
];

const JSON: &str = r#"{"prompt": "hi", "n_predict": 3, "temperature": 0, "model": "m"}"#;
const CHAT: &str =
    r#"{"model": "m", "messages": [{"role": "user", "content": "h\u00e9"}], "max_tokens": 3, "stream": true}"#;
const FORM: &str = "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\nContent-Type: \
                    audio/wav\r\n\r\nRIFF\0\0\r\n--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--x--\r\n";

/// All of them.
pub fn corpus() -> Vec<Vec<u8>> {
    let gzipped = {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(JSON.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let bomb = {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(JSON.as_bytes()).unwrap();
        encoder.write_all(&vec![b' '; 8 << 20]).unwrap();
        encoder.finish().unwrap()
    };
    let [json, chat, form] = [JSON, CHAT, FORM].map(str::as_bytes);
    let completion = post("/v1/completions", "", json);
    let mut corpus = vec![
        post("/completion", "Connection: close\r\n", json),
        post("/v1/chat/completions", "Authorization: Bearer k\r\n", chat),
        post("/v1/chat/completions", "X-Conversation-Id: c\r\n", chat),
        post("/v1/messages", "", chat),
        post("/completion", "Content-Encoding: gzip\r\n", &gzipped),
        post("/completion", "Content-Encoding: deflate\r\n", &bomb),
        post("/v1/audio/transcriptions", "Content-Type: multipart/form-data; boundary=x\r\n", form),
        post("/v1/streams/lookup", "", br#"{"conversation_ids": ["c", "d"]}"#),
        post("/models/load", "", br#"{"model": "n"}"#),
        post("/models/unload", "", br#"{"model": "n"}"#),
        post("/tokenize?model=n", "Expect: 100-continue\r\n", br#"{"content": "hi"}"#),
        // Pipelined.
        [completion.clone(), get("GET", "/v1/models", ""), completion].concat(),
    ];
    for (path, body) in [("/completion", json), ("/upstream/m/completion", json), ("/v1/chat/completions", chat)] {
        corpus.push(chunked(path, body));
    }
    let handshake =
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\n";
    for (method, path, headers) in [
        ("GET", "/v1/models", "Accept-Encoding: gzip\r\n"),
        ("GET", "/upstream/m/", "Accept: text/html\r\nAccept-Encoding: gzip\r\n"),
        ("GET", "/upstream/m/ws", handshake),
        ("GET", "/v1/realtime?model=m", handshake),
        ("HEAD", "/upstream/m//a%2Fb?c=d", ""),
        ("OPTIONS", "/v1/completions", "Origin: http://elsewhere\r\nAccess-Control-Request-Method: POST\r\n"),
        ("GET", "/v1/stream?conv_id=c&from=7", ""),
        ("DELETE", "/v1/stream?conv_id=c", ""),
        ("GET", "/models/sse", ""),
        ("GET", "/logs/stream/m", ""),
        ("GET", "/running", "Connection: keep-alive, X-A\r\nX-A: 1\r\nTE: trailers\r\n"),
        ("GET", "/metrics?model=m", ""),
        ("GET", "/chat/", "Accept-Encoding: gzip\r\n"),
        ("GET", "http://localhost/props", ""),
        ("CONNECT", "localhost:80", ""),
    ] {
        corpus.push(get(method, path, headers));
    }
    // Other protocols.
    corpus.push(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec());
    corpus.push(b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03".to_vec());
    corpus
}

fn get(method: &str, path: &str, headers: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").into_bytes()
}

fn post(path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let content_type = if headers.contains("Content-Type") { "" } else { "Content-Type: application/json\r\n" };
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{content_type}{headers}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// A POST of JSON in three chunks, with a trailer.
fn chunked(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for chunk in body.chunks(body.len().div_ceil(3)) {
        request.extend_from_slice(format!("{:x};a=b\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(&[chunk, b"\r\n"].concat());
    }
    request.extend_from_slice(b"0\r\nX-Sum: 7\r\n\r\n");
    request
}
