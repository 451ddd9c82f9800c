//! A running llama-server: its command line, environment and working directory, all
//! as they were when it started.

use std::path::{Path, PathBuf};

use super::binary::Servers;
use super::cmd::DEFAULT_PORT;
use super::model::LeftOut;
use super::model::{Model, Secret};
use super::options::Options;
use super::remark::{Reason, SourceLocation, Why};
use super::source::{Read, SourceError};
use super::{apart, command_line, environment};
use crate::definition::Catalogue;
use crate::instance::{Look, look};
use crate::llama::catalogue::OptionSpec;
use crate::model::DesiredState;

/// Prefixes of variables that change what a server does: its own, and those of
/// compute libraries, drivers and downloads.
const TAKEN: [&str; 54] = [
    "AMDGPU_",
    "AMD_",
    "ANV_",
    "ASCEND_",
    "BLIS_",
    "CUBLAS_",
    "CUDA_",
    "DISABLE_LAYER_",
    "DNNL_",
    "DRI_",
    "ENABLE_LAYER_",
    "GALLIUM_",
    "GGML_",
    "GOMP_",
    "GPU_",
    "HF_",
    "HIPBLASLT_",
    "HIP_",
    "HSA_",
    "HUGGINGFACE_",
    "IGC_",
    "INTEL_",
    "KMP_",
    "LD_",
    "LIBGL_",
    "LLAMA_",
    "LP_",
    "MALLOC_",
    "MESA_",
    "MIMALLOC_",
    "MIOPEN_",
    "MKL_",
    "MUSA_",
    "NEO_",
    "NVIDIA_",
    "NVK_",
    "OCL_",
    "OMP_",
    "ONEAPI_",
    "ONEDNN_",
    "OPENBLAS_",
    "OPENCL_",
    "RADV_",
    "ROCBLAS_",
    "ROCM_",
    "ROCR_",
    "ROC_",
    "RUSTICL_",
    "SYCL_",
    "UR_",
    "VK_",
    "ZES_",
    "ZE_",
    "__NV_",
];

/// The same, by full name.
const TAKEN_WHOLE: [&str; 16] = [
    "ALL_PROXY",
    "CURL_CA_BUNDLE",
    "GLIBC_TUNABLES",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "MODEL_ENDPOINT",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_DATA_DIRS",
    "all_proxy",
    "http_proxy",
    "https_proxy",
    "no_proxy",
];

/// Whether a variable may change what a llama-server does. herdsman sets the others
/// (`PATH`, `HOME`, `LANG`, …) itself for every server.
fn is_taken(name: &str) -> bool {
    TAKEN_WHOLE.contains(&name) || TAKEN.iter().any(|begin| name.starts_with(begin))
}

/// The most variables named together.
const NAMES_A_LINE: usize = 10;

/// Reads the process `pid`.
pub(super) fn read(pid: i32, servers: &Servers) -> Result<Read, SourceError> {
    let shown = format!("pid {pid}");
    let unreadable = |cause: String, help| SourceError::Unreadable { shown: shown.clone(), cause, help };
    let seen = look(pid).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            unreadable("no such process".to_owned(), "`pgrep -a llama-server` lists those running")
        }
        std::io::ErrorKind::PermissionDenied => {
            unreadable("it belongs to another user".to_owned(), "import it as its user, or as root")
        }
        _ => unreadable(error.to_string(), "look at it with `ps`"),
    })?;
    let is_server = seen.words.first().is_some_and(|word| command_line::is_llama_server(word))
        || command_line::is_llama_server(&seen.program);
    if !is_server {
        let program = crate::model::text::printable(command_line::program(&seen.program));
        return Err(SourceError::Wrong(format!(
            "pid {pid} runs {program}, not llama-server: `pgrep -a llama-server` lists those running"
        )));
    }
    if seen.environment.iter().any(|(name, _)| name == "HERDSMAN_INSTANCE") {
        return Err(SourceError::Wrong(format!(
            "herdsman started pid {pid} from a definition: `herdsman status` shows which"
        )));
    }
    let mut read = Read::default();
    match model(pid, &shown, &seen, servers) {
        Ok(model) => read.models.push(model),
        Err(left_out) => read.left_out.push(left_out),
    }
    Ok(read)
}

fn model(pid: i32, shown: &str, seen: &Look, servers: &Servers) -> Result<Model, LeftOut> {
    let place = SourceLocation::whole(shown);
    let program = binary(seen);
    let options = Options::pinned(&seen.directory, false, Some(servers)).of(&program);
    let mut model = Model::new(shown, place.clone(), DesiredState::Running);
    let (taken, others): (Vec<_>, Vec<_>) = seen.environment.iter().partition(|(name, _)| is_taken(name));
    for (name, value) in taken {
        environment::read(&options, &mut model, name, value, &place);
    }
    command_line::read(&options, &mut model, seen.words.get(1..).unwrap_or_default(), &place);
    let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
    // A few per line, because none may be cut off.
    for names in names.chunks(NAMES_A_LINE) {
        let why = "herdsman gives its servers its own `PATH`, `HOME` and the like; add what they need to `[env]`";
        model.remark(&place, format!("environment: {}", names.join(", ")), Why::NoCounterpart(why));
    }
    if model.weights.is_empty() {
        let why =
            if seen.words.len() < 2 || is_router(seen) { Reason::Router(of_router(seen)) } else { Reason::NoWeights };
        return Err(LeftOut::of(model, why));
    }
    model.binary = Some(program);
    if !model.host.as_ref().is_some_and(|host| host.contains('/')) && !states_port(seen, &options.catalogue) {
        model.port = Some(DEFAULT_PORT);
    }
    downloads(seen, &mut model, &place);
    apart::note(pid, seen.apart, &mut model, &place);
    // Later aliases are more names; without one, the weights give the name.
    model.called = if model.aliases.is_empty() { weights_name(&model) } else { model.aliases.remove(0) };
    // herdsman reads keys from files, too: the path still applies.
    if let Some(Secret::File(path)) = model.secrets.get("api_key").cloned() {
        let why = Why::Became(format!("`[secrets]` names {path}: put exactly one key in it"));
        model.remark(&place, "--api-key-file", why);
    }
    Ok(model)
}

/// Notes where a server with its own home keeps its downloads: otherwise they would
/// silently be made again.
fn downloads(seen: &Look, model: &mut Model, place: &SourceLocation) {
    let is_stated = ["LLAMA_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"]
        .iter()
        .any(|name| model.env.contains_key(*name));
    let Some((_, home)) = seen.environment.iter().find(|(name, _)| name == "HOME") else { return };
    if model.weights.contains_key("model") || is_stated || std::env::var("HOME").is_ok_and(|own| own == *home) {
        return;
    }
    let became = format!(
        "herdsman's own differs, and llama-server keeps downloads below it: set `XDG_CACHE_HOME = \"{home}/.cache\"` in `[env]` to reuse the existing downloads"
    );
    model.remark(place, format!("HOME={home}"), Why::Became(became));
}

/// Whether it was given a port, even one that a definition cannot have.
fn states_port(seen: &Look, catalogue: &Catalogue) -> bool {
    let is_port = |found: Option<(&OptionSpec, bool)>| found.is_some_and(|(option, _)| option.key == "port");
    seen.words.iter().any(|word| is_port(catalogue.argument(word)))
        || seen.environment.iter().any(|(name, _)| is_port(catalogue.variable(name)))
}

fn is_router(seen: &Look) -> bool {
    seen.words.iter().any(|word| word.starts_with("--models-"))
}

/// Returns the command that imports a router's models.
fn of_router(seen: &Look) -> String {
    let stated = |option: &str, variable: &str| {
        let word = seen.words.iter().skip_while(|word| *word != option).nth(1);
        let path = word.or_else(|| seen.environment.iter().find(|(name, _)| name == variable).map(|(_, path)| path));
        path.map(|path| crate::definition::absolute(&seen.directory, Path::new(path)).display().to_string())
    };
    let preset =
        stated("--models-preset", "LLAMA_ARG_MODELS_PRESET").map_or_else(String::new, |file| format!(" {file}"));
    let dir = stated("--models-dir", "LLAMA_ARG_MODELS_DIR").map_or_else(String::new, |dir| format!(" --dir {dir}"));
    let word = seen.words.iter().skip_while(|word| *word != "--models-max").nth(1);
    let most = word.or_else(|| Some(&seen.environment.iter().find(|(name, _)| name == "LLAMA_ARG_MODELS_MAX")?.1));
    let most =
        most.filter(|most| most.parse::<usize>().is_ok()).map_or_else(String::new, |n| format!(" --models-max {n}"));
    // It always serves its cache, too.
    format!("herdsman import preset{preset}{dir} --cache DIR{most} --to models.d")
}

/// The program: as it was called if that is a path, because it may be a link to
/// newer builds; or else what is running.
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
