//! Known, absent, unknown: what is made of a process by its identity.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use herdsman::instance::{Host, StopError};
use herdsman::model::{Busy, FailureCause, Health, InstanceId, InstanceRecord, Listener, ProcessId, Timestamp};
use rustix::process::{Signal, Uid};

use super::bench::{Bench, Impostor, eventually, free_port, is_alive, record, signal};

#[test]
fn a_stranger_on_the_port_makes_nothing_ready() {
    let mut bench = Bench::new();
    let port = free_port();
    let _impostor = Impostor::on(port);
    let mut launch = bench.launch("deaf", "/usr/bin/env", &["python3", "-c", "import time; time.sleep(1000)"]);
    launch.args.extend(["--port".to_owned(), port.to_string()]);
    bench.spawn(&launch);
    let observed = bench.observe();
    assert_eq!(observed.instances[0].address.port, Some(port));
    assert_eq!(observed.instances[0].health, Health::NotListening);
    assert_eq!(observed.listeners.get(&port), Some(&Listener::Stranger));
    assert_eq!(bench.host.busy(&[&observed.instances[0]], &BTreeMap::new()), [Busy::Unknown]);
    let holder = bench.host.port_holder(port).unwrap();
    assert!(holder.contains("(python3"), "{holder}");
}

#[test]
fn an_instance_of_another_state_id_is_foreign() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("shared");
    let process = bench.spawn(&launch);
    let mut other = Host::new("another state").unwrap();
    let seen = other.observe(&[], Path::new("/nowhere")).unwrap();
    assert!(seen.instances.is_empty());
    assert_eq!(seen.foreign[&launch.definition], ("shared".to_owned(), process.pid));
    // Even with our database copied: its pid is right and its marker is not ours.
    let seen = other.observe(&bench.records, &bench.logs()).unwrap();
    assert!(seen.unknown.is_empty() && seen.deaths.contains_key(&launch.id), "{seen:?}");
    assert!(!bench.observe().foreign.contains_key(&launch.definition));
}

#[test]
fn children_of_an_instance_are_no_instances() {
    let mut bench = Bench::new();
    let child = bench.path("child");
    let script = format!("sleep 1000 & echo $! > {0}.part; mv {0}.part {0}; wait", child.display());
    let launch = bench.launch("parent", "/bin/sh", &["-c", &script]);
    let process = bench.spawn(&launch);
    eventually("forked", || child.exists());
    let child = ProcessId { pid: std::fs::read_to_string(child).unwrap().trim().parse().unwrap(), ..process.clone() };
    let observed = bench.observe();
    let pids: Vec<i32> = observed.instances.iter().map(|one| one.handle.pid()).collect();
    signal(&child, Signal::KILL);
    assert_eq!(pids, [process.pid]);
}

#[test]
fn an_instance_that_is_just_replacing_its_program_is_seen() {
    let mut bench = Bench::new();
    let script = bench.path("again.sh");
    std::fs::write(&script, "exec /bin/sh \"$0\"\n").unwrap();
    let launch = bench.launch("again", "/bin/sh", &[script.to_str().unwrap()]);
    bench.spawn(&launch);
    for look in 0..40 {
        assert_eq!(bench.observe().instances.len(), 1, "at look {look}");
    }
}

#[test]
fn a_record_of_another_start_time_is_of_a_dead_process() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("reused");
    let process = bench.spawn(&launch);
    let earlier = InstanceId("earlier".into());
    let reused = ProcessId { start_ticks: process.start_ticks - 1, ..process };
    bench.records.push(InstanceRecord { id: earlier.clone(), ..record(&launch, reused) });
    let observed = bench.observe();
    assert!(observed.deaths.contains_key(&earlier) && observed.unknown.is_empty(), "{observed:?}");
    assert_eq!(observed.instances.len(), 1);
}

#[test]
fn a_process_of_another_boot_is_gone_and_one_of_another_namespace_is_unknown() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("far");
    let process = bench.spawn(&launch);
    let far = InstanceId("far".into());
    let recorded = |process| InstanceRecord { id: far.clone(), ..record(&launch, process) };
    let before = recorded(ProcessId { boot_id: "before".into(), ..process.clone() });
    bench.records = vec![before];
    assert!(bench.observe().deaths.contains_key(&far));
    bench.records = vec![recorded(ProcessId { pid_namespace: 1, ..process })];
    assert_eq!(bench.observe().unknown, [far]);
}

#[test]
fn a_live_recorded_process_whose_markers_are_gone_is_unknown_and_not_absent() {
    let mut bench = Bench::new();
    let launch = bench.launch("bare", "/usr/bin/env", &["-i", "/bin/sleep", "1000"]);
    let process = bench.spawn(&launch);
    let observed = bench.until("unknown", |seen| !seen.unknown.is_empty());
    assert_eq!(observed.unknown, std::slice::from_ref(&launch.id));
    assert!(observed.instances.is_empty() && observed.deaths.is_empty(), "{observed:?}");
    assert!(matches!(bench.stop()[0], Err(StopError::NotConfirmed { .. })));
    // Its marker cannot stop it any more; this test started it.
    signal(&process, Signal::KILL);
    bench.until("gone", |seen| seen.deaths.contains_key(&launch.id));
}

#[test]
fn a_start_that_was_never_recorded_is_unknown_beside_a_process_that_may_not_be_read() {
    become_nobody();
    let mut bench = Bench::new();
    // Who may run a program and not read it may not read its memory either.
    let guarded = bench.path("guarded");
    // By another process: one that this one starts meanwhile would hold the file
    // open for writing, and what is written to cannot be executed.
    assert!(Command::new("cp").arg("/bin/sleep").arg(&guarded).status().unwrap().success());
    std::fs::set_permissions(&guarded, Permissions::from_mode(0o111)).unwrap();
    // As after a kill of herdsman: whether it has markers is unknown.
    let launch = bench.launch("guarded", &guarded, &["1000"]);
    let before = Timestamp(i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
    let mut child = Command::new("setsid").arg(&guarded).arg("1000").spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    eventually("executed", || std::fs::read_to_string(&stat).unwrap().contains("(guarded)"));
    let nowhere = ProcessId { pid: 0, start_ticks: 0, boot_id: String::new(), pid_namespace: 0 };
    let intended = |at| InstanceRecord { handle: None, started_at: at, ..record(&launch, nowhere.clone()) };
    let mut unknown = |at| {
        bench.records = vec![intended(at)];
        bench.observe().unknown
    };
    let seen = (unknown(before), unknown(before.plus(Duration::from_secs(60))));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(seen, (vec![launch.id.clone()], vec![]), "one that started before that cannot be it");
    assert_eq!(unknown(before), []);
}

/// This thread, and it alone, gives up being root.
fn become_nobody() {
    if rustix::process::geteuid().is_root() {
        let nobody = Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
    }
}

#[test]
fn a_zombie_is_dead_and_its_parent_reaps_it() {
    let mut bench = Bench::new();
    let launch = bench.launch("brief", "/bin/sh", &["-c", "echo 'error: invalid argument: --x' >&2; exit 1"]);
    let process = bench.spawn(&launch);
    let entry = format!("/proc/{}", process.pid);
    eventually("dead", || !is_alive(&process));
    assert!(Path::new(&entry).exists(), "nobody has reaped it yet");
    let mut other = Host::new(bench.directory.path().to_str().unwrap()).unwrap();
    let seen = other.observe(&bench.records, &bench.logs()).unwrap();
    assert!(seen.instances.is_empty(), "{seen:?}");
    assert_eq!(seen.deaths[&launch.id].message, "error: invalid argument: --x");
    assert!(other.stop(&bench.started)[0].is_ok());
    bench.observe();
    assert!(!Path::new(&entry).exists());
}

#[test]
fn a_process_is_not_dead_before_its_last_thread_is() {
    const PROGRAM: &str = "
import ctypes, os, sys, threading, time
def rest():
    while os.path.exists(sys.argv[1]): time.sleep(0.01)
    os._exit(3)
threading.Thread(target=rest).start()
ctypes.CDLL(None).pthread_exit(None)";
    let mut bench = Bench::new();
    let hold = bench.path("hold");
    std::fs::write(&hold, "").unwrap();
    let launch = bench.launch("dying", "/usr/bin/env", &["python3", "-c", PROGRAM, hold.to_str().unwrap()]);
    let process = bench.spawn(&launch);
    eventually("a zombie with a thread", || !is_alive(&process));
    let observed = bench.observe();
    assert_eq!(observed.unknown, std::slice::from_ref(&launch.id), "{observed:?}");
    // A look during the end waits for it, and learns how.
    std::fs::remove_file(&hold).unwrap();
    let died = bench.until("dead", |seen| seen.deaths.contains_key(&launch.id)).deaths;
    assert!(died[&launch.id].message.starts_with("exit status 3; "), "{died:?}");
}

#[test]
fn a_silent_death_is_explained_by_the_signal() {
    let mut bench = Bench::new();
    let launch = bench.launch("killed", "/bin/sh", &["-c", "kill -KILL $$"]);
    bench.spawn(&launch);
    let dead = bench.until("dead", |seen| seen.deaths.contains_key(&launch.id)).deaths;
    assert_eq!(dead[&launch.id].cause, FailureCause::Killed);
    assert!(dead[&launch.id].message.contains("SIGKILL"), "{dead:?}");
    assert_eq!(bench.observe().deaths, dead, "the next look says the same");
}
