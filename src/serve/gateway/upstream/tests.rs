//! Framing: what arrives may be cut anywhere.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::{Bytes, BytesMut};
use hyper::{HeaderMap, Method};

use super::connection::Connection;
use super::decode::{Chunk, Framing, Head, Malformed, Part};
use crate::model::Address;

/// Decodes an answer that arrives in these pieces.
fn decode(pieces: &[&[u8]], method: &Method) -> Result<Decoded, Malformed> {
    let mut input = BytesMut::new();
    let (mut head, mut body, mut trailers) = (None::<Head>, Vec::new(), None);
    for piece in pieces {
        input.extend_from_slice(piece);
        if head.is_none() {
            head = Head::take(&mut input, method)?;
        }
        let Some(head) = &mut head else { continue };
        while let Some(part) = head.framing.take(&mut input)? {
            match part {
                Part::Data(data) => body.extend_from_slice(&data),
                Part::Trailers(found) => trailers = Some(found),
            }
        }
    }
    Ok(Decoded { head: head.unwrap(), body, trailers, rest: input.freeze() })
}

#[derive(Debug)]
struct Decoded {
    head: Head,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
    rest: Bytes,
}

fn get(answer: &str) -> Result<Decoded, Malformed> {
    decode(&[answer.as_bytes()], &Method::GET)
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
    5\r\nhello\r\n1;name=value\r\n \r\n00A\r\nevery\r\none\r\n0\r\nX-Sum: 7\r\n\r\nrest";

#[test]
fn chunks_may_be_cut_at_every_byte() {
    for first in 0..CHUNKED.len() {
        for second in [first, first + 1, CHUNKED.len() - 5].into_iter().filter(|second| *second >= first) {
            let (a, b) = (&CHUNKED[..first], &CHUNKED[first..second]);
            let decoded = decode(&[a.as_bytes(), b.as_bytes(), &CHUNKED.as_bytes()[second..]], &Method::GET).unwrap();
            assert_eq!(decoded.body, b"hello every\r\none", "cut at {first} and {second}");
            assert_eq!(decoded.trailers.unwrap()["x-sum"], "7", "cut at {first} and {second}");
            assert_eq!((decoded.head.framing, &decoded.rest[..]), (Framing::Done, b"rest".as_slice()));
        }
    }
    let bytes: Vec<&[u8]> = CHUNKED.as_bytes().chunks(1).collect();
    assert_eq!(decode(&bytes, &Method::GET).unwrap().body, b"hello every\r\none");
}

#[test]
fn chunks_that_arrive_together_become_one_part() {
    let mut input = BytesMut::from(&CHUNKED[CHUNKED.find("5\r\n").unwrap()..]);
    let mut framing = Framing::Chunked(Chunk::Size);
    assert_eq!(framing.take(&mut input).unwrap(), Some(Part::Data(Bytes::from_static(b"hello every\r\none"))));
}

#[test]
fn without_chunks_the_end_is_a_length_or_the_connections() {
    let decoded = get("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef").unwrap();
    assert_eq!(
        (decoded.body.as_slice(), &decoded.rest[..], decoded.head.keeps),
        (b"abc".as_slice(), b"def".as_slice(), true)
    );
    let decoded = get("HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
    assert_eq!((decoded.head.framing, decoded.head.keeps), (Framing::Close, false));
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").unwrap().head.framing, Framing::Length(6));
}

#[test]
fn some_answers_have_no_body_whatever_they_say() {
    let head = decode(&[b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"], &Method::HEAD).unwrap().head;
    assert_eq!((head.framing, head.keeps), (Framing::Done, true));
    for status in ["204 No Content", "304 Not Modified", "101 Switching Protocols"] {
        let head = get(&format!("HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n")).unwrap().head;
        assert_eq!(head.framing, Framing::Done, "{status}");
    }
}

#[test]
fn a_connection_is_kept_only_if_both_sides_agree_where_the_answer_ends() {
    let keeps = |head: &str| get(&format!("{head}\r\n\r\n0\r\n\r\n")).unwrap().head.keeps;
    assert!(keeps("HTTP/1.1 200 OK\r\nContent-Length: 5"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: x, Close"));
    assert!(!keeps("HTTP/1.0 200 OK\r\nContent-Length: 5"));
    assert!(!keeps("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"));
}

#[test]
fn garbage_is_refused() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let long = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(70 << 10));
    for answer in [
        "SSH-2.0-x\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 999999 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n11111111111111111\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
        &many,
        &long,
    ] {
        assert!(get(answer).is_err(), "{answer:?}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}", "x".repeat(2000));
    assert!(get(&endless).is_err());
}

#[test]
fn a_connection_waits_while_too_many_others_do() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    // The shortest backlog that there is.
    rustix::net::listen(&listener, 0).unwrap();
    let _waits = UnixStream::connect(&path).unwrap();
    let address = Address { host: path.to_str().unwrap().to_owned(), ..Address::default() };
    crate::sys::runtime::runtime().unwrap().block_on(async {
        let mut connecting = std::pin::pin!(Connection::open(&address));
        let soon = std::time::Duration::from_millis(50);
        assert!(tokio::time::timeout(soon, &mut connecting).await.is_err(), "the backlog is full");
        listener.accept().unwrap();
        connecting.await.unwrap();
    });
}
