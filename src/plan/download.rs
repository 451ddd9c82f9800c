//! Where instances download weights to.

use std::path::{Path, PathBuf};

use super::Site;
use crate::model::{ModelName, Spec};

/// Where an instance downloads its weights to, if a URL names them.
///
/// Without `--model` beside `--model-url` llama-server downloads nothing and
/// becomes a router. Two that download one file spoil it, and one instance of a
/// model serves at a time: so each model has a place of its own, and each URL,
/// for the one before is what a rollback serves. The file's name stays: it tells
/// llama-server whether there are more parts. `[env] LLAMA_CACHE` leads it to
/// another disk, as it does for llama-server itself.
pub fn download_path(site: &Site, model: &ModelName, spec: &Spec) -> Option<PathBuf> {
    let url = spec.options.get("model_url")?.value.to_string();
    let cache = spec.env.get("LLAMA_CACHE").map(Path::new).filter(|cache| cache.is_absolute());
    let base = cache.map_or_else(|| site.downloads.clone(), |cache| cache.join("herdsman"));
    let id = blake3::hash(url.as_bytes()).to_hex();
    Some(base.join(model.as_str()).join(&id[..16]).join(file_name(&url)))
}

/// The last part of a URL's path, if that can be a file's name.
fn file_name(url: &str) -> &str {
    /// Suffixes are added to it while it is downloaded.
    const LONGEST: usize = 200;
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name.len() > LONGEST || name.starts_with('.') { "model.gguf" } else { name }
}
