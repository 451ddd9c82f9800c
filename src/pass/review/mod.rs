//! Plans that are looked at before they are applied: saved as a file, applied
//! once, and only while everything they rest on is as it was.
//!
//! ```text
//!   reconcile --dry-run --out    look -> plan --+--> shown
//!                                               +--> Saved: actions, options, fingerprints
//!   reconcile --plan             look, fingerprints again, plan again with the saved options
//!                                  |  differs: every difference is told, nothing is done
//!                                  v  the same: recorded as begun, then applied
//!                                further passes, which carry on what was begun
//! ```
//!
//! | part | |
//! |---|---|
//! | `saved` | what is in the file |
//! | `fingerprint` | what a plan rests on, model by model |
//! | `compare`, `told` | what of it changed, and in words |
//! | `file` | reading and writing it |
//!
//! What counts as changed is what somebody did, or what happened to a server:
//! another definition, another generation, an edited row, a process that is gone
//! or new. What comes by itself does not: a server that loads becomes ready,
//! a drain ends, the wait after a crash is over. A model that could be started by
//! now, and could not when the plan was saved, is left to the next `reconcile`.
//!
//! The file holds no secret: of a secret's value, and of the state id, only
//! digests are in it, keyed or derived so that nobody can try values.

mod compare;
mod file;
mod fingerprint;
#[cfg(test)]
mod hostile;
mod saved;
mod wording;

pub use compare::{Changed, Difference, changes, other_place};
pub use file::{PlanFileError, read, write};
pub use fingerprint::{Declared, Fingerprint, Live, RecordPrint};
pub use saved::{FORMAT_VERSION, Here, Options, Saved, SavedAction};
