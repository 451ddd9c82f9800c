//! BY HAND: what somebody asked for on this machine, beside the definitions.
//!
//! | override | what it does | what ends it |
//! |---|---|---|
//! | [`Suspended`] | nothing at all is done to the model | `resume`, or its time |
//! | [`StateByHand`] | the other state than the definition's is wanted | a change of what the definition says ([`meaning`]), its removal, the opposite command |
//! | [`RestartByHand`] | this one instance is replaced | that instance is gone, however it went |
//!
//! A restart names the instance it is to end, so it ends at most that one: no
//! clock is asked, and a herdsman killed on the way cannot do it twice.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Definition, DesiredState, ForService, InstanceId, OnFailure, SecretRef, Spec, Timestamp};
use crate::model::text::printable;

/// Who asked for something, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// The user.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// `--reason`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
}

/// `ann`, `ann: new driver`.
impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.by))?;
        self.because.as_ref().map_or(Ok(()), |because| write!(f, ": {}", printable(because)))
    }
}

/// Nothing is done to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// Until then; `None`: until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Suspended {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The suspension as it is to be recorded when the clock was set back to
    /// before it was given: that counts as now, or two hours would last until
    /// the clock had caught up.
    #[must_use]
    pub fn anchored(&self, now: Timestamp) -> Option<Self> {
        let until = self.until?;
        (self.given.at > now).then(|| {
            let lasts = until.since(self.given.at);
            Self { given: Given { at: now, ..self.given.clone() }, until: Some(now.plus(lasts)) }
        })
    }
}

/// Another state than the declared one is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateByHand {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// The state wanted.
    pub state: DesiredState,
    /// [`meaning`] of the definition as it was then: another one ends this.
    /// Empty if it could not be read.
    pub definition: String,
}

/// One instance is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartByHand {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// The instance to replace; once it is gone, this is done.
    pub instance: InstanceId,
}

/// What was asked for by hand of one model: one of each kind at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// Nothing is done to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspended>,
    /// Another state is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateByHand>,
    /// Its instance is to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartByHand>,
}

/// One of them, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// Nothing is done to the model.
    Suspended(Suspended),
    /// Another state is wanted.
    State(StateByHand),
    /// Its instance is to be replaced.
    Restart(RestartByHand),
}

impl Override {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> OverrideKind {
        match self {
            Self::Suspended(_) => OverrideKind::Suspended,
            Self::State(_) => OverrideKind::State,
            Self::Restart(_) => OverrideKind::Restart,
        }
    }
}

/// The kinds of overrides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OverrideKind {
    /// [`Override::Suspended`].
    Suspended,
    /// [`Override::State`].
    State,
    /// [`Override::Restart`].
    Restart,
}

impl OverrideKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Suspended, Self::State, Self::Restart];

    /// Its word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Suspended => "suspended",
            Self::State => "state",
            Self::Restart => "restart",
        }
    }
}

impl Overrides {
    /// Adds one, in the place of another of its kind.
    pub fn put(&mut self, what: Override) {
        match what {
            Override::Suspended(suspended) => self.suspended = Some(suspended),
            Override::State(state) => self.state = Some(state),
            Override::Restart(restart) => self.restart = Some(restart),
        }
    }

    /// Takes one out.
    pub fn end(&mut self, kind: OverrideKind) {
        match kind {
            OverrideKind::Suspended => self.suspended = None,
            OverrideKind::State => self.state = None,
            OverrideKind::Restart => self.restart = None,
        }
    }

    /// The state wanted instead of the one that `definition` declares, unless
    /// that says something else by now.
    #[must_use]
    pub fn state_instead(&self, definition: &Definition) -> Option<&StateByHand> {
        let differs = |by_hand: &&StateByHand| by_hand.state != definition.state;
        self.state.as_ref().filter(differs).filter(|by_hand| by_hand.definition == meaning(definition))
    }

    /// Those in force at a time: not a suspension whose time is over.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Self {
        let suspended = self.suspended.clone().filter(|suspended| !suspended.is_over(now));
        Self { suspended, ..self.clone() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A digest of what a definition says of how its model is served. What is only
/// recorded of it (type, description, labels) is not part of it: no server
/// starts or ends because of a text for people. Weights and secrets that are
/// replaced where they are do not change it either: whoever stopped a model to
/// do that does not want it back in the middle.
#[must_use]
pub fn meaning(definition: &Definition) -> String {
    let ForService { state, spec, aliases, timeout, unhealthy_after, require_gpu, drain, on_failure } =
        definition.uses().service;
    let secret = |secret: &SecretRef| SecretRef { source: secret.source.clone(), digest: String::new() };
    let secrets = spec.secrets.iter().map(|(name, is)| (name.clone(), secret(is))).collect();
    let spec = Spec { files: Default::default(), secrets, ..spec.clone() };
    let ms = |duration: Duration| duration.as_millis();
    let ready = (ms(timeout), unhealthy_after.map(ms), require_gpu);
    let update = (ms(drain), on_failure == OnFailure::Stop);
    // The first recipe, whatever the present one is: an upgrade of herdsman ends
    // nothing that was asked for by hand.
    let said = (state, spec.hash_v1(spec.port), aliases, ready, update);
    // Ordered maps and plain values: serialising to memory cannot fail.
    let text = serde_json::to_vec(&said).unwrap_or_default();
    blake3::hash(&text).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspended(at: i64, until: Option<i64>) -> Suspended {
        let given = Given { by: "ann".to_owned(), at: Timestamp(at), because: None };
        Suspended { given, until: until.map(Timestamp) }
    }

    #[test]
    fn a_suspension_lasts_as_long_as_it_was_given_for_whatever_the_clock_is_set_to() {
        let two_hours = suspended(1_000, Some(3_000));
        assert!(!two_hours.is_over(Timestamp(2_999)) && two_hours.is_over(Timestamp(3_000)));
        assert_eq!(two_hours.anchored(Timestamp(1_000)), None);
        let anchored = two_hours.anchored(Timestamp(500)).unwrap_or_else(|| panic!("set back"));
        assert_eq!((anchored.given.at, anchored.until), (Timestamp(500), Some(Timestamp(2_500))));
        assert_eq!(anchored.anchored(Timestamp(500)), None, "once");
        assert_eq!(suspended(1_000, None).anchored(Timestamp(0)), None, "it has no end to move");
    }
}
