//! Saved plans: a person reviews the file, and herdsman applies it once, and only
//! if nothing it depends on has changed.
//!
//! ```text
//!   reconcile --dry-run --out    look -> plan --+--> shown
//!                                               +--> Saved: actions, options, fingerprints
//!   reconcile --plan             look, fingerprints again, plan again with the saved options
//!                                  |  differs: list every difference, change nothing
//!                                  v  the same: recorded as started, then applied
//!                                further passes finish what it started
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
//! What somebody did, or what happened to a server, counts as a change: a new
//! definition or generation, an edited row, a process that is gone or new. Expected
//! progress does not: a loading server becomes ready, a drain or a backoff ends. If
//! a model could not start when the plan was saved and now can, the next
//! `reconcile` starts it.
//!
//! The file holds no secrets, only digests of them and of the state id, keyed or
//! derived so that nobody can guess the values.

mod compare;
mod fingerprint;
mod saved;
mod wording;

pub use compare::{Changed, Difference, changes, other_place};
pub use fingerprint::{Declared, Fingerprint, Live, RecordPrint};
pub use saved::{FORMAT_VERSION, Here, Options, Saved, SavedAction};
