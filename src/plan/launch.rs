//! How to start an instance: its command line, and the record to write first.

use std::path::{Path, PathBuf};

use super::Input;
use super::decide::StartWish;
use super::download::download_path;
use crate::model::{InstanceId, InstanceRecord, InstanceState, Launch, ModelName, Progress, log_path};

/// Puts together how an instance is started on `port`.
pub fn launch(input: &Input<'_>, model: &ModelName, start: &StartWish, port: Option<u16>) -> Launch {
    let spec = &start.spec;
    let id: InstanceId = input.instance_id(model);
    let socket = spec.is_unix_socket().then(|| PathBuf::from(&spec.host));
    let download = download_path(input.site, model, spec);
    Launch {
        args: arguments(model, start, port, download.as_deref()),
        model: model.clone(),
        spec: start.hash.clone(),
        definition: start.definition.to_string(),
        binary: start.binary.path.clone(),
        env: spec.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        secrets: spec.secrets.iter().map(|(name, secret)| (name.to_string(), secret.source.clone())).collect(),
        log: log_path(&input.site.logs, model, &id, input.now),
        id,
        download,
        socket,
    }
}

/// The record of an instance that is about to be started so.
pub fn intent(input: &Input<'_>, launch: &Launch, start: &StartWish, port: Option<u16>) -> InstanceRecord {
    InstanceRecord {
        id: launch.id.clone(),
        model: launch.model.clone(),
        generation: start.generation,
        spec: start.hash.clone(),
        host: start.spec.host.clone(),
        port,
        state: InstanceState::Intent,
        handle: None,
        started_at: input.now,
        progress: (Progress::default(), input.now),
        ready: None,
        unanswered_since: None,
        log_offset: 0,
        binary: Some(start.binary.identity.clone()),
    }
}

/// The definition's options, then what herdsman owns: address, names, and the
/// spec hash as a tag, which `GET /v1/models` shows without a key.
fn arguments(model: &ModelName, start: &StartWish, port: Option<u16>, download: Option<&Path>) -> Vec<String> {
    let StartWish { spec, hash, aliases, tells_layers, .. } = start;
    let mut args: Vec<String> =
        spec.options.values().flat_map(|option| option.args.iter().map(ToString::to_string)).collect();
    if let Some(path) = download {
        args.extend(["--model".to_owned(), path.to_string_lossy().into_owned()]);
    }
    args.extend(["--host".to_owned(), spec.host.clone()]);
    if let Some(port) = port {
        args.extend(["--port".to_owned(), port.to_string()]);
    }
    let names: Vec<&str> = std::iter::once(model.as_str()).chain(aliases.iter().map(String::as_str)).collect();
    args.extend(["--alias".to_owned(), names.join(","), "--tags".to_owned(), hash.to_string()]);
    // llama-server says "offloaded N/M layers to GPU" from this level on.
    if *tells_layers && !["verbosity", "verbose"].iter().any(|key| spec.options.contains_key(*key)) {
        args.extend(["--verbosity".to_owned(), "4".to_owned()]);
    }
    args
}
