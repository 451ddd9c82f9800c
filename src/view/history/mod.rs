//! The history, ready to show: pure, from records to data.
//!
//! | file | tells |
//! |---|---|
//! | `diff` | what changed between two generations |
//! | `chain` | which action made a model what it is, and how that went on |

mod chain;
mod diff;

pub use chain::{LastAction, last_action, made_by, reasons};
pub use diff::{DiffError, differences};
