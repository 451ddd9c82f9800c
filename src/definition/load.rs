//! Reading the directory until two readings agree.
//!
//! ```text
//!   wait for git -> list -> read every file -> list and stat again
//!        ^                                        |       |
//!        +------------- something changed --------+       +-- the same: done
//! ```
//!
//! Invariants: the result is of one moment, in which every file had the
//! content it is given; a directory that cannot be read is an error, never an
//! empty one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use toml::de::DeTable;

use super::assemble::{self, Context, Outcome};
use super::defaults::{self, Bindings, Defaults};
use super::directory::{Listing, Stamp};
use super::draft::{self, Draft, FileKind};
use super::files::FileCache;
use super::names::Names;
use super::secret::SecretCache;
use super::source::Source;
use super::text::{self, TextProblem};
use super::value::Reader;
use super::{LoadError, LoadOptions, claims, git, paths, syntax};
use crate::model::{Desired, Diagnostic};

/// How long to wait for git, and for the directory to settle.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before looking again.
const POLL: Duration = Duration::from_millis(20);

/// From this many files on, two threads read.
const MANY: usize = 64;

/// Reads the definitions in `options.dir`.
///
/// # Errors
/// [`LoadError`] when the directory as a whole cannot be read. Whatever is
/// wrong with single files is in [`Desired::diagnostics`].
pub fn load(options: &LoadOptions<'_>) -> Result<Desired, LoadError> {
    load_within(options, PATIENCE)
}

pub(super) fn load_within(options: &LoadOptions<'_>, patience: Duration) -> Result<Desired, LoadError> {
    let dir = paths::lexical(options.cwd, options.dir);
    let base = dir.to_str().ok_or_else(|| LoadError::NotUnicode { dir: dir.clone() })?;
    let lock = git::index_lock(&dir);
    let is_locked = || lock.as_ref().filter(|lock| lock.exists());
    let deadline = Instant::now() + patience;
    loop {
        let before = list(&dir)?;
        if is_locked().is_none() {
            let reading = read_all(options, &dir, base, &before);
            if is_locked().is_none() && before == list(&dir)? && reading.is_still_so(&dir, &before) {
                return Ok(reading.desired);
            }
        }
        if Instant::now() >= deadline {
            return Err(match is_locked() {
                Some(lock) => LoadError::GitBusy { lock: lock.clone(), patience },
                None => LoadError::Unsettled { dir, patience },
            });
        }
        thread::sleep(POLL);
    }
}

fn list(dir: &Path) -> Result<Listing, LoadError> {
    Listing::read(dir).map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => LoadError::MissingDirectory { dir: dir.to_owned() },
        io::ErrorKind::NotADirectory => LoadError::NotADirectory { dir: dir.to_owned() },
        _ => LoadError::Unreadable { dir: dir.to_owned(), cause },
    })
}

/// One reading of the directory, and what its files were like.
struct Reading {
    desired: Desired,
    /// As the listing orders them.
    stamps: Vec<Option<Stamp>>,
    defaults: Option<Stamp>,
}

impl Reading {
    /// Whether every file still is what was read.
    fn is_still_so(&self, dir: &Path, listing: &Listing) -> bool {
        let defaults = listing.has_defaults.then(|| Stamp::of(&dir.join(defaults::FILE_NAME))).flatten();
        let stamps = in_halves(&listing.definitions, |names| {
            let mut path = dir.join("-");
            let stamp = |name: &OsString| {
                path.set_file_name(name);
                Stamp::of(&path)
            };
            names.iter().map(stamp).collect()
        });
        defaults == self.defaults && stamps == self.stamps
    }
}

/// What reading one file gives.
struct FileRead {
    stamp: Option<Stamp>,
    outcome: Outcome,
    problems: Vec<Diagnostic>,
}

fn read_all(options: &LoadOptions<'_>, dir: &Path, base: &str, listing: &Listing) -> Reading {
    let mut problems = Vec::new();
    let mut buffer = Vec::new();
    let path = dir.join(defaults::FILE_NAME);
    let (stamp, text) = if listing.has_defaults { read_text(&path, &mut buffer) } else { (None, Ok("")) };
    let source = Source::new(
        path.to_string_lossy().into(),
        paths::shown(options.cwd, &path).into(),
        text.as_ref().copied().unwrap_or_default(),
    );
    let (table, errors) = DeTable::parse_recoverable(source.text);
    let mut names = Names::default();
    let mut reader = Reader::new(&source, &mut names);
    let defaults = match text {
        Err(problem) => {
            problems.push(whole_file(&source.file, problem));
            None
        }
        Ok(_) if !listing.has_defaults => None,
        Ok(_) if !errors.is_empty() => {
            problems.extend(syntax::problems(&source, table.get_ref(), &errors));
            None
        }
        Ok(_) => {
            let draft = read_defaults(options, &mut reader, table.get_ref(), base);
            Some(Defaults { source: &source, draft })
        }
    };
    problems.append(&mut reader.problems);

    let bindings = Bindings::new(options.catalogues, defaults.as_ref(), base);
    let (files, secrets) = (FileCache::default(), SecretCache::new(options.state_key));
    let context = Context {
        base,
        defaults: defaults.as_ref(),
        defaults_broken: !problems.is_empty(),
        bindings: &bindings,
        files: &files,
        secrets: &secrets,
    };
    let reads = read_files(&context, options.cwd, dir, listing);
    problems.append(&mut bindings.into_problems());
    collect(dir, stamp, reads, problems)
}

fn read_defaults<'v, 't>(
    options: &LoadOptions<'_>,
    reader: &mut Reader<'_, 't>,
    table: &'v DeTable<'t>,
    base: &str,
) -> Draft<'v, 't> {
    // Only for hints about misplaced keys; which options the defaults may
    // state is decided by the llama-servers in use.
    let hints = options.catalogues.catalogue(None);
    draft::read(reader, table, FileKind::Defaults, &hints, base)
}

/// Does `work` for all `items`, in two threads where that pays.
fn in_halves<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    if items.len() < MANY {
        return work(items);
    }
    let (left, right) = items.split_at(items.len() / 2);
    thread::scope(|scope| {
        let right = scope.spawn(|| work(right));
        let mut all = work(left);
        match right.join() {
            Ok(mut right) => all.append(&mut right),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        all
    })
}

fn read_files(context: &Context<'_>, cwd: &Path, dir: &Path, listing: &Listing) -> Vec<FileRead> {
    let shown_dir = paths::shown_dir(cwd, dir);
    in_halves(&listing.definitions, |files| {
        let mut reading = Scratch { path: dir.join("-"), buffer: Vec::new(), names: Names::default() };
        files.iter().map(|file| read_file(context, &shown_dir, file, &mut reading)).collect()
    })
}

/// What is used again from file to file.
struct Scratch {
    path: PathBuf,
    buffer: Vec<u8>,
    names: Names,
}

fn read_file(context: &Context<'_>, shown_dir: &str, name: &OsStr, scratch: &mut Scratch) -> FileRead {
    let Scratch { path, buffer, names } = scratch;
    path.set_file_name(name);
    let file: Arc<str> = paths::shown_in(shown_dir, name).into();
    let (stamp, text) = read_text(path, buffer);
    let text = text.and_then(|text| match path.to_str() {
        Some(unicode) => Ok((Arc::from(unicode), text)),
        None => Err(TextProblem { message: "the file's name is not UTF-8".to_owned(), help: "rename the file" }),
    });
    let stem = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let (outcome, problems) = match text {
        Ok((path, text)) => assemble::definition(context, &Source::new(path, file, text), stem, names),
        Err(problem) => {
            let problem = whole_file(&file, problem);
            (assemble::unreadable(path.to_string_lossy().into(), file, stem, &problem), vec![problem])
        }
    };
    FileRead { stamp, outcome, problems }
}

/// The text, and the stamp of what was opened; of what the path leads to
/// where it could not be opened.
fn read_text<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> (Option<Stamp>, Result<&'b str, TextProblem>) {
    let (metadata, text) = text::read_into(path, buffer);
    (metadata.map_or_else(|| Stamp::of(path), |metadata| Some(Stamp::new(&metadata))), text)
}

fn whole_file(file: &Arc<str>, problem: TextProblem) -> Diagnostic {
    Diagnostic::error(Arc::clone(file), problem.message).help(problem.help)
}

fn collect(dir: &Path, defaults: Option<Stamp>, reads: Vec<FileRead>, mut problems: Vec<Diagnostic>) -> Reading {
    let mut outcomes = Vec::with_capacity(reads.len());
    let mut stamps = Vec::with_capacity(reads.len());
    for FileRead { stamp, outcome, problems: mut found } in reads {
        stamps.push(stamp);
        outcomes.push(outcome);
        problems.append(&mut found);
    }
    problems.append(&mut claims::check(&mut outcomes));
    let (mut definitions, mut unresolved) = (Vec::with_capacity(outcomes.len()), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Good(definition) => definitions.push((definition.name.clone(), *definition)),
            Outcome::Bad(file, _) => unresolved.push(file),
        }
    }
    let desired = Desired {
        dir: dir.to_owned(),
        // Collected, not inserted one by one: that leaves no node half empty.
        definitions: definitions.into_iter().collect(),
        unresolved,
        diagnostics: super::in_order(problems),
    };
    Reading { desired, stamps, defaults }
}
