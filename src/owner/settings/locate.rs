//! Which settings file is read.

use std::path::{Path, PathBuf};

/// A settings file, and whether it was named explicitly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// Set by `--settings` or `HERDSMAN_SETTINGS`: it must exist.
    Located(PathBuf),
    /// At the usual place: it may be missing.
    Usual(PathBuf),
}

impl Located {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        let (Self::Located(path) | Self::Usual(path)) = self;
        path
    }

    /// Whether it was named explicitly.
    #[must_use]
    pub const fn is_stated(&self) -> bool {
        matches!(self, Self::Located(_))
    }
}

/// The given file, or else `/etc/herdsman/herdsman.toml` for root, and
/// `$XDG_CONFIG_HOME/herdsman/herdsman.toml` (`~/.config`) for everybody else.
#[must_use]
pub fn locate(stated: Option<&Path>) -> Located {
    if let Some(stated) = stated {
        return Located::Located(stated.to_owned());
    }
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let config = if rustix::process::geteuid().is_root() {
        PathBuf::from("/etc")
    } else {
        absolute("XDG_CONFIG_HOME").unwrap_or_else(|| absolute("HOME").unwrap_or_default().join(".config"))
    };
    Located::Usual(config.join("herdsman/herdsman.toml"))
}
