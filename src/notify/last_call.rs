//! The deliveries of a command that ends: it tries what is due once, within a few
//! seconds, after it has released the lock of the pass. The next command does the
//! rest.

use std::time::{Duration, Instant};

use super::deliver::{Carrier, Failure, give_up_others, outcome};
use super::letter::subject;
use super::wait;
use crate::database::{Database, DatabaseError};
use crate::model::{Channel, Timestamp};
use crate::owner::settings::Notify;
use crate::state::StateDir;

/// How long it may take in all.
const AT_MOST: Duration = Duration::from_secs(5);

/// Delivers what is due; returns the failures, in words.
///
/// # Errors
/// The database cannot be read or written.
pub fn deliver(
    database: &mut Database,
    notify: &Notify,
    state: &StateDir,
    now: impl Fn() -> Timestamp,
) -> Result<Vec<String>, DatabaseError> {
    let until = Instant::now() + AT_MOST;
    let mut notices = Vec::new();
    // A watcher, or another `reconcile`, is delivering.
    let Ok(_lock) = state.notify_lock() else { return Ok(notices) };
    let carriers = match Carrier::all(notify) {
        Ok(carriers) => carriers,
        Err(error) => return Ok(vec![format!("notifications not sent: {error}")]),
    };
    let channels: Vec<Channel> = carriers.iter().map(Carrier::channel).collect();
    give_up_others(database, &channels, now())?;
    for (index, carrier) in carriers.iter().enumerate() {
        // A channel that hangs must leave time for the others.
        let others = u32::try_from(carriers.len() - index).unwrap_or(u32::MAX);
        let until = Instant::now() + until.saturating_duration_since(Instant::now()) / others;
        while let Some(delivery) = database.next_delivery(carrier.channel())? {
            let left = until.saturating_duration_since(Instant::now());
            if !wait(delivery.next_try, now()).is_zero() || left.is_zero() {
                break;
            }
            let result = carrier.deliver(&delivery, left);
            if let Err(Failure::Now(error) | Failure::Forever(error)) = &result {
                let (by, what) = (carrier.channel().as_str(), subject(&delivery));
                notices.push(format!("{by} for {what} failed: {error}"));
            }
            database.settle_delivery(delivery.number, &outcome(&delivery, result, now()), now())?;
        }
    }
    Ok(notices)
}

/// Gives up all pending notifications, because there is nobody to notify.
///
/// # Errors
/// The database cannot be read or written.
pub fn nobody(database: &mut Database, now: Timestamp) -> Result<Vec<String>, DatabaseError> {
    give_up_others(database, &[], now).map(|()| Vec::new())
}
