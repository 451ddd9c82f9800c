//! Import: makes definitions from other programs' configurations.
//!
//! ```text
//!   config.yaml   preset.ini   database   a process   *.gguf
//!   llama_swap     preset      database    process     ggufs       one file a kind
//!         \           \           |          /          /
//!          command_line, environment               llama-server's arguments,
//!            repeated, options, lenient            as it reads it
//!                           |
//!                         Model                    in herdsman's words
//!                           |
//!                         names                    each name, port, alias once
//!                           |
//!                         write -> files           text, checked, onto the disk
//! ```
//!
//! Invariants:
//! - Nothing of a source is dropped silently: it becomes a key of the definition, a
//!   [`Remark`], or a [`LeftOut`] model.
//! - No secret's value leaves its source: not into a definition, a comment, a
//!   remark or a diagnostic.
//! - Nothing is guessed: a command that does not run llama-server is left out.
//! - No file is overwritten.

mod apart;
mod beside;
mod binary;
mod cmd;
mod command_line;
mod container;
mod database;
mod environment;
mod files;
mod ggufs;
mod given;
#[cfg(test)]
mod hostile;
mod ini;
mod lenient;
mod llama_swap;
mod macros;
mod model;
mod names;
mod options;
mod preset;
mod process;
mod remark;
mod repeated;
mod room;
mod secret;
mod shell;
mod source;
mod toml_value;
mod wrapped;
mod write;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

pub use binary::Servers;
pub use files::{File, WriteError, check, none_is_there, write};
pub use model::{LeftOut, Model, Secret};
pub use names::Named;
pub use remark::{Kind, Reason, Remark, SourceLocation, Why};
pub use source::SourceError;

use crate::definition::{GROUPS_FILE, absolute};
use options::Options;
use secret::names_a_secret;
use source::{Read, TextFile};

/// What to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// llama-swap's configuration: files, and directories of them.
    LlamaSwap(Vec<String>),
    /// What a llama-server router serves.
    Preset {
        /// Its preset, a file.
        file: Option<String>,
        /// Its `--models-dir`.
        dir: Option<String>,
        /// Its cache of downloads.
        cache: Option<String>,
        /// Its `--models-max`: how many models it runs at once; 0: any number.
        most: usize,
    },
    /// A models database, an SQLite file.
    Database(String),
    /// A running llama-server, its pid.
    Process(i32),
    /// A directory of weights.
    Ggufs(String),
}

/// The result of an import.
#[derive(Debug)]
pub struct Import {
    /// The models, each with its definition.
    pub definitions: Vec<(Named, File)>,
    /// `_groups.toml`, if the models are in groups.
    pub groups: Option<File>,
    /// Models without a definition.
    pub left_out: Vec<LeftOut>,
    /// Remarks about no model in particular.
    pub remarks: Vec<Remark>,
}

impl Import {
    /// Every file to write.
    #[must_use]
    pub fn files(&self) -> Vec<File> {
        self.definitions.iter().map(|(_, file)| file).chain(&self.groups).cloned().collect()
    }
}

/// Reads a source and makes definitions of it, without writing anything. Paths are
/// relative to `cwd`, absolute. `servers` asks the llama-servers it names.
///
/// # Errors
/// The source cannot be read, or is invalid.
pub fn import(source: &Source, cwd: &Path, servers: &Servers) -> Result<Import, SourceError> {
    let options = |base| Options::pinned(base, true, Some(servers));
    let variable = |name: &str| std::env::var(name).ok();
    let read = match source {
        Source::LlamaSwap(shown) => {
            let files = source::text_files(cwd, shown, &["yml", "yaml"])?;
            let base = files.first().map_or(cwd, |file| parent(&file.path));
            let texts: Vec<(&str, SourceLocation)> =
                files.iter().map(|file| (file.text.as_str(), SourceLocation::whole(&file.shown))).collect();
            llama_swap::read(&texts, &options(base), &variable).map_err(|(number, problems)| {
                SourceError::malformed(&files[number].shown, &files[number].text, problems)
            })?
        }
        Source::Preset { file, dir, cache, most } => {
            let mut read = router(cwd, file.as_deref(), dir.as_deref(), cache.as_deref())?;
            let shown = [file, dir, cache].into_iter().flatten().next();
            at_most(&mut read, *most, &SourceLocation::whole(shown.map_or("", String::as_str)));
            read
        }
        Source::Database(shown) => {
            let path = absolute(cwd, Path::new(shown));
            database::read(&path, shown, &options(parent(&path)))?
        }
        Source::Process(pid) => process::read(*pid, servers)?,
        Source::Ggufs(shown) => {
            let dir = absolute(cwd, Path::new(shown));
            ggufs::read(&dir, shown, &options(&dir))?
        }
    };
    Ok(assemble(read))
}

/// Reads what a router serves.
fn router(cwd: &Path, file: Option<&str>, dir: Option<&str>, cache: Option<&str>) -> Result<Read, SourceError> {
    let mut read = Read::default();
    let mut found = BTreeMap::new();
    if let Some(shown) = cache {
        found.extend(beside::of_cache(&absolute(cwd, Path::new(shown)), shown)?);
    }
    // If two have the same name, the one in the directory wins.
    if let Some(shown) = dir {
        found.extend(beside::of_directory(&absolute(cwd, Path::new(shown)), shown, &mut read)?);
    }
    let shown = file.or(dir).or(cache).unwrap_or_default();
    let file = file.map(|shown| TextFile::read(cwd, shown)).transpose()?;
    let (text, base) = file.as_ref().map_or(("", cwd), |file| (&file.text, parent(&file.path)));
    preset::read(text, &SourceLocation::whole(shown), &Options::pinned(base, true, None), found, read)
        .map_err(|problems| SourceError::malformed(shown, text, problems))
}

/// Limits how many of a router's models run at once, as it does.
fn at_most(read: &mut Read, most: usize, place: &SourceLocation) {
    if most > 0 {
        let all: Vec<usize> = (0..read.models.len()).collect();
        room::group(read, "router", &all, most, place);
        room::leave_room(read, "load-on-startup");
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Gives every model a unique name and its text.
fn assemble(read: Read) -> Import {
    let Read { models, mut left_out, remarks, groups } = read;
    let groups = write::groups(&groups).map(|text| File { name: GROUPS_FILE.to_owned(), text });
    let mut usable = Vec::with_capacity(models.len());
    for mut model in models {
        // No string in a definition can contain a NUL.
        model.description = model.description.map(|text| text.replace('\0', " "));
        model.labels.values_mut().for_each(|text| *text = text.replace('\0', " "));
        if one_source_of_weights(&mut model) {
            usable.push(model);
        } else {
            left_out.push(LeftOut::of(model, Reason::NoWeights));
        }
    }
    let file = |named: Named| {
        let file = File { name: format!("{}.toml", named.name), text: write::definition(&named) };
        (named, file)
    };
    let definitions = names::settle(usable).into_iter().map(file).collect();
    Import { definitions, groups, left_out, remarks }
}

/// Keeps one of the keys that set the weights, preferring a file to a download;
/// `false` if there is none.
fn one_source_of_weights(model: &mut Model) -> bool {
    let Some(kept) = ["model", "hf_repo", "model_url"].into_iter().find(|key| model.weights.contains_key(key)) else {
        return false;
    };
    let others: Vec<String> =
        model.weights.iter().filter(|(key, _)| **key != kept).map(|(key, text)| format!("{key} {text}")).collect();
    let place = model.place.clone();
    for other in others {
        let why = format!("a definition names its weights only once, and herdsman kept `{kept}`");
        model.remark(&place, other, Why::Owned(why));
    }
    model.weights.retain(|key, _| *key == kept);
    true
}
