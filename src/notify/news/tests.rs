#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::model::{
    Address, Change, Crashes, Desired, FailureCause, Generation, Health, Instance, InstanceId, InstanceRecord,
    InstanceState, Observed, PortRecord, ProcessId, Progress, Records, Row, SpecHash, Status,
};
use crate::plan::{Answers, Finding, Found, Plan, Reason, Waiting};

const NOW: Timestamp = Timestamp(100_000_000);

fn name() -> ModelName {
    ModelName::parse("m").unwrap()
}

fn death() -> Death {
    Death { cause: FailureCause::Spec, message: "it fell over".to_owned() }
}

fn record(crashes: u32, outcome: GenerationOutcome) -> ModelRecord {
    ModelRecord {
        id: 1,
        created_at: None,
        source: "/models.d/m.toml".to_owned(),
        state: DesiredState::Running,
        config_digest: String::new(),
        config_json: "".into(),
        row: Row::Present(Vec::new()),
        status: Status::Running,
        status_message: None,
        generation: Generation {
            number: 2,
            hash: SpecHash("v1:2".to_owned()),
            spec_json: "".into(),
            outcome,
            origins: vec![Origin::new("models.d/m.toml", 3)],
            accepted_by: None,
        },
        last_ready: None,
        port: Some(PortRecord { port: 8100, proven: true }),
        crashes: Crashes { count: crashes, last_start: None },
        instances: Vec::new(),
    }
}

/// A pass over one model that plans nothing.
fn pass(record: ModelRecord) -> Pass {
    let desired = Desired {
        dir: "/models.d".into(),
        definitions: BTreeMap::new(),
        groups: BTreeMap::new(),
        unresolved: Vec::new(),
        diagnostics: Vec::new(),
    };
    Pass {
        now: NOW,
        desired: Some(Arc::new(desired)),
        records: Arc::new(Records { models: [(name(), record)].into(), ..Records::default() }),
        observed: Observed::default(),
        demand: None,
        answers: Answers::default(),
        plan: Plan::default(),
        outcomes: Vec::new(),
    }
}

/// … in which its server has been ready for this long.
fn ready_for(mut pass: Pass, time: Duration) -> Pass {
    let started_at = NOW.shifted(-i64::try_from(time.as_millis()).unwrap());
    let (id, spec) = (InstanceId("i".to_owned()), SpecHash("v1:2".to_owned()));
    let process = ProcessId { pid: 7, start_ticks: 1, boot_id: "b".to_owned(), pid_namespace: 1 };
    pass.observed.instances.push(Instance {
        id: id.clone(),
        model: name(),
        spec: spec.clone(),
        handle: process.clone().into(),
        started_at,
        address: Address { host: "127.0.0.1".to_owned(), port: Some(8100), ..Address::default() },
        health: Health::Ready,
        progress: Progress::default(),
        resident: 0,
    });
    pass.plan.bookkeeping.push(Change::PutInstance(InstanceRecord {
        id,
        model: name(),
        generation: 2,
        spec,
        host: "127.0.0.1".to_owned(),
        port: Some(8100),
        state: InstanceState::Ready,
        handle: Some(process.into()),
        started_at,
        progress: (Progress::default(), started_at),
        ready: Some((started_at, NOW)),
        unanswered_since: None,
        log_offset: 0,
        binary: None,
    }));
    pass
}

/// … in which it has just crashed, for the `count`th time in a row.
fn crashed(mut pass: Pass, count: u32) -> Pass {
    pass.plan.findings.push(Finding {
        model: name(),
        what: Found::Crashed(death()),
        generation: 1,
        started_at: Timestamp(0),
    });
    pass.plan.bookkeeping.push(Change::SetCrashes { model: name(), crashes: Crashes { count, last_start: None } });
    pass
}

fn waits(mut pass: Pass, on: WaitFor) -> Pass {
    pass.plan.waiting.push(Waiting { model: name(), on, reasons: Vec::new() });
    pass
}

fn known(troubles: &[(NewsKind, &str)]) -> Announced {
    let trouble = |(kind, about): &(NewsKind, &str)| Trouble {
        kind: *kind,
        about: (*about).to_owned(),
        told: true,
        since: NOW.shifted(-1000),
    };
    let troubles: Vec<_> = troubles.iter().map(trouble).collect();
    Announced { begun: true, troubles: [(name(), troubles)].into_iter().filter(|(_, t)| !t.is_empty()).collect() }
}

fn kinds(pass: &Pass, known: &Announced) -> Vec<NewsKind> {
    news(pass, &BTreeSet::new(), known).into_iter().map(|news| news.kind).collect()
}

#[test]
fn the_third_crash_in_a_row_is_news_and_no_other() {
    let ready = || record(0, GenerationOutcome::Ready);
    assert_eq!(kinds(&crashed(pass(ready()), 2), &known(&[])), []);
    let third = crashed(pass(ready()), 3);
    assert_eq!(kinds(&third, &known(&[])), [NewsKind::CrashLooping]);
    assert_eq!(kinds(&third, &known(&[(NewsKind::CrashLooping, "")])), [], "announced already");
    assert_eq!(kinds(&crashed(pass(ready()), 4), &known(&[(NewsKind::CrashLooping, "")])), []);
    assert_eq!(news(&third, &BTreeSet::new(), &known(&[]))[0].reason.matches("it fell over").count(), 1);
}

#[test]
fn a_crash_loop_is_over_when_the_server_has_been_ready_for_ten_minutes() {
    let looping = known(&[(NewsKind::CrashLooping, "")]);
    let after = |seconds| ready_for(pass(record(3, GenerationOutcome::Ready)), Duration::from_secs(seconds));
    assert_eq!(kinds(&after(599), &looping), []);
    assert_eq!(kinds(&after(600), &looping), [NewsKind::Recovered]);
    assert_eq!(kinds(&after(600), &known(&[])), [], "nobody heard of it");
    // The count stays until the next crash, and a reboot is none.
    assert_eq!(kinds(&pass(record(3, GenerationOutcome::Ready)), &known(&[])), []);
}

#[test]
fn a_generation_that_was_never_ready_has_failed_and_is_no_crash_loop() {
    let backoff = |crashes| WaitFor::Backoff { until: NOW, crashes, was_ready: true, message: "no memory".to_owned() };
    let failing = |count| waits(pass(record(count, GenerationOutcome::Pending)), backoff(count));
    for count in [1, 3, 9] {
        assert_eq!(kinds(&failing(count), &known(&[])), [NewsKind::Failed], "{count}");
        assert_eq!(kinds(&failing(count), &known(&[(NewsKind::Failed, "2")])), [], "{count}");
    }
    assert_eq!(kinds(&failing(1), &known(&[(NewsKind::Failed, "1")])), [NewsKind::Failed], "of another generation");
}

#[test]
fn a_failure_is_over_only_when_the_model_matches_its_definition() {
    let edit = |serving| WaitFor::Edit { generation: 2, message: "bad".to_owned(), serving };
    let failed = |serving| waits(pass(record(0, GenerationOutcome::Failed(death()))), edit(serving));
    assert_eq!(kinds(&failed(None), &known(&[])), [NewsKind::Failed]);
    assert_eq!(kinds(&failed(Some(1)), &known(&[])), [NewsKind::RolledBack]);
    assert_eq!(news(&failed(Some(1)), &BTreeSet::new(), &known(&[]))[0].context.serving, Some(1));

    let announced = known(&[(NewsKind::RolledBack, "2")]);
    assert_eq!(kinds(&failed(Some(1)), &announced), []);
    let loading = pass(record(0, GenerationOutcome::Pending));
    assert_eq!(kinds(&loading, &announced), [], "nothing serves yet");
    let ready = || ready_for(pass(record(0, GenerationOutcome::Ready)), Duration::from_secs(1));
    assert_eq!(kinds(&ready(), &announced), [NewsKind::Recovered]);
    assert_eq!(kinds(&waits(ready(), WaitFor::StartSlot), &announced), [], "it waits for something");
    assert_eq!(kinds(&waits(ready(), WaitFor::BinaryUpgrade), &announced), [NewsKind::Recovered], "a note is no wait");
}

#[test]
fn announces_drift_at_most_once_in_ten_minutes_and_without_a_recovery() {
    let mut drifted = ready_for(pass(record(0, GenerationOutcome::Ready)), Duration::from_secs(1));
    let drift = ColumnDrift { column: "ctx_size".to_owned(), recorded: "1".to_owned(), found: "2".to_owned() };
    drifted.plan.actions.push(crate::plan::Action {
        model: name(),
        kind: crate::plan::ActionKind::Update,
        reasons: vec![Reason::RowDrift { drift: drift.clone() }],
        steps: Vec::new(),
        provenance: None,
    });
    let found = news(&drifted, &BTreeSet::new(), &known(&[]));
    assert_eq!((found.len(), found[0].kind, &found[0].context.drift[..]), (1, NewsKind::Drifted, &[drift][..]));
    let mut announced = known(&[(NewsKind::Drifted, "")]);
    assert_eq!(kinds(&drifted, &announced), []);
    announced.troubles.get_mut("m").unwrap()[0].since = NOW.shifted(-600_000);
    assert_eq!(kinds(&drifted, &announced), [NewsKind::Drifted]);
}

#[test]
fn models_outside_the_targets_make_no_news() {
    let announced = known(&[(NewsKind::Failed, "2")]);
    let other: BTreeSet<_> = [ModelName::parse("other").unwrap()].into();
    let ready = ready_for(pass(record(0, GenerationOutcome::Ready)), Duration::from_secs(1));
    assert_eq!(news(&ready, &other, &announced), []);
    let mut down = ready_for(pass(record(0, GenerationOutcome::Ready)), Duration::from_secs(1));
    down.desired = None;
    assert_eq!(kinds(&down, &announced), [], "`down` is on request");
}

#[test]
fn trouble_ends_when_the_definition_is_gone() {
    let mut gone = pass(record(0, GenerationOutcome::Ready));
    gone.records = Arc::default();
    assert_eq!(kinds(&gone, &known(&[(NewsKind::Failed, "2")])), [NewsKind::Recovered]);
    let mut stopped = record(0, GenerationOutcome::Failed(death()));
    stopped.state = DesiredState::Stopped;
    assert_eq!(kinds(&pass(stopped), &known(&[(NewsKind::Failed, "2")])), [NewsKind::Recovered]);
}

#[test]
fn a_manual_stop_ends_trouble_and_a_suspended_model_makes_no_news() {
    let given = || crate::model::Given { by: "ann".to_owned(), at: NOW, because: None };
    let announced = known(&[(NewsKind::Failed, "2")]);
    let failed = || pass(record(3, GenerationOutcome::Pending));
    let stopped = waits(failed(), WaitFor::StateByHand { given: given(), state: DesiredState::Stopped });
    assert_eq!(kinds(&stopped, &known(&[])), [], "it is not to run");
    let over = news(&stopped, &BTreeSet::new(), &announced);
    assert_eq!((over[0].kind, &*over[0].reason), (NewsKind::Recovered, "stopped by hand"));

    assert_eq!(kinds(&failed(), &known(&[])), [NewsKind::Failed]);
    let on = WaitFor::Suspended { given: given(), until: None, removed: false, missing: true, edited: false };
    let suspended = waits(failed(), on);
    assert_eq!((kinds(&suspended, &known(&[])), kinds(&suspended, &announced)), (vec![], vec![]));
}
