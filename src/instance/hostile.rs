//! Hostile processes, sockets and logs: whatever `/proc`, the kernel's tables
//! and a server's log may say.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::death::{self, Known};
use super::endpoint::Endpoint;
use super::log::InstanceLog;
use super::marker::Environment;
use super::{process, sock_diag, socket};
use crate::hostile::{Target, survives};
use crate::model::InstanceId;

#[test]
fn no_line_of_proc_and_no_datagram_does_harm() {
    let words: &[&[u8]] = &[
        b"HERDSMAN_STATE=",
        b"--port\0",
        b"--host\0",
        b"--api-key-file\0/dev/zero\0",
        b"LLAMA_ARG_HOST=/",
        b")",
        b" 0A ",
        b"0100007F:1F90",
        b"socket:[",
        b"\x14\0",
        b"\x03\0",
        b"\0\0\0\x80",
        b"rchar: ",
        b"VmRSS:",
    ];
    let target = Target { name: "proc", words, cases: 1000, ..Target::default() };
    survives(target, |bytes| {
        process::hostile(bytes);
        socket::hostile(bytes);
        sock_diag::hostile(bytes);
        let environment = Environment::new(bytes.to_vec());
        let endpoint = Endpoint::read(bytes, &environment);
        assert!(endpoint.address.port.is_none() || !endpoint.is_unix());
        let _ = environment.text("HERDSMAN_MODEL");
    });
}

#[test]
fn no_log_does_harm() {
    let words: &[&[u8]] = &[
        b"herdsman: ",
        b"\nherdsman: instance 1 ",
        b"offloaded ",
        b" layers to GPU",
        b"99999999999/0",
        b" model buffer size",
        b"0.00.1 E ",
        b"error: invalid argument: ",
        b"out of memory",
        b"\r",
        b"\x1b]0;title\x07",
        b"\xc2\x9b",
    ];
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("m.log");
    // The search for layers reads a mebibyte of the log, and reads it as text.
    let target = Target { name: "log", words, cases: 200, memory: 256 << 10, memory_per_byte: 16, ..Target::default() };
    survives(target, move |bytes| {
        std::fs::write(&log, bytes).unwrap();
        let id = InstanceId("1".to_owned());
        let shared = bytes.len() % 2 == 0;
        let instance = InstanceLog { path: log.clone(), shared };
        let lines = super::last_lines(&log, 5).unwrap();
        let deaths = [0, 9, 1 << 8].map(|status| {
            let known = Known { exit: Some(ExitStatus::from_raw(status)), taken_port: Some(8101), was_ready: true };
            death::explain(&instance, &id, known).message
        });
        for line in lines.iter().chain(&deaths) {
            assert!(line.chars().count() < 500, "{} characters", line.chars().count());
            assert!(!line.chars().any(char::is_control), "a terminal would obey {line:?}");
        }
        for offset in [0, 100, u64::MAX] {
            let _ = death::offloaded_layers(&instance, &id, offset);
        }
    });
}
