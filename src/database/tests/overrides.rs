//! What people asked for by hand.

use super::*;
use crate::database::Location;
use crate::model::{
    DesiredState, Given, InstanceId, Override, OverrideKind, Overrides, RestartByHand, StateByHand, Suspended,
};

fn given(because: Option<&str>) -> Given {
    Given { by: "ann".to_owned(), at: at(3), because: because.map(str::to_owned) }
}

fn all() -> Overrides {
    Overrides {
        suspended: Some(Suspended { given: given(Some("new driver")), until: Some(at(9)) }),
        state: Some(StateByHand { given: given(None), state: DesiredState::Stopped, definition: "d".to_owned() }),
        restart: Some(RestartByHand { given: given(None), instance: InstanceId("i".to_owned()) }),
    }
}

fn put_all(model: &str) -> Vec<Change> {
    let Overrides { suspended, state, restart } = all();
    let what = [suspended.map(Override::Suspended), state.map(Override::State), restart.map(Override::Restart)];
    what.into_iter().flatten().map(|what| Change::PutOverride { model: name(model), what }).collect()
}

fn end(model: &str, kind: OverrideKind) -> Change {
    Change::EndOverride { model: name(model), kind }
}

#[test]
fn each_override_is_read_back_and_ends_alone_or_with_its_model() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    // One that is not recorded may be suspended, too.
    for model in ["a", "new"] {
        database.commit(&put_all(model), at(2)).unwrap();
    }
    let read = |database: &Database, model: &str| database.records().unwrap().overrides.get(&name(model)).cloned();
    assert_eq!((read(&database, "a"), read(&database, "new")), (Some(all()), Some(all())));

    let until = Suspended { given: given(None), until: None };
    let put = Change::PutOverride { model: name("a"), what: Override::Suspended(until.clone()) };
    database.commit(&[put, end("a", OverrideKind::Restart), end("a", OverrideKind::Restart)], at(3)).unwrap();
    assert_eq!(read(&database, "a"), Some(Overrides { suspended: Some(until), restart: None, ..all() }));

    database.commit(&[Change::DeleteModel { model: name("a") }], at(4)).unwrap();
    assert_eq!((read(&database, "a"), read(&database, "new")), (None, Some(all())));
}

#[test]
fn a_damaged_database_keeps_readable_overrides() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    database.commit(&put_all("a"), at(2)).unwrap();
    drop(database);
    super::damage::garble(&scratch.path(), [super::damage::root(&scratch, "herdsman_models")]);
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!(database.records().unwrap().overrides.get(&name("a")), Some(&all()));
}

#[test]
fn reads_an_older_database_and_reports_an_edited_override() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&put_all("a"), at(2)).unwrap();
    drop(database);
    scratch.client().execute_batch("UPDATE herdsman_overrides SET state = 'asleep' WHERE kind = 'state'").unwrap();
    let error = scratch.open().records().unwrap_err().to_string();
    assert!(error.contains("herdsman_overrides") && error.contains('a'), "{error}");
    let client = scratch.client();
    client.execute_batch("DROP TABLE herdsman_overrides").unwrap();
    client.execute_batch("UPDATE herdsman_meta SET value = '2' WHERE key = 'schema_version'").unwrap();
    drop(client);
    let older = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    assert!(older.records().unwrap().overrides.is_empty());
}
