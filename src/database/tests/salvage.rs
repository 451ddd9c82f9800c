//! What the new database keeps of the damaged one.

use super::damage::{filled, garble, leaves, names, other_boot, root};
use super::*;
use crate::database::Location;
use crate::model::{EventOutcome, EventRecord};

#[test]
fn keeps_rows_before_and_after_the_damage() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 60);
    scratch
        .client()
        .execute_batch(
            "ALTER TABLE models ADD COLUMN theirs TEXT; UPDATE models SET theirs = CAST(x'ff41' AS TEXT) WHERE id = 2",
        )
        .unwrap();
    let leaves = leaves(&scratch, "models");
    assert!(leaves.len() > 6, "{leaves:?}");
    garble(&scratch.path(), [leaves[3]]);
    let (database, aside) = Database::replace(&scratch.path(), Location::Own).unwrap();
    let names = names(&database);
    assert_eq!(
        (names.len(), names.first().unwrap().as_str(), names.last().unwrap().as_str()),
        (aside.rows, "m0", "theirs-59")
    );
    assert!((50..61).contains(&aside.rows), "{}", aside.rows);
    assert_eq!(database.get_model_by_name("theirs-59").unwrap().unwrap().id(), 61);
    let bytes: Vec<u8> = scratch
        .client()
        .query_row("SELECT CAST(theirs AS BLOB) FROM models WHERE id = 2", [], |row| row.get(0))
        .unwrap();
    assert_eq!(bytes, [0xff, b'A'], "text that is not UTF-8");
    let sequence: i64 = scratch.client().query_row("SELECT seq FROM sqlite_sequence", [], |row| row.get(0)).unwrap();
    assert_eq!(sequence, 61, "no id is given out twice");
}

#[test]
fn keeps_complete_records_and_no_others() {
    for (damaged, whole) in [
        ("herdsman_events", true),
        ("herdsman_models_port", true),
        ("idx_models_name", true),
        ("herdsman_models", false),
        ("herdsman_generations", false),
        ("herdsman_instances", false),
        ("models", false),
    ] {
        let scratch = Scratch::new();
        filled(&scratch, 3, 1);
        let before = scratch.open().records().unwrap();
        garble(&scratch.path(), [root(&scratch, damaged)]);
        let (database, aside) = Database::replace(&scratch.path(), Location::Own).unwrap();
        assert_eq!(aside.records, whole, "{damaged}");
        assert_eq!(aside.to_string().contains("crash counts"), !whole, "{damaged}: {aside}");
        let after = database.records().unwrap();
        assert_eq!(after == before, whole, "{damaged}: {after:?}");
        assert_eq!(after.models.is_empty(), !whole, "{damaged}");
    }
}

#[test]
fn keeps_the_readable_history() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let event = |number: i64| {
        Change::Event(EventRecord {
            at: at(number),
            model: name("m"),
            action: "start".to_owned(),
            cause: "reconcile".to_owned(),
            reasons: json!(["x".repeat(700)]),
            outcome: EventOutcome::Done,
            duration_ms: 1,
            generation: None,
            provenance: None,
        })
    };
    database.commit(&(0..40).map(event).collect::<Vec<_>>(), at(1)).unwrap();
    drop(database);
    garble(&scratch.path(), [leaves(&scratch, "herdsman_events")[2]]);
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    let times: Vec<i64> = database.events(None, 100).unwrap().iter().map(|event| event.at.0).collect();
    assert!((30..40).contains(&times.len()), "{times:?}");
    assert_eq!((times.first(), times.last()), (Some(&39), Some(&0)));
}

#[test]
fn a_managed_model_keeps_its_id_when_its_records_are_lost() {
    let scratch = Scratch::new();
    filled(&scratch, 3, 0);
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    let (mut database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    let row = database.get_model_by_name("m2").unwrap().unwrap().id();
    database.commit(&adopt(&config("m2"), row), at(9)).unwrap();
    assert_eq!((record(&database, "m2").id, row), (3, 3));
}

#[test]
fn drops_rows_that_break_the_tables_rules() {
    let scratch = Scratch::new();
    filled(&scratch, 0, 3);
    let client = scratch.client();
    client
        .execute_batch("PRAGMA ignore_check_constraints = 1; UPDATE models SET status = 'what' WHERE name = 'theirs-1'")
        .unwrap();
    drop(client);
    other_boot(&scratch);
    drop(scratch.open());
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    let (database, aside) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!((names(&database), aside.rows), (vec!["theirs-0".to_owned(), "theirs-2".to_owned()], 2));
}
