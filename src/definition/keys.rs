//! The keys of definitions, of `_defaults.toml` and of `_groups.toml`.
//!
//! One table for the parser, its did-you-mean and the schema: each matches on
//! these enums, so a new key does not compile until all three know it.
//!
//! What a change of each key does is decided here as well ([`Purpose`]): a new
//! one does not compile without it. How it comes about is written where the
//! fields are, in `model::uses` and `model::spec`; a test changes the value of
//! every key and holds them, the schema and the documentation to this table.

/// Declares the keys of one table: an enum, with its words in order.
macro_rules! keys {
    ($(#[$about:meta])* $place:ident { $($key:ident = $name:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum $place { $($key),+ }

        impl $place {
            /// Every key.
            pub const ALL: &[Self] = &[$(Self::$key),+];
            /// Every key as files spell it.
            pub const NAMES: &[&str] = &[$($name),+];

            /// Finds the key with this spelling.
            pub fn find(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$key),)+
                    _ => None,
                }
            }

            /// The key as files spell it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$key => $name),+
                }
            }
        }
    };
}

keys! {
    /// Keys at the top of a file, tables last.
    Key {
        Type = "type",
        State = "state",
        Name = "name",
        Model = "model",
        HfRepo = "hf_repo",
        ModelUrl = "model_url",
        Host = "host",
        Port = "port",
        Aliases = "aliases",
        Group = "group",
        Priority = "priority",
        Evict = "evict",
        Binary = "binary",
        Description = "description",
        Labels = "labels",
        Parameters = "parameters",
        Env = "env",
        Secrets = "secrets",
        Ready = "ready",
        Update = "update",
        Idle = "idle",
        Serve = "serve",
    }
}

keys! {
    /// Keys of `[secrets]`.
    SecretKey {
        ApiKey = "api_key",
        HfToken = "hf_token",
    }
}

keys! {
    /// Keys of one secret: where it is.
    SourceKey {
        File = "file",
        Env = "env",
    }
}

keys! {
    /// Keys of `[ready]`.
    ReadyKey {
        Timeout = "timeout",
        UnhealthyAfter = "unhealthy_after",
        RequireGpu = "require_gpu",
    }
}

keys! {
    /// Keys of `[update]`.
    UpdateKey {
        Drain = "drain",
        OnFailure = "on_failure",
    }
}

keys! {
    /// Keys of `[idle]`.
    IdleKey {
        StopAfter = "stop_after",
    }
}

keys! {
    /// Keys of `[serve]`.
    ServeKey {
        Listed = "listed",
        MaxInFlight = "max_in_flight",
    }
}

keys! {
    /// Keys of a group in `_groups.toml`.
    GroupKey {
        MaxRunning = "max_running",
    }
}

impl Key {
    /// The keys that say which weights to load: a definition has exactly one.
    pub const WEIGHTS: [Self; 3] = [Self::Model, Self::HfRepo, Self::ModelUrl];

    /// Whether it is a table.
    pub const fn is_table(self) -> bool {
        matches!(
            self,
            Self::Labels
                | Self::Parameters
                | Self::Env
                | Self::Secrets
                | Self::Ready
                | Self::Update
                | Self::Idle
                | Self::Serve
        )
    }

    /// Whether it is specific to one model, so that the defaults cannot set it.
    pub const fn is_of_one_model(self) -> bool {
        matches!(self, Self::Name | Self::Model | Self::HfRepo | Self::ModelUrl | Self::Port | Self::Aliases)
    }
}

/// What a key is for, and with it what a change of its value does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// Part of the spec: a change makes a generation and restarts the server.
    pub restarts: bool,
    /// Part of the model's row and record: a change is written there.
    pub recorded: bool,
    /// Part of how the model is served: a change ends a state by hand.
    pub ends_override: bool,
    /// Shown where people read what a definition says; a change of it is named.
    pub shown: bool,
    /// What it says may be more than the owner of the host allows.
    pub policy: bool,
}

impl Purpose {
    const SPEC: Self = Self { restarts: true, recorded: false, ends_override: true, shown: true, policy: true };
    /// If you stop a model to change its key, it must not come back halfway.
    const SECRET: Self = Self { ends_override: false, ..Self::SPEC };
    const RECORDED_SPEC: Self = Self { recorded: true, ..Self::SPEC };
    const SERVICE: Self = Self { restarts: false, recorded: false, ends_override: true, shown: true, policy: false };
    const RECORDED_SERVICE: Self = Self { recorded: true, ..Self::SERVICE };
    const FOR_PEOPLE: Self = Self { ends_override: false, ..Self::RECORDED_SERVICE };
    /// Who gets room, and when, is decided anew by every pass: a change counts at
    /// once and needs nothing. It is no reason to start a model that someone
    /// stopped.
    const SHARING: Self = Self { ends_override: false, ..Self::SERVICE };
    const RECORDED_SHARING: Self = Self { recorded: true, ..Self::SHARING };
    /// Another name is another model.
    const NAME: Self = Self { shown: false, ..Self::FOR_PEOPLE };
}

impl Key {
    /// What it is for; `None`: a table whose keys say it each by itself.
    pub const fn purpose(self) -> Option<Purpose> {
        Some(match self {
            Self::Host | Self::Port | Self::Binary | Self::Env => Purpose::SPEC,
            Self::Model | Self::HfRepo | Self::ModelUrl | Self::Parameters => Purpose::RECORDED_SPEC,
            Self::State | Self::Aliases => Purpose::RECORDED_SERVICE,
            Self::Type | Self::Description | Self::Labels => Purpose::FOR_PEOPLE,
            Self::Name => Purpose::NAME,
            // An instance takes its place in its groups even while its definition
            // cannot be read.
            Self::Group => Purpose::RECORDED_SHARING,
            Self::Priority | Self::Evict => Purpose::SHARING,
            Self::Secrets | Self::Ready | Self::Update | Self::Idle | Self::Serve => return None,
        })
    }
}

impl ReadyKey {
    /// What it is for.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Timeout | Self::UnhealthyAfter | Self::RequireGpu => Purpose::SERVICE,
        }
    }
}

impl UpdateKey {
    /// What it is for.
    pub const fn purpose(self) -> Purpose {
        match self {
            // `down` and a deletion have no definition to ask.
            Self::Drain => Purpose::RECORDED_SERVICE,
            Self::OnFailure => Purpose::SERVICE,
        }
    }
}

impl IdleKey {
    /// What it is for.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::StopAfter => Purpose::SHARING,
        }
    }
}

impl ServeKey {
    /// What it is for.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::Listed | Self::MaxInFlight => Purpose::SHARING,
        }
    }
}

/// Every key of a definition by its table (empty: the top of the file) and its
/// name, and what it is for.
#[must_use]
pub fn purposes() -> Vec<(&'static str, &'static str, Purpose)> {
    let top = Key::ALL.iter().filter_map(|key| Some(("", key.as_str(), key.purpose()?)));
    let secrets = SecretKey::ALL.iter().map(|key| (Key::Secrets.as_str(), key.as_str(), key.purpose()));
    let ready = ReadyKey::ALL.iter().map(|key| (Key::Ready.as_str(), key.as_str(), key.purpose()));
    let update = UpdateKey::ALL.iter().map(|key| (Key::Update.as_str(), key.as_str(), key.purpose()));
    let idle = IdleKey::ALL.iter().map(|key| (Key::Idle.as_str(), key.as_str(), key.purpose()));
    let serve = ServeKey::ALL.iter().map(|key| (Key::Serve.as_str(), key.as_str(), key.purpose()));
    top.chain(secrets).chain(ready).chain(update).chain(idle).chain(serve).collect()
}

impl SecretKey {
    /// What it is for.
    pub const fn purpose(self) -> Purpose {
        match self {
            Self::ApiKey | Self::HfToken => Purpose::SECRET,
        }
    }

    /// The variable that carries the secret to the process.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::ApiKey => "LLAMA_API_KEY",
            Self::HfToken => "HF_TOKEN",
        }
    }
}
