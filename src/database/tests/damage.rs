//! Damaged files: what is found, what is set aside, what is left alone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::database::damage::PARTS;
use crate::database::{DatabaseError, Location, ModelRow, Problem, SetAside};
use crate::model::Row;

/// SQLite's page size in these files.
const PAGE: usize = 4096;

/// A closed database with managed models `m0`… and unmanaged rows `theirs-0`….
pub(super) fn filled(scratch: &Scratch, managed: usize, theirs: usize) {
    let mut database = scratch.open();
    for number in 0..managed {
        database.commit(&create(&config(&format!("m{number}"))), at(1)).unwrap();
    }
    for number in 0..theirs {
        let row = fields([("name", text(&format!("theirs-{number}"))), ("chat_template", text(&"x".repeat(700)))]);
        database.save_model(&row, at(2)).unwrap();
    }
    drop(database);
    assert_eq!(scratch.listing(), ["herdsman.db"]);
}

/// Overwrites pages, counted from 1, with garbage.
pub(super) fn garble(path: &Path, pages: impl IntoIterator<Item = usize>) {
    let mut bytes = fs::read(path).unwrap();
    for page in pages {
        bytes[(page - 1) * PAGE..page * PAGE].fill(0xa5);
    }
    fs::write(path, bytes).unwrap();
}

/// The page that a table or index begins in.
pub(super) fn root(scratch: &Scratch, name: &str) -> usize {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    scratch.client().query_row(sql, [name], |row| row.get::<_, u32>(0)).unwrap() as usize
}

/// All leaves of a table, in order.
pub(super) fn leaves(scratch: &Scratch, name: &str) -> Vec<usize> {
    let client = scratch.client();
    let sql = "SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path";
    let mut statement = client.prepare(sql).unwrap();
    statement.query_map([name], |row| row.get::<_, u32>(0)).unwrap().map(|page| page.unwrap() as usize).collect()
}

fn replaced(scratch: &Scratch, place: Location) -> (Database, SetAside) {
    let (database, aside) = Database::open_or_replace(&scratch.path(), place).unwrap();
    (database, aside.expect("nothing was set aside"))
}

fn refused(scratch: &Scratch, place: Location) -> DatabaseError {
    let before = fs::read(scratch.path()).unwrap();
    let listing = scratch.listing();
    let error = Database::open_or_replace(&scratch.path(), place).unwrap_err();
    assert_eq!(fs::read(scratch.path()).unwrap(), before, "{error}");
    assert_eq!(scratch.listing(), listing, "{error}");
    error
}

pub(super) fn names(database: &Database) -> Vec<String> {
    let mut rows = database.get_models(&Default::default()).unwrap();
    rows.sort_by_key(ModelRow::id);
    rows.iter().map(|row| row.name().to_owned()).collect()
}

#[test]
fn finds_damage_before_writing_anything() {
    let tables = ["herdsman_models", "herdsman_generations", "herdsman_events", "idx_models_created", "models"];
    for table in tables {
        let scratch = Scratch::new();
        filled(&scratch, 2, 2);
        garble(&scratch.path(), [root(&scratch, table)]);
        let damaged = fs::read(scratch.path()).unwrap();
        // As after a power loss: in the same boot, pages that nobody reads are not
        // checked.
        other_boot(&scratch);
        let error = Database::open(&scratch.path()).unwrap_err();
        assert!(matches!(error.problem, Problem::Damaged(_)), "{table}: {error}");
        let (_, aside) = replaced(&scratch, Location::Own);
        let kept = fs::read(&aside.to).unwrap();
        assert_eq!(kept.len(), damaged.len(), "{table}");
    }
}

/// Makes the file look like one that was found sound in another boot.
pub(super) fn other_boot(scratch: &Scratch) {
    let mut bytes = fs::read(scratch.path()).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = boot.trim().as_bytes();
    let at = bytes.windows(boot.len()).position(|window| window == boot).unwrap();
    bytes[at] = b'x';
    fs::write(scratch.path(), bytes).unwrap();
}

#[test]
fn a_file_found_sound_is_not_checked_again_in_the_same_boot() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    garble(&scratch.path(), [root(&scratch, "herdsman_events")]);
    assert_eq!(record(&scratch.open(), "m0").row, Row::Present(Vec::new()), "that page is not read");
    // A copy is another file.
    let copy = scratch.directory.path().join("copy.db");
    fs::copy(scratch.path(), &copy).unwrap();
    let error = Database::open(&copy).unwrap_err();
    assert!(matches!(error.problem, Problem::Damaged(_)), "{error}");
}

#[test]
fn sets_a_damaged_database_aside_unchanged() {
    let scratch = Scratch::new();
    filled(&scratch, 2, 1);
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    other_boot(&scratch);
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::read(scratch.path()).unwrap();
    let (database, aside) = replaced(&scratch, Location::Own);
    assert!(aside.to.to_str().unwrap().starts_with(&format!("{}.corrupt-2", scratch.path().display())), "{aside}");
    assert_eq!(fs::read(&aside.to).unwrap(), before);
    let message = aside.to_string();
    for part in [scratch.path().to_str().unwrap(), aside.to.to_str().unwrap(), "Lost: ", ".recover", "3 rows"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(fs::metadata(scratch.path()).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(database.records().unwrap().models.is_empty());
    assert!(!scratch.listing().iter().any(|name| name.contains("rebuilding")), "{:?}", scratch.listing());
    drop(database);
    // Nothing else was lost: the new one is sound.
    assert!(Database::open_or_replace(&scratch.path(), Location::Own).unwrap().1.is_none());
}

#[test]
fn sets_aside_a_file_without_its_first_page_in_the_default_place() {
    for bytes in [0, 0xa5] {
        let scratch = Scratch::new();
        filled(&scratch, 1, 1);
        let mut file = fs::read(scratch.path()).unwrap();
        file[..PAGE].fill(bytes);
        fs::write(scratch.path(), &file).unwrap();
        let error = refused(&scratch, Location::Named);
        assert!(matches!(error.problem, Problem::NotADatabase), "{error}");
        let (_, aside) = replaced(&scratch, Location::Own);
        assert_eq!((fs::read(&aside.to).unwrap(), aside.rows), (file, 0));
    }
}

#[test]
fn a_truncated_file_is_sound_new_or_set_aside() {
    let whole = Scratch::new();
    filled(&whole, 2, 2);
    let bytes = fs::read(whole.path()).unwrap();
    for length in (0..bytes.len()).step_by(PAGE / 2).chain([1, 15, 16, 99, 100, 511]) {
        let scratch = Scratch::new();
        fs::write(scratch.path(), &bytes[..length]).unwrap();
        let (database, aside) = Database::open_or_replace(&scratch.path(), Location::Own)
            .unwrap_or_else(|error| panic!("{length} bytes: {error}"));
        assert_eq!(aside.is_some(), length > 1, "{length} bytes");
        assert!(database.records().unwrap().models.is_empty(), "{length} bytes");
        if let Some(aside) = aside {
            assert_eq!(fs::read(&aside.to).unwrap(), &bytes[..length]);
        }
    }
}

#[test]
fn an_emptied_file_with_a_log_loses_neither() {
    let scratch = Scratch::new();
    let mut living = scratch.open();
    living.commit(&create(&config("a")), at(1)).unwrap();
    let log = scratch.directory.path().join("herdsman.db-wal");
    let commits = fs::read(&log).unwrap();
    let killed = Scratch::new();
    fs::write(killed.path(), "").unwrap();
    fs::write(killed.directory.path().join("herdsman.db-wal"), &commits).unwrap();
    let (_database, aside) = replaced(&killed, Location::Named);
    let kept = format!("{}-wal", aside.to.display());
    assert_eq!(fs::read(kept).unwrap(), commits);
}

/// A damaged file whose log holds a commit, with what is in both.
fn killed_with_log() -> (Scratch, Vec<u8>, Vec<u8>) {
    let living = Scratch::new();
    let mut database = living.open();
    database.commit(&create(&config("a")), at(1)).unwrap();
    database.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    database.save_model(&fields([("name", text("late"))]), at(2)).unwrap();
    let killed = Scratch::new();
    for file in ["herdsman.db", "herdsman.db-wal"] {
        fs::copy(living.directory.path().join(file), killed.directory.path().join(file)).unwrap();
    }
    garble(&killed.path(), [root(&living, "herdsman_instances")]);
    let read = |file: &str| fs::read(killed.directory.path().join(file)).unwrap();
    let (file, log) = (read("herdsman.db"), read("herdsman.db-wal"));
    (killed, file, log)
}

#[test]
fn sets_the_log_aside_unchanged_with_the_file() {
    let (killed, file, log) = killed_with_log();
    let (database, aside) = Database::replace(&killed.path(), Location::Own).unwrap();
    assert_eq!(names(&database), ["a", "late"], "what only the log holds is read");
    let log_aside = fs::read(format!("{}-wal", aside.to.display())).unwrap();
    assert_eq!((fs::read(aside.to).unwrap(), log_aside), (file, log));
}

#[test]
fn a_kill_while_setting_aside_loses_neither_file_nor_log() {
    for done in 0..=PARTS.len() {
        let (killed, file, log) = killed_with_log();
        let part = |name: &str, part: &str| killed.directory.path().join(format!("{name}{part}"));
        for suffix in &PARTS[..done] {
            // There is no -shm.
            let _ = fs::rename(part("herdsman.db", suffix), part("herdsman.db.corrupt-0", suffix));
        }
        let (mut database, _) = Database::open_or_replace(&killed.path(), Location::Own).unwrap();
        let _ = database.records().or_else(|_| {
            database = Database::replace(&killed.path(), Location::Own)?.0;
            database.records()
        });
        database.commit(&create(&config("next")), at(9)).unwrap();
        let kept: Vec<Vec<u8>> =
            killed.listing().iter().map(|name| fs::read(killed.directory.path().join(name)).unwrap()).collect();
        assert!(kept.contains(&file) && kept.contains(&log), "{done}: {:?}", killed.listing());
    }
}

#[test]
fn leaves_a_file_alone_that_cannot_be_set_aside() {
    let (killed, file, log) = killed_with_log();
    // A directory in place of the new file simulates a full disk.
    let in_the_way = killed.directory.path().join("herdsman.db.rebuilding");
    fs::create_dir(&in_the_way).unwrap();
    let error = Database::replace(&killed.path(), Location::Own).unwrap_err();
    assert!(matches!(error.problem, Problem::CannotSetAside { .. }), "{error}");
    let read = |suffix: &str| fs::read(killed.directory.path().join(format!("herdsman.db{suffix}"))).unwrap();
    assert_eq!((read(""), read("-wal")), (file, log));
    fs::remove_dir(in_the_way).unwrap();
    Database::replace(&killed.path(), Location::Own).unwrap();
}

#[test]
fn readers_of_the_damaged_file_do_not_harm_the_new_one() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    let dashboard = scratch.client();
    let count = |client: &Connection| client.query_row("SELECT count(*) FROM models", [], |row| row.get::<_, i64>(0));
    dashboard.execute("UPDATE models SET ctx_size = 1", []).unwrap();
    garble(&scratch.path(), [root(&scratch, "herdsman_generations")]);
    let (mut database, aside) = Database::replace(&scratch.path(), Location::Own).unwrap();
    database.commit(&create(&config("new")), at(3)).unwrap();
    // It still sees the old file, and its end takes no log away.
    dashboard.execute("UPDATE models SET ctx_size = 2", []).unwrap();
    drop(dashboard);
    assert!(scratch.listing().contains(&"herdsman.db-wal".to_owned()));
    assert_eq!(count(&scratch.client()).unwrap(), 3);
    database.commit(&create(&config("newer")), at(4)).unwrap();
    drop(database);
    assert_eq!(record(&scratch.open(), "newer").row, Row::Present(Vec::new()));
    assert!(aside.to.exists());
}

#[test]
fn leaves_a_foreign_database_alone() {
    let scratch = Scratch::new();
    let client = scratch.client();
    client
        .execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, name, type, status, created_at, updated_at)")
        .unwrap();
    for number in 0..300 {
        let row = (number, format!("{number}").repeat(20));
        client.execute("INSERT INTO models VALUES (?1, ?2, 'gpt', 'stopped', 1, 1)", row).unwrap();
    }
    drop(client);
    garble(&scratch.path(), [root(&scratch, "models")]);
    let error = refused(&scratch, Location::Named);
    assert!(matches!(error.problem, Problem::DamagedForeign), "{error}");
}

#[test]
fn text_that_mentions_herdsman_is_not_its_database() {
    let scratch = Scratch::new();
    fs::write(scratch.path(), "CREATE TABLE herdsman_models (name TEXT);\n".repeat(200)).unwrap();
    let error = refused(&scratch, Location::Named);
    assert!(matches!(error.problem, Problem::NotADatabase), "{error}");
}

#[test]
fn a_schema_of_a_newer_sqlite_is_not_damage() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    let client = scratch.client();
    client
        .execute_batch(
            "CREATE TABLE theirs (a);
             PRAGMA writable_schema = 1;
             UPDATE sqlite_schema SET sql = 'CREATE TABLE theirs (a) FROM THE FUTURE' WHERE name = 'theirs'",
        )
        .unwrap();
    drop(client);
    let error = refused(&scratch, Location::Own);
    assert!(matches!(&error.problem, Problem::Misread(fault) if fault.contains("theirs")), "{error}");
}

#[test]
fn values_that_break_rules_are_not_damage() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    let client = scratch.client();
    client.execute_batch("PRAGMA ignore_check_constraints = 1; UPDATE models SET status = 'what'").unwrap();
    drop(client);
    other_boot(&scratch);
    assert!(Database::open_or_replace(&scratch.path(), Location::Own).unwrap().1.is_none());
    let error = Database::replace(&scratch.path(), Location::Own).unwrap_err();
    assert!(matches!(error.problem, Problem::Misread(_)), "{error}");
}

#[test]
fn finds_an_index_that_disagrees_with_its_table_late() {
    let scratch = Scratch::new();
    filled(&scratch, 2, 0);
    let (index, other) = (root(&scratch, "idx_models_name"), root(&scratch, "idx_models_status"));
    let mut bytes = fs::read(scratch.path()).unwrap();
    let page = bytes[(other - 1) * PAGE..other * PAGE].to_vec();
    bytes[(index - 1) * PAGE..index * PAGE].copy_from_slice(&page);
    fs::write(scratch.path(), bytes).unwrap();
    let (database, aside) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!((names(&database), aside.rows), (vec!["m0".to_owned(), "m1".to_owned()], 2));
}

#[test]
fn repeated_damage_is_reported_and_does_not_fill_the_disk() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 0);
    let damage = || garble(&scratch.path(), [1]);
    for number in 1..=10 {
        damage();
        drop(replaced(&scratch, Location::Own));
        let aside = scratch.listing().iter().filter(|name| name.contains(".corrupt-")).count();
        assert_eq!(aside, number, "one of them was overwritten: {:?}", scratch.listing());
    }
    damage();
    let error = refused(&scratch, Location::Own);
    assert!(matches!(error.problem, Problem::OftenDamaged { most: 10, .. }), "{error}");
}

#[test]
fn restarts_an_interrupted_rebuild() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    let left = scratch.directory.path().join("herdsman.db.rebuilding");
    fs::write(&left, "half").unwrap();
    let (database, _) = Database::replace(&scratch.path(), Location::Own).unwrap();
    assert_eq!(names(&database), ["m0", "theirs-0"]);
    assert!(!left.exists());
}

#[test]
fn reading_finds_the_damage_and_leaves_it_as_it_is() {
    let scratch = Scratch::new();
    filled(&scratch, 1, 1);
    garble(&scratch.path(), [root(&scratch, "herdsman_models")]);
    let before = (fs::read(scratch.path()).unwrap(), scratch.listing());
    let database = Database::open_read_only(&scratch.path()).unwrap().unwrap();
    let error = database.records().unwrap_err();
    assert!(error.is_damage() && error.to_string().contains("set it aside"), "{error}");
    drop(database);
    assert_eq!((fs::read(scratch.path()).unwrap(), scratch.listing()), before);
}
