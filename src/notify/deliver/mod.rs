//! One attempt to deliver one notification, by one channel.

mod command;
mod webhook;

use std::time::Duration;

use command::Command;
use webhook::Webhook;

use super::{Next, next, sent_body};
use crate::database::{Database, DatabaseError, Delivered, Delivery};
use crate::model::{Channel, Timestamp};
use crate::owner::settings::Notify;
use crate::sys::failpoint::{Point, reach};

/// Why an attempt failed, in words that hold no secret.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// Another attempt may succeed.
    Now(String),
    /// The receiver rejects this notification; a retry is useless.
    Forever(String),
}

/// Delivers by one channel.
#[derive(Debug)]
pub struct Carrier {
    way: Way,
    timeout: Duration,
}

#[derive(Debug)]
enum Way {
    Command(Command),
    Webhook(Webhook),
}

impl Carrier {
    /// The carriers that the settings ask for.
    ///
    /// # Errors
    /// The system gives no runtime for the webhook.
    pub fn all(notify: &Notify) -> std::io::Result<Vec<Self>> {
        let command = notify.command.as_ref().map(|words| Way::Command(Command::new(words)));
        let webhook = notify.webhook.as_ref().map(Webhook::new).transpose()?.map(Way::Webhook);
        let ways = command.into_iter().chain(webhook);
        Ok(ways.map(|way| Self { way, timeout: notify.timeout }).collect())
    }

    /// How it delivers.
    #[must_use]
    pub const fn channel(&self) -> Channel {
        match self.way {
            Way::Command(_) => Channel::Command,
            Way::Webhook(_) => Channel::Webhook,
        }
    }

    /// Makes an attempt that takes `at_most` this long, or as long as the settings say.
    ///
    /// # Errors
    /// It did not arrive, or the receiver did not say so in time.
    pub fn deliver(&self, delivery: &Delivery, at_most: Duration) -> Result<(), Failure> {
        let (body, timeout) = (sent_body(&delivery.body, delivery.status), self.timeout.min(at_most));
        reach(Point::TellBegin);
        let result = match &self.way {
            Way::Command(command) => command.run(delivery, &body, timeout),
            Way::Webhook(webhook) => webhook.post(delivery, body, timeout),
        };
        reach(Point::TellEnd);
        result
    }
}

/// Returns what to record about an attempt.
#[must_use]
pub fn outcome(delivery: &Delivery, result: Result<(), Failure>, now: Timestamp) -> Delivered {
    match result {
        Ok(()) => Delivered::Yes,
        Err(Failure::Forever(error)) => Delivered::Never { error },
        Err(Failure::Now(error)) => match next(delivery.failures.saturating_add(1), delivery.at, now) {
            Next::Try(next_try) => Delivered::Later { error, next_try },
            Next::GiveUp => Delivered::Never { error },
        },
    }
}

/// Gives up notifications for channels that the settings no longer have.
///
/// # Errors
/// The database cannot be read or written.
pub fn give_up_others(database: &mut Database, channels: &[Channel], now: Timestamp) -> Result<(), DatabaseError> {
    for channel in Channel::ALL.into_iter().filter(|channel| !channels.contains(channel)) {
        while let Some(delivery) = database.next_delivery(channel)? {
            let error = format!("[notify] no longer has a {}", channel.as_str());
            database.settle_delivery(delivery.number, &Delivered::Never { error }, now)?;
        }
    }
    Ok(())
}
