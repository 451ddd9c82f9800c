//! An instance is alive and one should be: keeps it, replaces it, or leaves it alone
//! until something else happens.

use super::super::reason::{Impact, Reason};
use super::super::settle::{GivenUp, deadline};
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::wish::{Lease, StopWish, Wish, is_routed, stop, target};
use super::{Decider, Port};
use crate::model::{Change, GenerationOutcome, Instance, InstanceRecord, InstanceState, ModelRecord, OverrideKind};

impl<'s> Decider<'s, '_> {
    pub(super) fn keep_or_replace(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
    ) {
        let given_up = self.s.settled.as_ref().and_then(|s| s.given_up.as_ref()).filter(|(id, _)| *id == live.id);
        if let Some((_, why)) = given_up {
            let reason = match why {
                GivenUp::NotReady => Reason::NotReadyInTime,
                GivenUp::Wrapped(child) => Reason::Wrapped { pid: live.handle.pid(), child: *child },
                GivenUp::NotAsAsked(message) => Reason::FailedToStart { message: message.clone() },
                GivenUp::Unanswered(silent) => {
                    Reason::Unhealthy { for_ms: u64::try_from(silent.as_millis()).unwrap_or(u64::MAX) }
                }
            };
            self.end(live, recorded, reason);
        } else if recorded.state == InstanceState::Stopping {
            self.end(live, recorded, Reason::StopUnfinished);
        } else if self.restarts_by_hand(wanted, record, live, recorded) {
            // Whatever else is to be done follows with the next one.
        } else if wanted.is_served_by(&live.spec, recorded.port) {
            self.keep(wanted, record, live, recorded);
        } else if self.s.unresolved.is_some() {
            // Whatever was to follow it cannot be read: it stays.
            self.cancel_drain(recorded);
        } else if self.serves_for_failed(wanted, record) {
            let served = record.last_ready.as_ref().filter(|generation| generation.hash == live.spec);
            self.wait_for_edit(record, served.map(|generation| generation.number));
            self.wait_until_ready(wanted, live, recorded);
            self.cancel_drain(recorded);
        } else {
            self.replace(wanted, record, live, recorded);
        }
    }

    /// Whether somebody wants another instance of what it serves. One that is
    /// to be replaced by something else anyway needs no word of it.
    fn restarts_by_hand(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
    ) -> bool {
        let request = self.s.by_hand.restart.filter(|request| request.instance == live.id);
        let (Some(request), None) = (request, self.s.unresolved) else { return false };
        let start = if live.spec == wanted.hash {
            // It may serve what an edit went back to, and no generation says so yet.
            self.start_wanted(wanted, self.next_number(wanted, record), Some(record))
        } else {
            if !self.serves_for_failed(wanted, record) {
                return false;
            }
            let served = record.last_ready.as_ref().filter(|g| g.hash == live.spec);
            let Some((served, spec)) = served.and_then(|served| Some((served, served.spec().ok()?))) else {
                // Nobody knows how to start another like it: what works stays.
                let over = Change::EndOverride { model: live.model.clone(), kind: OverrideKind::Restart };
                self.d.bookkeeping.push(over);
                return false;
            };
            self.wait_for_edit(record, Some(served.number));
            self.start_spec(wanted, &spec, &served.hash, Lease::On(recorded.port), served.number, Some(served))
        };
        let Some(start) = start else {
            self.cancel_drain(recorded);
            return true;
        };
        if live.spec == wanted.hash {
            self.change_record(wanted, record, Impact::Record, Port::Recorded);
            self.forget_crashes(wanted, record);
            self.revive(record);
        }
        self.d.reasons.push(Reason::ByHand { given: request.given.clone() });
        self.d.wish =
            Wish::Restart(stop(self.input, live, Some(recorded), Some(wanted.definition.update.drain)), start);
        true
    }

    /// Stops an instance at once; the next pass starts what is wanted.
    fn end(&mut self, live: &Instance, recorded: &InstanceRecord, reason: Reason) {
        let force = matches!(reason, Reason::NotReadyInTime | Reason::FailedToStart { .. } | Reason::Unhealthy { .. });
        self.d.reasons.push(reason);
        let target = target(live, force);
        let given_up = self.s.settled.as_ref().and_then(|settled| settled.given_up.as_ref());
        let failed = given_up.is_some_and(|(id, _)| *id == live.id);
        let is_routed = is_routed(self.input, Some(recorded));
        let record = Some(recorded.clone());
        self.d.wish = Wish::Stop(Box::new(StopWish { target, record, drain: None, is_routed, failed }));
    }

    /// The instance serves what is wanted.
    fn keep(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, live: &Instance, recorded: &InstanceRecord) {
        // Where it loads counts once it was ready there.
        let port = if recorded.state == InstanceState::Loading { Port::Kept } else { Port::Recorded };
        self.change_record(wanted, record, Impact::Record, port);
        if self.upgrades(wanted, record, live, recorded) {
            return;
        }
        self.cancel_drain(recorded);
        self.wait_until_ready(wanted, live, recorded);
        self.note_silence(wanted, live, recorded);
    }

    fn note_silence(&mut self, wanted: &Wanted<'_>, live: &Instance, recorded: &InstanceRecord) {
        if let Some(since) = recorded.unanswered_since {
            let deadline = wanted.definition.ready.unhealthy_after.map(|limit| since.plus(limit));
            self.d.waits.push(WaitFor::Answer { pid: live.handle.pid(), deadline });
        }
    }

    fn wait_until_ready(&mut self, wanted: &Wanted<'_>, live: &Instance, recorded: &InstanceRecord) {
        self.d.waits.extend(until_ready(wanted, live, recorded));
    }

    /// Whether it is restarted because its llama-server changed on disk.
    fn upgrades(
        &mut self,
        wanted: &Wanted<'_>,
        record: &ModelRecord,
        live: &Instance,
        recorded: &InstanceRecord,
    ) -> bool {
        if recorded.state == InstanceState::Loading || self.s.unresolved.is_some() {
            return false;
        }
        let Some(Ok(binary)) = self.binary(&wanted.definition.spec) else { return false };
        if recorded.binary.as_ref().is_none_or(|was| *was == binary.identity) {
            return false;
        }
        if !self.input.limits.upgrade_binary {
            self.d.waits.push(WaitFor::BinaryUpgrade);
            return false;
        }
        let Some(start) = self.start_wanted(wanted, record.generation.number, Some(record)) else { return false };
        self.d.reasons.push(Reason::BinaryChanged);
        let stop = stop(self.input, live, Some(recorded), Some(wanted.definition.update.drain));
        self.d.wish = Wish::Restart(stop, start);
        true
    }

    /// The definition went back to what is served before the drain was over.
    pub(super) fn cancel_drain(&mut self, recorded: &InstanceRecord) {
        if matches!(recorded.state, InstanceState::Draining { .. }) {
            // One that was never ready has still to become so.
            let state = if recorded.ready.is_some() { InstanceState::Ready } else { InstanceState::Loading };
            let record = InstanceRecord { state, ..recorded.clone() };
            self.d.bookkeeping.push(Change::PutInstance(record));
        }
    }

    /// Whether the instance, whatever it serves, stands in for a generation that
    /// failed and that nothing has changed about: what works does not give way
    /// to what is known not to.
    fn serves_for_failed(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) -> bool {
        !wanted.is_edit_of(record)
            && matches!(record.generation.outcome, GenerationOutcome::Failed(_))
            && !self.tries_again(wanted, record)
    }

    /// The instance serves something else.
    fn replace(&mut self, wanted: &Wanted<'_>, record: &ModelRecord, live: &Instance, recorded: &InstanceRecord) {
        if let Some((file, until)) = wanted.restless_file(record, self.input.now) {
            self.d.waits.push(WaitFor::Weights { file, until });
            self.cancel_drain(recorded);
            return;
        }
        let number = self.next_number(wanted, record);
        let Some(start) = self.start_wanted(wanted, number, Some(record)) else {
            // What cannot follow yet does not keep others from restarting.
            self.cancel_drain(recorded);
            self.wait_until_ready(wanted, live, recorded);
            return;
        };
        let (changes, reasons) = wanted.record_changes(record);
        self.d.changes.extend(changes);
        self.forget_crashes(wanted, record);
        self.revive(record);
        self.d.reasons.extend(wanted.differences_to(&live.spec, recorded.port, record));
        self.d.reasons.extend(reasons);
        self.d.held_back_waits = until_ready(wanted, live, recorded);
        self.d.wish =
            Wish::Restart(stop(self.input, live, Some(recorded), Some(wanted.definition.update.drain)), start);
    }
}

/// That it becomes ready, if it is loading.
fn until_ready(wanted: &Wanted<'_>, live: &Instance, recorded: &InstanceRecord) -> Option<WaitFor> {
    let deadline = || deadline(recorded, &wanted.definition.ready);
    let is_loading = recorded.state == InstanceState::Loading;
    is_loading.then(|| WaitFor::Ready { pid: live.handle.pid(), deadline: deadline() })
}
