//! A spec: everything whose change needs a restart, and its hash.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Table;

/// Everything that decides how an instance behaves. A change of any field
/// gives the model a new generation.
///
/// | part | why it is here |
/// |---|---|
/// | `options` | one llama-server reads its command line once, at start |
/// | `env` | `/proc/PID/environ` never changes after exec |
/// | `host`, the declared `port` | the listening socket is opened once |
/// | `files` | weights replaced on disk are not read again |
/// | `secrets` | a key is read at start; only a keyed digest is kept |
/// | `binary` | only the path that the definition sets: what `PATH` finds is not part of it |
///
/// Left out on purpose: aliases and tags, labels and description, the
/// inherited environment, the order and spelling of keys, and an
/// assigned port: an instance leases it, and the model keeps it for all its instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Address to listen on, or the path of a unix socket (it contains `/`).
    pub host: String,
    /// The declared TCP port. `None`: instances lease one, or listen on a unix
    /// socket. A generation whose hash is [`SpecHash::is_v1`] holds the port it
    /// served on, declared or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// llama-server options by canonical name (`ctx_size`), aliases unified.
    #[serde(default)]
    pub options: Table<Arc<str>, OptionSetting>,
    /// Environment variables the definition sets.
    #[serde(default)]
    pub env: Table<Arc<str>, String>,
    /// The llama-server the definition names, resolved; `None`: the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// Identity of each file the options name, by absolute path.
    #[serde(default)]
    pub files: Table<Arc<str>, FileIdentity>,
    /// Secrets by the environment variable that carries them to the process.
    #[serde(default)]
    pub secrets: Table<Arc<str>, SecretRef>,
}

/// One option as it goes to the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OptionSetting {
    /// The normalised value: what is hashed, compared and shown.
    pub value: OptionValue,
    /// The words of the command line it becomes, such as
    /// `["--ctx-size", "8192"]` or `["--no-mmap"]`; empty when it needs none.
    pub args: Vec<Arc<str>>,
}

/// A normalised option value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptionValue {
    /// A flag or its negation.
    Flag(bool),
    /// One value, as llama-server reads it.
    One(Arc<str>),
    /// Several values.
    Many(Vec<Arc<str>>),
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(on) => write!(f, "{on}"),
            Self::One(value) => f.write_str(value),
            Self::Many(values) => write!(f, "[{}]", values.join(", ")),
        }
    }
}

/// Identifies the content of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

/// A secret by reference: its source, never its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// Where the value is read at every start.
    pub source: SecretSource,
    /// BLAKE3 of the value keyed with the state id, so that a changed secret is
    /// noticed and a leaked database reveals nothing; empty if it is unreadable.
    pub digest: String,
}

/// Where a secret's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretSource {
    /// A file, absolute; one trailing newline is not part of the value.
    File(String),
    /// A variable in herdsman's own environment.
    Env(String),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {path}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// The versioned hash of a [`Spec`]: `v2:` and 32 hexadecimal digits.
///
/// The version changes when the recipe does, so that a newer herdsman can
/// tell "another recipe" from "another spec".
///
/// | version | the port in it |
/// |---|---|
/// | `v1` | the one the instance serves on, declared or assigned |
/// | `v2` | the declared one |
///
/// Records and processes keep the hash they were given: a generation hashed by
/// v1 stays the wanted one until its definition is edited
/// ([`Definition::is_served_as`](super::Definition::is_served_as)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SpecHash(pub String);

impl SpecHash {
    /// Whether a herdsman of the first recipe wrote it.
    #[must_use]
    pub fn is_v1(&self) -> bool {
        self.0.starts_with("v1:")
    }
}

impl fmt::Display for SpecHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One difference between two specs. Values are formatted for people; a secret
/// shows only its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// `ctx_size`, `env.CUDA_VISIBLE_DEVICES`, `port`, `weights`, `secrets.api_key`.
    pub field: String,
    /// The old value; `None`: it was not set.
    pub old: Option<String>,
    /// The new value; `None`: it is no longer set.
    pub new: Option<String>,
}

impl Spec {
    /// Whether it listens on a unix socket instead of a TCP port.
    #[must_use]
    pub fn is_unix_socket(&self) -> bool {
        self.host.contains('/')
    }

    /// The weights among its files: shards and the model itself.
    pub fn gguf_files(&self) -> impl Iterator<Item = &str> {
        let model = self.options.get("model").map(|model| model.value.to_string());
        let is_gguf = move |path: &&str| path.ends_with(".gguf") || model.as_deref() == Some(path);
        self.files.keys().map(|path| &**path).filter(is_gguf)
    }

    /// The hash of this spec.
    ///
    /// Only values are hashed, not the words of the command line: another spelling
    /// of the same option is the same spec.
    #[must_use]
    pub fn hash(&self) -> SpecHash {
        self.hash_declaring(self.port)
    }

    /// The hash of this spec if it declared `port` instead of its own.
    pub(crate) fn hash_declaring(&self, port: Option<u16>) -> SpecHash {
        SpecHash(format!("v2:{}", self.digest(port)))
    }

    /// The hash that the first recipe gave this spec on `port`, the one that an
    /// instance serves on.
    #[must_use]
    pub fn hash_v1(&self, port: Option<u16>) -> SpecHash {
        SpecHash(format!("v1:{}", self.digest(port)))
    }

    /// Whether `hash` is of this spec but for the port, on which an instance
    /// serves `port`: taken with the port declared, or assigned, or by v1.
    pub(crate) fn is_hashed_as(&self, hash: &SpecHash, port: Option<u16>) -> bool {
        if hash.is_v1() {
            return *hash == self.hash_v1(port);
        }
        [None, port].into_iter().any(|declared| *hash == self.hash_declaring(declared))
    }

    /// What every version hashes, with that port.
    fn digest(&self, port: Option<u16>) -> String {
        // Destructured, so that a new field does not compile until someone
        // decides whether its change needs a restart.
        let Self { host, port: _, options, env, binary, files, secrets } = self;
        let mut hasher = Canonical(Vec::with_capacity(1024));
        hasher.text(host);
        hasher.number(u64::from(port.unwrap_or(0)));
        hasher.number(options.len() as u64);
        for (name, OptionSetting { value, args: _ }) in options {
            hasher.text(name);
            match value {
                OptionValue::Flag(on) => hasher.text(if *on { "+" } else { "-" }),
                OptionValue::One(one) => {
                    hasher.number(1);
                    hasher.text(one);
                }
                OptionValue::Many(many) => {
                    hasher.number(many.len() as u64);
                    many.iter().for_each(|one| hasher.text(one));
                }
            }
        }
        hasher.number(env.len() as u64);
        for (name, value) in env {
            hasher.text(name);
            hasher.text(value);
        }
        hasher.text(binary.as_deref().unwrap_or(""));
        hasher.number(files.len() as u64);
        for (path, FileIdentity { size, mtime_ns, inode }) in files {
            hasher.text(path);
            hasher.number(*size);
            hasher.0.extend(mtime_ns.to_le_bytes());
            hasher.number(*inode);
        }
        hasher.number(secrets.len() as u64);
        for (name, SecretRef { source: _, digest }) in secrets {
            hasher.text(name);
            hasher.text(digest);
        }
        blake3::hash(&hasher.0).to_hex()[..32].to_owned()
    }

    /// Returns what differs from `old` to `self`, in a stable order.
    #[must_use]
    pub fn changes_from(&self, old: &Self) -> Vec<FieldChange> {
        let Self { host, port, options, env, binary, files, secrets } = self;
        let mut changes = Vec::new();
        let mut compare = |field: String, old: Option<String>, new: Option<String>| {
            if old != new {
                changes.push(FieldChange { field, old, new });
            }
        };
        compare("host".into(), Some(old.host.clone()), Some(host.clone()));
        compare("port".into(), old.port.map(|p| p.to_string()), port.map(|p| p.to_string()));
        compare("binary".into(), old.binary.clone(), binary.clone());
        for key in keys(&old.options, options) {
            let shown = |from: &Table<Arc<str>, OptionSetting>| from.get(key).map(|o| o.value.to_string());
            compare(key.to_string(), shown(&old.options), shown(options));
        }
        for key in keys(&old.env, env) {
            compare(format!("env.{key}"), old.env.get(key).cloned(), env.get(key).cloned());
        }
        for key in keys(&old.files, files) {
            // The option that names a file reports that it comes or goes.
            if let (Some(before), Some(after)) = (old.files.get(key), files.get(key)) {
                compare(format!("file {key}"), Some(before.to_string()), Some(after.to_string()));
            }
        }
        for key in keys(&old.secrets, secrets) {
            let (before, after) = (old.secrets.get(key), secrets.get(key));
            if before.map(|s| &s.digest) != after.map(|s| &s.digest) {
                let shown = |s: Option<&SecretRef>| s.map(|s| s.source.to_string());
                let new = shown(after)
                    .map(|s| if shown(before).as_ref() == Some(&s) { format!("{s} (new value)") } else { s });
                compare(format!("secrets.{key}"), shown(before), new);
            }
        }
        changes
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)?;
        match jiff::Timestamp::from_nanosecond(i128::from(self.mtime_ns)) {
            Ok(time) => write!(f, " of {time:.3}, inode {}", self.inode),
            Err(_) => write!(f, ", inode {}", self.inode),
        }
    }
}

/// The keys of both maps, each once, in order.
fn keys<'a, V>(old: &'a Table<Arc<str>, V>, new: &'a Table<Arc<str>, V>) -> std::collections::BTreeSet<&'a str> {
    let names = |table: &'a Table<Arc<str>, V>| table.keys().map(|key| &**key);
    names(old).chain(names(new)).collect()
}

/// The bytes to hash, assembled so that no two different sequences look alike:
/// every text goes in with its length.
struct Canonical(Vec<u8>);

impl Canonical {
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }
}
