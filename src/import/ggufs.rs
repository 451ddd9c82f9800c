//! A directory of GGUF files.
//!
//! A model is a file, or the first of its shards; an `mmproj` in the same directory
//! is its projector. All are declared stopped: a directory shows what exists, not
//! what should run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::given::Given;
use super::model::LeftOut;
use super::model::Model;
use super::options::Options;
use super::remark::{Reason, Remark, SourceLocation, Why};
use super::source::{Read, SourceError};
use crate::definition::check_gguf;
use crate::model::DesiredState;

/// The deepest level that is searched: nobody keeps models below it.
const DEEPEST: usize = 16;

/// Searches `dir`, absolute; messages call it `shown`.
pub(super) fn read(dir: &Path, shown: &str, options: &Options<'_>) -> Result<Read, SourceError> {
    let unreadable = |cause: String| SourceError::Unreadable {
        shown: shown.to_owned(),
        cause,
        help: "pass a directory that you can read",
    };
    if !std::fs::metadata(dir).map_err(|error| unreadable(error.to_string()))?.is_dir() {
        return Err(unreadable("it is not a directory".to_owned()));
    }
    let mut read = Read::default();
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(true).max_depth(DEEPEST).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {
                if entry.depth() == DEEPEST {
                    read.left_out.push(left_out(entry.path(), Reason::TooDeep(DEEPEST)));
                }
            }
            Ok(entry) if !is_gguf(entry.path()) => {}
            Ok(entry) => match (entry.path().parent(), entry.path().to_str(), entry.file_name().to_str()) {
                (Some(parent), Some(_), Some(name)) => {
                    files.entry(parent.to_owned()).or_default().push(name.to_owned());
                }
                // No definition can name it.
                _ => {
                    let cause = "its path is not valid UTF-8: rename it or its directory".to_owned();
                    read.left_out.push(left_out(entry.path(), Reason::Unreadable(cause)));
                }
            },
            Err(error) => {
                let path = error.path().unwrap_or(dir).to_owned();
                // Without a disk error, it is a link to a parent directory.
                let why = error.io_error().map_or(Reason::Loop, |error| Reason::Unreadable(error.to_string()));
                read.left_out.push(left_out(&path, why));
            }
        }
    }
    for (parent, names) in &files {
        folder(parent, names, options, &mut read);
    }
    if read.models.is_empty() && read.left_out.is_empty() {
        return Err(SourceError::Wrong(format!(
            "{shown} contains no .gguf files: pass the directory that the weights are in"
        )));
    }
    Ok(read)
}

fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

fn left_out(path: &Path, why: Reason) -> LeftOut {
    let called = path.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    LeftOut::new(called, SourceLocation::whole(&shown(path)), why)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// The files of one directory, by name.
fn folder(parent: &Path, names: &[String], options: &Options<'_>, read: &mut Read) {
    let (projectors, weights): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| is_projector(name));
    let projectors: Vec<&str> = projectors.into_iter().filter(|name| is_sound(parent, name, read)).collect();
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for Set { called, files } in sets(parent, &weights, read) {
        let (true, Some(first)) = (files.iter().all(|file| is_sound(parent, file, read)), files.first()) else {
            continue;
        };
        let path = shown(&parent.join(first));
        let mut model = Model::new(called, SourceLocation::whole(&path), DesiredState::Stopped);
        model.weights.insert("model", path);
        let own = projectors.iter().copied().filter(|projector| belongs(projector, &model.called)).collect::<Vec<_>>();
        used.extend(&own);
        project(parent, &own, options, &mut model);
        read.models.push(model);
    }
    for projector in projectors.into_iter().filter(|projector| !used.contains(projector)) {
        let place = SourceLocation::whole(&shown(&parent.join(projector)));
        let why = Why::NoCounterpart(
            "a projector that matches no model in its directory: set `mmproj` in its model's definition",
        );
        read.remarks.push(Remark::new(&place, projector, why));
    }
}

/// The files of one model.
struct Set {
    called: String,
    /// In order; llama-server gets the first one.
    files: Vec<String>,
}

/// Returns the models among the weights of one directory, without incomplete ones.
fn sets(parent: &Path, weights: &[&str], read: &mut Read) -> Vec<Set> {
    let mut sets = Vec::with_capacity(weights.len());
    let mut reported: BTreeSet<String> = BTreeSet::new();
    for name in weights {
        let Some(shard) = shard(name) else {
            sets.push(Set { called: stem(name).to_owned(), files: vec![(*name).to_owned()] });
            continue;
        };
        let is_there = |part: u32| weights.contains(&shard.name(part).as_str());
        match (1..=shard.of).find(|part| !is_there(*part)) {
            None if shard.part == 1 => {
                let files = (1..=shard.of).map(|part| shard.name(part)).collect();
                sets.push(Set { called: shard.stem, files });
            }
            None => {}
            // Every existing part would report it.
            Some(_) if !reported.insert(shard.name(1)) => {}
            Some(part) => {
                let place = SourceLocation::whole(&shown(&parent.join(name)));
                let why = Reason::MissingPart { part, of: shard.of };
                read.left_out.push(LeftOut::new(shard.stem, place, why));
            }
        }
    }
    sets
}

/// Gives a model the first of its projectors.
fn project(parent: &Path, own: &[&str], options: &Options<'_>, model: &mut Model) {
    let (Some((taken, others)), Some(option)) = (own.split_first(), options.catalogue.get("mmproj")) else { return };
    let place = model.place.clone();
    let path = shown(&parent.join(taken));
    options.set(model, option, false, &Given::Text(path), "mmproj", &place);
    for other in others {
        model.remark(&place, *other, Why::Became(format!("herdsman took {taken}, the first by name")));
    }
}

/// Whether the file is a complete GGUF file; reports it if not.
pub(super) fn is_sound(parent: &Path, name: &str, read: &mut Read) -> bool {
    let path = parent.join(name);
    match check_gguf(&path) {
        Ok(()) => true,
        Err(problem) => {
            read.left_out.push(left_out(&path, Reason::Weights(problem.to_string())));
            false
        }
    }
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Whether a file is a projector, judging by its usual name.
pub(super) fn is_projector(name: &str) -> bool {
    name.to_ascii_lowercase().contains("mmproj")
}

/// Whether a projector belongs to a model in the same directory: it is named after
/// that model, or after none.
fn belongs(projector: &str, model: &str) -> bool {
    let lower = stem(projector).to_ascii_lowercase();
    // `mmproj-Qwen2.5-VL-7B-Q8_0`, `Qwen2.5-VL-7B.mmproj-f16`: the precision is the
    // projector's own.
    let words: Vec<&str> = lower.split(['-', '.', '_']).filter(|word| !word.is_empty()).collect();
    let is_own = |word: &str| {
        word == "mmproj"
            || matches!(word, "f16" | "f32" | "bf16" | "fp16" | "fp32" | "model")
            || (word.starts_with('q') && word[1..].starts_with(|c: char| c.is_ascii_digit()))
    };
    let first_own_at_end = words.iter().rposition(|word| !is_own(word) && *word != "0" && *word != "k" && *word != "m");
    let named = &words[..first_own_at_end.map_or(0, |at| at + 1)];
    let named: Vec<&str> = named.iter().copied().filter(|word| *word != "mmproj").collect();
    let model = model.to_ascii_lowercase();
    let model: Vec<&str> = model.split(['-', '.', '_']).filter(|word| !word.is_empty()).collect();
    model.starts_with(&named)
}

/// The name of a shard: `stem-00001-of-00003.gguf`.
struct Shard {
    stem: String,
    part: u32,
    of: u32,
    end: String,
}

impl Shard {
    fn name(&self, part: u32) -> String {
        format!("{}-{part:05}-of-{:05}.{}", self.stem, self.of, self.end)
    }
}

/// Which part of a split model a file is, judging by its name.
pub(super) fn part(name: &str) -> Option<u32> {
    shard(name).map(|shard| shard.part)
}

fn shard(name: &str) -> Option<Shard> {
    let (stem, end) = name.rsplit_once('.')?;
    let (rest, of) = stem.rsplit_once("-of-")?;
    let (stem, part) = rest.rsplit_once('-')?;
    let number = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    let (part, of) = (number(part)?, number(of)?);
    (part >= 1 && part <= of && !stem.is_empty()).then(|| Shard {
        stem: stem.to_owned(),
        part,
        of,
        end: end.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_projector_belongs_to_the_model_it_is_named_after_or_to_all() {
        for (projector, model, does) in [
            ("mmproj-F16.gguf", "Qwen3-VL-8B-Q4_K_M", true),
            ("mmproj.gguf", "anything", true),
            ("mmproj-model-f16.gguf", "gemma-3-4b-it-Q4_K_M", true),
            ("mmproj-Qwen3-VL-8B-Q8_0.gguf", "Qwen3-VL-8B-Q4_K_M", true),
            ("Qwen3-VL-8B.mmproj-f16.gguf", "qwen3-vl-8b-q4_k_m", true),
            ("mmproj-Qwen3-VL-8B-Q8_0.gguf", "gemma-3-4b", false),
            ("mmproj-Qwen3-VL-8B.gguf", "Qwen3-VL-80B", false),
        ] {
            assert_eq!(belongs(projector, model), does, "{projector} {model}");
        }
    }

    #[test]
    fn recognises_a_shard_by_its_name() {
        let known = |name: &str| shard(name).map(|s| (s.stem, s.part, s.of));
        assert_eq!(known("a-00002-of-00003.gguf"), Some(("a".to_owned(), 2, 3)));
        for no in ["a.gguf", "a-2-of-3.gguf", "a-00004-of-00003.gguf", "-00001-of-00001.gguf", "a-00000-of-00001.gguf"]
        {
            assert_eq!(known(no), None, "{no}");
        }
    }
}
