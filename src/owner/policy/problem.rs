//! The policy's refusals, in words.

use std::fmt;
use std::path::PathBuf;

use super::{Key, Policy};
use crate::model::text::count;

/// One thing a definition or a record asks for and the policy does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The field that asks for it, as [`crate::model::Definition::origin`]
    /// takes it.
    pub(super) field: String,
    /// What to point at in the definition; empty: the whole line.
    pub(super) needle: String,
    /// What is wrong.
    pub(super) problem: Problem,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// An option that can do harm.
    Harmful { option: String, why: &'static str },
    /// An option that the policy denies by name.
    DeniedOption { option: String },
    /// An option that nobody has reviewed.
    UnknownOption { option: String },
    /// A path that leads out of the directories of `key`.
    Outside { what: String, path: PathBuf, real: PathBuf, key: Key },
    /// A path that cannot be followed.
    Unresolved { what: String, path: PathBuf, cause: String, key: Key },
    /// A path through `place`, which is different for each process.
    OfAProcess { what: String, path: PathBuf, place: PathBuf, key: Key },
    /// A file name in a download that is not a plain name.
    NotAName { option: String, text: String },
    /// A place to download from.
    Download { source: String },
    /// An address to listen on.
    Host { host: String },
    /// A declared port.
    Port { port: u16 },
    /// A variable that can do harm.
    HarmfulVariable { name: String, why: &'static str },
    /// A variable that the policy denies by name.
    DeniedVariable { name: String },
    /// A variable that nothing allows.
    UnknownVariable { name: String },
    /// A secret taken from a variable.
    SecretVariable { secret: String, name: String },
    /// More models than the policy allows.
    TooMany { models: usize, most: usize },
}

impl Problem {
    /// Returns the key of the policy that decides it.
    pub const fn key(&self) -> Key {
        match self {
            Self::Harmful { .. } | Self::UnknownOption { .. } => Key::AllowOptions,
            Self::DeniedOption { .. } => Key::DenyOptions,
            Self::Outside { key, .. } | Self::Unresolved { key, .. } | Self::OfAProcess { key, .. } => *key,
            Self::Download { .. } | Self::NotAName { .. } => Key::Downloads,
            Self::Host { .. } => Key::Hosts,
            Self::Port { .. } => Key::Ports,
            Self::HarmfulVariable { .. } | Self::UnknownVariable { .. } => Key::AllowEnv,
            Self::DeniedVariable { .. } => Key::DenyEnv,
            Self::SecretVariable { .. } => Key::SecretEnv,
            Self::TooMany { .. } => Key::MaxModels,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the policy does not allow ")?;
        match self {
            Self::Harmful { option, why } => write!(f, "the option `{option}`: {why}"),
            Self::DeniedOption { option } => write!(f, "the option `{option}`"),
            Self::UnknownOption { option } => {
                write!(f, "the option `{option}`: this version of herdsman does not know it")
            }
            Self::Outside { what, path, real, .. } if path == real => write!(f, "{} for {what}", path.display()),
            Self::Outside { what, path, real, .. } => {
                write!(f, "{} for {what}: it leads to {}", path.display(), real.display())
            }
            Self::Unresolved { what, path, cause, .. } => {
                write!(f, "{} for {what}: cannot follow it: {cause}", path.display())
            }
            Self::OfAProcess { what, path, place, .. } => {
                let (path, place) = (path.display(), place.display());
                write!(f, "{path} for {what}: it goes through {place}, which is different for each process")
            }
            Self::NotAName { option, text } => write!(f, "{text:?} for `{option}`: it points outside the download"),
            Self::Download { source } => write!(f, "to download {source}"),
            Self::Host { host } => write!(f, "to listen on {host}"),
            Self::Port { port } => write!(f, "port {port}"),
            Self::HarmfulVariable { name, why } => write!(f, "the variable `{name}`: {why}"),
            Self::DeniedVariable { name } | Self::UnknownVariable { name } => write!(f, "the variable `{name}`"),
            Self::SecretVariable { secret, name } => write!(f, "the variable {name} as the source of `{secret}`"),
            Self::TooMany { models, most } => {
                write!(f, "more than {}: there are {models}", count(*most, "model"))
            }
        }
    }
}

impl Policy {
    /// Where the policy decides `problem`, and what it allows instead.
    pub(super) fn rule(&self, problem: &Problem) -> String {
        let rule = self.rule_of_its_key(problem);
        // No policy allows it as it is written.
        if matches!(problem, Problem::OfAProcess { .. }) { format!("use its real path: {rule}") } else { rule }
    }

    fn rule_of_its_key(&self, problem: &Problem) -> String {
        let key = problem.key();
        let Some(line) = self.lines.get(&key) else {
            let so = self.allowed_by_default(problem).map_or_else(String::new, |allowed| format!(", so {allowed}"));
            return format!("{} does not set `{}`{so}", self.file, key.as_str());
        };
        let place = format!("{}:{line} (`{}`)", self.file, key.as_str());
        match self.allowed_instead(problem) {
            Some(allowed) => format!("{place} allows {allowed}"),
            None => format!("see {place}"),
        }
    }

    /// What is allowed if the key is not set.
    fn allowed_by_default(&self, problem: &Problem) -> Option<String> {
        match problem {
            Problem::Host { .. } => Some("only loopback addresses are allowed".to_owned()),
            Problem::Port { .. } => Some(format!("{}-{} are allowed", self.ports.0, self.ports.1)),
            Problem::UnknownVariable { .. } => {
                Some("only variables that choose devices and threads are allowed".to_owned())
            }
            _ => None,
        }
    }

    /// What the key allows instead, if that is a short list.
    fn allowed_instead(&self, problem: &Problem) -> Option<String> {
        let joined = |items: Vec<String>| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
        let shown = |patterns: &[super::Pattern]| joined(patterns.iter().map(ToString::to_string).collect());
        match problem {
            Problem::Outside { key, .. } | Problem::Unresolved { key, .. } | Problem::OfAProcess { key, .. } => {
                Some(joined(self.roots(*key).iter().map(|root| root.display().to_string()).collect()))
            }
            Problem::Host { .. } => self.hosts.clone().map(joined),
            Problem::Port { .. } => Some(format!("{}-{}", self.ports.0, self.ports.1)),
            Problem::Download { .. } => Some(shown(&self.downloads)),
            Problem::SecretVariable { .. } => Some(shown(&self.secret_env)),
            Problem::UnknownVariable { .. } => Some(shown(&self.allow_env)),
            Problem::Harmful { .. }
            | Problem::DeniedOption { .. }
            | Problem::UnknownOption { .. }
            | Problem::NotAName { .. }
            | Problem::HarmfulVariable { .. }
            | Problem::DeniedVariable { .. }
            | Problem::TooMany { .. } => None,
        }
    }

    /// What to do about it, and who can.
    pub(super) fn help(&self, problem: &Problem) -> String {
        let fix = match problem {
            Problem::OfAProcess { .. } => return self.rule(problem),
            Problem::TooMany { .. } => "remove some",
            Problem::Outside { .. } | Problem::Host { .. } | Problem::Port { .. } => "choose another",
            _ => "remove it",
        };
        format!("{fix}, or ask the owner of this host: {}", self.rule(problem))
    }
}
