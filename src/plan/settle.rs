//! Settles what became of the recorded instances, before anything is decided.
//!
//! Observed facts are folded into a copy of the record and written as bookkeeping.
//! What each state of an instance turns into:
//!
//! | recorded | process | becomes |
//! |---|---|---|
//! | intent | lives | loading: herdsman died between start and record |
//! | intent | gone | forgotten: it never came to be |
//! | loading | ready ([`proof`]) | ready; its generation is proven |
//! | loading | answers, without the model | given up, as a failed start |
//! | loading | no progress for `[ready] timeout`, or 6 times that in all | given up: it is stopped, and counts as a failed start |
//! | loading | a wrapper, whose child answers in its place | given up: it is stopped, and counts as a failed start |
//! | loading | gone | a failed start: the generation's fault, or the world's |
//! | ready | gone | a crash |
//! | ready | no answer | noted since when; given up after `unhealthy_after` |
//! | draining | gone | forgotten: it was about to end |
//! | stopping | gone | forgotten, with what it left: we did that |
//! | any | gone, and left helpers | stopping, until those are gone too |
//! | any | gone with an earlier boot | forgotten: that was the reboot |
//! | any | cannot be read | unknown: nothing is done to the model |
//!
//! Facts about a suspended model are recorded as usual, but no start is given up: a
//! deadline that passes meanwhile counts once the suspension is over. An instance
//! that was being stopped stays recorded as such, because its leftovers must go.

mod failed_start;

use std::borrow::Cow;
use std::time::Duration;

use super::proof::{self, Proof, proof};
use super::{Finding, Found, Input, Question, Reason, backoff, by_hand};
use crate::model::{
    Change, Crashes, Death, Definition, FailureCause, GenerationOutcome, Health, Instance, InstanceId, InstanceRecord,
    InstanceState, Listener, ModelName, ModelRecord, PortRecord, ReadyPolicy, Spec, StopTarget, Timestamp,
};

/// Growth that counts as progress, bytes: more than a server that only logs.
const PROGRESS: u64 = 1 << 20;
/// Progress is written down at most this often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// If the start time differs from the recorded one by this much (milliseconds), the
/// clock was set. The kernel reports it to the second, counted from boot, and an
/// intent is recorded a little before its start.
const CLOCK_SET: u64 = 5_000;

/// A record brought up to what was observed.
#[derive(Debug)]
pub struct Settled<'a> {
    /// The model.
    model: &'a ModelName,
    /// The record as it will be once the changes are written.
    pub record: Cow<'a, ModelRecord>,
    /// Facts to write.
    pub changes: Vec<Change>,
    /// Instances whose stop was cut short, and that are gone.
    pub remains: Vec<StopTarget>,
    /// What happened, for people.
    pub findings: Vec<Finding>,
    /// An instance whose process may or may not live.
    pub unknown: Option<InstanceId>,
    /// An instance to stop at once, and why.
    pub given_up: Option<(InstanceId, GivenUp)>,
    /// The last death seen in this pass.
    pub death: Option<Death>,
    /// A death was the machine's.
    pub rebooted: bool,
    /// What must be answered first.
    pub questions: Vec<Question>,
    /// It is suspended: nothing is given up.
    hands_off: bool,
}

/// Why a live instance is given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// Not ready in time.
    NotReady,
    /// It is a wrapper, and its child answers.
    Wrapped(i32),
    /// It answers, and is not what was asked for: in what.
    NotAsAsked(String),
    /// No answer for this long.
    Unanswered(Duration),
}

/// Brings `record` up to what was observed of `live`, its instances.
pub fn settle<'a>(
    input: &Input<'a>,
    model: &'a ModelName,
    definition: Option<&Definition>,
    record: &'a ModelRecord,
    live: &[&Instance],
) -> Settled<'a> {
    let mut settled = Settled {
        model,
        record: Cow::Borrowed(record),
        changes: Vec::new(),
        remains: Vec::new(),
        findings: Vec::new(),
        unknown: None,
        given_up: None,
        death: None,
        rebooted: false,
        questions: Vec::new(),
        hands_off: by_hand::suspended(input, model).is_some(),
    };
    if let Some(crashes) = backoff::anchored(record.crashes, input.now) {
        settled.set_crashes(crashes);
    }
    for instance in &record.instances {
        match live.iter().find(|l| l.id == instance.id) {
            Some(seen) => settled.lives(input, definition, instance, seen),
            None if input.observed.unknown.contains(&instance.id) => settled.unknown = Some(instance.id.clone()),
            None => settled.gone(input, definition, instance),
        }
    }
    settled
}

/// The port of a record once `live`, its instances, are settled.
pub fn settled_port<'a>(
    input: &Input<'a>,
    model: &'a ModelName,
    definition: Option<&Definition>,
    record: &'a ModelRecord,
    live: &[&Instance],
) -> Option<PortRecord> {
    // Nearly every instance is where its model is recorded.
    let is_there = |is: &InstanceRecord| record.port == is.port.map(|port| PortRecord { port, proven: true });
    if record.instances.iter().all(is_there) {
        return record.port;
    }
    settle(input, model, definition, record, live).record.port
}

impl Settled<'_> {
    fn lives(
        &mut self,
        input: &Input<'_>,
        definition: Option<&Definition>,
        recorded: &InstanceRecord,
        seen: &Instance,
    ) {
        let mut now_is = recorded.clone();
        match &recorded.handle {
            // What a wrapper left behind started later, whatever the clock says.
            Some(handle) if *handle != seen.handle => {}
            _ => follow_clock(&mut now_is, seen),
        }
        now_is.handle = Some(seen.handle.clone());
        if now_is.state == InstanceState::Intent {
            now_is.state = InstanceState::Loading;
        }
        match now_is.state {
            InstanceState::Loading if seen.health == Health::Ready => {
                self.becomes_ready(input, definition, &mut now_is, seen);
            }
            InstanceState::Loading => self.still_loading(input, definition, &mut now_is, seen),
            InstanceState::Ready => self.stays_ready(input, definition, &mut now_is, seen),
            InstanceState::Intent | InstanceState::Draining { .. } | InstanceState::Stopping => {}
        }
        if now_is.state == InstanceState::Ready {
            self.prove_generation(&now_is);
            self.prove_port(input, definition, &now_is);
        }
        if now_is != *recorded {
            self.changes.push(Change::PutInstance(now_is.clone()));
            if let Some(slot) = self.record.to_mut().instances.iter_mut().find(|i| i.id == now_is.id) {
                *slot = now_is;
            }
        }
    }

    fn becomes_ready(
        &mut self,
        input: &Input<'_>,
        definition: Option<&Definition>,
        is: &mut InstanceRecord,
        seen: &Instance,
    ) {
        match proof(input, definition, &self.record, is) {
            Proof::Ready => {
                is.state = InstanceState::Ready;
                is.ready = Some((input.now, input.now));
                self.found(is, Found::Ready { pid: seen.handle.pid(), port: seen.address.port });
            }
            Proof::Ask(question) => self.questions.push(question),
            Proof::NotYet => self.still_loading(input, definition, is, seen),
            Proof::Failed(_) if self.hands_off => {}
            Proof::Failed(death) => {
                let why = GivenUp::NotAsAsked(death.message.clone());
                self.start_failed(input, definition, is, death);
                self.give_up(is, why);
            }
        }
    }

    /// Called for every instance seen ready, so that an outcome lost with the
    /// database is found again.
    fn prove_generation(&mut self, is: &InstanceRecord) {
        let generation = &self.record.generation;
        // By hash: an edit taken back makes a generation that runs already.
        if generation.hash == is.spec && generation.outcome == GenerationOutcome::Pending {
            self.changes.push(Change::SetGenerationOutcome {
                model: is.model.clone(),
                number: generation.number,
                outcome: GenerationOutcome::Ready,
            });
            self.record.to_mut().generation.outcome = GenerationOutcome::Ready;
        }
    }

    /// The port of the model moves only now, to where its instance was told to
    /// be: had that failed, the generation before would serve where it did.
    fn prove_port(&mut self, input: &Input<'_>, definition: Option<&Definition>, is: &InstanceRecord) {
        let port = is.port.map(|port| PortRecord { port, proven: true });
        let recorded = self.record.port;
        if recorded == port {
            return;
        }
        let generation = &self.record.generation;
        let declares_it = |spec: &Spec| spec.is_unix_socket() || spec.port == is.port;
        let moves = || {
            generation.hash == is.spec
                && (definition.is_some_and(|d| declares_it(&d.spec))
                    || generation.spec().is_ok_and(|s| declares_it(&s)))
        };
        // One that lost its port to another model does not take it back.
        let is_lost = || recorded.is_none() && input.records.models.values().any(|r| r.port.map(|p| p.port) == is.port);
        let is_there = recorded.is_some_and(|recorded| Some(recorded.port) == is.port);
        if is_there || (moves() && !is_lost()) {
            self.changes.push(Change::SetPort { model: is.model.clone(), port });
            self.record.to_mut().port = port;
        }
    }

    fn still_loading(
        &mut self,
        input: &Input<'_>,
        definition: Option<&Definition>,
        is: &mut InstanceRecord,
        seen: &Instance,
    ) {
        let (mark, at) = is.progress;
        if seen.progress.0 >= mark.0.saturating_add(PROGRESS) && input.now.since(at) >= PROGRESS_EVERY {
            is.progress = (seen.progress, input.now);
        }
        if self.hands_off {
            return;
        }
        if let (Health::Wrapped { child }, Some(_)) = (&seen.health, definition) {
            let answers = Reason::Wrapped { pid: seen.handle.pid(), child: *child };
            let message = format!("{answers}; the wrapper must start llama-server with `exec`");
            self.start_failed(input, definition, is, Death { cause: FailureCause::Spec, message });
            self.give_up(is, GivenUp::Wrapped(*child));
        } else if definition.is_some_and(|d| input.now >= deadline(is, &d.ready)) {
            let seconds = input.now.since(is.started_at).as_secs();
            let message = format!("not ready after {seconds} s{}", elsewhere(input, seen));
            self.start_failed(input, definition, is, Death { cause: FailureCause::Deadline, message });
            self.give_up(is, GivenUp::NotReady);
        }
    }

    fn stays_ready(
        &mut self,
        input: &Input<'_>,
        definition: Option<&Definition>,
        is: &mut InstanceRecord,
        seen: &Instance,
    ) {
        if seen.health == Health::Ready {
            is.unanswered_since = None;
            self.note_recovery(input, is);
            return;
        }
        let since = *is.unanswered_since.get_or_insert(input.now);
        let silent = input.now.since(since);
        let limit = definition.and_then(|d| d.ready.unhealthy_after).filter(|_| !self.hands_off);
        if limit.is_some_and(|limit| silent >= limit) {
            // One that hangs at every start slows down as one that crashes does.
            self.set_crashes(backoff::after_crash(self.record.crashes, is, input.now));
            self.give_up(is, GivenUp::Unanswered(silent));
        }
    }

    /// Recorded as stopping at once, so that a herdsman killed before the stop
    /// finishes it and does not count the failure twice.
    fn give_up(&mut self, is: &mut InstanceRecord, why: GivenUp) {
        is.state = InstanceState::Stopping;
        self.given_up = Some((is.id.clone(), why));
    }

    /// "Seen ready ten minutes after its start" is written once, not at every
    /// pass: a pass that finds nothing new must write nothing.
    fn note_recovery(&mut self, input: &Input<'_>, is: &mut InstanceRecord) {
        if let Some((first, last)) = is.ready
            && last.since(is.started_at) < backoff::RECOVERED_AFTER
            && input.now.since(is.started_at) >= backoff::RECOVERED_AFTER
        {
            is.ready = Some((first, input.now));
        }
    }

    fn gone(&mut self, input: &Input<'_>, definition: Option<&Definition>, was: &InstanceRecord) {
        let rebooted = was.handle.as_ref().is_some_and(|handle| handle.is_of_an_earlier_boot(&input.observed.boot_id));
        let leaves = !rebooted && input.observed.leftovers.iter().any(|leftover| leftover.id == was.id);
        if was.state == InstanceState::Stopping && (self.hands_off || leaves) {
            return;
        }
        if leaves {
            self.keep_until_cleared(was);
        } else {
            self.changes.push(Change::RemoveInstance(was.id.clone()));
            self.record.to_mut().instances.retain(|i| i.id != was.id);
        }
        if rebooted {
            self.rebooted = true;
            return;
        }
        let death = input
            .observed
            .deaths
            .get(&was.id)
            .cloned()
            .unwrap_or_else(|| Death { cause: FailureCause::Spec, message: "its log does not say why".to_owned() });
        match was.state {
            InstanceState::Intent | InstanceState::Draining { .. } => {}
            InstanceState::Stopping => self.remains.extend(remains(was)),
            InstanceState::Loading => {
                let death = proof::of_download(input, &self.record, was, death);
                self.start_failed(input, definition, was, death);
            }
            InstanceState::Ready => {
                self.found(was, Found::Crashed(death.clone()));
                self.set_crashes(backoff::after_crash(self.record.crashes, was, input.now));
                self.death = Some(death);
            }
        }
    }

    /// Keeps the record of an instance that is gone until what it left is gone
    /// too: without a record, a helper that carries its command line looks like
    /// a server that loads.
    fn keep_until_cleared(&mut self, was: &InstanceRecord) {
        let stopping = InstanceRecord { state: InstanceState::Stopping, ..was.clone() };
        self.changes.push(Change::PutInstance(stopping.clone()));
        self.record.to_mut().instances.iter_mut().filter(|i| i.id == was.id).for_each(|i| *i = stopping.clone());
    }

    fn found(&mut self, of: &InstanceRecord, what: Found) {
        let (model, generation, started_at) = (of.model.clone(), of.generation, of.started_at);
        self.findings.push(Finding { model, generation, started_at, what });
    }

    fn set_crashes(&mut self, crashes: Crashes) {
        self.changes.push(Change::SetCrashes { model: self.model.clone(), crashes });
        self.record.to_mut().crashes = crashes;
    }
}

/// The kernel tells start times by the clock as it is now. If that differs from
/// what was recorded at the start, the clock was set since, and everything
/// recorded of the instance moves with it: neither patience nor drain time ends
/// early, or never, because somebody set the clock.
fn follow_clock(is: &mut InstanceRecord, seen: &Instance) {
    let moved = seen.started_at.0.saturating_sub(is.started_at.0);
    if moved.unsigned_abs() < CLOCK_SET {
        return;
    }
    is.shift(moved);
}

/// Who else is on the port of one that does not listen there.
fn elsewhere(input: &Input<'_>, seen: &Instance) -> String {
    let held = |port: &u16| matches!(input.observed.listeners.get(port), Some(Listener::Stranger));
    let words = "a wrapper must start llama-server with `exec` and keep its environment";
    seen.address
        .port
        .filter(held)
        .map(|port| format!("; another process listens on port {port}: {words}"))
        .unwrap_or_default()
}

/// What may be left of an instance that was being stopped: its stop again, which
/// finds it gone and does the rest.
fn remains(was: &InstanceRecord) -> Option<StopTarget> {
    let (id, model) = (was.id.clone(), was.model.clone());
    Some(StopTarget { handle: was.handle.clone()?, id, model, force: false, socket: was.socket() })
}

/// When a loading instance is given up unless it makes progress.
#[must_use]
pub fn deadline(is: &InstanceRecord, policy: &ReadyPolicy) -> Timestamp {
    let patience = is.progress.1.plus(policy.timeout);
    let hard = is.started_at.plus(policy.timeout.saturating_mul(ReadyPolicy::HARD_LIMIT));
    patience.min(hard)
}
