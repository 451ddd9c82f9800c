//! What becomes of the requests of a watcher that hands over, and of one that cannot.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::support::{World, eventually, get};

/// The tokens of a long answer, of 8 kB each: more than a unix socket buffers.
const LONG: usize = 200;

/// Hands over, and returns once the other one watches. The first one may go on.
fn hand_over(served: &mut Served) {
    let took_over = served.watcher().log().matches("took over from pid").count();
    let old = fs::read_to_string(served.world.state_dir().join("watch.lock")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&old).unwrap()["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::USR2).unwrap();
    eventually("another took over", PATIENCE, || {
        served.watcher().log().matches("took over from pid").count() > took_over
    });
}

/// A model of a group of one that stops as soon as it may.
fn member(world: &World, name: &str, toml: &str) {
    let toml = format!("state = \"on_demand\"\ngroup = \"one\"\n{toml}[idle]\nstop_after = \"200ms\"\n");
    world.write_definition(name, &toml);
}

/// `a` and `b` share room, and `b` has generated a long answer that nobody reads.
fn unread() -> (Served, UnixStream) {
    let world = World::new();
    fs::write(world.models_dir().join("_groups.toml"), "[one]\nmax_running = 1\n").unwrap();
    world.weights("a", "a ");
    member(&world, "a", &World::tiny_toml("a"));
    world.weights("b", &format!("{} ", "b".repeat(8_000)));
    member(&world, "b", &World::tiny_toml("b"));
    let (herdsman, clients) = (world.command(), world.path().join("clients.sock"));
    let served = Served::by(world, herdsman, &["--listen", &format!("unix:{}", clients.display())]);
    let mut stream = UnixStream::connect(clients).unwrap();
    let body = json!({"model": "b", "prompt": "hi", "n_predict": LONG, "ignore_eos": true, "stream": true}).to_string();
    let head =
        "POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    // It has begun once there is more than a head.
    stream.read_exact(&mut [0; 4_000]).unwrap();
    eventually("everything is generated", PATIENCE, || {
        let (status, slots) = get(served.port, "/slots?model=b").unwrap();
        status == 200 && slots.as_array().unwrap().iter().all(|slot| slot["is_processing"] == false)
    });
    (served, stream)
}

#[test]
fn a_server_does_not_stop_before_the_herdsmen_that_handed_over_have_sent_its_answers() {
    let (mut served, mut stream) = unread();
    // The first one's answer is in flight for the third one, too.
    for _ in 0..2 {
        hand_over(&mut served);
    }
    let port = served.port;
    let other = thread::spawn(move || ask(port, "a"));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(!other.is_finished(), "b made way for a");
        thread::sleep(Duration::from_millis(20));
    }
    served.watcher().has_not_said("b draining");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "it was cut off");
    assert!(answer.contains(&format!("\"tokens_predicted\":{LONG}")), "it is not whole");
    assert_eq!(other.join().unwrap(), Ok("a a a ".to_owned()));
    assert_eq!(served.watcher().ended(Instant::now()).code, Some(0));
}

/// A watcher of a program that tests may replace.
fn of_a_program(world: World) -> (Served, PathBuf) {
    let program = world.path().join("herdsman");
    fs::copy(env!("CARGO_BIN_EXE_herdsman"), &program).unwrap();
    let ordinary = world.command();
    let mut command = Command::new(&program);
    command.args(ordinary.get_args()).current_dir(world.path()).env_clear();
    command.envs(ordinary.get_envs().filter_map(|(name, value)| Some((name, value?))));
    (Served::by(world, command, &[]), program)
}

/// Puts a script in place of the program.
fn replace(program: &Path, script: &str) {
    let new = program.with_extension("new");
    fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, program).unwrap();
}

#[test]
fn a_watcher_goes_on_if_the_other_one_fails_once_it_is_ready() {
    let world = World::new();
    let toml = slow_toml(&world, "m");
    world.write_definition("m", &toml);
    world.weights("cold", "cold ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let (mut served, program) = of_a_program(world);
    let stream = Stream::begin(served.port, "m", 300);
    // Descriptor 3 is the line between the two.
    let says_ready = "printf r >&3";
    let hears_and_ends = "printf r >&3; head -n 1 <&3 >heard.txt";
    for (tries, script) in [says_ready, hears_and_ends].into_iter().enumerate() {
        replace(&program, script);
        let port = served.port;
        let asking = thread::spawn(move || ask(port, "cold"));
        served.watcher().signal(Signal::USR2);
        eventually("it failed", PATIENCE, || served.watcher().log().matches("this herdsman goes on").count() > tries);
        assert_eq!(asking.join().unwrap(), Ok("cold cold cold ".to_owned()));
        let note = fs::read_to_string(served.world.state_dir().join("watch.lock")).unwrap();
        let pid = served.watcher().pid().as_raw_nonzero();
        assert!(note.contains(&format!("\"pid\":{pid}")), "{note}");
    }
    let heard = fs::read_to_string(served.world.path().join("heard.txt")).unwrap();
    assert!(heard.contains("\"uses\":1"), "the stream is in flight: {heard}");
    assert_eq!(stream.end(), 300);
    // It still can, once the program is whole again.
    fs::copy(env!("CARGO_BIN_EXE_herdsman"), program.with_extension("new")).unwrap();
    fs::rename(program.with_extension("new"), &program).unwrap();
    hand_over(&mut served);
    assert_eq!(served.ask("cold"), Ok("cold cold cold ".to_owned()));
}
