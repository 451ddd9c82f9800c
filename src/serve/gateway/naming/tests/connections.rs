//! Large bodies on real connections, as hyper reads them.

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Answers with the model, and with the digest and the length of what goes upstream.
async fn answer(request: Request<Incoming>, spool: Spool) -> Result<Response<Full<Bytes>>, NamingError> {
    let (parts, body) = request.into_parts();
    let named = name(&parts, body, &Serve::default(), &spool).await?;
    let (mut attempt, mut digest, mut length) = (named.body.attempt(), blake3::Hasher::new(), 0);
    while let Some(chunk) = attempt.next().await {
        let chunk = chunk?;
        digest.update(&chunk);
        length += chunk.len() as u64;
    }
    assert_eq!(named.length, Some(length));
    let said = format!("{:?} {}", named.model, digest.finalize());
    Ok(Response::builder().status(StatusCode::OK).body(Full::from(said)).unwrap())
}

/// Sends a body over a connection; returns the answer's last line.
async fn ask(content_type: &str, body: &[u8], spool: &Spool) -> String {
    let (mut client, server) = tokio::io::duplex(256 << 10);
    let spool = spool.clone();
    let service = service_fn(move |request| answer(request, spool.clone()));
    let serving = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
    let head = format!(
        "POST /v1/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(body).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    serving.await.unwrap().unwrap();
    answer.lines().last().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_arrive_upstream_as_they_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let noise = "0123456789abcdef\\n".repeat(3 << 20);
    let json = format!("{{\"prompt\":\"{noise}\",\r\n \"seed\":123456789012345678901,\"model\" : \"m\"}}\n");
    let part = "--XX\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n";
    let file =
        format!("--XX\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n{}\r\n", &noise[..25 << 20]);
    let form = "multipart/form-data; boundary=XX";
    let cases = [
        ("application/json", json),
        (form, [part, &file, "--XX--\r\n"].concat()),
        (form, [&file, part, "--XX--\r\n"].concat()),
    ];
    for (content_type, body) in &cases {
        for memory in [100 << 20, 1 << 20] {
            let spool = Spool::new(memory, dir.path().to_owned());
            let wanted = format!("Some(\"m\") {}", blake3::hash(body.as_bytes()));
            assert_eq!(ask(content_type, body.as_bytes(), &spool).await, wanted, "{content_type}, {memory} bytes");
            assert_eq!(spool.used(), 0);
        }
    }
}
