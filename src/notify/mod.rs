//! Others are told: that a model has failed, was rolled back, crashes again and
//! again, that another program changed its row, and that all this is over.
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
//! | `news` | what there is to tell of a plan, given what was told: pure |
//! | `letter` | the payload: `schema/notification.v1.json` |
//! | `schedule` | when it is tried again, and when given up: pure |
//! | `deliver` | one try, by a command or a webhook |
//! | `courier` | the watcher's deliveries, in threads of their own |
//! | `last_call` | those of a `reconcile`, at its end |
//!
//! Invariants:
//! - What is told is recorded in the transaction of what it is about, so that a
//!   herdsman that is killed neither loses nor doubles it.
//! - It is delivered at least once; its id is the same on every try.
//! - A delivery holds up no pass: none is made under the lock of a pass.
//! - One process delivers at a time, the one that holds `notify.lock`.
//! - An address, a header or what a receiver answers is shown nowhere: they may
//!   hold secrets.
//! - Without `[notify]` nothing is recorded, and nothing costs anything.

pub mod courier;
pub mod deliver;
pub mod last_call;
mod letter;
mod news;
mod schedule;

pub use letter::Sender;
use letter::{address_of, sent_body};
pub use news::{Announced, Context, News, news};
use schedule::{Next, next, wait};
