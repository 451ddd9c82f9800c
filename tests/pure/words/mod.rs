//! How the planner speaks: the words of each reason, wait, finding, refusal and
//! death, in one table. Nowhere else does a test of the planner pin prose, so that
//! a better wording changes this folder only.
//!
//! A variant without an example fails: `table!` names every variant in a `match`
//! that does not compile without it, and then looks for an example of each.

mod examples;

use herdsman::model::{Death, FailureCause, ModelName};
use herdsman::plan::{Found, GuardRefusal, Reason, Refusal, WaitFor};
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
        ProcessGone, Rebooted, RolledBack, TriedAgain, RowDrift, RowDeleted, Unrecorded, Duplicate, Leftover,
        NotReadyInTime, Wrapped, FailedToStart, Unhealthy, BinaryChanged, StopUnfinished, Down, ByHand
    };
    assert_snapshot!(table, @r#"
    definition_added(models.d/chat.toml, state running) -> models.d/chat.toml
    definition_added(models.d/chat.toml, state stopped) -> models.d/chat.toml (declared stopped)
    takes_over_row(id 3) -> takes over row 3, which was not managed
    field_changed(ctx_size 8192 -> 16384, impact restart, models.d/chat.toml:7) -> ctx_size 8192 -> 16384   models.d/chat.toml:7
    field_changed(mmap set to false, impact restart, models.d/chat.toml:7) -> mmap set to false   models.d/chat.toml:7
    field_changed(mmap no longer false, impact restart, models.d/chat.toml:7) -> mmap no longer false   models.d/chat.toml:7
    field_changed(secrets.LLAMA_API_KEY, impact restart, models.d/chat.toml:7) -> secrets.api_key   models.d/chat.toml:7
    field_changed(description old -> new, impact record, models.d/chat.toml:7) -> description (no restart)   models.d/chat.toml:7
    field_changed(drain 30s -> 60s, impact record, models.d/chat.toml:7) -> drain 30s -> 60s (no restart)   models.d/chat.toml:7
    other_spec -> serves spec v1:00, wanted is v1:11
    state_wanted(models.d/chat.toml:7, state running) -> state = "running"   models.d/chat.toml:7
    state_wanted(models.d/chat.toml:7, state stopped) -> state = "stopped"   models.d/chat.toml:7
    definition_removed(file models.d/chat.toml) -> models.d/chat.toml removed
    not_running -> declared running, no instance
    process_gone(crashes 1, death(cause no_memory)) -> process gone: out of memory
    process_gone(crashes 2) -> process gone
    rebooted -> the machine was started again
    rolled_back(failed 2, to 1) -> generation 2 failed, back to generation 1
    tried_again -> tried again
    row_drift(ctx_size 8192 -> NULL) -> database drift: ctx_size was 8192, found NULL
    row_deleted(id 3) -> database drift: row 3 was deleted
    unrecorded(pid 101) -> pid 101 carries our mark and was not recorded
    duplicate(kept 101, pid 102) -> pid 102 is a second instance, pid 101 is kept
    leftover(pid 102) -> pid 102 is left over from an instance that has ended
    not_ready_in_time -> not ready in time
    wrapped(child 1101, pid 101) -> pid 1101, a child of the wrapper (pid 101), answers in its place
    failed_to_start -> failed to start: llama-server runs as a router
    unhealthy(for_ms 31000) -> /health has not answered for 31 s
    binary_changed -> llama-server is another one now
    stop_unfinished -> a stop that was begun
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
        BinaryUpgrade, Suspended, StateByHand
    };
    assert_snapshot!(table, @"
    ready(deadline 600.000 s, pid 101) -> loading (pid 101)
    drain(busy 1, deadline 30.000 s) -> draining, 1 request in flight
    drain(busy 2, deadline 30.000 s) -> draining, 2 requests in flight
    drain(deadline 30.000 s) -> draining, it does not tell what is in flight
    answer(pid 101) -> pid 101 lives and does not answer
    answer(deadline 30.000 s, pid 101) -> pid 101 lives and does not answer; it is restarted if it stays so (unhealthy_after)
    start_slot -> waits for the starts before it (--parallel)
    weights(file /weights/chat.gguf, until 10.000 s) -> /weights/chat.gguf changed just now, waits until it has been still for 10 s
    restart_slot(other coder) -> waits for the restart of coder (--max-restarting)
    port_of(other coder, port 8100) -> waits until coder has left port 8100
    backoff(crashes 1, until 60.000 s, was_ready) -> crashed once, waits for its next try: out of memory
    backoff(crashes 3, until 60.000 s, was_ready) -> crashed 3 times in a row, waits for its next try: out of memory
    backoff(crashes 3, until 60.000 s) -> failed to start 3 times in a row, waits for its next try: out of memory
    edit(generation 2) -> generation 2 failed: invalid magic characters; waits for an edit (or --retry)
    edit(generation 2, serving 1) -> generation 2 failed: invalid magic characters; generation 1 serves; waits for an edit (or --retry)
    sibling(models.d/chat.toml:7, other coder) -> waits: the same edit failed on coder   models.d/chat.toml:7
    port(holder nginx (pid 7), port 8100) -> port 8100 is held by nginx (pid 7); stop that, or choose another port
    free_port(range [8100,8999]) -> no free port in 8100-8999; widen --port-range or stop a model
    definition(file models.d/chat.toml) -> nothing is changed: models.d/chat.toml: expected `=`
    deletion_blocked(file models.d/chat.toml) -> not deleted: models.d/chat.toml cannot be used and may be its definition
    guard -> refused by the mass-delete guard (--max-deletes)
    binary -> no llama-server in PATH
    policy -> not started: the policy does not allow `ctx_size`
    accepted(models.d/chat.toml:7) -> nothing is changed: error: invalid argument: --x   models.d/chat.toml:7
    unknown_process(pid 101) -> pid 101 may be its server and cannot be identified (does `binary` change its environment or user?); stop it with `kill 101`
    unknown_process -> a process whose environment cannot be read may be its server
    foreign_instance(pid 4711) -> pid 4711 serves this definition for another state directory; stop it there first
    one_row(ids [1,2]) -> rows [1, 2] share this name; rename or delete all but one
    binary_upgrade -> llama-server is another one than it runs on; --upgrade-binary restarts it
    suspended(because new driver, by ann) -> suspended (ann: new driver): nothing is done to it; `herdsman resume` ends it
    suspended(because new driver, by ann, until 7200.000 s) -> suspended (ann: new driver): nothing is done to it until its time is over; `herdsman resume` ends it
    suspended(because new driver, by ann, removed) -> suspended (ann: new driver): nothing is done to it; its definition is gone, and it is deleted after that; `herdsman resume` ends it
    suspended(because new driver, by ann, missing) -> suspended (ann: new driver): nothing is done to it; it does not run, and is started after that; `herdsman resume` ends it
    suspended(because new driver, by ann, edited) -> suspended (ann: new driver): nothing is done to it; what is edited is applied after that; `herdsman resume` ends it
    state_by_hand(by ann, state stopped) -> stopped by hand (ann); a change of its definition, or `herdsman start`, ends it
    state_by_hand(by ann, state running) -> started by hand (ann); a change of its definition, or `herdsman stop`, ends it
    ");
}

#[test]
fn every_finding_has_its_words() {
    let death = || Death { cause: FailureCause::Spec, message: "invalid magic characters".to_owned() };
    let examples = vec![Found::Ready { pid: 101 }, Found::StartFailed(death()), Found::Crashed(death())];
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
    Unknown -> no definition declares it; `herdsman status` lists all
    Unmanaged -> it is a row of another program, which herdsman never changes; a definition of that name takes it over
    Unresolved -> models.d/chat.toml: expected `=`
    Removed -> its definition is gone: `herdsman reconcile --dry-run` shows what becomes of it
    Suspended -> it is suspended (ann: new driver): `herdsman resume` it first
    NotToRun -> it is not to run, so nothing is restarted: `herdsman start` starts it
    ");
}

#[test]
fn the_guard_says_what_it_refuses_and_how_to_insist() {
    let names = |names: &[&str]| names.iter().copied().map(name).collect::<Vec<ModelName>>();
    let one = GuardRefusal { deletions: names(&["a", "b"]), managed: 2, renames: Vec::new() };
    let renamed = GuardRefusal { renames: vec![(name("a"), name("c"))], ..one.clone() };
    assert_snapshot!(format!("{one}\n{renamed}"), @r#"
    refused: this would delete 2 of 2 managed models; nothing is deleted or created. If it is meant: herdsman reconcile --max-deletes 2
    refused: this would delete 2 of 2 managed models; nothing is deleted or created. c uses the weights of a: a rename? Then set name = "a" in its file. If it is meant: herdsman reconcile --max-deletes 2
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
    wraps -> pid 1101, a child of the wrapper (pid 101), answers in its place; the wrapper must start llama-server with `exec`
    router -> llama-server runs as a router, without a model: does `binary` pass on its arguments?
    other model -> llama-server loaded /weights/other.gguf instead of /weights/chat.gguf: does `binary` pass on its arguments?
    no gpu -> no layer is on a GPU, and [ready] require_gpu is true
    silent death -> it left no word in its log
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
