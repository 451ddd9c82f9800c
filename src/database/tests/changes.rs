//! Every [`Change`] written and read back, and what must fail.

use super::*;
use crate::database::{DatabaseError, Problem, events};
use crate::model::{
    BinaryIdentity, Crashes, Death, EventOutcome, EventRecord, FailureCause, GenerationOutcome, Handle, InstanceId,
    InstanceRecord, InstanceState, PortRecord, ProcessId, Progress, Provenance, Row, Status,
};

fn port(model: &str, port: u16) -> Change {
    Change::SetPort { model: name(model), port: Some(PortRecord { port, proven: true }) }
}

fn outcome(model: &str, number: u32, outcome: GenerationOutcome) -> Change {
    Change::SetGenerationOutcome { model: name(model), number, outcome }
}

fn death() -> Death {
    Death { cause: FailureCause::NoMemory, message: "out of \"memory\"".to_owned() }
}

fn instance(id: &str, model: &str) -> InstanceRecord {
    InstanceRecord {
        id: InstanceId(id.to_owned()),
        model: name(model),
        generation: 1,
        spec: SpecHash("v1:0".to_owned()),
        host: "127.0.0.1".to_owned(),
        port: Some(8101),
        state: InstanceState::Draining { deadline: at(99) },
        handle: Some(Handle::Process(ProcessId {
            pid: 42,
            start_ticks: u64::MAX,
            boot_id: "boot".to_owned(),
            pid_namespace: 4_026_531_836,
        })),
        started_at: at(10),
        progress: (Progress(1 << 40), at(11)),
        ready: Some((at(12), at(13))),
        unanswered_since: Some(at(14)),
        log_offset: 77,
        binary: Some(BinaryIdentity("/bin/llama-server 1".to_owned())),
    }
}

fn event(model: &str, millisecond: i64) -> EventRecord {
    EventRecord {
        at: at(millisecond),
        model: name(model),
        action: "restart".to_owned(),
        cause: "reconcile".to_owned(),
        reasons: json!([{ "reason": "changed", "field": "ctx_size" }]),
        outcome: EventOutcome::Failed("port busy".to_owned()),
        duration_ms: 12,
        generation: Some(2),
        provenance: Some(Provenance {
            commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
            dirty: true,
        }),
    }
}

fn fails(database: &mut Database, changes: &[Change]) -> DatabaseError {
    let before = database.records().unwrap();
    let error = database.commit(changes, at(50)).unwrap_err();
    assert_eq!(database.records().unwrap(), before, "nothing of a failed commit stays: {error}");
    error
}

#[test]
fn a_created_model_has_a_row_and_a_record() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(5)).unwrap();
    let records = database.records().unwrap();
    assert!(records.unmanaged.is_empty() && records.orphans.is_empty());
    let record = &records.models["a"];
    assert_eq!(record.row, Row::Present(Vec::new()));
    assert_eq!((record.status, record.state), (Status::Idle, DesiredState::Running));
    assert_eq!(record.config_digest, config("a").digest());
    assert_eq!(record.source, "/models.d/a.toml");
    assert_eq!((record.generation.number, &record.generation.outcome), (1, &GenerationOutcome::Pending));
    assert_eq!(record.generation.spec().unwrap().port, Some(8101));
    assert_eq!(record.generation.origins, [Origin::new("models.d/a.toml", 1)]);
    assert_eq!((record.port, record.crashes, &record.last_ready), (None, Crashes::default(), &None));

    let row = database.get_model_by_id(record.id).unwrap().unwrap();
    let columns = ["ctx_size", "n_parallel", "cont_batching", "priority", "file_size_bytes", "gpu_layers", "predict"];
    assert_eq!(columns.map(|column| row.integer(column)), [8192, 4, 1, 2, 1234, -1, -1].map(Some));
    assert_eq!((row.text("model_path"), row.get("temperature")), (Some("/w/m.gguf"), Some(&ColumnValue::Real(0.7))));
    assert_eq!(row.parameters(), config("a").parameters);
    assert_eq!(
        (row.created_at(), row.text("status"), row.get("hf_token")),
        (Some(at(5)), Some("stopped"), Some(&ColumnValue::Null))
    );
}

#[test]
fn every_other_fact_is_read_back_as_written() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let crashes = Crashes { count: 3, last_start: Some(at(8)) };
    let (first, second) = (instance("i-1", "a"), InstanceRecord { started_at: at(9), ..instance("i-2", "a") });
    let bare = InstanceRecord {
        handle: None,
        ready: None,
        port: None,
        binary: None,
        unanswered_since: None,
        state: InstanceState::Intent,
        ..instance("i-3", "gone")
    };
    database
        .commit(
            &[
                generation("a", 2),
                outcome("a", 1, GenerationOutcome::Ready),
                outcome("a", 2, GenerationOutcome::Failed(death())),
                Change::SetAccepted { model: name("a"), number: 2, binary: BinaryIdentity("b".to_owned()) },
                port("a", 8101),
                Change::SetStatus { model: name("a"), status: Status::Error, message: Some("why".to_owned()) },
                Change::SetCrashes { model: name("a"), crashes },
                Change::PutInstance(first.clone()),
                Change::PutInstance(second.clone()),
                Change::PutInstance(bare.clone()),
                Change::Event(event("a", 3)),
            ],
            at(2),
        )
        .unwrap();
    drop(database);

    let database = scratch.open();
    let records = database.records().unwrap();
    let record = &records.models["a"];
    assert_eq!(record.generation.number, 2);
    assert_eq!(record.generation.outcome, GenerationOutcome::Failed(death()));
    assert_eq!(record.generation.accepted_by, Some(BinaryIdentity("b".to_owned())));
    assert_eq!(
        record.last_ready.as_ref().map(|ready| (ready.number, &ready.outcome)),
        Some((1, &GenerationOutcome::Ready))
    );
    assert_eq!(record.port, Some(PortRecord { port: 8101, proven: true }));
    assert_eq!((record.status, record.status_message.as_deref()), (Status::Error, Some("why")));
    assert_eq!(record.crashes, crashes);
    assert_eq!(record.instances, [second, first], "oldest first");
    assert_eq!(records.orphans, [bare]);
    assert_eq!(database.events(None, 10).unwrap(), [event("a", 3)]);
    assert_eq!(database.status_recorded_at(&name("a")).unwrap(), Some(at(2)));
    assert_eq!(database.get_model_by_name("a").unwrap().unwrap().text("status"), Some("error"));
}

#[test]
fn every_instance_state_is_read_back() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    use InstanceState::{Draining, Intent, Loading, Ready, Stopping};
    for state in [Intent, Loading, Ready, Draining { deadline: at(5) }, Stopping] {
        let one = InstanceRecord { state, ..instance("i", "a") };
        database.commit(&[Change::PutInstance(one.clone())], at(1)).unwrap();
        assert_eq!(record(&database, "a").instances, [one]);
    }
    database.commit(&[Change::RemoveInstance(InstanceId("i".to_owned()))], at(1)).unwrap();
    assert!(record(&database, "a").instances.is_empty());
    database.commit(&[Change::RemoveInstance(InstanceId("i".to_owned()))], at(1)).unwrap();
}

#[test]
fn finds_the_last_ready_generation() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let last = |database: &Database| record(database, "a").last_ready.map(|ready| ready.number);
    assert_eq!(last(&database), None);
    database.commit(&[outcome("a", 1, GenerationOutcome::Ready)], at(1)).unwrap();
    assert_eq!(last(&database), None);
    database
        .commit(&[generation("a", 2), outcome("a", 2, GenerationOutcome::Ready), generation("a", 3)], at(1))
        .unwrap();
    assert_eq!(last(&database), Some(2));
    database.commit(&[outcome("a", 2, GenerationOutcome::Failed(death()))], at(1)).unwrap();
    assert_eq!(last(&database), Some(1));
    database.commit(&create(&config("b")), at(1)).unwrap();
    database.commit(&[outcome("b", 1, GenerationOutcome::Ready)], at(1)).unwrap();
    assert_eq!((last(&database), record(&database, "b").last_ready), (Some(1), None), "each model its own");
}

#[test]
fn an_update_writes_the_row_and_keeps_its_id_and_creation() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let id = record(&database, "a").id;
    let mut changed = config("a");
    changed.parameters = object(json!({ "ctx_size": 16 }));
    changed.state = DesiredState::Stopped;
    database.commit(&[Change::UpdateModel { config: changed.clone() }], at(7)).unwrap();
    let after = record(&database, "a");
    assert_eq!((after.id, after.state, &after.row), (id, DesiredState::Stopped, &Row::Present(Vec::new())));
    assert_eq!(after.config_digest, changed.digest());
    let row = database.get_model_by_id(id).unwrap().unwrap();
    assert_eq!(
        (row.integer("ctx_size"), row.integer("n_parallel"), row.text("model_path")),
        (Some(16), Some(-1), None)
    );
    assert_eq!((row.created_at(), row.updated_at()), (Some(at(1)), Some(at(7))));
}

#[test]
fn a_status_that_does_not_change_does_not_touch_the_row() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let updated = |database: &Database| database.get_model_by_name("a").unwrap().unwrap().updated_at();
    let set = |status| [Change::SetStatus { model: name("a"), status, message: None }];
    database.commit(&set(Status::Idle), at(8)).unwrap();
    assert_eq!(updated(&database), Some(at(1)));
    database.commit(&set(Status::Running), at(9)).unwrap();
    assert_eq!(updated(&database), Some(at(9)));
    assert_eq!(record(&database, "a").row, Row::Present(Vec::new()), "status is not drift");
}

#[test]
fn deleting_a_model_keeps_only_its_events() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    for model in ["a", "b"] {
        database.commit(&create(&config(model)), at(1)).unwrap();
        database.commit(&[Change::PutInstance(instance(model, model)), Change::Event(event(model, 1))], at(1)).unwrap();
    }
    database.commit(&[Change::DeleteModel { model: name("a") }], at(2)).unwrap();
    let records = database.records().unwrap();
    assert_eq!(records.models.keys().map(ModelName::as_str).collect::<Vec<_>>(), ["b"]);
    assert!(records.orphans.is_empty() && records.unmanaged.is_empty());
    assert_eq!(database.events(Some(&name("a")), 9).unwrap().len(), 1);
    database.commit(&create(&config("a")), at(3)).unwrap();
}

#[test]
fn a_port_belongs_to_its_latest_owner() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    for (model, number) in [("a", 8101), ("b", 8102)] {
        database.commit(&create(&config(model)), at(1)).unwrap();
        database.commit(&[port(model, number)], at(1)).unwrap();
    }
    database.commit(&[port("a", 8102), port("b", 8101)], at(2)).unwrap();
    assert_eq!(record(&database, "a").port.map(|port| port.port), Some(8102));
    assert_eq!(record(&database, "b").port.map(|port| port.port), Some(8101));
    database.commit(&[port("a", 8101)], at(3)).unwrap();
    assert_eq!(record(&database, "a").port.map(|port| port.port), Some(8101));
    assert_eq!(record(&database, "b").port, None);
    database.commit(&[Change::SetPort { model: name("a"), port: None }], at(4)).unwrap();
    assert_eq!(record(&database, "a").port, None);
}

#[test]
fn an_impossible_change_rolls_everything_back() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let new = create(&config("new"));
    let mut with = |change: Change| fails(&mut database, &[new[0].clone(), new[1].clone(), change]).problem;
    assert!(matches!(with(port("nobody", 1)), Problem::UnknownModel(model) if model == "nobody"));
    assert!(matches!(with(generation("nobody", 1)), Problem::UnknownModel(_)));
    assert!(matches!(with(Change::DeleteModel { model: name("nobody") }), Problem::UnknownModel(_)));
    assert!(matches!(with(outcome("a", 9, GenerationOutcome::Ready)), Problem::UnknownGeneration { number: 9, .. }));
    assert!(matches!(with(generation("a", 1)), Problem::Constraint(_)));
    assert!(matches!(with(new[0].clone()), Problem::NameTaken { .. }));
    let bare = Change::CreateModel { config: config("bare"), adopt_row: None };
    assert!(matches!(with(bare), Problem::NoGeneration(model) if model == "bare"));
}

#[test]
fn only_the_newest_events_are_kept() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let many: Vec<Change> = (0..events::KEPT + 5).map(|number| Change::Event(event("a", number))).collect();
    database.commit(&many, at(1)).unwrap();
    let kept = database.events(None, u32::MAX).unwrap();
    assert_eq!(i64::try_from(kept.len()).unwrap(), events::KEPT);
    assert_eq!((kept.first().unwrap().at, kept.last().unwrap().at), (at(events::KEPT + 4), at(5)));
    assert_eq!(database.events(None, 2).unwrap().len(), 2);
    assert!(database.events(Some(&name("b")), 2).unwrap().is_empty());
}

#[test]
fn an_edited_record_is_an_error_that_names_it() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    scratch.client().execute("UPDATE herdsman_models SET state = 'dancing'", []).unwrap();
    let error = database.records().unwrap_err();
    assert!(
        matches!(&error.problem, Problem::Unreadable { table: "herdsman_models", key, .. } if key == "a"),
        "{error}"
    );
    assert!(error.to_string().contains("dancing"), "{error}");
}

#[test]
fn counts_restarts_after_deaths_and_hangs() {
    use crate::model::{EventOutcome, EventRecord, FieldChange};
    use crate::plan::{Impact, Reason};
    let event = |model: &str, action: &str, reasons: &[Reason], outcome: EventOutcome| {
        let reasons = serde_json::to_value(reasons).unwrap();
        Change::Event(EventRecord { action: action.to_owned(), reasons, outcome, ..event(model, 1) })
    };
    let gone = || Reason::ProcessGone { death: Some(death()), crashes: 1 };
    let edited = || {
        let change =
            FieldChange { field: "process_gone".into(), old: None, new: Some(r#""reason":"process_gone""#.into()) };
        Reason::FieldChanged { change, impact: Impact::Restart, origin: Origin::new("models.d/a.toml", 1) }
    };
    let done = || EventOutcome::Done;
    let scratch = Scratch::new();
    let mut database = scratch.open();
    assert!(database.restarts().unwrap().is_empty());
    let history = [
        event("a", "start", &[gone()], done()),
        event("a", "start", &[gone(), Reason::RolledBack { failed: 2, to: 1 }], done()),
        event("a", "stop", &[Reason::Unhealthy { for_ms: 1 }], done()),
        event("a", "start", &[Reason::ProcessGone { death: None, crashes: 1 }], done()),
        event("a", "start", &[Reason::NotRunning], done()),
        event("a", "start", &[gone()], EventOutcome::Failed("no memory".into())),
        event("a", "restart", &[edited()], done()),
        event("b", "restart", &[edited()], done()),
        event("c", "start", &[Reason::Rebooted], done()),
    ];
    database.commit(&history, at(1)).unwrap();
    assert_eq!(database.restarts().unwrap().into_iter().collect::<Vec<_>>(), [("a".to_owned(), 3)]);
}

#[test]
fn a_generation_and_its_lines_and_commit_are_read_back_and_an_older_file_has_none() {
    use crate::model::GenerationOutcome;
    let from = Provenance { commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(), dirty: true };
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let Change::AddGeneration(mut second) = generation("a", 2) else { unreachable!() };
    second.provenance = Some(from.clone());
    second.lines = [("port".into(), Origin::new("models.d/a.toml", 7))].into_iter().collect();
    database
        .commit(&[Change::AddGeneration(second.clone()), outcome("a", 2, GenerationOutcome::Failed(death()))], at(5))
        .unwrap();
    let [newest, first] = &database.generations(&name("a")).unwrap()[..] else { panic!("two generations") };
    assert_eq!((newest.number, newest.created_at, newest.provenance.as_ref()), (2, at(5), Some(&from)));
    assert_eq!((&newest.lines, &newest.outcome), (&second.lines, &GenerationOutcome::Failed(death())));
    assert_eq!((first.number, &first.provenance, &first.outcome), (1, &None, &GenerationOutcome::Pending));
    drop(database);

    let client = scratch.client();
    let columns =
        ["generations DROP COLUMN git_dirty", "generations DROP COLUMN lines", "events DROP COLUMN generation"];
    for column in columns.into_iter().chain(["events DROP COLUMN git_commit", "events DROP COLUMN git_dirty"]) {
        client.execute_batch(&format!("ALTER TABLE herdsman_{column}")).unwrap();
    }
    client
        .execute_batch(
            "DROP TABLE herdsman_troubles; DROP TABLE herdsman_notifications; DROP TABLE herdsman_applied_plans;
             DROP TABLE herdsman_overrides",
        )
        .unwrap();
    client.execute_batch("UPDATE herdsman_meta SET value = '1' WHERE key = 'schema_version'").unwrap();
    drop(client);
    let older = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    let provenances: Vec<_> =
        older.generations(&name("a")).unwrap().into_iter().map(|g| (g.number, g.provenance)).collect();
    assert_eq!(provenances, [(2, None), (1, None)]);
    assert!(older.events(None, 9).unwrap().is_empty());
    drop(older);
    // The next pass adds the columns.
    scratch.open().commit(&[Change::Event(event("a", 6))], at(6)).unwrap();
    assert_eq!(scratch.open().events(None, 9).unwrap(), [event("a", 6)]);
}
