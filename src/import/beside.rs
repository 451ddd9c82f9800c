//! What a llama-server router serves besides its preset: the models of its
//! `--models-dir`, and those of its cache, as b10434 finds and names them.
//!
//! | file | model |
//! |---|---|
//! | `DIR/NAME.gguf` | `NAME` |
//! | `DIR/NAME/…gguf` | `NAME`; the first shard; with the `mmproj` beside it |
//! | `CACHE/models--ORG--REPO/snapshots/…/…-QUANT.gguf` | `ORG/REPO:QUANT` |
//!
//! A section of the preset with that name adds to such a model. The router ignores
//! anything deeper.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::ggufs::{is_projector, is_sound};
use super::remark::{Remark, SourceLocation, Why};
use super::source::{Read, SourceError};

/// The weights of one model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Weights {
    /// Files.
    Files { model: PathBuf, projector: Option<PathBuf> },
    /// In this cache, under the model's name.
    Cached { cache: PathBuf, place: PathBuf },
}

impl Weights {
    /// Where they are.
    pub fn place(&self) -> SourceLocation {
        match self {
            Self::Files { model: path, .. } | Self::Cached { place: path, .. } => {
                SourceLocation::whole(&path.display().to_string())
            }
        }
    }
}

/// Finds the models of a `--models-dir`.
pub(super) fn of_directory(dir: &Path, shown: &str, read: &mut Read) -> Result<BTreeMap<String, Weights>, SourceError> {
    let mut found = BTreeMap::new();
    for path in listed(dir, shown)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
        if path.is_dir() {
            let files = listed(&path, shown).unwrap_or_default();
            let folder = folder(&path, &files, read);
            found.extend(folder.map(|weights| (name, weights)));
        } else if name.ends_with(".gguf") && is_projector(&name) {
            let why =
                Why::NoCounterpart("a projector that shares its directory: set `mmproj` in its model's definition");
            read.remarks.push(Remark::new(&SourceLocation::whole(&path.display().to_string()), name, why));
        } else if let Some(stem) = name.strip_suffix(".gguf")
            && !is_later_shard(&name)
            && is_sound(dir, &name, read)
        {
            found.insert(stem.to_owned(), Weights::Files { model: path, projector: None });
        }
    }
    Ok(found)
}

/// Picks the one model of a directory.
fn folder(dir: &Path, files: &[PathBuf], read: &mut Read) -> Option<Weights> {
    let names: Vec<&str> = files.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let ggufs = names.iter().copied().filter(|name| name.ends_with(".gguf"));
    let (projectors, models): (Vec<&str>, Vec<&str>) = ggufs.partition(|name| is_projector(name));
    let is_first = |name: &&&str| name.contains("-00001-of-");
    let whole: Vec<&&str> = models.iter().filter(|name| !is_later_shard(name) && !is_first(name)).collect();
    let model = models.iter().find(is_first).or_else(|| whole.first().copied())?;
    if !is_sound(dir, model, read) {
        return None;
    }
    let others = whole.iter().filter(|name| **name != model);
    read.remarks.extend(others.map(|other| {
        let why = format!(
            "a router serves one model per directory, and herdsman took {model}: is it the right one? `import ggufs` takes all"
        );
        Remark::new(&SourceLocation::whole(&dir.join(other).display().to_string()), **other, Why::Check(why))
    }));
    let projector = projectors.into_iter().find(|name| is_sound(dir, name, read)).map(|name| dir.join(name));
    Some(Weights::Files { model: dir.join(model), projector })
}

/// Finds the models of a download cache.
pub(super) fn of_cache(cache: &Path, shown: &str) -> Result<BTreeMap<String, Weights>, SourceError> {
    let mut found = BTreeMap::new();
    for repository in listed(cache, shown)? {
        let name = repository.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_prefix("models--"));
        let Some((org, repo)) = name.and_then(|name| name.split_once("--")) else { continue };
        for snapshot in listed(&repository.join("snapshots"), shown).unwrap_or_default() {
            for file in listed(&snapshot, shown).unwrap_or_default() {
                let quant = file.file_name().and_then(|name| name.to_str()).and_then(quant);
                let Some(quant) = quant.filter(|_| file.is_file()) else { continue };
                let weights = Weights::Cached { cache: cache.to_owned(), place: file };
                found.insert(format!("{org}/{repo}:{quant}"), weights);
            }
        }
    }
    Ok(found)
}

/// Names a cached file within its repository: `x-Q4_K_M.gguf` is `Q4_K_M`.
/// Projectors, later shards and files without such an ending are not models.
fn quant(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".gguf")?;
    if is_projector(name) || name.starts_with("mtp-") || is_later_shard(name) {
        return None;
    }
    let stem = stem.split_once("-00001-of-").map_or(stem, |(stem, _)| stem);
    let (before, quant) = stem.rsplit_once(['-', '.'])?;
    let is_one =
        !before.is_empty() && !quant.is_empty() && quant.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_one.then(|| quant.to_ascii_uppercase())
}

fn is_later_shard(name: &str) -> bool {
    super::ggufs::part(name).is_some_and(|part| part > 1)
}

/// Lists the paths in a directory, by name.
fn listed(dir: &Path, shown: &str) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |error: std::io::Error| SourceError::Unreadable {
        shown: shown.to_owned(),
        cause: error.to_string(),
        help: "pass a directory that you can read",
    };
    let entries = std::fs::read_dir(dir).map_err(unreadable)?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_cached_file_by_its_quantisation() {
        for (name, found) in [
            ("One-Q4_K_M.gguf", Some("Q4_K_M")),
            ("UD-Q4_K_XL.gguf", Some("Q4_K_XL")),
            ("a.q5_k_m.gguf", Some("Q5_K_M")),
            ("s-iq3_xxs-00001-of-00002.gguf", Some("IQ3_XXS")),
            ("s-iq3_xxs-00002-of-00002.gguf", None),
            ("mmproj-One-f16.gguf", None),
            ("model.gguf", None),
            ("config.json", None),
        ] {
            assert_eq!(quant(name).as_deref(), found, "{name}");
        }
    }
}
