//! Turns news into records: notifications with an id, a time and the last lines of
//! a log, for the channels in the settings.

use std::collections::BTreeSet;

use crate::instance;
use crate::model::{Announced, Change, Channel, Letter, ModelName, NewsKind, Telling, Timestamp};
use crate::notify::{News, Sender, news};
use crate::owner::settings::Notify;
use crate::pass::Pass;
use crate::state::StateDir;

/// How many lines of a log are sent.
const LOG_LINES: usize = 10;

/// Makes notifications from the passes of this machine.
#[derive(Debug)]
pub(super) struct Teller {
    sender: Sender,
    events: BTreeSet<NewsKind>,
    models: Option<BTreeSet<ModelName>>,
    channels: Vec<Channel>,
}

impl Teller {
    pub fn new(notify: &Notify, state_id: &str) -> Self {
        let channels = [
            notify.command.is_some().then_some(Channel::Command),
            notify.webhook.is_some().then_some(Channel::Webhook),
        ];
        Self {
            sender: Sender::here(state_id),
            events: notify.events.clone(),
            models: notify.models.clone(),
            channels: channels.into_iter().flatten().collect(),
        }
    }

    /// What is to be recorded of `pass`.
    pub fn tell(&self, pass: &Pass, targets: &BTreeSet<ModelName>, known: &Announced, state: &StateDir) -> Vec<Change> {
        let begin = (!known.begun).then_some(Telling::Begin);
        let found = news(pass, targets, known);
        let tellings = found.iter().filter_map(|news| self.telling(news, known, pass.now, state));
        begin.into_iter().chain(tellings).map(Change::Tell).collect()
    }

    fn telling(&self, news: &News, known: &Announced, now: Timestamp, state: &StateDir) -> Option<Telling> {
        let model = news.model.clone();
        let wanted =
            self.models.as_ref().is_none_or(|models| models.contains(&model)) && self.events.contains(&news.kind);
        if news.kind == NewsKind::Recovered {
            // Trouble that nobody heard of ends without a notification.
            let mut troubles = known.troubles.get(&model).into_iter().flatten();
            let is_announced = troubles.any(|trouble| trouble.is_announced && trouble.kind != NewsKind::Drifted);
            return Some(Telling::Close {
                letter: (wanted && is_announced).then(|| self.letter(news, now, state)),
                model,
            });
        }
        // Trouble from before notifications were configured is not news.
        let letter = (wanted && known.begun).then(|| self.letter(news, now, state));
        Some(Telling::Open { model, kind: news.kind, about: news.about.clone(), at: now, letter })
    }

    fn letter(&self, news: &News, now: Timestamp, state: &StateDir) -> Letter {
        // A log that cannot be read is left out.
        let log = || instance::last_lines(&instance::newest_log(&state.logs(), &news.model)?, LOG_LINES);
        let log = if news.context.log { log().unwrap_or_default() } else { Vec::new() };
        self.sender.letter(news, uuid::Uuid::new_v4().to_string(), now, log, self.channels.clone())
    }
}
