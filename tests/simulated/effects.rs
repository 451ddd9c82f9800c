//! Every call herdsman makes of the world: what it is told, what it does, and
//! what comes between.

use std::cell::Cell;
use std::sync::Arc;

use herdsman::model::{
    Busy, Change, Demand, Desired, Handle, InstanceId, InstanceRecord, Launch, Observed, Records, Served, StopTarget,
    Timestamp, Unusable,
};
use herdsman::pass::{Fallible, Fleet, Ledger, Source};
use herdsman::plan::{self, Answers, Objection, Question};

use super::history::Deed;
use super::{Ended, Fate, Machine, Server, World, sabotage};

/// What comes between herdsman and the world at one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Interference {
    /// herdsman is killed before the call has any effect.
    KilledBefore,
    /// herdsman is killed when the call has had its effect.
    KilledAfter,
    /// The call fails, without effect.
    Fails,
    /// A transaction is reported as failed and was made; a stop as failed and
    /// the process ends.
    FailsToTell,
    /// The files are read as they were when last read.
    Stale,
    /// Something happens just before.
    Meanwhile(Box<Deed>),
}

/// What is to happen at a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Works,
    WorksAndKills,
    WorksUntold,
    IsStale,
    Fails,
    Killed,
}

/// The kinds of calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Load,
    Records,
    Observe,
    Answer,
    Commit,
    Spawn,
    Withdraw,
    Readmit,
    Stop,
}

impl Call {
    const fn name(self) -> &'static str {
        match self {
            Self::Load => "reading files",
            Self::Records => "reading records",
            Self::Observe => "looking at processes",
            Self::Answer => "asking",
            Self::Commit => "a transaction",
            Self::Spawn => "a start",
            Self::Withdraw => "a withdrawal",
            Self::Readmit => "a readmission",
            Self::Stop => "a stop",
        }
    }

    const fn is_effect(self) -> bool {
        matches!(self, Self::Commit | Self::Spawn | Self::Withdraw | Self::Readmit | Self::Stop)
    }
}

impl World {
    /// What comes between at this call.
    fn next(&mut self, call: Call) -> Next {
        if self.dead {
            return Next::Killed;
        }
        self.tally.add("calls", call.name());
        let number = self.calls;
        self.calls += 1;
        let mut next = Next::Works;
        // Interferences are in order of their calls.
        while self.interferences.first().is_some_and(|(at, _)| *at <= number) {
            let (at, interference) = self.interferences.remove(0);
            if at == number {
                next = self.interfere(call, interference);
                if self.dead {
                    return Next::Killed;
                }
            }
        }
        if call.is_effect() && next == Next::Works { self.counted_effect() } else { next }
    }

    fn interfere(&mut self, call: Call, interference: Interference) -> Next {
        let next = match interference {
            Interference::KilledBefore => {
                self.tally.add("killed before", call.name());
                self.dead = true;
                return Next::Killed;
            }
            Interference::Meanwhile(deed) => {
                self.tally.add("meanwhile", deed.name());
                self.disturbed = true;
                deed.act(self);
                return if self.dead { Next::Killed } else { Next::Works };
            }
            Interference::KilledAfter if call.is_effect() => Next::WorksAndKills,
            Interference::FailsToTell if matches!(call, Call::Commit | Call::Stop) => Next::WorksUntold,
            Interference::Stale if call == Call::Load => Next::IsStale,
            Interference::Fails => Next::Fails,
            Interference::KilledAfter | Interference::FailsToTell | Interference::Stale => return Next::Works,
        };
        let kind = match next {
            Next::WorksAndKills => "killed after",
            Next::WorksUntold => "works and is told as failed",
            Next::IsStale => "stale",
            Next::Fails => "fails",
            Next::Works | Next::Killed => return next,
        };
        self.tally.add(kind, call.name());
        next
    }

    /// [`World::kill_after`] and [`World::fail_at`].
    fn counted_effect(&mut self) -> Next {
        match &mut self.kill_after {
            Some(0) => return Next::Killed,
            Some(left) => *left -= 1,
            None => {}
        }
        match &mut self.fail_at {
            Some(0) => {
                self.fail_at = None;
                Next::Fails
            }
            Some(left) => {
                *left -= 1;
                Next::Works
            }
            None => Next::Works,
        }
    }

    /// Carries out one call that has an effect: `works` does it, `fails` says
    /// how its failure looks.
    fn carry_out<T>(&mut self, call: Call, works: impl FnOnce(&mut Self) -> T, fails: impl FnOnce(Next) -> T) -> T {
        match self.next(call) {
            next @ (Next::Killed | Next::Fails) => fails(next),
            next @ (Next::WorksAndKills | Next::WorksUntold) => {
                works(self);
                self.dead = next == Next::WorksAndKills;
                fails(if self.dead { Next::Killed } else { Next::Fails })
            }
            Next::Works | Next::IsStale => works(self),
        }
    }

    /// Carries out one call that only reads.
    fn reading(&mut self, call: Call, failure: Ended) -> Result<Next, Ended> {
        match self.next(call) {
            Next::Killed => Err(Ended::Killed),
            Next::Fails => Err(failure),
            next => Ok(next),
        }
    }

    /// What a server says of its requests: from the gateway, and from others.
    pub(super) fn busy(&self, server: &Server) -> Busy {
        let in_flight = self.gateway.as_ref().map_or(0, |gateway| gateway.in_flight(&server.id));
        match server.busy {
            Busy::No if in_flight > 0 => Busy::Yes(in_flight),
            busy => busy,
        }
    }

    fn answer_one(&mut self, question: &Question, answers: &mut Answers) {
        match question {
            Question::Allowed { model, spec, hash } => {
                let refused = spec.options.keys().find(|option| self.machine.forbidden.contains(&***option));
                let answer = refused.map_or(Ok(()), |option| Err(format!("the policy does not allow `{option}`")));
                answers.allowed.insert((model.clone(), hash.clone()), answer);
            }
            Question::Binary(declared) => {
                let binary = self.machine.binary(declared);
                self.promises.told(declared, binary.as_ref().ok().map(|binary| binary.identity.clone()));
                answers.binaries.insert(declared.clone(), binary.map_err(Unusable::from));
            }
            Question::Check(launch, _) => {
                self.checks += 1;
                let refused = launch.args.iter().find(|word| self.machine.refused.contains(*word));
                let answer =
                    refused.map_or(Ok(()), |word| Err(Objection::Refused(format!("error: invalid argument: {word}"))));
                answers.checks.insert((launch.model.clone(), launch.spec.clone()), answer);
            }
            Question::Busy(id) => {
                let server = self.machine.servers.iter().find(|s| s.id == *id);
                let busy = server.map_or(Busy::Unknown, |s| self.busy(s));
                self.promises.asked(id, busy);
                answers.busy.insert(id.clone(), self.sabotaged_busy(busy));
            }
            Question::Served(id) => {
                let server = self.machine.servers.iter().find(|s| s.id == *id);
                self.promises.said(server.filter(|s| Machine::is_ready(s, self.now)).map(|s| &s.id));
                let served = server.map_or(Served::Unanswered, |s| s.served(self.now));
                answers.served.insert(id.clone(), self.sabotaged_served(served));
            }
            Question::PortHolder(port) => {
                answers.holders.insert(*port, self.machine.strangers.get(port).cloned());
            }
            Question::GpuLayers { id, .. } => {
                let without = self.machine.servers.iter().any(|s| s.id == *id && s.fate == Fate::WithoutGpu);
                answers.gpu_layers.insert(id.clone(), if without { 0 } else { 33 });
            }
            Question::FilesIntact { model, files } => {
                let intact = files.keys().all(|file| !self.machine.replaced.contains(&**file));
                answers.files_intact.insert(model.clone(), intact);
            }
            Question::Provenance { model, .. } => {
                answers.provenance.insert(model.clone(), None);
            }
        }
    }
}

impl Fallible for World {
    type Error = Ended;
}

impl Source for World {
    fn definitions(&mut self) -> Result<Arc<Desired>, Ended> {
        let next = self.reading(Call::Load, Ended::Unreadable)?;
        if self.unreadable {
            return Err(Ended::Unreadable);
        }
        let is_stale = next == Next::IsStale && self.last_read.is_some();
        if !is_stale && !self.is_as_read() {
            self.last_read = Some(Arc::new(self.desired.clone()));
        }
        let read = self.last_read.clone().unwrap_or_default();
        self.promises.read(&read);
        Ok(self.sabotaged_files(read))
    }
}

impl Ledger for World {
    fn records(&mut self) -> Result<Arc<Records>, Ended> {
        self.reading(Call::Records, Ended::Unrecalled)?;
        let records = self.store.records();
        self.promises.recorded(records.models.len());
        self.promises.plans(&records, self.now);
        Ok(self.sabotaged_records(records))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), Ended> {
        if changes.is_empty() {
            return Ok(());
        }
        let was_dead = self.dead;
        let made = Cell::new(false);
        let commit = |world: &mut Self| {
            if world.store.refuses(changes).is_some() && world.disturbed {
                return Err(Ended::NotRecorded);
            }
            made.set(true);
            world.check_changes(changes);
            let writes_rows = |change: &Change| {
                matches!(change, Change::CreateModel { .. } | Change::UpdateModel { .. } | Change::DeleteModel { .. })
            };
            let foreign = changes.iter().any(writes_rows).then(|| world.store.foreign_rows());
            world.sabotaged_commit(changes);
            foreign.iter().for_each(|foreign| world.check_rows(foreign));
            Ok(())
        };
        let result = self.carry_out(Call::Commit, commit, |next| {
            Err(if next == Next::Killed { Ended::Killed } else { Ended::NotRecorded })
        });
        if self.dead && !was_dead && !made.get() {
            self.sabotaged_half(changes);
        }
        self.sabotaged_result(result)
    }
}

impl Fleet for World {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn seed(&mut self) -> [u8; 16] {
        // Asked for with the time, right before it plans.
        let records = self.store.records();
        self.promises.plans(&records, self.now);
        self.promises.demanded(self.gateway.as_ref().map(|gateway| gateway.demand(self.now)));
        self.seed += 1;
        self.seed.to_le_bytes()
    }

    fn site(&self) -> plan::Site {
        self.site.clone()
    }

    fn observe(&mut self, records: &Records) -> Result<Observed, Ended> {
        self.reading(Call::Observe, Ended::Unseen)?;
        let recorded: Vec<&InstanceRecord> =
            records.models.values().flat_map(|m| &m.instances).chain(&records.orphans).collect();
        self.promises.looked(&self.machine, self.now);
        let observed = self.machine.observe(&recorded, self.now);
        Ok(self.sabotaged_look(observed, &recorded))
    }

    fn answer(&mut self, questions: &[Question], _: &Observed, answers: &mut Answers) -> Result<(), Ended> {
        self.reading(Call::Answer, Ended::Unseen)?;
        questions.iter().for_each(|question| self.answer_one(question, answers));
        Ok(())
    }

    fn demand(&self) -> Option<Demand> {
        self.gateway.as_ref().map(|gateway| self.sabotaged_demand(gateway))
    }

    fn withdraw(&mut self, instances: &[InstanceId]) -> Result<(), String> {
        if self.gateway.is_none() {
            return Ok(());
        }
        let instances = &self.sabotaged_leavers(instances);
        self.promises.withdraws(instances);
        let withdraw = |world: &mut Self| {
            world.check_withdrawal(instances);
            world.sabotaged_withdrawal(instances);
            Ok(())
        };
        self.carry_out(Call::Withdraw, withdraw, |next| {
            Err(if next == Next::Killed { "killed" } else { "the gateway does not answer" }.to_owned())
        })
    }

    fn readmit(&mut self, instances: &[InstanceId]) -> Result<(), String> {
        let readmit = |world: &mut Self| {
            world.check_readmission(instances);
            let Some(gateway) = &mut world.gateway else { return Ok(()) };
            let back: Vec<InstanceId> = instances.iter().filter(|id| gateway.withdrawn.remove(id)).cloned().collect();
            gateway.rotation.extend(back);
            world.attend();
            Ok(())
        };
        self.carry_out(Call::Readmit, readmit, |next| {
            Err(if next == Next::Killed { "killed" } else { "the gateway does not answer" }.to_owned())
        })
    }

    fn start(&mut self, launch: &Launch) -> Result<Handle, String> {
        let spawn = |world: &mut Self| {
            world.check_spawn(launch);
            Ok(world.machine.spawn(launch, world.now))
        };
        self.carry_out(Call::Spawn, spawn, |next| {
            Err(if next == Next::Killed { "killed" } else { "permission denied" }.to_owned())
        })
    }

    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>> {
        let sabotage = self.sabotage;
        let mut stop = |target: &StopTarget| {
            let stop = |world: &mut Self| {
                world.check_stop(target);
                world.end(target)
            };
            self.carry_out(Call::Stop, stop, |next| {
                Err(if next == Next::Killed { "killed" } else { "it does not end" }.to_owned())
            })
        };
        targets.iter().map(&mut stop).map(|result| sabotage::result_of_stop(sabotage, result)).collect()
    }
}
