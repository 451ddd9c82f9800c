//! Steps to a newer schema, with a step that no herdsman has made yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::database::migrations::{STEPS, migrate_by, version};
use crate::database::{DatabaseError, Problem};

const NEXT: &str = "ALTER TABLE herdsman_models ADD COLUMN next TEXT; CREATE TABLE herdsman_next (a)";

/// What a herdsman with more steps does when it opens the database.
fn migrate(scratch: &Scratch, further: &[&str]) -> Result<(), DatabaseError> {
    let steps = [&STEPS[..], further].concat();
    let migrated = migrate_by(&steps, &scratch.client(), &scratch.path());
    migrated.map_err(|problem| DatabaseError::new(&scratch.path(), std::time::Duration::ZERO, problem))
}

fn backups(scratch: &Scratch) -> Vec<String> {
    scratch.listing().into_iter().filter(|name| name.contains(".backup-")).collect()
}

fn filled(scratch: &Scratch) {
    scratch.open().commit(&create(&config("a")), at(1)).unwrap();
}

#[test]
fn a_backup_is_made_before_a_migration_and_the_former_herdsman_can_use_it() {
    let scratch = Scratch::new();
    filled(&scratch);
    // What another program has committed and nobody has checkpointed is in it.
    let dashboard = scratch.client();
    dashboard.execute("UPDATE models SET fit_params_available = 7", []).unwrap();
    migrate(&scratch, &[NEXT]).unwrap();
    let latest = i64::try_from(STEPS.len()).unwrap();
    assert_eq!(version(&scratch.client()).unwrap(), latest + 1);
    let backups = backups(&scratch);
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert!(backups[0].starts_with(&format!("herdsman.db.backup-v{latest}-2")), "{backups:?}");
    let backup = scratch.directory.path().join(&backups[0]);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let former = Database::open(&backup).unwrap();
    assert_eq!(record(&former, "a").generation.number, 1);
    let row = former.get_model_by_name("a").unwrap().unwrap();
    assert_eq!(row.get("fit_params_available"), Some(&int(7)));
    let error = Database::open(&scratch.path()).unwrap_err();
    assert!(matches!(error.problem, Problem::NewerSchema { .. }), "{error}");
}

#[test]
fn a_migration_that_fails_changes_nothing_and_leaves_no_backup() {
    let scratch = Scratch::new();
    filled(&scratch);
    let before = fs::read(scratch.path()).unwrap();
    let error = migrate(&scratch, &[NEXT, "CREATE TABLE herdsman_next (b)"]).unwrap_err();
    let latest = i64::try_from(STEPS.len()).unwrap();
    assert!(
        matches!(error.problem, Problem::Migration { found, to, .. } if (found, to) == (latest, latest + 2)),
        "{error}"
    );
    assert!(error.to_string().contains("nothing was changed"), "{error}");
    assert_eq!(scratch.listing(), ["herdsman.db"]);
    assert_eq!(fs::read(scratch.path()).unwrap(), before);
    assert_eq!(record(&scratch.open(), "a").generation.number, 1);
}

#[test]
fn only_the_newest_backups_are_kept() {
    let scratch = Scratch::new();
    filled(&scratch);
    let other = scratch.directory.path().join("herdsman.db-backup");
    fs::write(&other, "somebody else's").unwrap();
    let mut steps = Vec::new();
    for number in 1..=5 {
        let step: &'static str = Box::leak(format!("CREATE TABLE herdsman_further_{number} (a)").into_boxed_str());
        steps.push(step);
        migrate(&scratch, &steps).unwrap();
    }
    let versions: Vec<String> = backups(&scratch).iter().map(|name| name.chars().skip(20).take(1).collect()).collect();
    let latest = STEPS.len();
    assert_eq!(versions, [latest + 2, latest + 3, latest + 4].map(|version| version.to_string()));
    assert!(other.exists());
}

#[test]
fn makes_no_backup_of_a_current_or_new_database() {
    let scratch = Scratch::new();
    scratch
        .client()
        .execute_batch("CREATE TABLE models (id INTEGER PRIMARY KEY, name, type, status, created_at, updated_at)")
        .unwrap();
    drop(scratch.open());
    scratch.client().execute_batch("DROP INDEX idx_models_status").unwrap();
    drop(scratch.open());
    assert_eq!(scratch.listing(), ["herdsman.db"]);
}

#[test]
fn does_not_migrate_without_room_for_a_backup() {
    let scratch = Scratch::new();
    filled(&scratch);
    let connection = scratch.client();
    // A missing directory simulates one that cannot be written to.
    let elsewhere = scratch.directory.path().join("gone/herdsman.db");
    let steps = [&STEPS[..], &[NEXT]].concat();
    let problem = migrate_by(&steps, &connection, &elsewhere).unwrap_err();
    assert!(matches!(problem, Problem::Backup { .. }), "{problem}");
    assert_eq!(version(&connection).unwrap(), i64::try_from(STEPS.len()).unwrap());
}
