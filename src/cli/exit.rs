//! Exit codes.

use std::process::ExitCode;

/// What the exit code says. If several apply, the one that stands first
/// here wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Wrong usage.
    Usage,
    /// Another pass holds the lock.
    Locked,
    /// An action needs llama-server and there is no usable one.
    NoLlamaServer,
    /// No models.d, or no source of an import, to read.
    NoModelsDir,
    /// Refused: by the mass-delete guard, or a saved plan that does not hold.
    Refused,
    /// Some definition is invalid, and the others were reconciled; or the
    /// source of an import is not what it should be.
    InvalidDefinition,
    /// An action failed, or a model is not as declared.
    Failed,
    /// Changes are pending or were made (`--detailed-exitcode`).
    Changes,
    /// Converged.
    Converged,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Usage => 64,
            Self::Locked => 75,
            Self::NoLlamaServer => 69,
            Self::NoModelsDir => 66,
            Self::Refused => 3,
            Self::InvalidDefinition => 65,
            Self::Failed => 1,
            Self::Changes => 2,
            Self::Converged => 0,
        }
    }

    /// The one that is shown when both apply.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_design_s_order_wins() {
        use Exit::*;
        let order = [Usage, Locked, NoLlamaServer, NoModelsDir, Refused, InvalidDefinition, Failed, Changes, Converged];
        assert_eq!(order.map(Exit::code), [64, 75, 69, 66, 3, 65, 1, 2, 0]);
        for pair in order.windows(2) {
            assert_eq!(pair[1].and(pair[0]), pair[0]);
        }
    }
}
