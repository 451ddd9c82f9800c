//! A real llama-server, from its start to its end.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use herdsman::instance::Host;
use herdsman::model::{Busy, FailureCause, Health, Listener, SecretSource, Timestamp};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, WaitOptions};

use super::bench::{Bench, Impostor, eventually, free_port, is_alive, llama_server, signal};

/// Sends a request whose answer does not end by itself.
fn stream_forever(port: u16) -> TcpStream {
    let body = r#"{"prompt":"x","n_predict":-1,"stream":true}"#;
    let length = body.len();
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        client,
        "POST /completion HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    client
}

#[test]
fn a_server_is_started_gets_ready_works_and_is_stopped() {
    let mut bench = Bench::new();
    let port = free_port();
    let launch = bench.llama("one", &["--port", &port.to_string()]);
    let process = bench.spawn(&launch);
    let first = bench.observe();
    assert_eq!(first.instances.len(), 1, "it is seen at once: {first:?}");

    let ready = bench.until_ready();
    assert_eq!((&ready.id, &ready.model, &ready.spec), (&launch.id, &launch.model, &launch.spec));
    assert_eq!(
        (ready.address.host.as_str(), ready.address.port, ready.handle.process()),
        ("127.0.0.1", Some(port), &process)
    );
    assert!(ready.resident > 1 << 20 && ready.progress.0 >= ready.resident, "{ready:?}");
    let now = Timestamp(i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
    assert!(ready.started_at <= now && now.since(ready.started_at) < Duration::from_secs(60), "{ready:?}");

    let observed = bench.observe();
    assert_eq!(observed.listeners.get(&port), Some(&Listener::Ours(launch.id.clone())));
    assert!(observed.deaths.is_empty() && observed.unknown.is_empty());
    assert_eq!(bench.host.port_holder(port), Some(format!("pid {} (llama-server)", process.pid)));

    assert_eq!(bench.host.busy(&[&ready], &BTreeMap::new()), [Busy::No]);
    // A context that is full ends even that: another goes on.
    let mut client = stream_forever(port);
    eventually("busy", || match bench.host.busy(&[&ready], &BTreeMap::new())[0] {
        Busy::No => {
            client = stream_forever(port);
            false
        }
        busy => busy == Busy::Yes(1),
    });
    drop(client);
    eventually("idle", || bench.host.busy(&[&ready], &BTreeMap::new()) == [Busy::No]);

    let watched = [ready];
    // On a busy machine an answer may be late once, which is a change.
    let unchanged = |_| !bench.host.wait_for_change(&watched, Duration::from_millis(50));
    assert!((0..2).any(unchanged), "nothing changes");
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&process));
    assert!(bench.host.wait_for_change(&watched, Duration::from_secs(60)), "an exit is a change");
    assert!(bench.stop()[0].is_ok(), "a second stop finds nothing to do");
    let gone = bench.observe();
    assert!(gone.instances.is_empty() && gone.deaths.contains_key(&launch.id), "{gone:?}");
    assert_eq!(gone.listeners.get(&port), None);
    assert_eq!(bench.host.port_holder(port), None);
}

#[test]
fn a_server_that_is_busy_loading_is_seen_loading() {
    let mut bench = Bench::new();
    // Nobody writes to the pipe that it reads for its weights.
    let pipe = bench.path("pipe.gguf");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let words = ["--model", pipe.to_str().unwrap(), "--port", &free_port().to_string(), "--fit", "off"];
    let launch = bench.launch("slow", llama_server(), &words);
    bench.spawn(&launch);
    let loading = bench.until("loading", |seen| seen.instances.iter().any(|one| one.health == Health::Loading));
    assert_eq!(bench.host.busy(&[&loading.instances[0]], &BTreeMap::new()), [Busy::No], "it turns every request away");
}

#[test]
fn a_frozen_server_is_unanswered_and_is_killed_when_it_does_not_react_to_term() {
    let mut bench = Bench::new();
    let launch = bench.llama("frozen", &["--port", &free_port().to_string()]);
    let process = bench.spawn(&launch);
    let ready = bench.until_ready();
    signal(&process, Signal::STOP);
    assert!(bench.host.wait_for_change(&[ready], Duration::from_secs(60)), "no answer is a change");
    let frozen = bench.observe();
    assert!(matches!(&frozen.instances[0].health, Health::Unanswered(why) if why.contains("1 s")), "{frozen:?}");
    assert_eq!(bench.host.busy(&[&frozen.instances[0]], &BTreeMap::new()), [Busy::Unknown]);
    let began = std::time::Instant::now();
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&process));
    assert!(began.elapsed() >= Duration::from_secs(2), "it was given its time");
}

#[test]
fn a_server_that_finds_its_port_taken_dies_of_that() {
    let mut bench = Bench::new();
    let port = free_port();
    let _impostor = Impostor::on(port);
    let launch = bench.llama("late", &["--port", &port.to_string()]);
    bench.spawn(&launch);
    bench.records[0].port = Some(port);
    let dead = bench.until("dead", |seen| seen.deaths.contains_key(&launch.id));
    assert_eq!(dead.deaths[&launch.id].cause, FailureCause::PortBusy, "{dead:?}");
}

#[test]
fn what_a_server_says_last_explains_its_death() {
    let mut bench = Bench::new();
    let port = free_port().to_string();
    let missing = bench.launch("gone", llama_server(), &["--model", "/no/such.gguf", "--port", &port]);
    let wrong = bench.launch("wrong", llama_server(), &["--no-such-option"]);
    bench.spawn(&missing);
    bench.spawn(&wrong);
    let dead = bench.until("dead", |seen| seen.deaths.len() == 2).deaths;
    for (launch, why) in [
        (&wrong, "error: invalid argument: --no-such-option"),
        (&missing, "gguf_init_from_file: failed to open GGUF file '/no/such.gguf'"),
    ] {
        // Unless it ended before it had said so.
        let message = &dead[&launch.id].message;
        assert!(message.starts_with(why) || message.contains("a retry may show the cause"), "{message}");
    }
    assert!(dead.values().all(|death| death.cause == FailureCause::Spec), "{dead:?}");
}

#[test]
fn reads_key_and_prefix_from_the_instance_itself() {
    let mut bench = Bench::new();
    let mut launch = bench.llama("locked", &["--port", &free_port().to_string(), "--api-prefix", "/v"]);
    let key = bench.path("key");
    std::fs::write(&key, "sesame\n").unwrap();
    launch.secrets.insert("LLAMA_API_KEY".into(), SecretSource::File(key.to_str().unwrap().into()));
    bench.spawn(&launch);
    let ready = bench.until_ready();
    assert_eq!(bench.host.busy(&[&ready], &BTreeMap::new()), [Busy::No]);
}

#[test]
fn a_unix_socket_is_asked_and_removed_and_a_stale_one_is_no_obstacle() {
    let mut bench = Bench::new();
    let socket = bench.path("m.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists(), "a stale file is in the way");
    let mut launch = bench.llama("local", &["--host", socket.to_str().unwrap()]);
    launch.socket = Some(socket.clone());
    bench.spawn(&launch);
    let ready = bench.until_ready();
    assert_eq!((ready.address.host.as_str(), ready.address.port), (socket.to_str().unwrap(), None));
    assert_eq!(bench.host.busy(&[&ready], &BTreeMap::new()), [Busy::No]);
    assert!(bench.stop()[0].is_ok());
    assert!(!socket.exists());
}

#[test]
fn a_sleeping_server_is_idle_and_is_not_woken() {
    let mut bench = Bench::new();
    let launch = bench.llama("sleepy", &["--port", &free_port().to_string(), "--sleep-idle-seconds", "1"]);
    bench.spawn(&launch);
    let ready = [bench.until_ready()];
    eventually("asleep", || {
        bench.host.wait_for_change(&ready, Duration::from_millis(100));
        bench.log("sleepy").contains("entering sleeping state")
    });
    assert_eq!(bench.host.busy(&[&ready[0]], &BTreeMap::new()), [Busy::No]);
    assert_eq!(bench.observe().instances[0].health, Health::Ready);
    assert!(!bench.log("sleepy").contains("exiting sleeping state"), "{}", bench.log("sleepy"));
}

#[test]
fn instances_outlive_the_host_that_started_them_and_are_found_without_a_record() {
    let mut bench = Bench::new();
    let launch = bench.llama("lasting", &["--port", &free_port().to_string()]);
    let process = bench.spawn(&launch);
    bench.host = Host::new(bench.directory.path().to_str().unwrap()).unwrap();
    bench.records.clear();
    assert_eq!(*bench.until_ready().handle.process(), process);
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&process));
    // The host that would have reaped it is gone; this process is its parent.
    let reaped = rustix::process::waitpid(Pid::from_raw(process.pid), WaitOptions::NOHANG);
    assert!(matches!(reaped, Ok(Some(_))));
}

#[test]
fn reports_a_child_that_answers_for_its_wrapper_and_owns_its_port() {
    let mut bench = Bench::new();
    let port = free_port();
    let llama = bench.llama("wrapped", &["--port", &port.to_string()]);
    let mut launch =
        bench.launch("wrapped", "/bin/sh", &["-c", "\"$0\" \"$@\"; true", llama_server().to_str().unwrap()]);
    launch.args.extend(llama.args);
    let process = bench.spawn(&launch);
    let seen = bench.until("wrapped", |seen| matches!(seen.instances[0].health, Health::Wrapped { .. }));
    let [wrapper] = &seen.instances[..] else { panic!("{seen:?}") };
    assert_eq!((wrapper.handle.process(), wrapper.address.port), (&process, Some(port)));
    let Health::Wrapped { child } = wrapper.health else { panic!("{wrapper:?}") };
    assert_ne!(child, process.pid);
    assert_eq!(seen.listeners.get(&port), Some(&Listener::Ours(launch.id.clone())));
    // The wrapper's end makes the server the instance.
    bench.records[0].handle = Some(process.clone().into());
    signal(&process, Signal::KILL);
    let ready = bench.until("left behind", |seen| matches!(&seen.instances[..], [one] if one.handle.pid() == child));
    assert_eq!((&ready.instances[0].health, ready.deaths.len()), (&Health::Ready, 0));
    assert!(bench.stop()[0].is_ok());
    assert!(bench.observe().instances.is_empty());
}
