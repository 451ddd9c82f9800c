//! `herdsman import`: real-looking files of each kind, odd ones included, a
//! real database, and a real llama-server that is taken over.

mod database;
mod ggufs;
mod process;
mod texts;
mod values;

use std::fs;
use std::path::Path;

use crate::support::{Ran, World};
use herdsman::definition::{Embedded, LoadOptions, Loader, ReadFrom};
use herdsman::model::{Diagnostic, Severity};

/// Asserts that `dir` holds so many definitions and all are valid.
#[track_caller]
fn all_valid(dir: &Path, count: usize) {
    let options =
        LoadOptions { dir, from: ReadFrom::Itself, cwd: Path::new("/"), state_key: [0; 32], catalogues: &Embedded };
    let desired = Loader::default().load(&options).unwrap();
    let errors = desired.diagnostics.iter().filter(|problem| problem.severity == Severity::Error);
    assert_eq!(errors.collect::<Vec<_>>(), [] as [&Diagnostic; 0]);
    assert_eq!(desired.definitions.len(), count);
}

/// What it said, and every file it wrote, for a snapshot.
fn whole(world: &World, ran: &Ran, dir: &str) -> String {
    let mut text = ran.to_string();
    let mut files: Vec<_> =
        fs::read_dir(world.path().join(dir)).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        text += &format!("\n==> {name} <==\n{}", fs::read_to_string(&file).unwrap());
    }
    text.replace(world.path().to_str().unwrap(), "[world]")
}

/// Copies a sample into the world, so that it is named as a user would.
fn sample(world: &World, name: &str) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/import/samples").join(name);
    fs::copy(from, world.path().join(name)).unwrap();
}
