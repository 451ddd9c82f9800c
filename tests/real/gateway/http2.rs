//! TLS: HTTP/2 and HTTP/1.1, as the client chooses.

use std::convert::Infallible;
use std::io::Write;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use herdsman::owner::settings::serve::Serve;
use herdsman::serve::server::Tls;
use http_body_util::{BodyExt, Full};
use hyper::body::Frame;
use reqwest::{Body, Client, Method, RequestBuilder, Response, Version};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::bench::{Fake, Gate, PATIENCE, Server, closed_within, eventually, read_until, ready};
use super::certificate::{Certificate, NAME, url};

/// A gateway that speaks TLS, the server behind it, and a client of HTTP/2.
struct Scene {
    fake: Fake,
    gate: Gate,
    certificate: Certificate,
    client: Client,
    runtime: Runtime,
}

impl Scene {
    fn new() -> Self {
        let fake = Fake::new();
        Self::to(fake.port, fake)
    }

    /// A gateway to the server at `port`.
    fn to(port: u16, fake: Fake) -> Self {
        let certificate = Certificate::new();
        let settings = Serve { hosts: vec![NAME.to_owned()], ..Serve::default() };
        let gate = Gate::behind(settings, Some(Tls::new(&certificate.tls()).unwrap()));
        gate.publish(vec![ready("m", port)]);
        let client = certificate.client(gate.port);
        // The client reads and writes there while the test is the server.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { fake, gate, certificate, client, runtime }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, url(self.gate.port, path))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    fn post(&self, body: impl Into<Body>) -> RequestBuilder {
        self.request(Method::POST, "/completion").body(body)
    }

    /// Sends a request, of which the server has read the head.
    fn begin(&self, request: RequestBuilder) -> Exchange {
        let response = self.runtime.spawn(request.send());
        let (server, head) = self.fake.request();
        Exchange { server, head, response }
    }

    /// Sends a request, answers it with these bytes and the end of the connection, and
    /// returns the head that the server got, and what the client gets.
    fn exchange(&self, request: RequestBuilder, answer: &str) -> (String, Response) {
        let mut exchange = self.begin(request);
        exchange.server.write_all(answer.as_bytes()).unwrap();
        drop(exchange.server);
        let response = self.runtime.block_on(exchange.response).unwrap().unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        (exchange.head.replace(&self.fake.port.to_string(), "PORT"), response)
    }

    /// Reads what comes next of a body.
    fn frame(&self, body: &mut Body) -> Frame<Bytes> {
        let frame = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, body.frame()).await });
        frame.expect("a frame").expect("no end").unwrap()
    }

    fn text(&self, body: &mut Body) -> String {
        String::from_utf8(self.frame(body).into_data().unwrap().to_vec()).unwrap()
    }
}

/// A request that is being answered.
struct Exchange {
    server: TcpStream,
    head: String,
    response: JoinHandle<reqwest::Result<Response>>,
}

impl Exchange {
    /// Begins to answer with an event stream.
    fn begin_events(mut self, scene: &Scene) -> (TcpStream, Body) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.server.write_all(head.as_bytes()).unwrap();
        (self.server, scene.runtime.block_on(self.response).unwrap().unwrap().into())
    }
}

/// A body that does not say how long it is.
struct OfUnknownLength(Full<Bytes>);

impl hyper::body::Body for OfUnknownLength {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }
}

/// The headers of an answer, in order.
fn headers(response: &Response) -> Vec<String> {
    let text = |(name, value): (&_, &reqwest::header::HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    let mut headers: Vec<String> = response.headers().iter().map(text).collect();
    headers.sort_unstable();
    headers
}

#[test]
fn headers_pass_once_each_and_none_of_a_connection() {
    let scene = Scene::new();
    let request = scene.get("/lora-adapters").header("X-A", "1").header("X-A", "2").header("TE", "trailers");
    let request = request.header("Cookie", "a=1").header("Cookie", "b=2").header("Authorization", "Bearer k");
    let answer = "HTTP/1.1 200 Fine\r\nServer: llama.cpp\r\nSet-Cookie: a\r\nKeep-Alive: timeout=5, max=100\r\n\
                  Connection: X-Hop\r\nX-Hop: 1\r\nProxy-Authenticate: x\r\nSet-Cookie: b\r\nDate: then\r\n\
                  Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let (head, response) = scene.exchange(request, answer);
    assert_eq!(
        head,
        "GET /lora-adapters HTTP/1.1\r\nhost: 127.0.0.1:PORT\r\nx-a: 1\r\nx-a: 2\r\naccept: */*\r\n\
         cookie: a=1; b=2\r\n\r\n"
    );
    assert_eq!(headers(&response), ["date: then", "server: llama.cpp", "set-cookie: a", "set-cookie: b"]);
    assert_eq!(scene.runtime.block_on(response.text()).unwrap(), "ok");
}

#[test]
fn paths_and_queries_pass_as_sent() {
    let scene = Scene::new();
    let lines = [
        ("/a%2Fb", "/a%2Fb"),
        ("//a//b/", "//a//b/"),
        ("/a?b=%2f&c=d+e&&f", "/a?b=%2f&c=d+e&&f"),
        ("/%C3%BC;b=c", "/%C3%BC;b=c"),
        ("/upstream/m//a%2Fb?c", "//a%2Fb?c"),
        ("/upstream/m/", "/"),
    ];
    for (sent, got) in lines {
        let (head, _) = scene.exchange(scene.get(sent), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(head.lines().next().unwrap(), format!("GET {got} HTTP/1.1"));
    }
}

#[test]
fn an_answer_without_a_body_has_none() {
    let scene = Scene::new();
    let head = scene.request(Method::HEAD, "/lora-adapters");
    let (_, response) = scene.exchange(head, "HTTP/1.1 200 OK\r\nDate: then\r\nContent-Length: 77\r\n\r\n");
    assert_eq!(headers(&response), ["content-length: 77", "date: then"]);
    assert_eq!(scene.runtime.block_on(response.bytes()).unwrap(), "");
    for status in [204, 304] {
        let answer = format!("HTTP/1.1 {status} x\r\nDate: then\r\nETag: \"a\"\r\n\r\n");
        let (_, response) = scene.exchange(scene.get("/lora-adapters"), &answer);
        assert_eq!(
            (response.status().as_u16(), headers(&response).join(" ")),
            (status, "date: then etag: \"a\"".into())
        );
        assert_eq!(scene.runtime.block_on(response.bytes()).unwrap(), "");
    }
}

#[test]
fn a_body_has_a_length_or_chunks() {
    let scene = Scene::new();
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (head, _) = scene.exchange(scene.post("{}"), answer);
    assert!(head.contains("content-length: 2\r\n") && !head.contains("transfer-encoding"), "{head}");
    let unknown = scene.request(Method::POST, "/upstream/m/x").body(Body::wrap(OfUnknownLength("{}".into())));
    let (head, _) = scene.exchange(unknown, answer);
    assert!(head.contains("transfer-encoding: chunked\r\n") && !head.contains("content-length"), "{head}");
}

#[test]
fn trailers_pass() {
    let scene = Scene::new();
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    let (_, response) = scene.exchange(scene.get("/lora-adapters").header("TE", "trailers"), answer);
    let mut body = Body::from(response);
    assert_eq!(scene.text(&mut body), "ok");
    let trailers = scene.frame(&mut body).into_trailers().unwrap();
    assert_eq!((trailers.len(), trailers["x-sum"].to_str().unwrap()), (1, "7"));
}

#[test]
fn events_arrive_one_by_one_and_a_stream_that_is_reset_is_over_alone() {
    let scene = Scene::new();
    let mut streams: Vec<_> = (0..3).map(|_| scene.begin(scene.post("{}")).begin_events(&scene)).collect();
    let passes = |(server, body): &mut (TcpStream, Body), number: usize| {
        server.write_all(format!("9\r\ndata: {number}\n\n\r\n").as_bytes()).unwrap();
        assert_eq!(scene.text(body), format!("data: {number}\n\n"));
    };
    for number in 0..5 {
        streams.iter_mut().for_each(|stream| passes(stream, number));
    }
    let (mut server, body) = streams.remove(1);
    read_until(&mut server, "{}");
    drop(body);
    let took = closed_within(&mut server);
    assert!(took < Duration::from_millis(100), "{took:?}");
    // Those on the same connection go on.
    for number in 5..9 {
        streams.iter_mut().for_each(|stream| passes(stream, number));
    }
}

#[test]
fn a_request_that_is_reset_before_its_answer_closes_the_servers_connection() {
    let scene = Scene::new();
    let mut other = scene.begin(scene.post("{}")).begin_events(&scene);
    let Exchange { mut server, response, .. } = scene.begin(scene.post("{}"));
    read_until(&mut server, "{}");
    response.abort();
    let took = closed_within(&mut server);
    assert!(took < Duration::from_millis(100), "{took:?}");
    other.0.write_all(b"2\r\nok\r\n").unwrap();
    assert_eq!(scene.text(&mut other.1), "ok");
}

#[test]
fn a_real_server_streams_to_both_versions() {
    let server = Server::tiny();
    let scene = Scene::to(server.port, Fake::new());
    let body = r#"{"model": "m", "prompt": "x", "max_tokens": 3, "stream": true}"#;
    let old = scene.certificate.client_of_http1(scene.gate.port);
    for (client, version) in [(&scene.client, Version::HTTP_2), (&old, Version::HTTP_11)] {
        let request = client.post(url(scene.gate.port, "/v1/completions")).body(body);
        let response = scene.runtime.block_on(request.header("Content-Type", "application/json").send()).unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (version, 200));
        let text = scene.runtime.block_on(response.text()).unwrap();
        assert!(text.contains("hello") && text.ends_with("data: [DONE]\n\n"), "{text}");
    }
}

#[test]
fn a_renewed_certificate_is_used_for_new_connections_and_ends_no_old_one() {
    let mut scene = Scene::new();
    let (mut server, mut body) = scene.begin(scene.post("{}")).begin_events(&scene);
    scene.certificate.renew();
    // It trusts nothing but the new one.
    let client = scene.certificate.client(scene.gate.port);
    eventually("the new certificate is used", PATIENCE, || {
        let answer = scene.runtime.block_on(client.get(url(scene.gate.port, "/health")).send());
        answer.is_ok_and(|answer| answer.status() == 200 && answer.version() == Version::HTTP_2)
    });
    server.write_all(b"2\r\nok\r\n").unwrap();
    assert_eq!(scene.text(&mut body), "ok");
}
