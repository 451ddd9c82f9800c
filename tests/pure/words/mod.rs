//! How the planner speaks: the words of each reason, wait, finding, refusal and
//! death, in one table. Nowhere else does a test of the planner pin prose, so that
//! a better wording changes this folder only.
//!
//! A variant without an example fails: `table!` names every variant in a `match`
//! that does not compile without it, and then looks for an example of each.

mod examples;

use herdsman::model::text::clock;
use herdsman::model::{Death, FailureCause, ModelName};
use herdsman::plan::{Found, GuardRefusal, Reason, Refusal, WaitFor};
use herdsman::view::{View, words};
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model, name, variant};

/// `variant -> text` for every example of an enum.
macro_rules! table {
    ($enum:ident, $examples:expr, $shown:expr; $($variant:ident),+) => {{
        let name_of = |it: &$enum| match it { $($enum::$variant { .. } => stringify!($variant)),+ };
        let examples: Vec<$enum> = $examples;
        for variant in [$(stringify!($variant)),+] {
            assert!(examples.iter().any(|it| name_of(it) == variant), "{variant} has no example");
        }
        let shown: fn(&$enum, &str) -> String = $shown;
        examples.iter().map(|it| format!("{} -> {it}\n", shown(it, name_of(it)))).collect::<String>()
    }};
}

#[test]
fn every_reason_has_its_words() {
    let table = table! {
        Reason, examples::reasons(), |reason, _| variant(reason, "reason");
        DefinitionAdded, TakesOverRow, FieldChanged, OtherSpec, StateWanted, DefinitionRemoved, NotRunning,
        AskedFor, Idle, Unloaded, MakesRoom, ProcessGone, Rebooted, RolledBack, TriedAgain, RowDrift, RowDeleted, Unrecorded, Duplicate, Leftover,
        NotReadyInTime, Wrapped, FailedToStart, Unhealthy, BinaryChanged, StopUnfinished, Down, ByHand
    };
    assert_snapshot!(table, @r#"
    definition_added(models.d/chat.toml, state running) -> models.d/chat.toml
    definition_added(models.d/chat.toml, state stopped) -> models.d/chat.toml (declared stopped)
    takes_over_row(id 3) -> adopting unmanaged row 3
    field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:7) -> ctx_size 8192 -> 16384   models.d/chat.toml:7
    field_changed(mmap set to false, impact restart, models.d/chat.toml:7) -> mmap set to false   models.d/chat.toml:7
    field_changed(mmap no longer false, impact restart, models.d/chat.toml:7) -> mmap no longer false   models.d/chat.toml:7
    field_changed(secrets.LLAMA_API_KEY, impact restart, models.d/chat.toml:7) -> secrets.api_key   models.d/chat.toml:7
    field_changed(description old -> new, impact record, models.d/chat.toml:7) -> description (no restart)   models.d/chat.toml:7
    field_changed(drain 30s -> 60s, impact record, models.d/chat.toml:7) -> drain 30s -> 60s (no restart)   models.d/chat.toml:7
    other_spec -> serves spec v1:00 instead of v1:11
    state_wanted(models.d/chat.toml:7, state running) -> state = "running"   models.d/chat.toml:7
    state_wanted(models.d/chat.toml:7, state stopped) -> state = "stopped"   models.d/chat.toml:7
    definition_removed(file models.d/chat.toml) -> models.d/chat.toml removed
    not_running -> not running
    asked_for(waiting 3) -> asked for (3 waiting)
    idle(for_ms 612000) -> idle for 10m 12s
    unloaded -> unloaded by a client
    makes_room(group chat, other coder) -> makes room for coder in group chat
    process_gone(crashes 1, death(cause no_memory)) -> process gone: out of memory
    process_gone(crashes 2) -> process gone
    rebooted -> the machine rebooted
    rolled_back(failed 2, to 1) -> generation 2 failed; rolling back to generation 1
    tried_again -> retrying after an earlier failure
    row_drift(ctx_size 8192 -> NULL) -> database drift: ctx_size changed from 8192 to NULL
    row_deleted(id 3) -> database drift: another program deleted row 3
    unrecorded(pid 101) -> pid 101 belongs to herdsman but is missing from the database
    duplicate(kept 101, pid 102) -> pid 102 is a second server; keeping pid 101
    leftover(pid 102) -> pid 102 is left over from a server that has exited
    not_ready_in_time -> not ready in time
    wrapped(child 1101, pid 101) -> pid 1101 answers instead of its parent, the wrapper (pid 101)
    failed_to_start -> failed to start: llama-server runs as a router
    unhealthy(for_ms 31000) -> /health has not answered for 31 s
    binary_changed -> the llama-server binary changed on disk
    stop_unfinished -> finishing an interrupted stop
    down -> herdsman down
    by_hand(by ann) -> by hand (ann)
    by_hand(because new driver, by ann) -> by hand (ann: new driver)
    "#);
}

#[test]
fn every_wait_has_its_words() {
    let table = table! {
        WaitFor, examples::waits(), |wait, _| variant(wait, "waiting_for");
        Ready, Drain, Answer, StartSlot, Weights, RestartSlot, PortOf, Backoff, Edit, Sibling, Port, FreePort,
        Definition, DeletionBlocked, Guard, Binary, Policy, Accepted, UnknownProcess, ForeignInstance, OneRow,
        Room, NoRoom, IdleStop, BinaryUpgrade, Suspended, StateByHand
    };
    assert_snapshot!(table, @r#"
    ready(deadline 600.000 s, pid 101) -> loading (pid 101)
    drain(busy 1, deadline 30.000 s) -> draining (1 request in flight)
    drain(busy 2, deadline 30.000 s) -> draining (2 requests in flight)
    drain(deadline 30.000 s) -> draining (in-flight requests unknown)
    answer(pid 101) -> pid 101 is alive but not responding
    answer(deadline 30.000 s, pid 101) -> pid 101 is alive but not responding; will restart if this persists (unhealthy_after)
    start_slot -> waiting for earlier starts (--parallel)
    weights(file /weights/chat.gguf, until 10.000 s) -> waiting for /weights/chat.gguf to stay unchanged for 10 s
    restart_slot(other coder) -> waiting for coder to restart (--max-restarting)
    port_of(other coder, port 8100) -> waiting for coder to release port 8100
    backoff(crashes 1, until 60.000 s, was_ready) -> crashed once, waiting to retry: out of memory
    backoff(crashes 3, until 60.000 s, was_ready) -> crashed 3 times in a row, waiting to retry: out of memory
    backoff(crashes 3, until 60.000 s) -> failed to start 3 times in a row, waiting to retry: out of memory
    edit(generation 2) -> generation 2 failed: invalid magic characters; waiting for an edit (or --retry)
    edit(generation 2, serving 1) -> generation 2 failed: invalid magic characters; generation 1 is serving; waiting for an edit (or --retry)
    sibling(models.d/chat.toml:7, other coder) -> not restarted: the same edit failed on coder   models.d/chat.toml:7
    port(holder nginx (pid 7), port 8100) -> port 8100 is in use by nginx (pid 7); stop it or choose another port
    free_port(range [8100,8999]) -> no free port in 8100-8999; widen --port-range or stop a model
    definition(file models.d/chat.toml) -> left unchanged: models.d/chat.toml: expected `=`
    deletion_blocked(file models.d/chat.toml) -> not deleted: models.d/chat.toml is invalid and may be its definition
    guard -> refused by the mass-delete guard (--max-deletes)
    binary -> no llama-server in PATH
    policy -> not started: the policy does not allow `ctx_size`
    accepted(models.d/chat.toml:7) -> left unchanged: error: invalid argument: --x   models.d/chat.toml:7
    unknown_process(pid 101) -> pid 101 may be its server but cannot be identified (does `binary` change its environment or user?); stop it with `kill 101`
    unknown_process -> a process with an unreadable environment may be its server
    foreign_instance(pid 4711) -> pid 4711 serves this definition for another state directory; stop it there first
    one_row(ids [1,2]) -> database rows 1, 2 share this name; rename or delete all but one
    room(busy ["qwen"], deadline 30.000 s, group chat) -> waiting for room in group chat (qwen is busy)
    room(busy ["qwen"], group chat) -> waiting for room in group chat (qwen is busy)
    room(busy ["phi","qwen"], group chat) -> waiting for room in group chat (phi and qwen are busy)
    no_room(group chat, holders ["phi","qwen"]) -> no room in group chat: phi and qwen never stop for it; stop one or raise max_running
    idle_stop(after_ms 600000, until 600.000 s) -> stops after 10m 0s without requests
    binary_upgrade -> the llama-server binary changed on disk; restart with --upgrade-binary
    suspended(because new driver, by ann) -> suspended until `herdsman resume` (ann: new driver)
    suspended(because new driver, by ann, until 7200.000 s) -> suspended for a limited time or until `herdsman resume` (ann: new driver)
    suspended(because new driver, by ann, removed) -> suspended until `herdsman resume` (ann: new driver); its definition is gone, so resuming deletes it
    suspended(because new driver, by ann, missing) -> suspended until `herdsman resume` (ann: new driver); it is not running, and resuming starts it
    suspended(because new driver, by ann, edited) -> suspended until `herdsman resume` (ann: new driver); resuming applies the edits to its definition
    state_by_hand(by ann, state stopped) -> stopped by hand until `herdsman start` or an edit of its definition (ann)
    state_by_hand(by ann, state running) -> started by hand until `herdsman stop` or an edit of its definition (ann)
    "#);
}

/// Where somebody reads it now, a wait says when: `view::words` adds it.
#[test]
fn a_wait_that_somebody_reads_now_says_when() {
    let (waits, now) = (examples::waits(), examples::at(20));
    let pass = World::settled([model("chat")]).look();
    let view = View::of(&pass);
    let chat = view.model(&name("chat")).unwrap();
    let timed = waits.iter().filter(|on| words::wait(on, chat, now) != on.to_string());
    // The time of day is that of wherever the test runs.
    let zoneless = |text: String| {
        let clocks = [10, 30, 60, 600, 7200].map(|seconds| clock(examples::at(seconds)));
        clocks.iter().fold(text, |text, clock| text.replace(clock, "HH:MM:SS"))
    };
    let table = timed.map(|on| format!("{}\n", zoneless(words::wait(on, chat, now)))).collect::<String>();
    assert_snapshot!(table, @"
    draining (1 request in flight), at most 10 s more
    draining (2 requests in flight), at most 10 s more
    draining (in-flight requests unknown), at most 10 s more
    crashed once, next try in 40 s (at HH:MM:SS): out of memory
    crashed 3 times in a row, next try in 40 s (at HH:MM:SS): out of memory
    failed to start 3 times in a row, next try in 40 s (at HH:MM:SS): out of memory
    keeps running unchanged: models.d/chat.toml: expected `=`
    waiting for room in group chat (qwen is busy), until HH:MM:SS at the latest
    stops after 10m 0s without requests, in 9m 40s unless one comes
    suspended until `herdsman resume` (ann, 20 s ago: new driver)
    suspended until HH:MM:SS (in 119m 40s) or `herdsman resume` (ann, 20 s ago: new driver)
    suspended until `herdsman resume` (ann, 20 s ago: new driver); its definition is gone, so resuming deletes it
    suspended until `herdsman resume` (ann, 20 s ago: new driver); it is not running, and resuming starts it
    suspended until `herdsman resume` (ann, 20 s ago: new driver); resuming applies the edits to its definition
    stopped by hand until `herdsman start` or an edit of its definition (ann, 20 s ago)
    started by hand until `herdsman stop` or an edit of its definition (ann, 20 s ago)
    ");
}

#[test]
fn every_finding_has_its_words() {
    let death = || Death { cause: FailureCause::Spec, message: "invalid magic characters".to_owned() };
    let examples =
        vec![Found::Ready { pid: 101, port: Some(8100) }, Found::StartFailed(death()), Found::Crashed(death())];
    let table = table! {
        Found, examples, |found, _| found.as_str().to_owned();
        Ready, StartFailed, Crashed
    };
    assert_snapshot!(table, @"
    ready -> ready (pid 101)
    start_failed -> failed to start: invalid magic characters
    crashed -> crashed: invalid magic characters
    ");
}

#[test]
fn every_refusal_of_a_command_has_its_words() {
    let table = table! {
        Refusal, examples::refusals(), |_, name| name.to_owned();
        Unknown, Unmanaged, Unresolved, Removed, Suspended, NotToRun
    };
    assert_snapshot!(table, @"
    Unknown -> there is no model of this name; `herdsman status` lists all models
    Unmanaged -> another program owns its row; add a definition of that name to adopt it
    Unresolved -> models.d/chat.toml: expected `=`
    Removed -> its definition is gone; `herdsman reconcile --dry-run` shows what happens to it
    Suspended -> the model is suspended (ann: new driver); use `herdsman resume NAME` first
    NotToRun -> the model is stopped; use `herdsman start NAME`
    ");
}

#[test]
fn the_guard_says_what_it_refuses_and_how_to_insist() {
    let names = |names: &[&str]| names.iter().copied().map(name).collect::<Vec<ModelName>>();
    let one = GuardRefusal { deletions: names(&["a", "b"]), managed: 2, renames: Vec::new() };
    let renamed = GuardRefusal { renames: vec![(name("a"), name("c"))], ..one.clone() };
    assert_snapshot!(format!("{one}\n{renamed}"), @r#"
    refused to delete 2 of 2 managed models; nothing is deleted or created; to delete them anyway: herdsman reconcile --max-deletes 2
    refused to delete 2 of 2 managed models; nothing is deleted or created; c uses the weights of a: if you renamed it, set name = "a" in its file; to delete them anyway: herdsman reconcile --max-deletes 2
    "#);
}

/// What herdsman itself says of a start that failed. Where the log says why, its
/// words are shown as they are.
#[test]
fn every_failure_that_herdsman_finds_has_its_words() {
    let fated = |fate: &str| World::new([model("chat").fate(fate).ready_timeout(60)]);
    let mut without_gpu = World::new([model("chat").require_gpu().fate("no-gpu")]);
    let mut other_model = World::new([model("chat")]);
    other_model.pass();
    other_model.machine.server("chat").weights = Some("/weights/other.gguf".to_owned());
    let mut silent = World::settled([model("chat")]);
    silent.machine.kill("chat", FailureCause::Spec, "");
    silent.machine.deaths.clear();
    let [mut hangs, mut wraps, mut router] = ["hangs", "wraps", "router"].map(fated);
    let worlds = [
        ("hangs", &mut hangs),
        ("wraps", &mut wraps),
        ("router", &mut router),
        ("other model", &mut other_model),
        ("no gpu", &mut without_gpu),
        ("silent death", &mut silent),
    ];
    let table: String = worlds.into_iter().map(|(what, world)| format!("{what} -> {}\n", death(world))).collect();
    assert_snapshot!(table, @"
    hangs -> not ready after 60 s
    wraps -> pid 1101 answers instead of its parent, the wrapper (pid 101); the wrapper must start llama-server with `exec`
    router -> llama-server runs as a router without a model: does `binary` pass its arguments on?
    other model -> llama-server loaded /weights/other.gguf instead of /weights/chat.gguf: does `binary` pass its arguments on?
    no gpu -> no layer runs on a GPU, but [ready] require_gpu is true
    silent death -> its log does not say why
    ");
}

/// The first death that passes find.
fn death(world: &mut World) -> String {
    for _ in 0..200 {
        let pass = world.pass();
        if let Some(death) = pass.plan.findings.iter().find_map(|finding| finding.what.death()) {
            return death.message.clone();
        }
        world.advance(1);
    }
    panic!("nothing died:\n{}", world.planned());
}

#[test]
fn the_words_of_a_failure_follow_it_into_the_status_and_the_wait() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").fate("dies"));
    world.settle();
    let (plan, records) = (world.plan(), world.store.records());
    assert_eq!(records.models["chat"].status_message.as_deref(), Some("generation 2 failed: invalid magic characters"));
    let waits: Vec<String> = plan.waiting.iter().map(|waiting| waiting.on.to_string()).collect();
    assert!(waits[0].contains("invalid magic characters"), "{waits:?}");
}
