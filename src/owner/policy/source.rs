//! Where the policy is. It is read before every pass, so an edit takes effect with
//! the next one; an unchanged file is not parsed again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Policy, file};
use crate::definition;
use crate::model::Diagnostic;
use crate::owner::host_file::{self, HostFileError};
use crate::sys::trust::Untrusted;

/// Where it is by default.
const DEFAULT: &str = "/etc/herdsman/policy.toml";

/// Why herdsman does not know what is allowed, and so must do nothing.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The named file does not exist.
    #[error("the policy {} does not exist; create it, or set another with --policy or HERDSMAN_POLICY", .0.display())]
    Missing(PathBuf),
    /// It cannot be read or is invalid.
    #[error("{}", invalid(.0))]
    Invalid(Vec<Diagnostic>),
    /// Others can write to it.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
}

impl PolicyError {
    /// The problems of the file, each at its place.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Invalid(problems) => problems,
            Self::Missing(_) | Self::Untrusted(_) => &[],
        }
    }
}

fn invalid(problems: &[Diagnostic]) -> String {
    let mut said = String::from("cannot read the policy, so herdsman starts and changes nothing until it is fixed");
    if let [first, more @ ..] = problems {
        let place = first.position().map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        // Writing to a string cannot fail.
        let _ = write!(said, ": {}{place}: {}", first.file, first.message);
        if !more.is_empty() {
            let _ = write!(said, " (and {} more)", more.len());
        }
    }
    said
}

/// The file that holds the policy.
#[derive(Debug)]
pub struct PolicySource {
    path: PathBuf,
    /// It was named explicitly, so it must exist.
    named: bool,
    /// The last policy read, and its text.
    last: Option<(String, Arc<Policy>)>,
}

impl PolicySource {
    /// Returns the policy at `named`, which must exist; `None`: at the default
    /// place, if it exists. Relative paths start at `cwd`.
    #[must_use]
    pub fn new(named: Option<&Path>, cwd: &Path) -> Self {
        let path = definition::absolute(cwd, named.unwrap_or(Path::new(DEFAULT)));
        Self { path, named: named.is_some(), last: None }
    }

    /// Reads the current policy; `None`: there is none.
    ///
    /// # Errors
    /// [`PolicyError`]: herdsman does not know what the policy is.
    pub fn current(&mut self) -> Result<Option<Arc<Policy>>, PolicyError> {
        let text = match host_file::read(&self.path) {
            Ok(text) => text,
            Err(HostFileError::Missing) => {
                self.last = None;
                return if self.named { Err(PolicyError::Missing(self.path.clone())) } else { Ok(None) };
            }
            Err(HostFileError::Untrusted(untrusted)) => return Err(untrusted.into()),
            Err(HostFileError::Unreadable(cause)) => {
                let problem = Diagnostic::error(self.shown(), format!("cannot read the file: {cause}"));
                let help = "make it a UTF-8 text of at most 256 KiB that herdsman's user can read";
                return Err(PolicyError::Invalid(vec![problem.help(help)]));
            }
        };
        if let Some((_, policy)) = self.last.as_ref().filter(|(last, _)| *last == text) {
            return Ok(Some(Arc::clone(policy)));
        }
        self.last = None;
        let policy = Arc::new(file::parse(&self.shown(), &text).map_err(PolicyError::Invalid)?);
        self.last = Some((text, Arc::clone(&policy)));
        Ok(Some(policy))
    }

    fn shown(&self) -> Arc<str> {
        self.path.to_string_lossy().into()
    }
}
