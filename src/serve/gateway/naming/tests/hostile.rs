//! Requests by mutation. A file of the corpus is a request line, headers, a blank
//! line and a body; one that is not such a request is a body.

use super::*;
use crate::hostile::{Target, survives};

/// The request in `bytes`, as far as hyper would accept it.
fn request(bytes: &[u8]) -> (Parts, &[u8]) {
    let whole = (parts("POST", "/v1/chat/completions", &[]), bytes);
    let Some(end) = memchr::memmem::find(bytes, b"\n\n") else { return whole };
    let Ok(head) = std::str::from_utf8(&bytes[..end]) else { return whole };
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else { return whole };
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let Some((name, value)) = line.split_once(": ") else { return whole };
        request = request.header(name, value);
    }
    let Ok(request) = request.body(()) else { return whole };
    (request.into_parts().0, &bytes[end + 2..])
}

#[test]
fn no_request_does_harm() {
    let words: &[&[u8]] = &[
        b"{\"model\":\"",
        b"\"stream\":true",
        b"\\u006d",
        b"\\ud800",
        b"\r\n--XX\r\n",
        b"--XX--",
        b"Content-Disposition: form-data; name=\"model\"\r\n\r\n",
        b"Content-Encoding: gzip",
        b"zstd",
        b"deflate, ",
        b"\x28\xb5\x2f\xfd",
        b"\x50\x2a\x4d\x18",
        b"\x1f\x8b\x08",
        b"?model=%",
        b"\n\n",
    ];
    let target =
        Target { name: "request", words, memory: 24 << 20, longest: 32 << 10, cases: 2_000, ..Target::default() };
    let settings = Serve { max_body: Some(2 << 20), ..Serve::default() };
    survives(target, move |bytes| {
        let (parts, body) = request(bytes);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let spool = Spool::new(1 << 20, std::env::temp_dir());
        runtime.block_on(async {
            let cut = 1 + bytes.len() % 4_000;
            let Ok(named) = name(&parts, Arriving::cut(body, cut), &settings, &spool).await else { return };
            let (mut attempt, mut sent) = (named.body.attempt(), Vec::new());
            while let Some(chunk) = attempt.next().await {
                let Ok(chunk) = chunk else { return };
                sent.extend_from_slice(&chunk);
            }
            assert!(named.decoded || sent == body, "a body changed on its way");
        });
    });
}
