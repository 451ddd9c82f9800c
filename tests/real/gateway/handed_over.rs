//! What becomes of the requests of a watcher that hands over, and of one that cannot.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionread;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::bench::read_until;
use super::served::{PATIENCE, Served, Stream, ask, slow_toml};
use crate::metrics::scrape;
use crate::support::{Program, World, eventually, free_port, get, post};

/// The tokens of a long answer, of 8 kB each: more than a unix socket buffers.
const LONG: usize = 200;

/// The watcher, by its own note.
pub fn watcher_of(world: &World) -> Pid {
    let note = fs::read_to_string(world.state_dir().join("watch.lock")).unwrap();
    let pid = serde_json::from_str::<serde_json::Value>(&note).unwrap()["pid"].as_i64().unwrap();
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Hands over, and returns once the other one watches. The first one may go on.
pub fn hand_over(served: &mut Served) {
    let took_over = served.watcher().log().matches("took over from pid").count();
    kill_process(watcher_of(&served.world), Signal::USR2).unwrap();
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

#[test]
fn a_load_that_waits_is_done_by_the_new_herdsman() {
    let world = World::new();
    fs::write(world.models_dir().join("_groups.toml"), "[one]\nmax_running = 1\n").unwrap();
    let busy = slow_toml(&world, "busy");
    let member = |toml: &str| format!("state = \"on_demand\"\ngroup = \"one\"\n{toml}");
    world.write_definition("busy", &member(&busy));
    world.weights("m", "m ");
    world.write_definition("m", &member(&World::tiny_toml("m")));
    let mut served = Served::new(world);
    let stream = Stream::begin(served.port, "busy", 4_000);
    assert_eq!(post(served.port, "/models/load", &json!({"model": "m"})).unwrap().0, 200);
    hand_over(&mut served);
    drop(stream);
    served.watcher().eventually_says("m is ready");
    assert_eq!(served.watcher().ended(Instant::now()).code, Some(0));
}

/// A watcher of a program that tests may replace.
fn of_a_program(world: World) -> (Served, Program) {
    let program = Program::new(&world);
    let command = program.command(&world);
    (Served::by(world, command, &[]), program)
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
    let socket = served.world.state_dir().join("herdsman.sock");
    // … and takes the place of the socket for other processes, and leaves it.
    let hears_and_ends = format!("printf r >&3; head -n 1 <&3 >heard.txt; rm '{}'", socket.display());
    for (tries, script) in [says_ready, &hears_and_ends].into_iter().enumerate() {
        program.replace(script);
        let port = served.port;
        let asking = thread::spawn(move || ask(port, "cold"));
        served.watcher().signal(Signal::USR2);
        eventually("it failed", PATIENCE, || served.watcher().log().matches("this herdsman goes on").count() > tries);
        assert_eq!(asking.join().unwrap(), Ok("cold cold cold ".to_owned()));
        let note = fs::read_to_string(served.world.state_dir().join("watch.lock")).unwrap();
        let pid = served.watcher().pid().as_raw_nonzero();
        assert!(note.contains(&format!("\"pid\":{pid}")), "{note}");
        UnixStream::connect(&socket).unwrap();
    }
    let heard = fs::read_to_string(served.world.path().join("heard.txt")).unwrap();
    assert!(heard.contains("\"uses\":1"), "the stream is in flight: {heard}");
    assert_eq!(stream.end(), 300);
    // It still can, once the program is whole again.
    program.restore();
    hand_over(&mut served);
    assert_eq!(served.ask("cold"), Ok("cold cold cold ".to_owned()));
}

/// A connection that the client keeps, and that has been used once.
fn kept(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    answer(&mut stream);
    stream
}

/// One answer that says its length.
fn answer(stream: &mut TcpStream) -> String {
    let head = read_until(stream, "\r\n\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect(&head);
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// The answer to one more request, which is the last one there.
fn last_answer(mut stream: TcpStream, head: &str, body: &str) -> String {
    one_more(&mut stream, head, body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Sends one more request.
fn one_more(stream: &mut TcpStream, head: &str, body: &str) {
    let length = body.len();
    write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n").unwrap();
    write!(stream, "Content-Type: application/json\r\nAuthorization: Bearer ann-secret\r\n").unwrap();
    // What only herdsmen say to each other.
    write!(stream, "herdsman-caller: root\r\nherdsman-age-ms: 999999\r\n\r\n{body}").unwrap();
}

/// `ann` may use the models whose names begin with `m`, and is no administrator.
fn with_key(world: &World, serve: &str) {
    for name in ["ann", "root"] {
        let key = world.path().join(format!("{name}.key"));
        fs::write(&key, format!("{name}-secret\n")).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let ann = "[[serve.keys]]\nname = \"ann\"\nkey = { file = \"ann.key\" }\nmodels = [\"m*\"]\n";
    let root = "[[serve.keys]]\nname = \"root\"\nkey = { file = \"root.key\" }\nadmin = true\n";
    fs::write(world.settings(), format!("{serve}{ann}{root}")).unwrap();
}

#[test]
fn what_arrives_on_an_old_connection_is_answered_by_the_new_herdsman_for_the_same_caller() {
    let world = World::new();
    with_key(&world, "");
    world.tiny("m");
    let mut served = Served::new(world);
    let [list, unload, unknown, ours] = [(); 4].map(|()| kept(served.port));
    hand_over(&mut served);
    served.world.tiny("more");
    served.world.tiny("other");
    served.watcher().eventually_says("more is ready");
    served.watcher().eventually_says("other is ready");
    let list = last_answer(list, "GET /v1/models", "");
    assert!(list.contains("connection: close\r\n"), "{list}");
    assert!(list.contains("\"id\":\"m\"") && list.contains("\"id\":\"more\"") && !list.contains("other"), "{list}");
    assert!(last_answer(unload, "POST /unload", "").starts_with("HTTP/1.1 403 "));
    let ask = |model: &str| json!({"model": model, "prompt": "hi", "n_predict": 1}).to_string();
    assert!(last_answer(unknown, "POST /completion", &ask("other")).starts_with("HTTP/1.1 404 "));
    assert!(last_answer(ours, "POST /completion", &ask("more")).starts_with("HTTP/1.1 200 "));
    let counted = scrape(served.port);
    let ours = "herdsman_requests_total{code=\"200\",key=\"ann\",model=\"more\"}";
    assert_eq!(counted.get(ours), Some(&1.0), "{counted:#?}");
}

#[test]
fn a_waiting_request_keeps_its_age_and_its_key_through_a_handover() {
    let hold = Duration::from_secs(20);
    let world = World::new();
    with_key(&world, "[serve]\nhold = \"20s\"\n");
    fs::write(world.models_dir().join("_groups.toml"), "[one]\nmax_running = 1\n").unwrap();
    let busy = slow_toml(&world, "busy");
    world.write_definition("busy", &format!("state = \"on_demand\"\ngroup = \"one\"\n{busy}"));
    world.weights("m", "m ");
    member(&world, "m", &World::tiny_toml("m"));
    let mut served = Served::new(world);
    let _stream = Stream::begin(served.port, "busy", 4_000);
    let mut waiting = kept(served.port);
    let ask = json!({"model": "m", "prompt": "hi", "n_predict": 1}).to_string();
    one_more(&mut waiting, "POST /completion", &ask);
    eventually("it waits", PATIENCE, || {
        scrape(served.port).get("herdsman_requests_waiting{model=\"m\"}") == Some(&1.0)
    });
    // What it would get back if its time began again.
    thread::sleep(Duration::from_secs(5));
    let handing_over = Instant::now();
    hand_over(&mut served);
    let answer = answer(&mut waiting);
    let waited = handing_over.elapsed();
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    assert!(waited < hold, "its time began again: {waited:?}");
    let counted = scrape(served.port);
    let ours = "herdsman_requests_total{code=\"504\",key=\"ann\",model=\"m\"}";
    assert_eq!(counted.get(ours), Some(&1.0), "{counted:#?}");
    // It is shown as the client sent it, not as one herdsman sent it to the other.
    let activity = get(served.port, "/api/activity").unwrap().1.to_string();
    assert!(activity.contains("POST /completion") && !activity.contains("/upstream/"), "{activity}");
}

#[test]
fn a_reader_of_logs_that_does_not_read_keeps_no_herdsman_alive() {
    let world = World::new();
    world.tiny("m");
    let (herdsman, clients) = (world.command(), world.path().join("clients.sock"));
    let mut served = Served::by(world, herdsman, &["--listen", &format!("unix:{}", clients.display())]);
    served.watcher().eventually_says("m is ready");
    let mut stalled = UnixStream::connect(clients).unwrap();
    stalled.write_all(b"GET /logs/stream/m HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stalled.read_exact(&mut [0; 12]).unwrap();
    // More than all buffers on the way hold.
    let log = fs::read_dir(served.world.state_dir().join("logs/m")).unwrap().next().unwrap().unwrap();
    let mut log = fs::File::options().append(true).open(log.path()).unwrap();
    log.write_all(format!("{}\n", "x".repeat(1_000)).repeat(8_000).as_bytes()).unwrap();
    eventually("much of it is on its way", PATIENCE, || ioctl_fionread(&stalled).unwrap() > 50_000);
    hand_over(&mut served);
    assert_eq!(served.watcher().ended(Instant::now()).code, Some(0));
}

/// Whether a signal has stopped each of its threads.
fn stands_still(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero())).unwrap();
    let mut states = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("stat")).unwrap());
    states.all(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
}

#[test]
fn only_the_new_herdsman_answers_for_metrics() {
    let (port, metrics) = (free_port(), free_port());
    let world = World::new();
    let busy = slow_toml(&world, "busy");
    world.write_definition("busy", &format!("state = \"on_demand\"\n{busy}"));
    let addresses = [format!("127.0.0.1:{port}"), format!("127.0.0.1:{metrics}")];
    let watcher = world.watch(&["--listen", &addresses[0], "--metrics", &addresses[1]]);
    watcher.eventually_says("serving at");
    // The first herdsman stays for this one.
    let _stream = Stream::begin(port, "busy", 4_000);
    let old = watcher_of(&world);
    kill_process(old, Signal::USR2).unwrap();
    watcher.eventually_says(&format!("took over from pid {}", old.as_raw_nonzero()));
    let new = watcher_of(&world);
    // The old one may need a moment to leave.
    eventually("the old one does not answer", PATIENCE, || {
        kill_process(new, Signal::STOP).unwrap();
        eventually("the new one stands still", PATIENCE, || stands_still(new));
        let mut scrape = TcpStream::connect(("127.0.0.1", metrics)).unwrap();
        scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        scrape.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let by_old = scrape.read(&mut [0]);
        kill_process(new, Signal::CONT).unwrap();
        scrape.set_read_timeout(Some(PATIENCE)).unwrap();
        by_old.is_err() && scrape.read(&mut [0]).is_ok_and(|read| read > 0)
    });
}
