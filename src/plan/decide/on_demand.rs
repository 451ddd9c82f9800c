//! A model that runs on demand.
//!
//! | instance | requests | what |
//! |---|---|---|
//! | none | wait | starts, as one that is to run |
//! | none | none wait, or nobody counts them | only its record is kept |
//! | loads | any | loads on, unless a client unloads it |
//! | ready | some, or nobody counts them | kept or replaced, as one that is to run |
//! | ready | none for `[idle] stop_after`; unloaded | stops, through a drain |
//! | ready | others need its room (`schedule::room`) | stops, through a drain |
//!
//! An edit restarts an instance that runs, although nobody may ask for it soon: what
//! runs then is what the file says, and a bad edit shows at once. An edit of a model
//! that does not run adds a generation, and the next request tries it.

use super::super::input::Question;
use super::super::reason::{Impact, Reason};
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::wish::{Wish, stop};
use super::{Decider, Port};
use crate::model::{Busy, Desired, Instance, InstanceRecord, InstanceState, ModelRecord, Traffic};

impl Decider<'_, '_> {
    pub(super) fn want_on_demand(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        match self.kept() {
            None if self.waiting() > 0 && self.knows_its_groups() => self.start(wanted, record),
            None => {
                self.forget_crashes(wanted, record);
                self.change_record(wanted, record, Impact::Record, Port::Recorded);
            }
            Some((live, Some(recorded))) => match self.why_stop(wanted, live, recorded) {
                Some(reason) => self.stop_until_asked_for(wanted, record, live, recorded, reason),
                None => {
                    self.want_running(wanted, record);
                    if matches!(self.d.wish, Wish::Restart(..)) {
                        // The next one has all its time again.
                        self.d.waits.retain(|on| !matches!(on, WaitFor::IdleStop { .. }));
                    }
                }
            },
            Some((_, None)) => self.want_running(wanted, record),
        }
    }

    /// Requests that wait for the model.
    pub(super) fn waiting(&self) -> u32 {
        self.input.traffic(self.s.name).unwrap_or_default().waiting
    }

    /// Whether it is known whose room its start would take: a file that cannot be used
    /// does not say, and one server too many may end all of them.
    fn knows_its_groups(&self) -> bool {
        let is_read =
            |desired: &Desired| desired.unresolved.iter().all(|file| *file.path != *desired.dir.to_string_lossy());
        let has_none = |desired: &Desired| desired.groups.is_empty() && is_read(desired);
        self.s.unresolved.is_none() || self.input.desired.is_some_and(has_none)
    }

    /// Why a live instance stops, if it does.
    fn why_stop(&mut self, wanted: &Wanted<'_>, live: &Instance, recorded: &InstanceRecord) -> Option<Reason> {
        // What its definition says now cannot be read, or it is being stopped anyway.
        if self.s.unresolved.is_some() || recorded.state == InstanceState::Stopping {
            return None;
        }
        if let Some(reason) = &self.s.makes_room {
            return Some(reason.clone());
        }
        let traffic = self.input.traffic(self.s.name)?;
        if traffic.is_asked_for() {
            return None;
        }
        if traffic.unload.is_some() {
            return Some(Reason::Unloaded);
        }
        self.is_idle(wanted, live, recorded, &traffic)
    }

    /// Whether nobody has used it for long enough: neither through the gateway nor,
    /// now, through its own port.
    fn is_idle(
        &mut self,
        wanted: &Wanted<'_>,
        live: &Instance,
        recorded: &InstanceRecord,
        traffic: &Traffic,
    ) -> Option<Reason> {
        let (now, serves_since) = (self.input.now, self.input.demand?.since);
        let (stop_after, (ready, _)) = (wanted.definition.idle.stop_after?, recorded.ready?);
        let used = ready.max(serves_since).max(traffic.last_used.unwrap_or(ready)).min(now);
        let until = used.plus(stop_after);
        let after_ms = milliseconds(stop_after);
        if until > now {
            self.d.waits.push(WaitFor::IdleStop { until, after_ms });
            return None;
        }
        match self.input.answers.busy.get(&live.id) {
            None => {
                self.d.questions.push(Question::Busy(live.id.clone()));
                None
            }
            Some(Busy::Yes(_)) => {
                self.d.waits.push(WaitFor::IdleStop { until: now.plus(Busy::ASKED_EVERY), after_ms });
                None
            }
            Some(Busy::No | Busy::Unknown) => Some(Reason::Idle { for_ms: milliseconds(now.since(used)) }),
        }
    }

    fn stop_until_asked_for(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
        reason: Reason,
    ) {
        self.change_record(wanted, record, Impact::Record, Port::Recorded);
        self.end_crashes(record);
        self.d.reasons.push(reason);
        let drain = Some(wanted.definition.update.drain);
        self.d.wish = Wish::Stop(stop(self.input, live, Some(recorded), drain));
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
