//! A llama-server that answers at once: what is measured in front of it is the
//! proxy.
//!
//! This program itself, run as `serve --stub PID` and a llama-server's arguments. It
//! ends with process PID, so that none is left over, whatever starts it. A script
//! beside it ([`wrapper`]) is what herdsman runs: it leaves `--help` and `--version`
//! to the real llama-server.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::TcpListener;

use super::event::{Event, last_chunks};
use super::wire::{Head, Wire};
use crate::measure::clock::monotonic;
use crate::support::llama_server;

/// The argument that makes this program the stub.
const STUB: &str = "--stub";

/// What it says to a request for a completion.
const COMPLETION: &str = "{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0,\"message\":{\"role\":\"assistant\",\
    \"content\":\"Hello! How can I help you today?\"}}],\"created\":1764376233,\"model\":\"a\",\
    \"system_fingerprint\":\"b10434\",\"object\":\"chat.completion\",\"usage\":{\"completion_tokens\":9,\
    \"prompt_tokens\":12,\"total_tokens\":21},\"id\":\"chatcmpl-Zq3KpYx0Jm8TtB2nV5rLw7cHd9sFgE4u\"}";

/// The head of a stream.
const STREAM: &str = "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: text/event-stream\r\n\
                      X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The header of a request that asks for `events` events, one each `pause`.
pub fn ask_for(events: usize, pause: Duration) -> String {
    format!("X-Bench: {events} {}\r\n", pause.as_micros())
}

/// Writes the script that runs the stub of this process as a llama-server into `dir`.
pub fn wrapper(dir: &Path) -> PathBuf {
    let quote = |path: &Path| shlex::try_quote(path.to_str().expect("a path in UTF-8")).expect("no NUL").into_owned();
    let real = quote(&llama_server());
    let own = quote(&own_path());
    let path = dir.join("llama-server");
    let asks = format!("case \" $* \" in *\" --help \"*|*\" --version \"*) exec {real} \"$@\";; esac");
    let script = format!("#!/bin/sh\n{asks}\nexec {own} {STUB} {} \"$@\"\n", std::process::id());
    fs::write(&path, script).expect("the wrapper");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
    path
}

/// The command line of the stub of this process on `port`.
pub fn command(port: u16) -> std::process::Command {
    let mut command = std::process::Command::new(own_path());
    command.args([STUB, &std::process::id().to_string(), "--port", &port.to_string(), "--model", "a.gguf"]);
    command
}

fn own_path() -> PathBuf {
    std::env::current_exe().expect("/proc/self/exe")
}

/// Becomes the stub if this process was started as one; to be called first in `main`.
pub fn serve_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() != Some(STUB) {
        return;
    }
    let starter = arguments.next().and_then(|pid| Pid::from_raw(pid.parse().ok()?)).expect("--stub PID");
    let arguments: Vec<String> = arguments.collect();
    let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1).cloned();
    let port: u16 = value("--port").and_then(|port| port.parse().ok()).expect("--port PORT");
    let model = value("--model").or_else(|| value("-m")).expect("--model PATH");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    std::thread::spawn(move || {
        wait_for_end(starter);
        std::process::exit(0);
    });
    local.block_on(&runtime, serve(port, Rc::new(About::model(&model)))).expect("the stub");
}

/// Waits until process `pid` has ended.
fn wait_for_end(pid: Pid) {
    if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) {
        let ended = rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None));
        ended.expect("poll");
    }
}

/// The answers that are the same each time.
struct About {
    health: Vec<u8>,
    props: Vec<u8>,
    slots: Vec<u8>,
    models: Vec<u8>,
    completion: Vec<u8>,
}

impl About {
    fn model(path: &str) -> Self {
        let path = serde_json::Value::from(path);
        let props = format!(
            "{{\"default_generation_settings\":{{\"n_ctx\":512}},\"total_slots\":64,\"model_alias\":\"a\",\
             \"model_path\":{path},\"is_sleeping\":false,\"build_info\":\"b10434-stub\"}}"
        );
        Self {
            health: answer("{\"status\":\"ok\"}"),
            props: answer(&props),
            slots: answer("[{\"id\":0,\"n_ctx\":512,\"is_processing\":false}]"),
            models: answer(
                "{\"object\":\"list\",\"data\":[{\"id\":\"a\",\"object\":\"model\",\"owned_by\":\"llamacpp\"}]}",
            ),
            completion: answer(COMPLETION),
        }
    }

    fn of(&self, path: &str) -> &[u8] {
        match path.split('?').next() {
            Some("/health" | "/v1/health") => &self.health,
            Some("/props") => &self.props,
            Some("/slots") => &self.slots,
            Some("/models" | "/v1/models") => &self.models,
            _ => &self.completion,
        }
    }
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nContent-Type: application/json; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn serve(port: u16, about: Rc<About>) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let about = Rc::clone(&about);
        tokio::task::spawn_local(async move {
            // A proxy that closes a connection in the middle needs no remark.
            let _ = converse(Wire::new(stream)?, &about).await;
            io::Result::Ok(())
        });
    }
}

async fn converse(mut wire: Wire, about: &About) -> io::Result<()> {
    while let Some(head) = wire.head().await? {
        wire.body(head.framing, |_| ()).await?;
        match events(&head) {
            Some((events, pause)) => stream(&mut wire, events, pause).await?,
            None => wire.send(about.of(head.path())).await?,
        }
        if head.closes {
            break;
        }
    }
    Ok(())
}

/// What [`ask_for`] asks.
fn events(head: &Head) -> Option<(usize, Duration)> {
    let (events, pause) = head.asked.as_deref()?.split_once(' ')?;
    Some((events.parse().ok()?, Duration::from_micros(pause.parse().ok()?)))
}

/// Sends the first event at once and each other one after a pause, one write each,
/// as llama-server does. Streams at full speed take turns.
async fn stream(wire: &mut Wire, events: usize, pause: Duration) -> io::Result<()> {
    let mut event = Event::new();
    wire.send(STREAM.as_bytes()).await?;
    let mut next = tokio::time::Instant::now();
    for _ in 0..events {
        if pause.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::select! {
                () = tokio::time::sleep_until(next) => next += pause,
                () = wire.closed() => return Ok(()),
            }
        }
        wire.send(event.sent(monotonic())).await?;
    }
    wire.send(&last_chunks()).await
}
