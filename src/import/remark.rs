//! An import's remarks: nothing of a source is dropped silently.

use std::fmt;
use std::sync::Arc;

use crate::model::text::printable;

/// A place in a source, for people: `config.yaml:14`, `pid 4711`, `models.db row
/// 3`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceLocation {
    source: Arc<str>,
    /// From 1; 0: the source as a whole.
    line: u32,
}

impl SourceLocation {
    /// The source as a whole.
    #[must_use]
    pub fn whole(source: &str) -> Self {
        Self { source: source.into(), line: 0 }
    }

    /// The source as a whole.
    #[must_use]
    pub fn source(&self) -> Self {
        self.line(0)
    }

    /// A line of the same source, from 1.
    #[must_use]
    pub fn line(&self, line: u32) -> Self {
        Self { source: Arc::clone(&self.source), line }
    }
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{line}", self.source),
        }
    }
}

/// Something in a source that the definition leaves out, or says differently.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// Its place in the source.
    pub place: SourceLocation,
    /// The text, safe to print and without a secret's value.
    pub what: String,
    /// What happened to it.
    pub why: Why,
}

/// What happened to something that a definition does not express as the source did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// llama-server has no such option.
    UnknownOption,
    /// The llama-server at this path has no such option.
    UnknownTo(String),
    /// Kept as it is, because the llama-server could not be asked: why.
    NotChecked(String),
    /// llama-server would refuse the value, or read something else from it.
    BadValue(String),
    /// herdsman decides it; what to do instead, as a sentence.
    Owned(String),
    /// herdsman has no counterpart; what it does instead, or what to do.
    NoCounterpart(&'static str),
    /// A word of a command line that belongs to no option.
    StrayWord,
    /// Another model already has it.
    Taken(String),
    /// Set more than once, and another one wins, as it says.
    Overridden(String),
    /// A variable, but the command line sets the same option.
    OnCommandLine,
    /// A secret that stays in the source.
    SecretToFill,
    /// It looks like a secret, which must not be in a definition.
    SecretVariable,
    /// It refers to this variable, which may be a secret.
    SecretReference(String),
    /// Kept in another form.
    Became(String),
    /// It may mean something else here: what a person has to check, as a sentence.
    Check(String),
}

/// The kind of a remark, for its mark and the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The definition leaves it out, and does not need it.
    Dropped,
    /// The definition leaves it out, and the server behaves differently without it:
    /// a person has to decide.
    Lost,
    /// A person has to say where to find the secret.
    Secret,
    /// A person has to check it before the model runs.
    Check,
    /// The definition expresses it differently.
    Changed,
}

impl Kind {
    /// Whether a person has to act.
    #[must_use]
    pub const fn needs_you(self) -> bool {
        matches!(self, Self::Lost | Self::Secret | Self::Check)
    }
}

impl Why {
    /// The remark for a value that llama-server reads as another one.
    #[must_use]
    pub fn read_as(key: &str, value: impl fmt::Display) -> Self {
        Self::Became(format!("becomes `{key} = {value}`, which is how llama-server reads it"))
    }

    /// The remark for an earlier occurrence of an option of which the last one wins.
    #[must_use]
    pub fn set_again() -> Self {
        Self::Overridden("set again later, and the last one wins".to_owned())
    }

    /// Its kind, for the counts.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::SecretToFill => Kind::Secret,
            Self::Became(_) | Self::NotChecked(_) => Kind::Changed,
            Self::Check(_) => Kind::Check,
            Self::UnknownOption
            | Self::UnknownTo(_)
            | Self::BadValue(_)
            | Self::StrayWord
            | Self::SecretVariable
            | Self::SecretReference(_) => Kind::Lost,
            Self::Owned(_) | Self::NoCounterpart(_) | Self::Taken(_) | Self::Overridden(_) | Self::OnCommandLine => {
                Kind::Dropped
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOption => f.write_str("llama-server b10434 has no such option"),
            Self::UnknownTo(program) => write!(f, "{program} has no such option"),
            Self::NotChecked(problem) => write!(f, "kept, not checked: {problem}"),
            Self::BadValue(why) | Self::Overridden(why) => f.write_str(why),
            Self::Owned(instead) => f.write_str(instead),
            Self::NoCounterpart(instead) => f.write_str(instead),
            Self::StrayWord => f.write_str("this word belongs to no option"),
            Self::Taken(owner) => write!(f, "{owner} already has it: choose another"),
            Self::OnCommandLine => f.write_str("the command line sets it too, and wins"),
            Self::SecretToFill => {
                f.write_str("a definition must not contain secrets: put it where `[secrets]` points, or point `[secrets]` to where it is")
            }
            Self::SecretVariable => f.write_str(
                "it looks like a secret, which must not be in a definition: llama-server's own (`api_key`, `hf_token`) go in `[secrets]`; if it is not a secret, add it to `[env]`",
            ),
            Self::SecretReference(name) => write!(
                f,
                "`{name}` looks like a secret, which must not be in a definition: for `api_key` and `hf_token`, `[secrets]` takes `{{ env = \"{name}\" }}`; if it is not a secret, add its value yourself"
            ),
            Self::Became(what) | Self::Check(what) => f.write_str(what),
        }
    }
}

impl Remark {
    /// Returns a remark. Foreign text is made safe to print.
    #[must_use]
    pub fn new(place: &SourceLocation, what: impl Into<String>, why: Why) -> Self {
        Self { place: place.clone(), what: printable(&what.into()), why }
    }
}

/// What takes the place of the one address that a source has for all models.
pub(super) fn one_address(place: &SourceLocation) -> Remark {
    let how = "`herdsman watch --listen 127.0.0.1:8080` serves all models at one address and starts them on demand";
    Remark::new(place, "one address for all models", Why::Became(how.to_owned()))
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, printable(&self.why.to_string()))
    }
}

/// Why a model has no definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no command to run.
    #[error("it has no `cmd`: add one, or remove the model")]
    NoCommand,
    /// The command line has an unclosed quote.
    #[error("its `cmd` has an unclosed quote: close it")]
    OpenQuote,
    /// A command line cannot contain it.
    #[error("its `cmd` contains a NUL character: remove it")]
    Nul,
    /// It runs another program.
    #[error("its command runs `{0}`, not llama-server: write the definition by hand, with llama-server's options")]
    OtherProgram(String),
    /// It runs a script that cannot be read.
    #[error("cannot read the script {path} that its command runs: {cause}", path = .0, cause = .1)]
    Script(String, String),
    /// An undefined macro.
    #[error("the macro `${{{0}}}` is not defined: define it before you use it")]
    UnknownMacro(String),
    /// Macros that expand forever.
    #[error("its macros expand forever: does one contain itself?")]
    EndlessMacro,
    /// A variable that is not set.
    #[error("`${{env.{0}}}` is not set: set the variable and import again")]
    UnsetVariable(String),
    /// A variable that may be a secret, in the program's name.
    #[error("`${{env.{0}}}` looks like a secret, which must not be in a definition: put its value into `cmd`")]
    SecretVariable(String),
    /// Nothing sets the weights.
    #[error("nothing says which weights to load: a definition needs `model`, `hf_repo` or `model_url`")]
    NoWeights,
    /// It is a router for other models.
    #[error("it is a router, not the server of one model: import its models with `{0}`")]
    Router(String),
    /// The weights are unusable; the sentence names the file.
    #[error("{0}")]
    Weights(String),
    /// Part of the weights is missing.
    #[error("part {part} of {of} is missing: download it again")]
    MissingPart {
        /// The first missing part.
        part: u32,
        /// How many parts there should be.
        of: u32,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is too deep in the directory to be searched.
    #[error("it is {0} directories deep, which is too deep to search: if it contains weights, import it directly")]
    TooDeep(usize),
    /// A link to a parent directory.
    #[error("a symlink to a parent directory, which is already searched")]
    Loop,
    /// One of herdsman's own definitions has it.
    #[error("herdsman already manages it (defined in {0})")]
    Managed(String),
}

impl Reason {
    /// Whether something went wrong, or there was simply nothing to do.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        !matches!(self, Self::Managed(_) | Self::Loop)
    }
}
