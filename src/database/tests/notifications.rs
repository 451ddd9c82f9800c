//! Notifications sent and pending.

use super::damage::{filled, garble, root};
use super::*;
use crate::database::{Delivered, Location, Undelivered};
use crate::model::{Channel, Letter, NewsKind, Telling};

fn letter(id: &str) -> Letter {
    Letter {
        id: id.to_owned(),
        at: at(5),
        model: name("m"),
        kind: NewsKind::Failed,
        body: "{}".to_owned(),
        channels: Channel::ALL.to_vec(),
    }
}

fn open(id: &str) -> Change {
    let letter = Some(letter(id));
    Change::Tell(Telling::Open { model: name("m"), kind: NewsKind::Failed, about: "2".to_owned(), at: at(5), letter })
}

#[test]
fn each_channel_delivers_in_order() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    assert!(!database.announced().unwrap().begun);
    database.commit(&[Change::Tell(Telling::Begin), open("x"), open("y")], at(5)).unwrap();
    let known = database.announced().unwrap();
    assert!(known.begun && known.troubles["m"].len() == 1 && known.troubles["m"][0].is_announced, "{known:?}");
    let next = |database: &Database, channel| database.next_delivery(channel).unwrap();
    let first = next(&database, Channel::Webhook).unwrap();
    assert_eq!((first.id.as_str(), first.failures, first.next_try, first.status), ("x", 0, at(5), None));

    let later = Delivered::Later { error: "busy".to_owned(), next_try: at(9) };
    database.settle_delivery(first.number, &later, at(6)).unwrap();
    let again = next(&database, Channel::Webhook).unwrap();
    assert_eq!((again.id.as_str(), again.failures, again.next_try), ("x", 1, at(9)), "y waits for it");
    let command = next(&database, Channel::Command).unwrap();
    database.settle_delivery(command.number, &Delivered::Yes, at(6)).unwrap();
    assert_eq!(next(&database, Channel::Command).unwrap().id, "y");

    database.settle_delivery(again.number, &Delivered::Never { error: "no".to_owned() }, at(7)).unwrap();
    assert_eq!(next(&database, Channel::Webhook).unwrap().id, "y");
    let undelivered = Undelivered { pending: 2, given_up: 1, last_error: Some("no".to_owned()) };
    assert_eq!(database.undelivered(at(7)).unwrap(), undelivered);

    let week = at(7 + 7 * 24 * 3_600_000);
    assert_eq!(database.undelivered(week).unwrap().given_up, 1);
    let after = Undelivered { pending: 2, given_up: 0, last_error: None };
    assert_eq!(database.undelivered(week.shifted(1)).unwrap(), after, "also if nothing is delivered any more");
    database.settle_delivery(-1, &Delivered::Yes, week).unwrap();
    assert_eq!(database.undelivered(at(7)).unwrap().given_up, 1);
    database.settle_delivery(-1, &Delivered::Yes, week.shifted(1)).unwrap();
    assert_eq!(database.undelivered(at(7)).unwrap().given_up, 0, "forgotten after a week");
    database.commit(&[Change::Tell(Telling::Close { model: name("m"), letter: None })], at(8)).unwrap();
    assert!(database.announced().unwrap().troubles.is_empty());
}

#[test]
fn recording_deliveries_is_not_a_foreign_write() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    database.commit(&[open("x")], at(5)).unwrap();
    let before = database.data_version().unwrap();
    let delivery = database.next_delivery(Channel::Command).unwrap().unwrap();
    database.settle_delivery(delivery.number, &Delivered::Yes, at(6)).unwrap();
    assert_eq!(database.data_version().unwrap(), before);
}

#[test]
fn a_notification_and_its_event_commit_together() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let impossible = generation("nobody", 1);
    assert!(database.commit(&[open("x"), impossible], at(5)).is_err());
    assert_eq!((database.undelivered(at(9)).unwrap().pending, database.announced().unwrap().troubles.len()), (0, 0));
}

#[test]
fn pending_notifications_survive_a_damaged_database() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 0);
    scratch.open().commit(&[Change::Tell(Telling::Begin), open("x")], at(5)).unwrap();
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!(database.next_delivery(Channel::Webhook).unwrap().unwrap().id, "x");
    garble(&scratch.path(), [root(&scratch, "herdsman_notifications")]);
    drop(database);
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!(database.undelivered(at(9)).unwrap().pending, 0, "what cannot be read is lost");
}
