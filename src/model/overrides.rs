//! BY HAND: overrides that somebody set on this machine, beside the definitions.
//!
//! | override | what it does | what ends it |
//! |---|---|---|
//! | [`Suspended`] | herdsman does nothing to the model | `resume`, or its time |
//! | [`StateByHand`] | a state other than the definition's is wanted | a change of what the definition says ([`meaning`]), its removal, the opposite command |
//! | [`RestartByHand`] | this one instance is replaced | that instance is gone, for whatever reason |
//!
//! A restart names the instance to end, so it ends at most that one: it needs no
//! clock, and a herdsman killed on the way cannot do it twice.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Definition, DesiredState, ForService, InstanceId, OnFailure, SecretRef, Spec, Timestamp};
use crate::model::text::printable;

/// Who set an override, when and why.
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

/// herdsman does nothing to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspended {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// Its end; `None`: until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Suspended {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The suspension to record if the clock was set back to before it was given:
    /// its start counts as now, or two hours would last until the clock had caught
    /// up.
    #[must_use]
    pub fn anchored(&self, now: Timestamp) -> Option<Self> {
        let until = self.until?;
        (self.given.at > now).then(|| {
            let lasts = until.since(self.given.at);
            Self { given: Given { at: now, ..self.given.clone() }, until: Some(now.plus(lasts)) }
        })
    }
}

/// A state other than the declared one is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateByHand {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// The state wanted.
    pub state: DesiredState,
    /// [`meaning`] of the definition at that time: a change ends this. Empty if it
    /// could not be read.
    pub definition: String,
}

/// One instance is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartByHand {
    /// By whom.
    #[serde(flatten)]
    pub given: Given,
    /// The instance to replace; this ends once it is gone.
    pub instance: InstanceId,
}

/// The overrides of one model: at most one of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overrides {
    /// herdsman does nothing to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<Suspended>,
    /// Another state is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StateByHand>,
    /// Its instance is to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartByHand>,
}

/// One override, to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Override {
    /// herdsman does nothing to the model.
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
    /// Adds one, replacing another of its kind.
    pub fn put(&mut self, what: Override) {
        match what {
            Override::Suspended(suspended) => self.suspended = Some(suspended),
            Override::State(state) => self.state = Some(state),
            Override::Restart(restart) => self.restart = Some(restart),
        }
    }

    /// Removes one.
    pub fn end(&mut self, kind: OverrideKind) {
        match kind {
            OverrideKind::Suspended => self.suspended = None,
            OverrideKind::State => self.state = None,
            OverrideKind::Restart => self.restart = None,
        }
    }

    /// The wanted state in place of the one `definition` declares, unless the
    /// definition has changed since.
    #[must_use]
    pub fn state_instead(&self, definition: &Definition) -> Option<&StateByHand> {
        let differs = |by_hand: &&StateByHand| by_hand.state != definition.state;
        self.state.as_ref().filter(differs).filter(|by_hand| by_hand.definition == meaning(definition))
    }

    /// The overrides in force at a time: not an expired suspension.
    #[must_use]
    pub fn in_force(&self, now: Timestamp) -> Self {
        let suspended = self.suspended.clone().filter(|suspended| !suspended.is_over(now));
        Self { suspended, ..self.clone() }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A digest of how a definition's model is served. It leaves out what is only
/// recorded (type, description, labels), so that no server starts or ends because
/// of a note. It also ignores weights and secrets that are replaced in place:
/// someone who stopped a model to do that does not want it back halfway through.
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
    fn a_suspension_keeps_its_length_when_the_clock_is_set_back() {
        let two_hours = suspended(1_000, Some(3_000));
        assert!(!two_hours.is_over(Timestamp(2_999)) && two_hours.is_over(Timestamp(3_000)));
        assert_eq!(two_hours.anchored(Timestamp(1_000)), None);
        let anchored = two_hours.anchored(Timestamp(500)).unwrap_or_else(|| panic!("set back"));
        assert_eq!((anchored.given.at, anchored.until), (Timestamp(500), Some(Timestamp(2_500))));
        assert_eq!(anchored.anchored(Timestamp(500)), None, "once");
        assert_eq!(suspended(1_000, None).anchored(Timestamp(0)), None, "it has no end to move");
    }
}
