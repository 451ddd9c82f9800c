//! Saved plans: a person reviews the file, and herdsman applies it once, and only
//! while nothing it rests on has changed.
//!
//! ```text
//!   reconcile --dry-run --out    look -> plan --+--> shown
//!                                               +--> Saved: actions, options, fingerprints
//!   reconcile --plan             look, fingerprints again, plan again with the saved options
//!                                  |  differs: list every difference, change nothing
//!                                  v  the same: recorded as begun, then applied
//!                                further passes, which carry on what was begun
//! ```
//!
//! | part | |
//! |---|---|
//! | `saved` | what is in the file |
//! | `fingerprint` | what a plan rests on, model by model |
//! | `compare`, `wording` | what of it changed, and in words |
//!
//! `host::saved_plan` reads and writes it.
//!
//! A change is what somebody did, or what happened to a server: another
//! definition, another generation, an edited row, a process that is gone or new.
//! Expected progress is no change: a loading server becomes ready, a drain ends, a
//! backoff after a crash is over. A model that can start now, but could not when
//! the plan was saved, is left to the next `reconcile`.
//!
//! The file holds no secret: only digests of secret values and of the state id,
//! keyed or derived so that nobody can guess values.

mod compare;
mod fingerprint;
mod saved;
mod wording;

pub use compare::{Changed, Difference, changes, other_place};
pub use fingerprint::{Declared, Fingerprint, Live, RecordPrint};
pub use saved::{FORMAT_VERSION, Here, Options, Saved, SavedAction};
