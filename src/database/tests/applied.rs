//! Saved plans that were applied.

use super::*;
use crate::database::{Applied, Location};

#[test]
fn a_plan_is_applied_once_even_after_damage() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    assert_eq!(database.begin_plan("one", at(5)).unwrap(), None);
    let begun = Applied { begun_at: at(5), ended_at: None };
    assert_eq!(database.begin_plan("one", at(7)).unwrap(), Some(begun), "herdsman may have died on the way");
    database.end_plan("one", at(9)).unwrap();
    let ended = Applied { ended_at: Some(at(9)), ..begun };
    assert_eq!(database.begin_plan("one", at(11)).unwrap(), Some(ended));
    assert_eq!(database.applied_plan("other").unwrap(), None);
    drop(database);
    super::damage::garble(&scratch.path(), [super::damage::root(&scratch, "herdsman_models")]);
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!(database.applied_plan("one").unwrap(), Some(ended));
}

#[test]
fn reads_an_older_database_without_applied_plans() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let client = scratch.client();
    client.execute_batch("DROP TABLE herdsman_applied_plans").unwrap();
    client.execute_batch("UPDATE herdsman_meta SET value = '2' WHERE key = 'schema_version'").unwrap();
    drop(client);
    let older = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    assert_eq!(older.applied_plan("one").unwrap(), None);
}
