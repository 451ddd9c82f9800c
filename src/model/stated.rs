//! A definition as one comparable value: a digest of everything it sets, and its
//! fields for people, to say what changed.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Definition, ForRecord, ForService, ForSharing, SecretRef, Spec, Uses};
use crate::model::text::duration;

/// Longer values are shown as their length and a digest.
const LONGEST: usize = 200;

impl Definition {
    /// Equal for definitions that mean the same, however they are written. With
    /// `secrets`, their values count too, by keyed digests, which are comparable
    /// only within one state directory.
    #[must_use]
    pub fn digest(&self, secrets: bool) -> String {
        // Plans rest on all of it: whatever is for something is here.
        let Uses { record, service, sharing } = self.uses();
        let ForRecord {
            name,
            source,
            model_type,
            state,
            description,
            labels,
            aliases,
            parameters,
            drain_ms: _,
            file_size: _,
            // Part of what it shares.
            groups: _,
        } = record;
        let ForService { spec, timeout, unhealthy_after, require_gpu, drain, on_failure, state: _, aliases: _ } =
            service;
        let mut spec = spec.clone();
        if !secrets {
            let blank = |secret: &SecretRef| SecretRef { digest: String::new(), ..secret.clone() };
            spec.secrets = spec.secrets.iter().map(|(key, secret)| (key.clone(), blank(secret))).collect();
        }
        let sources: Vec<_> = spec.secrets.iter().map(|(key, secret)| (key, &secret.source)).collect();
        let recorded = (name, source, model_type, state, parameters, aliases, description, labels);
        let policy = (timeout, unhealthy_after, require_gpu, drain, format!("{on_failure:?}"));
        // Strings, numbers and ordered maps: writing them to memory cannot fail.
        // The first recipe, whatever the present one is: a plan that an older
        // herdsman saved can still be applied.
        let first = (recorded, policy, sources, spec.hash_v1(spec.port));
        let text = match sharing == ForSharing::unstated() {
            true => serde_json::to_vec(&first),
            false => serde_json::to_vec(&(first, sharing.keys())),
        }
        .unwrap_or_default();
        blake3::hash(&text).to_hex()[..32].to_owned()
    }

    /// What it sets, by the names that diagnostics and plans use. A secret shows
    /// only its source.
    #[must_use]
    pub fn stated(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::new();
        let mut add = |field: &str, value: &str| {
            fields.insert(field.to_owned(), stated(value));
        };
        let Uses { record, service, sharing } = self.uses();
        // A model's name and file say which model it is, not how it is.
        let ForRecord { model_type, description, labels, .. } = record;
        let ForService { state, spec, aliases, timeout, unhealthy_after, require_gpu, drain, on_failure } = service;
        let Spec { host, port, options, env, binary, files, secrets } = spec;
        add("type", model_type.as_str());
        add("state", state.as_str());
        add("host", host);
        port.iter().for_each(|port| add("port", &port.to_string()));
        binary.iter().for_each(|binary| add("binary", binary));
        description.iter().for_each(|text| add("description", text));
        if !aliases.is_empty() {
            add("aliases", &aliases.join(", "));
        }
        options.iter().for_each(|(key, option)| add(key, &option.value.to_string()));
        env.iter().for_each(|(key, value)| add(&format!("env.{key}"), value));
        secrets.iter().for_each(|(key, secret)| add(&format!("secrets.{key}"), &secret.source.to_string()));
        files.iter().for_each(|(path, file)| add(&format!("file {path}"), &file.to_string()));
        labels.iter().for_each(|(key, value)| add(&format!("labels.{key}"), value));
        add("ready.timeout", &duration(timeout));
        add("ready.unhealthy_after", &unhealthy_after.map_or_else(|| "off".to_owned(), duration));
        add("ready.require_gpu", &require_gpu.to_string());
        add("update.drain", &duration(drain));
        add("update.on_failure", &format!("{on_failure:?}").to_lowercase());
        // Only what differs from an older herdsman's definitions, which had none.
        sharing.keys().into_iter().for_each(|(key, value)| value.iter().for_each(|value| add(key, value)));
        fields
    }
}

fn stated(value: &str) -> String {
    let length = value.chars().count();
    if length <= LONGEST {
        return value.to_owned();
    }
    let mut stated: String = value.chars().take(LONGEST / 4).collect();
    let digest = &blake3::hash(value.as_bytes()).to_hex()[..8];
    let _ = write!(stated, "… ({length} characters, {digest})");
    stated
}
