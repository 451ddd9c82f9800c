//! Whom `stop` signals, and whom never.

use std::time::Instant;

use herdsman::instance::{Host, StopError};
use herdsman::model::{InstanceId, ProcessId};

use rustix::process::Signal;

use super::bench::{Bench, eventually, is_alive, signal};

#[test]
fn force_kills_at_once_and_many_are_stopped_together() {
    let mut bench = Bench::new();
    const STUBBORN: &str = "
import signal
signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))
print('deaf', flush=True)
while True: signal.pause()";
    let ready = |bench: &Bench, model: &str| bench.log(model).contains("deaf");
    let mut processes = Vec::new();
    for model in ["a", "b", "c"] {
        let launch = bench.launch(model, "/usr/bin/env", &["python3", "-c", STUBBORN]);
        processes.push(bench.spawn(&launch));
        eventually("deaf to TERM", || ready(&bench, model));
    }
    bench.started.iter_mut().for_each(|target| target.force = true);
    assert!(bench.stop().iter().all(Result::is_ok));
    assert!(!processes.iter().any(is_alive));
    let asked = |model: &&str| bench.log(model).contains("asked");
    assert_eq!(["a", "b", "c"].iter().find(|model| asked(model)), None, "no grace for the forced");
}

#[test]
fn servers_that_ignore_sigterm_get_two_seconds_together() {
    let mut bench = Bench::new();
    let deaf = "trap '' TERM; echo up; exec sleep 1000";
    let hears = "echo up; exec sleep 1000";
    for (model, script) in [("1", deaf), ("hears", hears), ("2", deaf), ("3", deaf), ("4", deaf), ("5", deaf)] {
        let launch = bench.launch(model, "/bin/sh", &["-c", script]);
        bench.spawn(&launch);
        eventually("up", || bench.log(model).contains("up\n"));
    }
    bench.started[1].id = InstanceId("other".into());
    let began = Instant::now();
    let results = bench.stop();
    let confirmed: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(confirmed, [true, false, true, true, true, true], "{results:?}");
    assert!(matches!(results[1], Err(StopError::NotConfirmed { .. })), "{results:?}");
    // One after the other they would take ten seconds.
    assert!((2..7).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    bench.started[1].id = InstanceId("id-of-hears".into());
}

#[test]
fn a_process_with_another_start_time_is_never_signalled() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("reused");
    let process = bench.spawn(&launch);
    let mut earlier = bench.started[0].clone();
    earlier.handle = ProcessId { start_ticks: process.start_ticks - 1, ..process.clone() }.into();
    earlier.id = InstanceId("earlier".into());
    assert!(bench.host.stop(&[earlier])[0].is_ok(), "the one that is meant is gone");
    assert!(is_alive(&process));
}

#[test]
fn a_process_without_the_marker_is_never_signalled() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("marked");
    let process = bench.spawn(&launch);
    let mut other = bench.started[0].clone();
    other.id = InstanceId("other".into());
    let message = bench.host.stop(&[other])[0].as_ref().unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "marked: pid {} does not carry the marker of instance other, so it was not signalled: it carries id-of-marked",
            process.pid
        )
    );
    let mut stranger = Host::new("another state").unwrap();
    assert!(matches!(stranger.stop(&bench.started)[0], Err(StopError::NotConfirmed { .. })));
    assert!(is_alive(&process));
}

#[test]
fn a_process_of_another_boot_is_gone_and_one_of_another_namespace_out_of_reach() {
    let mut bench = Bench::new();
    let launch = bench.sleeper("far");
    let process = bench.spawn(&launch);
    let mut before = bench.started[0].clone();
    before.handle = ProcessId { boot_id: "before".into(), ..process.clone() }.into();
    before.id = InstanceId("before".into());
    let mut elsewhere = bench.started[0].clone();
    elsewhere.handle = ProcessId { pid_namespace: 1, ..process.clone() }.into();
    let results = bench.host.stop(&[before, elsewhere]);
    assert!(matches!(results[..], [Ok(()), Err(StopError::Elsewhere { .. })]), "{results:?}");
    assert!(is_alive(&process));
}

/// Starts a wrapper in sh, which writes the pid of its child; returns both.
fn wrapper(bench: &mut Bench, script: &str) -> (ProcessId, ProcessId) {
    let path = bench.path("child");
    let script = format!("{script} & echo $! > {0}.part; mv {0}.part {0}; wait", path.display());
    let launch = bench.launch("wrapper", "/bin/sh", &["-c", &script]);
    let process = bench.spawn(&launch);
    eventually("forked", || path.exists());
    let pid = std::fs::read_to_string(path).unwrap().trim().parse().unwrap();
    (process.clone(), ProcessId { pid, ..process })
}

#[test]
fn whatever_carries_the_markers_ends_too_in_whichever_session() {
    let mut bench = Bench::new();
    let (process, child) = wrapper(&mut bench, "setsid sleep 1000");
    let leads = || std::fs::read_to_string(format!("/proc/{}/comm", child.pid)).unwrap() == "sleep\n";
    eventually("in a session of its own", leads);
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&process) && !is_alive(&child));
}

#[test]
fn what_has_lost_the_markers_and_not_left_the_session_ends_too() {
    let mut bench = Bench::new();
    let (process, child) = wrapper(&mut bench, "env -i sleep 1000");
    let is_bare = || std::fs::read(format!("/proc/{}/environ", child.pid)).unwrap().is_empty();
    eventually("without markers", is_bare);
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&process) && !is_alive(&child));
}

#[test]
fn what_is_left_of_an_instance_that_is_gone_ends_by_its_markers() {
    let mut bench = Bench::new();
    let (process, child) = wrapper(&mut bench, "sleep 1000");
    signal(&process, Signal::KILL);
    let left = bench.until("left over", |seen| !seen.leftovers.is_empty());
    assert!(left.instances.is_empty() && left.deaths.contains_key(&bench.records[0].id), "{left:?}");
    assert_eq!((left.leftovers[0].handle.pid(), &left.leftovers[0].id), (child.pid, &bench.records[0].id));
    assert!(bench.stop()[0].is_ok());
    assert!(!is_alive(&child));
}
