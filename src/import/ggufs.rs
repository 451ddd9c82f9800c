//! A directory of GGUF files.
//!
//! A model is a file, or the first of its shards; an `mmproj` beside it is its
//! projector. All are declared stopped: a directory says what there is, not
//! what is to run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::model::Model;
use super::options::{Given, Options};
use super::remark::{LeftOut, Place, Reason, Remark, Why};
use super::source::{Read, SourceError};
use crate::definition::check_gguf;
use crate::model::DesiredState;

/// Deeper than this no models are kept.
const DEEPEST: usize = 16;

/// Looks through `dir`, absolute; `shown` is the same as it was given.
pub(super) fn read(dir: &Path, shown: &str, options: &Options<'_>) -> Result<Read, SourceError> {
    let unreadable = |cause: String| SourceError::Unreadable {
        shown: shown.to_owned(),
        cause,
        help: "give a directory that you can read",
    };
    if !std::fs::metadata(dir).map_err(|error| unreadable(error.to_string()))?.is_dir() {
        return Err(unreadable("it is no directory".to_owned()));
    }
    let mut read = Read::default();
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(true).max_depth(DEEPEST).sort_by_file_name() {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => match (entry.path().parent(), entry.file_name().to_str()) {
                (Some(parent), Some(name)) if is_gguf(name) => {
                    files.entry(parent.to_owned()).or_default().push(name.to_owned());
                }
                (_, None) if entry.path().extension().is_some_and(|end| end == "gguf") => {
                    let cause = "its name is not UTF-8: rename it".to_owned();
                    read.left_out.push(left_out(entry.path(), Reason::Unreadable(cause)));
                }
                _ => {}
            },
            Err(error) => {
                let path = error.path().unwrap_or(dir).to_owned();
                // Without an error of the disk it is a link that leads upwards.
                let why = error.io_error().map_or(Reason::Loop, |error| Reason::Unreadable(error.to_string()));
                read.left_out.push(left_out(&path, why));
            }
        }
    }
    for (parent, names) in &files {
        folder(parent, names, options, &mut read);
    }
    if read.models.is_empty() && read.left_out.is_empty() {
        return Err(SourceError::Wrong(format!("{shown} holds no .gguf file: give the directory the weights are in")));
    }
    Ok(read)
}

fn is_gguf(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"))
}

fn left_out(path: &Path, why: Reason) -> LeftOut {
    let called = path.file_name().map_or_else(|| "/".to_owned(), |name| name.to_string_lossy().into_owned());
    LeftOut::new(called, Place::whole(&path.display().to_string()), why)
}

/// The files of one directory, by name.
fn folder(parent: &Path, names: &[String], options: &Options<'_>, read: &mut Read) {
    let (projectors, weights): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| is_projector(name));
    let projectors: Vec<&String> = projectors.into_iter().filter(|name| is_sound(parent, name, read)).collect();
    let mut unused: Vec<&String> = projectors.clone();
    for name in &weights {
        let shard = shard(name);
        if shard.as_ref().is_some_and(|shard| shard.part > 1 && weights.contains(&&shard.name(1))) {
            continue;
        }
        if let Some(missing) = shard.as_ref().and_then(|s| (1..=s.of).find(|part| !weights.contains(&&s.name(*part)))) {
            let of = shard.as_ref().map_or(0, |shard| shard.of);
            // Without the first, each of the others would tell of it.
            if !read
                .left_out
                .iter()
                .any(|out| out.called == shard.as_ref().map_or_else(String::new, |s| s.stem.clone()))
            {
                let called = shard.as_ref().map_or_else(String::new, |shard| shard.stem.clone());
                let place = Place::whole(&parent.join(name).display().to_string());
                read.left_out.push(LeftOut::new(called, place, Reason::MissingPart { part: missing, of }));
            }
            continue;
        }
        let parts: Vec<String> = match &shard {
            Some(shard) => (1..=shard.of).map(|part| shard.name(part)).collect(),
            None => vec![(*name).clone()],
        };
        if !parts.iter().all(|part| is_sound(parent, part, read)) {
            continue;
        }
        let called = shard.map_or_else(|| stem(name).to_owned(), |shard| shard.stem);
        let path = parent.join(name).display().to_string();
        let place = Place::whole(&path);
        let mut model = Model::new(&called, place.clone(), DesiredState::Stopped);
        model.weights.insert("model", path);
        let mut own = projectors.iter().filter(|projector| belongs(projector, &called));
        if let (Some(projector), Some(option)) = (own.next(), options.catalogue.get("mmproj")) {
            unused.retain(|name| name != projector);
            let path = parent.join(projector.as_str()).display().to_string();
            options.set(&mut model, option, false, &Given::Text(path), "mmproj", &place);
            for other in own {
                unused.retain(|name| name != other);
                let why = Why::Became(format!("{projector} is taken, the first by name"));
                model.remark(&place, (*other).clone(), why);
            }
        }
        read.models.push(model);
    }
    for projector in unused {
        let place = Place::whole(&parent.join(projector).display().to_string());
        let why = Why::NoCounterpart("a projector of no model beside it: set `mmproj` in the model's definition");
        read.remarks.push(Remark::new(&place, projector.clone(), why));
    }
}

/// Whether the file is a whole GGUF file; if not, says so.
fn is_sound(parent: &Path, name: &str, read: &mut Read) -> bool {
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

/// Whether a file is a projector by its name, as everybody names them.
fn is_projector(name: &str) -> bool {
    name.to_ascii_lowercase().contains("mmproj")
}

/// Whether a projector belongs to the model beside it: it is named after the
/// model, or after none.
fn belongs(projector: &str, model: &str) -> bool {
    let lower = stem(projector).to_ascii_lowercase();
    // `mmproj-Qwen2.5-VL-7B-Q8_0`, `Qwen2.5-VL-7B.mmproj-f16`: the precision is its own.
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
    fn a_shard_is_told_by_its_name() {
        let known = |name: &str| shard(name).map(|s| (s.stem, s.part, s.of));
        assert_eq!(known("a-00002-of-00003.gguf"), Some(("a".to_owned(), 2, 3)));
        for no in ["a.gguf", "a-2-of-3.gguf", "a-00004-of-00003.gguf", "-00001-of-00001.gguf", "a-00000-of-00001.gguf"]
        {
            assert_eq!(known(no), None, "{no}");
        }
    }
}
