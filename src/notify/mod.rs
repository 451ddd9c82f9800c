//! Notifications: a model failed, was rolled back, crashes again and again, had its
//! row changed by another program, or recovered.
//!
//! ```text
//!   pass (records, plan)  --news (pure)-->  what is new
//!            |                                  | letter
//!            |   one transaction                v
//!         bookkeeping ----------------->  herdsman_troubles, herdsman_notifications
//!                                               |
//!                         courier (watch) or last_call (reconcile)
//!                                               |
//!                                    deliver: command, webhook
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `news` | which notifications a plan calls for, given those sent before: pure |
//! | `letter` | the payload: `schema/notification.v1.json` |
//! | `schedule` | when to retry, and when to give up: pure |
//! | `deliver` | one attempt, by a command or a webhook |
//! | `courier` | the watcher's deliveries, in threads of their own |
//! | `last_call` | those of a `reconcile`, at its end |
//!
//! Invariants:
//! - A notification is recorded in the same transaction as what it is about, so
//!   that a killed herdsman neither loses nor doubles it.
//! - It is delivered at least once, with the same id on every attempt.
//! - A delivery delays no pass: none happens under the lock of a pass.
//! - One process delivers at a time, the one that holds `notify.lock`.
//! - The path of an address, a header or an answer of a receiver never appears in
//!   any message: they may hold secrets.
//! - Without `[notify]` nothing is recorded, and nothing costs anything.

pub mod courier;
pub mod deliver;
pub mod last_call;
mod letter;
mod news;
mod schedule;

pub use letter::Sender;
use letter::{address_of, sent_body};
pub use news::{Context, News, news};
use schedule::{Next, next, wait};
