//! The deliveries of a command that ends: what is due is tried once, within a
//! short time, after the lock of the pass was given back. The rest is left to
//! the next one.

use std::time::{Duration, Instant};

use super::deliver::{Carrier, Failure, give_up_others, outcome};
use super::wait;
use crate::database::{Database, DatabaseError};
use crate::model::{Channel, Timestamp};
use crate::owner::settings::Notify;
use crate::state::StateDir;

/// How long it may take in all.
const AT_MOST: Duration = Duration::from_secs(5);

/// Delivers what is due; returns what a person must know.
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
    // A watcher, or another `reconcile`, is at it.
    let Ok(_lock) = state.notify_lock() else { return Ok(notices) };
    let carriers = match Carrier::all(notify) {
        Ok(carriers) => carriers,
        Err(error) => return Ok(vec![format!("nobody is told: {error}")]),
    };
    let channels: Vec<Channel> = carriers.iter().map(Carrier::channel).collect();
    give_up_others(database, &channels, now())?;
    for (index, carrier) in carriers.iter().enumerate() {
        // What hangs leaves time for the others.
        let others = u32::try_from(carriers.len() - index).unwrap_or(u32::MAX);
        let until = Instant::now() + until.saturating_duration_since(Instant::now()) / others;
        while let Some(delivery) = database.next_delivery(carrier.channel())? {
            let left = until.saturating_duration_since(Instant::now());
            if !wait(delivery.next_try, now()).is_zero() || left.is_zero() {
                break;
            }
            let result = carrier.deliver(&delivery, left);
            if let Err(Failure::Now(error) | Failure::Forever(error)) = &result {
                let (by, did) = (carrier.channel().as_str(), delivery.kind.in_words());
                notices.push(format!("{by} for {} ({did}) failed: {error}", delivery.model));
            }
            database.settle_delivery(delivery.number, &outcome(&delivery, result, now()), now())?;
        }
    }
    Ok(notices)
}

/// Nobody is to be told: what was to be delivered is given up.
///
/// # Errors
/// The database cannot be read or written.
pub fn nobody(database: &mut Database, now: Timestamp) -> Result<Vec<String>, DatabaseError> {
    give_up_others(database, &[], now).map(|()| Vec::new())
}
