//! Opening for writing and for reading without a trace.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Uid;

use super::*;
use crate::database::Problem;

/// Runs `work` as a user to whom permissions apply, because tests may run as root.
/// Only the calling thread's identity changes, so it runs in its own thread.
fn unprivileged<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = Uid::from_raw(65534);
                rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
            }
            work()
        });
        worker.join().unwrap()
    })
}

fn permit(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn filled(scratch: &Scratch) {
    scratch.open().commit(&create(&config("a")), at(1)).unwrap();
}

#[test]
fn a_new_database_is_private_and_in_wal_mode() {
    let scratch = Scratch::new();
    let database = scratch.open();
    assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o600);
    let mode: String = scratch.client().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let version: i64 = scratch.client().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 0, "user_version belongs to others");
    drop(database);
    assert_eq!(scratch.listing(), ["herdsman.db"]);
}

#[test]
fn opening_again_writes_nothing() {
    let scratch = Scratch::new();
    filled(&scratch);
    let before = fs::read(scratch.path()).unwrap();
    let database = scratch.open();
    assert_eq!(database.records().unwrap().models.len(), 1);
    drop(database);
    assert_eq!(fs::read(scratch.path()).unwrap(), before);
}

#[test]
fn many_processes_may_open_a_new_database_at_once() {
    let scratch = Scratch::new();
    thread::scope(|scope| {
        for number in 0..6 {
            let path = scratch.path();
            scope.spawn(move || {
                let mut database = Database::open(&path).unwrap();
                database.commit(&create(&config(&format!("m{number}"))), at(1)).unwrap();
            });
        }
    });
    assert_eq!(scratch.open().records().unwrap().models.len(), 6);
}

#[test]
fn names_a_file_that_cannot_be_opened() {
    let scratch = Scratch::new();
    let missing = scratch.directory.path().join("no/such/herdsman.db");
    let error = Database::open(&missing).unwrap_err();
    assert!(matches!(&error.problem, Problem::NoDirectory(directory) if directory.ends_with("no/such")), "{error}");
    let error = Database::open(scratch.directory.path()).unwrap_err();
    assert!(matches!(error.problem, Problem::CannotOpen(_)), "{error}");
    fs::write(scratch.path(), "this is a text and not a database at all\n".repeat(40)).unwrap();
    for error in [Database::open(&scratch.path()).unwrap_err(), Database::open_read_only(&scratch.path()).unwrap_err()]
    {
        assert!(matches!(error.problem, Problem::NotADatabase), "{error}");
    }
}

#[test]
fn a_newer_schema_is_refused() {
    let scratch = Scratch::new();
    filled(&scratch);
    scratch.client().execute("UPDATE herdsman_meta SET value = '99'", []).unwrap();
    for error in [Database::open(&scratch.path()).unwrap_err(), Database::open_read_only(&scratch.path()).unwrap_err()]
    {
        assert!(matches!(error.problem, Problem::NewerSchema { found: 99, .. }), "{error}");
    }
}

#[test]
fn a_read_only_file_or_directory_is_refused_for_writing() {
    let scratch = Scratch::new();
    filled(&scratch);
    permit(&scratch.path(), 0o444);
    permit(scratch.directory.path(), 0o555);
    let path = scratch.path();
    let file = unprivileged(|| Database::open(&path).unwrap_err());
    assert!(matches!(file.problem, Problem::ReadOnly), "{file}");
    let fresh = scratch.directory.path().join("fresh.db");
    let directory = unprivileged(|| Database::open(&fresh).unwrap_err());
    assert!(matches!(directory.problem, Problem::ReadOnly), "{directory}");
    permit(&path, 0o666);
    let wal = unprivileged(|| Database::open(&path).unwrap_err());
    assert!(matches!(wal.problem, Problem::ReadOnly | Problem::CannotOpen(_)), "{wal}");
}

#[test]
fn waits_for_another_writer_and_then_names_the_problem() {
    let scratch = Scratch::new();
    let mut database = Database::open_waiting(&scratch.path(), Duration::from_millis(60)).unwrap();
    let client = scratch.client();
    client.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = database.commit(&create(&config("a")), at(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::Locked { .. }), "{error}");
    assert!(error.to_string().contains("locked for 60 ms"), "{error}");
    assert!(database.records().unwrap().models.is_empty(), "reading needs no lock");
    client.execute_batch("COMMIT").unwrap();
    database.commit(&create(&config("a")), at(1)).unwrap();
}

#[test]
fn reading_a_database_that_is_not_there_creates_nothing() {
    let scratch = Scratch::new();
    assert!(Database::open_read_only(&scratch.path()).unwrap().is_none());
    assert!(scratch.listing().is_empty());
    fs::write(scratch.path(), "").unwrap();
    let empty = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    assert_eq!(empty.records().unwrap(), Default::default());
    assert!(empty.get_models(&Default::default()).unwrap().is_empty());
    drop(empty);
    assert_eq!(scratch.listing(), ["herdsman.db"]);
}

/// Reads everything, and returns what the directory contained during and after it.
fn read_without_trace(scratch: &Scratch, models: usize) {
    let before = scratch.listing();
    let path = scratch.path();
    let seen = unprivileged(|| {
        let database = Database::open_read_only(&path).unwrap().unwrap();
        let records = database.records().unwrap();
        assert_eq!(database.get_models(&Default::default()).unwrap().len(), models);
        assert!(database.events(None, 1).unwrap().is_empty());
        records.models.len() + records.unmanaged.len()
    });
    assert_eq!(seen, models);
    assert_eq!(scratch.listing(), before);
}

fn readable(scratch: &Scratch, directory: u32) {
    for name in scratch.listing() {
        permit(&scratch.directory.path().join(name), 0o644);
    }
    permit(scratch.directory.path(), directory);
}

#[test]
fn a_closed_database_is_read_without_a_trace() {
    for directory in [0o777, 0o555] {
        let scratch = Scratch::new();
        filled(&scratch);
        assert_eq!(scratch.listing(), ["herdsman.db"]);
        readable(&scratch, directory);
        read_without_trace(&scratch, 1);
    }
}

#[test]
fn an_open_database_is_read_without_a_trace_and_as_last_committed() {
    for directory in [0o777, 0o555] {
        let scratch = Scratch::new();
        let mut database = scratch.open();
        database.commit(&create(&config("a")), at(1)).unwrap();
        assert_eq!(scratch.listing(), ["herdsman.db", "herdsman.db-shm", "herdsman.db-wal"]);
        readable(&scratch, directory);
        read_without_trace(&scratch, 1);
        database.commit(&create(&config("b")), at(1)).unwrap();
        read_without_trace(&scratch, 2);
        // An empty log beside an open database: all of it is in the file.
        database.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        read_without_trace(&scratch, 2);
    }
}

#[test]
fn reads_what_a_killed_writer_committed() {
    let living = Scratch::new();
    let mut database = living.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    let dead = Scratch::new();
    for file in living.listing() {
        fs::copy(living.directory.path().join(&file), dead.directory.path().join(&file)).unwrap();
    }
    readable(&dead, 0o777);
    read_without_trace(&dead, 1);
    fs::remove_file(dead.directory.path().join("herdsman.db-shm")).unwrap();
    let error = Database::open_read_only(&dead.path()).unwrap_err();
    assert!(matches!(error.problem, Problem::UncleanLog), "{error}");
    assert_eq!(dead.listing(), ["herdsman.db", "herdsman.db-wal"]);
    assert_eq!(dead.open().records().unwrap().models.len(), 1, "opening for writing recovers it");
}

#[test]
fn another_programs_database_reads_as_unmanaged_rows() {
    for mode in ["delete", "wal"] {
        let scratch = Scratch::new();
        let client = scratch.client();
        client.pragma_update(None, "journal_mode", mode).unwrap();
        client
            .execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, name, type, status, created_at, updated_at); INSERT INTO models VALUES (1, 'x', 'gpt', 'stopped', 1, 1)")
            .unwrap();
        drop(client);
        readable(&scratch, 0o777);
        read_without_trace(&scratch, 1);
        let database = Database::open_read_only(&scratch.path()).unwrap().unwrap();
        assert_eq!(database.records().unwrap().unmanaged[0].name, "x");
    }
}

#[test]
fn a_path_with_odd_characters_is_just_a_path() {
    let scratch = Scratch::new();
    let path = scratch.directory.path().join("a?mode=memory&x=%41#b ü.db");
    Database::open(&path).unwrap().commit(&create(&config("a")), at(1)).unwrap();
    let database = Database::open_read_only(&path).unwrap().unwrap();
    assert_eq!(database.records().unwrap().models.len(), 1);
    assert_eq!(scratch.listing(), ["a?mode=memory&x=%41#b ü.db"]);
}

#[test]
fn a_read_only_database_refuses_writes() {
    let scratch = Scratch::new();
    filled(&scratch);
    let mut database = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    let error = database.commit(&create(&config("b")), at(1)).unwrap_err();
    assert!(matches!(error.problem, Problem::ReadOnly), "{error}");
}

#[test]
fn a_database_that_is_refused_is_not_written_to() {
    let scratch = Scratch::new();
    let other = Connection::open(scratch.path()).unwrap();
    other.execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, title TEXT)").unwrap();
    drop(other);
    let before = fs::read(scratch.path()).unwrap();
    Database::open(&scratch.path()).unwrap_err();
    assert_eq!(fs::read(scratch.path()).unwrap(), before);
}

#[test]
fn refuses_a_pipe_as_database_without_waiting() {
    let scratch = Scratch::new();
    rustix::fs::mknodat(rustix::fs::CWD, scratch.path(), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    for error in [Database::open(&scratch.path()).unwrap_err(), Database::open_read_only(&scratch.path()).unwrap_err()]
    {
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
