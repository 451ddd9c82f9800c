//! Definitions, written as short as in a file.

use std::sync::Arc;
use std::time::Duration;

use herdsman::model::{
    Definition, DesiredState, Evict, FileIdentity, IdlePolicy, Memo, ModelName, ModelType, OnFailure, OptionSetting,
    OptionValue, Origin, Placement, ReadyPolicy, ServePolicy, Spec, Table, UpdatePolicy,
};

/// A model name.
pub fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

/// `models.d/<name>.toml` with nothing in it but weights of its own.
pub fn model(text: &str) -> Definition {
    let file: Arc<str> = format!("models.d/{text}.toml").into();
    let definition = Definition {
        name: name(text),
        path: format!("/{file}").into(),
        origins: [("name".into(), Origin::new(Arc::clone(&file), 0))].into_iter().collect(),
        file,
        model_type: ModelType::Llama,
        state: DesiredState::Running,
        spec: Spec { host: "127.0.0.1".to_owned(), ..Spec::default() },
        parameters: Table::default(),
        aliases: Vec::new(),
        description: None,
        labels: Table::default(),
        ready: ReadyPolicy::default(),
        update: UpdatePolicy::default(),
        idle: IdlePolicy::default(),
        placement: Placement::default(),
        serve: ServePolicy::default(),
        spec_hash: Memo::default(),
        former_hash: Memo::default(),
        config_digest: Memo::default(),
    };
    definition.weights(&format!("/weights/{text}.gguf"))
}

/// Edits of a definition. Each field stands on the next line of its file.
pub trait Edit: Sized {
    /// A field was stated in `file`, on `line`.
    fn stated(self, field: &str, file: &str, line: u32) -> Self;
    /// A field was stated on the next line of the definition itself.
    fn here(self, field: &str) -> Self;
    /// The weights.
    fn weights(self, path: &str) -> Self;
    /// Other bytes in the weights.
    fn new_weights(self) -> Self;
    /// An option of llama-server.
    fn option(self, key: &str, value: &str) -> Self;
    /// The same, stated in `_defaults.toml`.
    fn default_option(self, key: &str, value: &str, line: u32) -> Self;
    /// How its server fares: see [`super::Fate::of`].
    fn fate(self, word: &str) -> Self {
        self.option("fate", word)
    }
    /// A declared port.
    fn port(self, port: u16) -> Self;
    /// A unix socket instead of a port.
    fn socket(self, path: &str) -> Self;
    /// `state = "stopped"`.
    fn stopped(self) -> Self;
    /// `state = "on_demand"`.
    fn on_demand(self) -> Self;
    /// `[idle] stop_after`; `None`: `off`.
    fn stop_after(self, seconds: Option<u64>) -> Self;
    /// `group`, once for each.
    fn group(self, name: &str) -> Self;
    /// `priority`.
    fn priority(self, priority: i32) -> Self;
    /// `evict = "never"`.
    fn never_evicted(self) -> Self;
    /// `description`.
    fn description(self, text: &str) -> Self;
    /// `binary`.
    fn binary(self, path: &str) -> Self;
    /// `[update] drain`.
    fn drain(self, seconds: u64) -> Self;
    /// `[update] on_failure = "stop"`.
    fn stop_on_failure(self) -> Self;
    /// `[ready] timeout`.
    fn ready_timeout(self, seconds: u64) -> Self;
    /// `[ready] unhealthy_after`.
    fn unhealthy_after(self, seconds: u64) -> Self;
    /// `[ready] require_gpu`.
    fn require_gpu(self) -> Self;
}

impl Edit for Definition {
    fn stated(mut self, field: &str, file: &str, line: u32) -> Self {
        self.origins.insert(field.into(), Origin::new(file, line));
        self
    }

    fn here(self, field: &str) -> Self {
        let line = u32::try_from(self.origins.len()).unwrap();
        let file = Arc::clone(&self.file);
        self.stated(field, &file, line)
    }

    fn weights(mut self, path: &str) -> Self {
        self.spec.files = [(path.into(), FileIdentity { size: 1_000, mtime_ns: 0, inode: 1 })].into_iter().collect();
        self.parameters.insert("model".into(), path.into());
        let value = OptionValue::One(path.into());
        let setting = OptionSetting { value, args: vec!["--model".into(), path.into()] };
        self.spec.options.insert("model".into(), setting);
        self.here("model")
    }

    fn new_weights(mut self) -> Self {
        let newer = |(path, file): (Arc<str>, FileIdentity)| (path, FileIdentity { inode: file.inode + 1, ..file });
        self.spec.files = self.spec.files.into_iter().map(newer).collect();
        self
    }

    fn option(mut self, key: &str, value: &str) -> Self {
        self.parameters.insert(key.into(), value.into());
        let args = vec![format!("--{}", key.replace('_', "-")).into(), value.into()];
        self.spec.options.insert(key.into(), OptionSetting { value: OptionValue::One(value.into()), args });
        self.here(key)
    }

    fn default_option(self, key: &str, value: &str, line: u32) -> Self {
        self.option(key, value).stated(key, "models.d/_defaults.toml", line)
    }

    fn port(mut self, port: u16) -> Self {
        self.spec.port = Some(port);
        self.here("port")
    }

    fn socket(mut self, path: &str) -> Self {
        self.spec.host = path.to_owned();
        self.here("host")
    }

    fn stopped(mut self) -> Self {
        self.state = DesiredState::Stopped;
        self.here("state")
    }

    fn on_demand(mut self) -> Self {
        self.state = DesiredState::OnDemand;
        self.here("state")
    }

    fn stop_after(mut self, seconds: Option<u64>) -> Self {
        self.idle.stop_after = seconds.map(Duration::from_secs);
        self
    }

    fn group(mut self, name: &str) -> Self {
        self.placement.groups.push(name.into());
        self.here("group")
    }

    fn priority(mut self, priority: i32) -> Self {
        self.placement.priority = priority;
        self
    }

    fn never_evicted(mut self) -> Self {
        self.placement.evict = Evict::Never;
        self
    }

    fn description(mut self, text: &str) -> Self {
        self.description = Some(text.to_owned());
        self.here("description")
    }

    fn binary(mut self, path: &str) -> Self {
        self.spec.binary = Some(path.to_owned());
        self.here("binary")
    }

    fn drain(mut self, seconds: u64) -> Self {
        self.update.drain = Duration::from_secs(seconds);
        self
    }

    fn stop_on_failure(mut self) -> Self {
        self.update.on_failure = OnFailure::Stop;
        self
    }

    fn ready_timeout(mut self, seconds: u64) -> Self {
        self.ready.timeout = Duration::from_secs(seconds);
        self
    }

    fn unhealthy_after(mut self, seconds: u64) -> Self {
        self.ready.unhealthy_after = Some(Duration::from_secs(seconds));
        self
    }

    fn require_gpu(mut self) -> Self {
        self.ready.require_gpu = true;
        self
    }
}
