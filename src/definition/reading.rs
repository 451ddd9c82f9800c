//! One reading of the directory: the state of every file, and what of the last
//! reading can be reused.
//!
//! A file is parsed again unless everything its definition was made from is
//! unchanged: its own bytes, the defaults, the options of its llama-server, the
//! identity of every file and the digest of every secret it names.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use toml::de::DeTable;

use super::assemble::{self, Context};
use super::defaults::{self, Bindings, Defaults};
use super::directory::{Directory, Listing, Stamp};
use super::draft::{self, Draft, FileKind};
use super::files::FileCache;
use super::groups::{self, Groups};
use super::names::Names;
use super::outcome::Outcome;
use super::secret::SecretCache;
use super::source::Source;
use super::text::TextProblem;
use super::value::Reader;
use super::{LoadOptions, claims, paths, syntax};
use crate::llama::catalogue::Catalogue;
use crate::model::{Definition, Desired, Diagnostic};
use crate::sys::parallel::shares;
use crate::sys::trust::Access;

/// From this many files on, two threads read them, and check them for changes.
const MANY: usize = 64;
const MANY_KNOWN: usize = 2000;

/// One reading of the directory, and the state of its files.
#[derive(Debug)]
pub(super) struct Reading {
    pub desired: Arc<Desired>,
    listing: Listing,
    /// In the order of the listing.
    files: Vec<FileRead>,
    defaults: Option<Stamp>,
    defaults_text: String,
    groups: Groups,
    /// Problems of the defaults, of the groups, and of the directory.
    problems: Vec<Diagnostic>,
}

/// The result of reading one file.
#[derive(Clone, Debug)]
struct FileRead {
    stamp: Option<Stamp>,
    outcome: Outcome,
    problems: Vec<Diagnostic>,
    /// The options it was read with, if its stamp is enough to detect a change.
    at_rest: Option<Arc<Catalogue>>,
}

impl Reading {
    /// Reads what `listing` names; `last` is the previous reading, if any. The next
    /// reading must not rely on the stamp of a file that changed less than
    /// `at_rest` ago.
    pub fn make(
        options: &LoadOptions<'_>,
        dir: &Path,
        directory: Directory<'_>,
        listing: Listing,
        last: Option<&Self>,
        at_rest: Duration,
    ) -> Self {
        let (groups, mut problems) = Groups::read(directory, dir, options.cwd, listing.has_groups);
        let mut of_defaults = Vec::new();
        let mut buffer = Vec::new();
        let base = &*dir.to_string_lossy();
        let (stamp, text) = if listing.has_defaults {
            directory.read(OsStr::new(defaults::FILE_NAME), &mut buffer)
        } else {
            (None, Ok(""))
        };
        let path = dir.join(defaults::FILE_NAME);
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
                of_defaults.push(whole_file(&source.file, problem));
                None
            }
            Ok(_) if !listing.has_defaults => None,
            Ok(_) if !errors.is_empty() => {
                of_defaults.extend(syntax::problems(&source, table.get_ref(), &errors));
                None
            }
            Ok(_) => {
                let draft = read_defaults(options, &mut reader, table.get_ref(), base);
                groups.check(&mut reader, draft.common.groups.as_ref());
                Some(Defaults { source: &source, draft })
            }
        };
        of_defaults.append(&mut reader.problems);

        let bindings = Bindings::new(options.catalogues, defaults.as_ref(), base);
        let (files, secrets) = (FileCache::default(), SecretCache::new(options.state_key));
        let context = Context {
            base,
            defaults: defaults.as_ref(),
            defaults_broken: of_defaults.iter().any(Diagnostic::is_error),
            groups: &groups,
            bindings: &bindings,
            files: &files,
            secrets: &secrets,
        };
        problems.append(&mut of_defaults);
        let says_the_same = |last: &&Self| last.defaults_text == source.text && last.groups.says_the_same(&groups);
        let last = last.filter(|_| !context.defaults_broken).filter(says_the_same);
        let (reads, unchanged) = read_files(&context, options.cwd, directory, &listing, last, at_rest);
        problems.append(&mut bindings.into_problems());
        if let Some(dir) = directory.on_disk() {
            problems.append(&mut listing.not_read(dir, &paths::shown_dir(options.cwd, dir)));
        }
        let desired = match last {
            Some(last) if unchanged && last.problems == problems && last.listing == listing => {
                Arc::clone(&last.desired)
            }
            _ => Arc::new(collect(dir, directory, &reads, &groups, problems.clone())),
        };
        let defaults_text = source.text.to_owned();
        Self { desired, listing, files: reads, defaults: stamp, defaults_text, groups, problems }
    }

    /// Who can write to each file, for those on the disk.
    pub fn accesses(&self) -> impl Iterator<Item = (&OsStr, Access)> {
        let names = self.listing.definitions.iter().map(OsString::as_os_str);
        let stamps = names.zip(self.files.iter().map(|file| file.stamp));
        let shared = [(defaults::FILE_NAME, self.defaults), (groups::FILE_NAME, self.groups.stamp)];
        let all = stamps.chain(shared.map(|(name, stamp)| (OsStr::new(name), stamp)));
        all.filter_map(|(name, stamp)| Some((name, stamp?.access()?)))
    }

    /// The listing that was read.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// Whether every file is still what was read.
    pub fn is_still_so(&self, directory: Directory<'_>) -> bool {
        let stamp = |is_there: bool, name: &str| is_there.then(|| directory.stamp(OsStr::new(name))).flatten();
        let defaults = stamp(self.listing.has_defaults, defaults::FILE_NAME);
        let groups = stamp(self.listing.has_groups, groups::FILE_NAME);
        let stamps = shares(&self.listing.definitions, MANY_KNOWN, |names| {
            names.iter().map(|name| directory.stamp(name)).collect::<Vec<_>>()
        });
        defaults == self.defaults
            && groups == self.groups.stamp
            && stamps.iter().flatten().eq(self.files.iter().map(|file| &file.stamp))
    }

    /// This reading's result for the file `name`.
    fn file(&self, name: &OsStr) -> Option<&FileRead> {
        let index = self.listing.definitions.binary_search_by(|known| known.as_os_str().cmp(name)).ok()?;
        self.files.get(index)
    }
}

impl FileRead {
    /// Whether reading the file again would give the same result.
    fn still_holds(&self, context: &Context<'_>, stamp: impl FnOnce() -> Option<Stamp>) -> bool {
        let (Outcome::Good(definition), Some(catalogue)) = (&self.outcome, &self.at_rest) else { return false };
        let spec = &definition.spec;
        stamp() == self.stamp
            && Arc::ptr_eq(catalogue, &context.bindings.of(spec.binary.as_deref()).catalogue)
            && named_files(definition).all(|file| context.files.identity(&file) == spec.files.get(&*file).copied())
            && spec.secrets.values().all(|secret| context.secrets.reference(&secret.source) == *secret)
    }
}

/// Every file that a definition names, including missing ones.
fn named_files(definition: &Definition) -> impl Iterator<Item = Arc<str>> {
    definition.origins.keys().filter_map(|field| field.strip_prefix("file ").map(Arc::from))
}

fn read_defaults<'v, 't>(
    options: &LoadOptions<'_>,
    reader: &mut Reader<'_, 't>,
    table: &'v DeTable<'t>,
    base: &str,
) -> Draft<'v, 't> {
    // Only for hints about misplaced keys; the llama-servers in use decide which
    // options the defaults may set.
    let hints = options.catalogues.catalogue(None);
    draft::read(reader, table, FileKind::Defaults, &hints, base)
}

/// Reads every file; also returns whether all of them are as they were in `last`.
fn read_files(
    context: &Context<'_>,
    cwd: &Path,
    directory: Directory<'_>,
    listing: &Listing,
    last: Option<&Reading>,
    at_rest: Duration,
) -> (Vec<FileRead>, bool) {
    let shown_dir = paths::shown_dir(cwd, Path::new(context.base));
    let many = if last.is_some() { MANY_KNOWN } else { MANY };
    let reads = shares(&listing.definitions, many, |files| {
        let mut scratch = Scratch { buffer: Vec::new(), names: Names::default() };
        let read = |file: &OsString| {
            let still_holds = |known: &&FileRead| known.still_holds(context, || directory.stamp(file));
            match last.and_then(|last| last.file(file)).filter(still_holds) {
                Some(known) => (known.clone(), true),
                None => (read_file(context, &shown_dir, directory, file, &mut scratch, at_rest), false),
            }
        };
        files.iter().map(read).collect::<Vec<_>>()
    })
    .into_iter()
    .flatten()
    .collect::<Vec<_>>();
    let unchanged = reads.iter().all(|(_, known)| *known);
    (reads.into_iter().map(|(read, _)| read).collect(), unchanged)
}

/// Buffers reused from file to file.
struct Scratch {
    buffer: Vec<u8>,
    names: Names,
}

fn read_file(
    context: &Context<'_>,
    shown_dir: &str,
    directory: Directory<'_>,
    name: &OsStr,
    scratch: &mut Scratch,
    at_rest: Duration,
) -> FileRead {
    let Scratch { buffer, names } = scratch;
    let file: Arc<str> = paths::shown_in(shown_dir, name).into();
    let (stamp, text) = directory.read(name, buffer);
    let text = text.and_then(|text| match name.to_str() {
        Some(name) => Ok((Arc::from(format!("{}/{name}", context.base.trim_end_matches('/'))), text)),
        None => Err(TextProblem { message: "the file name is not valid UTF-8".to_owned(), help: "rename the file" }),
    });
    let stem = Path::new(name).file_stem().and_then(OsStr::to_str).unwrap_or_default();
    let (outcome, problems) = match text {
        Ok((path, text)) => assemble::definition(context, &Source::new(path, file, text), stem, names),
        Err(problem) => {
            let (problem, path) = (whole_file(&file, problem), Path::new(context.base).join(name));
            (assemble::unreadable(path.to_string_lossy().into(), file, stem, &problem), vec![problem])
        }
    };
    let at_rest = match (&outcome, stamp) {
        (Outcome::Good(definition), Some(stamp)) if stamp.is_older_than(at_rest, SystemTime::now()) => {
            Some(Arc::clone(&context.bindings.of(definition.spec.binary.as_deref()).catalogue))
        }
        _ => None,
    };
    FileRead { stamp, outcome, problems, at_rest }
}

fn whole_file(file: &Arc<str>, problem: TextProblem) -> Diagnostic {
    Diagnostic::error(Arc::clone(file), problem.message).help(problem.help)
}

fn collect(
    dir: &Path,
    directory: Directory<'_>,
    reads: &[FileRead],
    groups: &Groups,
    mut problems: Vec<Diagnostic>,
) -> Desired {
    problems.extend(reads.iter().flat_map(|read| read.problems.iter().cloned()));
    let mut outcomes: Vec<Outcome> = reads.iter().map(|read| read.outcome.clone()).collect();
    problems.append(&mut claims::check(&mut outcomes, directory));
    let (mut definitions, mut unresolved) = (Vec::with_capacity(outcomes.len()), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Good(definition) => definitions.push((definition.name.clone(), definition)),
            Outcome::Bad(file, _) => unresolved.push(file),
        }
    }
    problems.append(&mut groups.overfull(definitions.iter().map(|(_, definition)| definition)));
    Desired {
        dir: dir.to_owned(),
        // Collected rather than inserted one by one, which would leave nodes half
        // empty.
        definitions: definitions.into_iter().collect(),
        groups: groups.known.clone(),
        unresolved,
        diagnostics: super::in_order(problems),
    }
}
