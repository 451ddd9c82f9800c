//! The command line of an instance.

use std::path::PathBuf;

use super::Input;
use super::input::Binary;
use crate::model::{InstanceId, Launch, ModelName, Spec, SpecHash};

/// What an instance is called besides its options.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The model.
    pub model: &'a ModelName,
    /// Further names it answers to.
    pub aliases: &'a [String],
    /// The definition's absolute path.
    pub definition: &'a str,
    /// The hash of the spec it serves.
    pub hash: &'a SpecHash,
    /// Its log must say how many layers are on a GPU.
    pub tells_layers: bool,
}

/// Puts together how an instance of `spec` on `port` is started.
pub fn launch(input: &Input<'_>, who: Identity<'_>, spec: &Spec, port: Option<u16>, binary: &Binary) -> Launch {
    let id: InstanceId = input.instance_id(who.model);
    let socket = spec.is_unix_socket().then(|| PathBuf::from(&spec.host));
    Launch {
        args: arguments(who, spec, port),
        id,
        model: who.model.clone(),
        spec: who.hash.clone(),
        definition: who.definition.to_owned(),
        binary: binary.path.clone(),
        env: spec.env.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
        secrets: spec.secrets.iter().map(|(name, secret)| (name.to_string(), secret.source.clone())).collect(),
        log: input.limits.logs.join(format!("{}.log", who.model)),
        socket,
    }
}

/// The definition's options, then what herdsman owns: address, names, and the
/// spec hash as a tag, which `GET /v1/models` shows without a key.
fn arguments(who: Identity<'_>, spec: &Spec, port: Option<u16>) -> Vec<String> {
    let mut args: Vec<String> =
        spec.options.values().flat_map(|option| option.args.iter().map(ToString::to_string)).collect();
    args.extend(["--host".to_owned(), spec.host.clone()]);
    if let Some(port) = port {
        args.extend(["--port".to_owned(), port.to_string()]);
    }
    let names: Vec<&str> = std::iter::once(who.model.as_str()).chain(who.aliases.iter().map(String::as_str)).collect();
    args.extend(["--alias".to_owned(), names.join(","), "--tags".to_owned(), who.hash.to_string()]);
    // llama-server says "offloaded N/M layers to GPU" from this level on.
    if who.tells_layers && !["verbosity", "verbose"].iter().any(|key| spec.options.contains_key(*key)) {
        args.extend(["--verbosity".to_owned(), "4".to_owned()]);
    }
    args
}
