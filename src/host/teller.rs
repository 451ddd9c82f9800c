//! From news to what is recorded of them: letters with an id, a time and the
//! last lines of a log, for whom the settings say.

use std::collections::BTreeSet;

use crate::instance;
use crate::model::{Change, Channel, Letter, ModelName, NewsKind, Telling, Timestamp};
use crate::notify::{Known, News, Sender, news};
use crate::reconcile::Pass;
use crate::settings::Notify;
use crate::state::StateDir;

/// How many lines of a log are sent.
const LOG_LINES: usize = 10;

/// Tells others of what passes of this machine find.
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
    pub fn tell(&self, pass: &Pass, targets: &BTreeSet<ModelName>, known: &Known, state: &StateDir) -> Vec<Change> {
        let begin = (!known.begun).then_some(Telling::Begin);
        let found = news(pass, targets, known);
        let tellings = found.iter().filter_map(|news| self.telling(news, known, pass.now, state));
        begin.into_iter().chain(tellings).map(Change::Tell).collect()
    }

    fn telling(&self, news: &News, known: &Known, now: Timestamp, state: &StateDir) -> Option<Telling> {
        let model = news.model.clone();
        let wanted =
            self.models.as_ref().is_none_or(|models| models.contains(&model)) && self.events.contains(&news.kind);
        if news.kind == NewsKind::Recovered {
            // Nobody wants to hear that what they never heard of is over.
            let mut troubles = known.troubles.get(&model).into_iter().flatten();
            let told = troubles.any(|trouble| trouble.told && trouble.kind != NewsKind::Drifted);
            return Some(Telling::Close { letter: (wanted && told).then(|| self.letter(news, now, state)), model });
        }
        // What was so before there was somebody to tell is no news.
        let letter = (wanted && known.begun).then(|| self.letter(news, now, state));
        Some(Telling::Open { model, kind: news.kind, about: news.about.clone(), at: now, letter })
    }

    fn letter(&self, news: &News, now: Timestamp, state: &StateDir) -> Letter {
        // A log that cannot be read is told of without it.
        let log = || instance::last_lines(&instance::newest_log(&state.logs(), &news.model)?, LOG_LINES);
        let log = if news.told.log { log().unwrap_or_default() } else { Vec::new() };
        self.sender.letter(news, uuid::Uuid::new_v4().to_string(), now, log, self.channels.clone())
    }
}
