//! Checks that an instance whose `/health` is 200 is really ready: it serves the
//! requested model, and on a GPU if that is required.
//!
//! Only an instance that is about to become ready is checked. No answer proves
//! nothing, so the instance keeps loading.

use std::path::Path;

use super::download::download_path;
use super::{Input, Question};
use crate::model::text::printable;
use crate::model::{Death, Definition, FailureCause, InstanceRecord, ModelRecord, Served, Spec};

/// What is known of an instance that answers.
pub(super) enum Proof {
    /// It is ready.
    Ready,
    /// This must be answered first.
    Ask(Question),
    /// It has not said yet.
    NotYet,
    /// It never will be ready; why.
    Failed(Death),
}

/// What is known of `is`, an instance of `record`.
pub(super) fn proof(
    input: &Input<'_>,
    definition: Option<&Definition>,
    record: &ModelRecord,
    is: &InstanceRecord,
) -> Proof {
    match input.answers.served.get(&is.id) {
        None => return Proof::Ask(Question::Served(is.id.clone())),
        Some(Served::Unanswered) => return Proof::NotYet,
        Some(served) => {
            if let Some(message) = wrong_model(input, record, is, served) {
                return Proof::Failed(Death { cause: FailureCause::Spec, message });
            }
        }
    }
    if definition.is_none_or(|d| !d.ready.require_gpu) {
        return Proof::Ready;
    }
    match input.answers.gpu_layers.get(&is.id) {
        None => {
            Proof::Ask(Question::GpuLayers { model: is.model.clone(), id: is.id.clone(), log_offset: is.log_offset })
        }
        Some(0) => {
            let message = "no layer runs on a GPU, but [ready] require_gpu is true".to_owned();
            Proof::Failed(Death { cause: FailureCause::NoGpu, message })
        }
        Some(_) => Proof::Ready,
    }
}

/// Who loses arguments: a script that stands in for llama-server.
const SUSPECT: &str = "does `binary` pass its arguments on?";

/// A death of an instance whose weights were downloaded: llama-server keeps a
/// file that arrived broken, and would die of it again and again.
pub(super) fn of_download(input: &Input<'_>, record: &ModelRecord, was: &InstanceRecord, death: Death) -> Death {
    let path = spec_of(record, was).and_then(|spec| download_path(input.site, &was.model, &spec));
    match path.filter(|_| death.cause == FailureCause::Spec) {
        Some(path) => {
            let message = format!("{}; if {} is corrupt, delete it", death.message, path.display());
            Death { message, ..death }
        }
        None => death,
    }
}

/// What an instance was started with. Nobody knows what an unrecorded generation
/// asked for.
fn spec_of(record: &ModelRecord, is: &InstanceRecord) -> Option<Spec> {
    let generations = [Some(&record.generation), record.last_ready.as_ref()].into_iter().flatten();
    generations.filter(|generation| generation.hash == is.spec).find_map(|generation| generation.spec().ok())
}

/// What is wrong with what an instance serves.
fn wrong_model(input: &Input<'_>, record: &ModelRecord, is: &InstanceRecord, served: &Served) -> Option<String> {
    let spec = spec_of(record, is);
    let asked = spec.as_ref().and_then(|spec| Asked::of(input, is, spec));
    match served {
        Served::Nothing => {
            let suspect = match asked {
                Some(Asked::Repository(repository)) => format!("does {repository} hold a preset.ini?"),
                _ => SUSPECT.to_owned(),
            };
            Some(format!("llama-server runs as a router without a model: {suspect}"))
        }
        Served::File(found) => {
            let asked = asked.filter(|asked| !asked.is_served_from(found))?;
            Some(format!("llama-server loaded {} instead of {asked}: {SUSPECT}", printable(found)))
        }
        Served::Untold | Served::Unanswered => None,
    }
}

/// What an instance was started to serve.
#[derive(Debug)]
enum Asked {
    /// The weights in this file.
    File(String),
    /// Some weights of a repository: `org/repo`.
    Repository(String),
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(name) | Self::Repository(name) => f.write_str(name),
        }
    }
}

impl Asked {
    fn of(input: &Input<'_>, is: &InstanceRecord, spec: &Spec) -> Option<Self> {
        let download = || Some(download_path(input.site, &is.model, spec)?.to_string_lossy().into_owned());
        let option = |key: &str| spec.options.get(key).map(|option| option.value.to_string());
        let repository = || Some(option("hf_repo")?.split(':').next()?.to_owned());
        download().or_else(|| option("model")).map(Self::File).or_else(|| repository().map(Self::Repository))
    }

    /// Whether that is what was loaded from `found`. A wrapper may well serve a
    /// file from another place (a faster disk, a container's mount), so its name
    /// is what counts. Of a cache, only one that names the repository tells
    /// anything.
    fn is_served_from(&self, found: &str) -> bool {
        match self {
            Self::File(asked) => Path::new(asked).file_name() == Path::new(found).file_name(),
            Self::Repository(asked) => {
                let folder = format!("models--{}", asked.replace('/', "--"));
                let mut parts = found.split('/').filter(|part| part.starts_with("models--"));
                parts.next_back().is_none_or(|part| part.eq_ignore_ascii_case(&folder))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_known_by_their_name_wherever_a_wrapper_keeps_them() {
        let file = Asked::File("/weights/a.gguf".to_owned());
        for found in ["/weights/a.gguf", "weights/a.gguf", "a.gguf", "/models/a.gguf", "/weights/../weights//a.gguf"] {
            assert!(file.is_served_from(found), "{found}");
        }
        for found in ["/weights/b.gguf", "/weights/a.gguf.old", "/weights"] {
            assert!(!file.is_served_from(found), "{found}");
        }
    }

    #[test]
    fn a_repository_is_known_by_its_folder_in_a_cache_that_has_one() {
        let repository = Asked::Repository("Org/Repo".to_owned());
        for found in [
            "/home/.cache/huggingface/hub/models--org--Repo/snapshots/c0/x.gguf",
            "/home/.cache/llama.cpp/org_repo_x.gguf",
            "x.gguf",
        ] {
            assert!(repository.is_served_from(found), "{found}");
        }
        assert!(!repository.is_served_from("/hub/models--org--other/snapshots/c0/x.gguf"));
    }
}
