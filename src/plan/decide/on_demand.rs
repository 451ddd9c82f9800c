//! A model that runs on demand.
//!
//! | instance | requests | what |
//! |---|---|---|
//! | none | wait | starts, as one that is to run |
//! | none | none wait, or nobody counts them | only its record is kept; what keeps a start from coming is said |
//! | loads | any | loads on, unless a client unloads it |
//! | ready | some, or nobody counts them | kept or replaced, as one that is to run |
//! | ready | none for `[idle] stop_after`; unloaded | stops, through a drain |
//! | ready | others need its room (`schedule::room`) | stops, through a drain |
//! | ready, and its file cannot be used | unloaded | stops, through a drain; else it is kept |
//!
//! While its file cannot be used, its last recorded generation starts on demand, in the
//! groups it was recorded in, if those are known and its weights are what they were.
//!
//! An edit restarts an instance that runs, although nobody may ask for it soon: what
//! runs then is what the file says, and a bad edit shows at once. An edit of a model
//! that does not run adds a generation, and the next request tries it.

use super::super::input::Question;
use super::super::reason::{Impact, Reason};
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::wish::{Wish, stop};
use super::{Decider, Decision, Port, wait_for_file};
use crate::model::{Busy, Change, Instance, InstanceRecord, InstanceState, ModelRecord, Traffic, Unresolved};

impl<'s> Decider<'s, '_> {
    pub(super) fn want_on_demand(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        match self.kept() {
            None if self.waiting() > 0 && self.can_be_served(wanted) => self.start(wanted, record),
            None => {
                self.note_what_a_request_meets(wanted, record);
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

    /// Says what keeps the next request from starting it.
    fn note_what_a_request_meets(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let situation = self.s;
        match situation.unresolved {
            Some(unresolved) if !self.can_be_served(wanted) => {
                self.d.on_request.push(wait_for_file(self.unread_directory().unwrap_or(unresolved)));
            }
            // Without a gateway, nobody can ask for it.
            _ if self.input.site.has_gateway => self.rehearse(wanted, record),
            _ => {}
        }
    }

    /// Decides on a start that does not happen now, and keeps what it runs into.
    fn rehearse(&mut self, wanted: &Wanted<'_>, record: &ModelRecord) {
        let mut start = Decision::default();
        Decider { input: self.input, s: self.s, d: &mut start }.start(wanted, record);
        self.d.questions.append(&mut start.questions);
        // Else every pass would check the command line anew.
        let is_of_record = |change: &Change| matches!(change, Change::SetAccepted { number, .. } if *number <= record.generation.number);
        self.d.bookkeeping.extend(start.accepted.filter(is_of_record));
        if !matches!(start.wish, Wish::Start(_)) {
            self.d.on_request = start.waits;
        }
    }

    /// Whether its file can be used or, if not, its record instead.
    fn can_be_served(&mut self, wanted: &Wanted<'_>) -> bool {
        self.s.unresolved.is_none() || self.knows_its_groups(wanted) && self.has_its_files(wanted)
    }

    /// Whether it is known whose room the start of a recorded generation would take: one
    /// server too many may end all of them. The groups themselves may be out of sight.
    fn knows_its_groups(&self, wanted: &Wanted<'_>) -> bool {
        let Some(desired) = self.input.desired else { return false };
        let groups = &wanted.definition.placement.groups;
        self.unread_directory().is_none() && groups.iter().all(|group| desired.groups.contains_key(group))
    }

    /// Why the definitions as a whole cannot be read now, the groups among them.
    fn unread_directory(&self) -> Option<&'s Unresolved> {
        let desired = self.input.desired?;
        desired.unresolved.iter().find(|file| *file.path == *desired.dir.to_string_lossy())
    }

    /// Whether the files of a recorded generation are what they were.
    fn has_its_files(&mut self, wanted: &Wanted<'_>) -> bool {
        let files = &wanted.definition.spec.files;
        let intact = self.input.answers.files_intact.get(self.s.name).copied();
        if intact.is_none() && !files.is_empty() {
            let (model, files) = (self.s.name.clone(), files.clone());
            self.d.questions.push(Question::FilesIntact { model, files });
        }
        intact.unwrap_or_else(|| files.is_empty())
    }

    /// Why a live instance stops, if it does.
    fn why_stop(&mut self, wanted: &Wanted<'_>, live: &Instance, recorded: &InstanceRecord) -> Option<Reason> {
        if recorded.state == InstanceState::Stopping {
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
        if self.s.unresolved.is_some() {
            // How long it runs without a request cannot be read: it stays.
            return None;
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
