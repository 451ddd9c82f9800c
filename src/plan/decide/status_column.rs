//! Records the status and progress of a model, whatever is decided about it.

use super::super::settle::GivenUp;
use super::super::wanted::Wanted;
use super::Decider;
use super::wish::Wish;
use crate::model::{
    Change, Crashes, DesiredState, GenerationOutcome, Health, InstanceRecord, InstanceState, ModelRecord, Status,
};

impl<'s> Decider<'s, '_> {
    /// How far along this model is, for the limits on others.
    pub(super) fn note_progress(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let kept = self.kept();
        let loading = kept.is_some_and(|(_, r)| r.is_some_and(|r| r.state == InstanceState::Loading));
        let leaving = kept.is_some_and(|(_, r)| {
            r.is_some_and(|r| matches!(r.state, InstanceState::Draining { .. } | InstanceState::Stopping))
        });
        self.d.missing = record.generation.outcome == GenerationOutcome::Ready || record.last_ready.is_some();
        self.d.loading = loading;
        let wants_one = self.state(wanted) != DesiredState::Stopped;
        let returns = self.state(wanted) == DesiredState::Running;
        self.d.restarting = returns && leaving || wants_one && loading && self.d.missing;
        let failed = matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            || record.generation.outcome == GenerationOutcome::Pending && record.crashes.count > 0;
        // What is to be stopped is not tried, so nobody would ever know better.
        if wants_one && failed && !wanted.is_edit_of(record) {
            self.d.failed_origins.clone_from(&record.generation.origins);
        }
    }

    /// An instance on demand that leaves may do so for good.
    pub(super) fn note_restart(&mut self, wanted: &Wanted<'_>) {
        let is_draining =
            |r: Option<&InstanceRecord>| r.is_some_and(|r| matches!(r.state, InstanceState::Draining { .. }));
        let leaves = self.kept().is_some_and(|(_, recorded)| is_draining(recorded));
        if self.state(wanted) == DesiredState::OnDemand && leaves && matches!(self.d.wish, Wish::Restart(..)) {
            self.d.restarting = true;
        }
    }

    /// The status column follows what is seen, and needs no action.
    pub(super) fn note_status(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let failed = match &record.generation.outcome {
            GenerationOutcome::Failed(death) if !wanted.is_edit_of(record) => {
                Some(format!("generation {} failed: {}", record.generation.number, death.message))
            }
            _ => None,
        };
        let kept = self.kept();
        let given_up = self.s.settled.as_ref().and_then(|settled| settled.given_up.as_ref());
        let given_up = given_up.filter(|(id, _)| kept.is_some_and(|(live, _)| live.id == *id)).map(|(_, why)| why);
        let (status, message) = match kept {
            Some(_) if given_up.is_some() => (Status::Error, failed.or(given_up.map(|why| self.words_of(why)))),
            Some((live, recorded)) => match live.health {
                // It answers, and whether it serves its model is not known yet.
                Health::Ready if recorded.is_some_and(|r| r.ready.is_none()) => (Status::Loading, failed),
                Health::Ready => (Status::Running, failed),
                Health::Loading | Health::NotListening | Health::Wrapped { .. } => (Status::Loading, failed),
                // It cannot be asked: what was last recorded stands.
                Health::Unanswered(_) => return,
            },
            None if self.state(wanted) == DesiredState::Stopped => (Status::Idle, None),
            None if failed.is_some() => (Status::Error, failed),
            None if record.crashes.count > 0 => (Status::Error, Some(self.last_words(record))),
            None => (Status::Idle, None),
        };
        if (status, &message) != (record.status, &record.status_message) {
            self.d.bookkeeping.push(Change::SetStatus { model: self.s.name.clone(), status, message });
        }
    }

    /// Why an instance was given up: what is known of it once it is gone.
    fn words_of(&self, why: &GivenUp) -> String {
        let death = self.s.settled.as_ref().and_then(|settled| settled.death.as_ref());
        match why {
            GivenUp::Unanswered(silent) => format!("/health has not answered for {} s", silent.as_secs()),
            GivenUp::NotAsAsked(message) => message.clone(),
            GivenUp::NotReady | GivenUp::Wrapped(_) => {
                death.map_or_else(|| "not ready in time".to_owned(), |death| death.message.clone())
            }
        }
    }

    pub(super) fn idle_status(&mut self, record: Option<&ModelRecord>) {
        let Some(record) = record else { return };
        self.end_crashes(record);
        if record.status != Status::Idle {
            let model = self.s.name.clone();
            self.d.bookkeeping.push(Change::SetStatus { model, status: Status::Idle, message: None });
        }
    }

    /// What a person has stopped starts afresh: neither late nor as one that
    /// has died.
    pub(super) fn end_crashes(&mut self, record: &ModelRecord) {
        if record.crashes.count > 0 {
            let (model, crashes) = (self.s.name.clone(), Crashes::default());
            self.d.bookkeeping.push(Change::SetCrashes { model, crashes });
        }
    }
}
