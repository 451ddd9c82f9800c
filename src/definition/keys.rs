//! The keys of definitions and of `_defaults.toml`.
//!
//! One table for the parser, its suggestions and the schema. Each matches on these
//! enums, so a new key does not compile until all three handle it.

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
        Binary = "binary",
        Description = "description",
        Labels = "labels",
        Parameters = "parameters",
        Env = "env",
        Secrets = "secrets",
        Ready = "ready",
        Update = "update",
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

impl Key {
    /// The keys that say which weights to load: a definition has exactly one.
    pub const WEIGHTS: [Self; 3] = [Self::Model, Self::HfRepo, Self::ModelUrl];

    /// Whether it is a table.
    pub const fn is_table(self) -> bool {
        matches!(self, Self::Labels | Self::Parameters | Self::Env | Self::Secrets | Self::Ready | Self::Update)
    }

    /// Whether it is specific to one model, so that the defaults cannot set it.
    pub const fn is_of_one_model(self) -> bool {
        matches!(self, Self::Name | Self::Model | Self::HfRepo | Self::ModelUrl | Self::Port | Self::Aliases)
    }
}

impl SecretKey {
    /// The variable that carries the secret to the process.
    pub const fn variable(self) -> &'static str {
        match self {
            Self::ApiKey => "LLAMA_API_KEY",
            Self::HfToken => "HF_TOKEN",
        }
    }
}
