//! A llama-server that runs: its command line, its environment, its working
//! directory, all as they were when it started.

use std::path::{Path, PathBuf};

use super::binary::Servers;
use super::model::{Model, Secret};
use super::options::Options;
use super::remark::{LeftOut, Place, Reason, Why};
use super::source::{Read, SourceError};
use super::{command_line, environment};
use crate::definition::Catalogue;
use crate::definition::catalogue::OptionSpec;
use crate::instance::{Look, look};
use crate::model::DesiredState;

/// The port a llama-server listens on unless it is told another.
const DEFAULT_PORT: u16 = 8080;

/// Variables that change what a server does, by how their names begin. The
/// others (`PATH`, `HOME`, `LANG`, …) are herdsman's own for every server.
const TAKEN: [&str; 17] = [
    "CUDA_",
    "GGML_",
    "GOMP_",
    "HF_",
    "HIP_",
    "HSA_",
    "HUGGINGFACE_",
    "KMP_",
    "LD_",
    "LLAMA_",
    "MALLOC_",
    "NVIDIA_",
    "OMP_",
    "ONEAPI_",
    "ROCM_",
    "ROCR_",
    "VK_",
];

/// Reads the process `pid`.
pub(super) fn read(pid: i32, servers: &Servers) -> Result<Read, SourceError> {
    let shown = format!("pid {pid}");
    let unreadable = |cause: String, help| SourceError::Unreadable { shown: shown.clone(), cause, help };
    let seen = look(pid).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            unreadable("there is no such process".to_owned(), "`pgrep -a llama-server` lists those that run")
        }
        std::io::ErrorKind::PermissionDenied => {
            unreadable("it belongs to another user".to_owned(), "import it as its user, or as root")
        }
        _ => unreadable(error.to_string(), "look at it with `ps`"),
    })?;
    let is_server = seen.words.first().is_some_and(|word| command_line::is_llama_server(word))
        || command_line::is_llama_server(&seen.program);
    if !is_server {
        let program = crate::text::printable(command_line::program(&seen.program));
        return Err(SourceError::Wrong(format!(
            "pid {pid} runs {program}, not llama-server: `pgrep -a llama-server` lists those that run"
        )));
    }
    if seen.environment.iter().any(|(name, _)| name == "HERDSMAN_INSTANCE") {
        return Err(SourceError::Wrong(format!(
            "pid {pid} was started by herdsman, from a definition: `herdsman status` shows which"
        )));
    }
    let mut read = Read::default();
    match model(&shown, &seen, servers) {
        Ok(model) => read.models.push(model),
        Err(left_out) => read.left_out.push(left_out),
    }
    Ok(read)
}

fn model(shown: &str, seen: &Look, servers: &Servers) -> Result<Model, LeftOut> {
    let place = Place::whole(shown);
    let program = binary(seen);
    let options = Options::pinned(&seen.directory, false, Some(servers)).of(&program);
    let mut model = Model::new(shown, place.clone(), DesiredState::Running);
    let mut others = 0_usize;
    for (name, value) in &seen.environment {
        if TAKEN.iter().any(|begin| name.starts_with(begin)) {
            environment::read(&options, &mut model, name, value, &place);
        } else {
            others += 1;
        }
    }
    command_line::read(&options, &mut model, seen.words.get(1..).unwrap_or_default(), &place);
    if others > 0 {
        let what = crate::text::count(others, "other variable") + " of its environment";
        let why = "herdsman gives its servers `PATH`, `HOME` and the like of its own; add what is needed to `[env]`";
        model.remark(&place, what, Why::NoCounterpart(why));
    }
    if model.weights.is_empty() {
        let why = if seen.words.len() < 2 || is_router(seen) { Reason::Router } else { Reason::NoWeights };
        return Err(LeftOut::of(model, why));
    }
    model.binary = Some(program);
    if !model.host.as_ref().is_some_and(|host| host.contains('/')) && !states_port(seen, &options.catalogue) {
        model.port = Some(DEFAULT_PORT);
    }
    // Later aliases are further names; without one, the weights name it.
    model.called = if model.aliases.is_empty() { weights_name(&model) } else { model.aliases.remove(0) };
    // Keys in files are read by herdsman, too: the path it was given holds.
    if let Some(Secret::File(path)) = model.secrets.get("api_key").cloned() {
        let why = Why::Became(format!("`[secrets]` names {path}: let it hold one key"));
        model.remark(&place, "--api-key-file", why);
    }
    Ok(model)
}

/// Whether it was told a port, be it one that a definition cannot have.
fn states_port(seen: &Look, catalogue: &Catalogue) -> bool {
    let is_port = |found: Option<(&OptionSpec, bool)>| found.is_some_and(|(option, _)| option.key == "port");
    seen.words.iter().any(|word| is_port(catalogue.argument(word)))
        || seen.environment.iter().any(|(name, _)| is_port(catalogue.variable(name)))
}

fn is_router(seen: &Look) -> bool {
    seen.words.iter().any(|word| word.starts_with("--models-"))
}

/// The program: as it was called if that is a path, which a link may lead to
/// newer builds; else what runs.
fn binary(seen: &Look) -> String {
    let called = seen.words.first().filter(|word| word.contains('/') && command_line::is_llama_server(word));
    let path = called.map_or_else(
        || PathBuf::from(&seen.program),
        |word| crate::definition::absolute(&seen.directory, Path::new(word)),
    );
    path.to_string_lossy().trim_end_matches(" (deleted)").to_owned()
}

fn weights_name(model: &Model) -> String {
    let text = model.weights.values().next().map(String::as_str).unwrap_or_default();
    let name = text.rsplit('/').next().unwrap_or(text);
    name.strip_suffix(".gguf").unwrap_or(name).to_owned()
}
