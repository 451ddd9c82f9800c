//! What can happen in a simulated world: what people, programs, machines and
//! faults do, and herdsman's own passes.

use std::sync::Arc;
use std::time::Duration;

use herdsman::model::{Busy, Definition, FailureCause, InstanceRecord};
use herdsman::pass::Goal;
use herdsman::plan::Command;
use herdsman::watch::Cause;

use super::watched::Watched;
use crate::simulated::promises::DRAIN;
use crate::simulated::{Edit, Fate, Interference, Server, World, model, name};

/// The models there are.
pub const MODELS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The groups there are.
const GROUPS: [&str; 2] = ["chat", "big"];

/// One thing that happens. Models are numbers in [`MODELS`].
#[derive(Clone, Debug, PartialEq)]
pub enum Deed {
    /// Somebody writes a definition.
    Define(Written),
    /// Somebody removes one.
    Remove(usize),
    /// Somebody breaks one; whether its name can still be read.
    Spoil(usize, bool),
    /// A file that nobody knows cannot be read.
    SpoilUnknown,
    /// The directory is there, or not.
    HideDirectory(bool),
    /// The weights of a model are replaced, or put back.
    ReplaceWeights(usize, bool),
    /// herdsman makes a pass.
    Pass(Try),
    /// A watcher runs for a while.
    Watch(Watched),
    /// So many milliseconds pass.
    Advance(u64),
    /// Somebody sets the clock by so many milliseconds.
    SetClock(i64),
    /// The servers of a model are killed.
    Crash(usize),
    /// The next servers of a model die of something that is not its fault.
    Fails(usize, u8),
    /// The servers of a model have requests in flight, or no longer.
    Busy(usize, bool),
    /// The servers of a model do not answer, or again.
    Silent(usize, bool),
    /// The servers of a model cannot be read, or again.
    Unreadable(usize, bool),
    /// A server of ours is there that no record knows.
    Stray(usize, u8),
    /// Another program takes a port, or leaves it.
    Stranger(u16, bool),
    /// A server of another state directory serves a definition, or no longer.
    Foreign(usize, bool),
    /// Another program's process gets the pid of a server that ended.
    ReusePid,
    /// The machine is started again.
    Reboot,
    /// The database is deleted.
    LoseDatabase,
    /// Another program deletes a model's row.
    DeleteRow(usize),
    /// Another program changes a model's row.
    Drift(usize),
    /// Another program adds a row, by the name of a model or not.
    ForeignRow(Option<usize>),
    /// Another llama-server is installed.
    Install(bool),
    /// There is no llama-server, or there is again.
    Missing(bool),
    /// All that is there was recorded and started by a herdsman whose spec hashes
    /// are of the first recipe.
    Former,
    /// A gateway begins to serve, in front of groups with room for so many.
    Serve(usize),
    /// A client asks for a model: how long its answer takes, and when it leaves, in
    /// milliseconds.
    Ask(usize, u64, Option<u64>),
    /// All clients of a model leave.
    Leave(usize),
    /// A page of a model is left open.
    Poll(usize),
    /// A client unloads a model.
    Unload(usize),
    /// Somebody suspends a model, resumes, starts, stops or restarts it.
    ByHand(usize, Command),
}

/// What somebody writes into a definition.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// Of this model.
    pub model: usize,
    /// Which version of it.
    pub spec: u8,
    /// A declared port, unless another definition has it.
    pub port: Option<u16>,
    /// On a unix socket.
    pub socket: bool,
    /// `state = "stopped"`.
    pub stopped: bool,
    /// `state = "on_demand"`.
    pub on_demand: bool,
    /// Of the first group, of the second.
    pub groups: [bool; 2],
    /// `evict = "never"`.
    pub never_evicted: bool,
    /// How its server fares: see [`Fate::of`].
    pub fate: Option<&'static str>,
    /// `on_failure = "stop"`.
    pub stops: bool,
    /// Its description.
    pub description: u8,
}

/// A pass, by hand or by cron.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Try {
    /// `down`.
    pub down: bool,
    /// `--retry`.
    pub retry: bool,
    /// `--upgrade-binary`.
    pub upgrade: bool,
    /// `--target`.
    pub target: Option<usize>,
    /// What comes between, by the number of the call.
    pub interferences: Vec<(usize, Interference)>,
}

impl Written {
    /// The definition. No two share a declared port: `herdsman::definition`
    /// sees to that.
    fn definition(&self, world: &World) -> Definition {
        let name = MODELS[self.model];
        let drain = DRAIN.as_secs();
        let mut definition =
            model(name).option("ctx_size", &self.spec.to_string()).unhealthy_after(30).ready_timeout(20).drain(drain);
        let taken =
            |port| world.desired.definitions.values().any(|d| d.name.as_str() != name && d.spec.port == Some(port));
        if self.socket {
            definition = definition.socket(&format!("/run/{name}.sock"));
        } else if let Some(port) = self.port.filter(|port| !taken(*port)) {
            definition = definition.port(port);
        }
        if self.stopped {
            definition = definition.stopped();
        } else if self.on_demand {
            definition = definition.on_demand().stop_after(Some(30));
        }
        for (is_member, group) in self.groups.into_iter().zip(GROUPS) {
            definition = if is_member { definition.group(group) } else { definition };
        }
        if self.never_evicted {
            definition = definition.never_evicted();
        }
        if let Some(fate) = self.fate {
            definition = definition.fate(fate);
        }
        if self.stops {
            definition = definition.stop_on_failure();
        }
        definition.description(&self.description.to_string())
    }
}

impl Deed {
    /// Does it.
    pub fn act(&self, world: &mut World) {
        match self {
            Self::Define(written) => world.define(written.definition(world)),
            Self::Remove(index) => world.remove(MODELS[*index]),
            Self::Spoil(index, named) => world.spoil(MODELS[*index], named.then_some(MODELS[*index])),
            Self::SpoilUnknown => world.spoil("mystery", None),
            Self::HideDirectory(hidden) => world.unreadable = *hidden,
            Self::ReplaceWeights(index, replaced) => replace_weights(world, *index, *replaced),
            Self::Pass(attempt) => attempt.make(world),
            Self::Watch(watched) => watched.watch(world),
            Self::Advance(ms) => world.advance_ms(*ms),
            Self::SetClock(by) => world.set_clock(*by),
            Self::Crash(index) => crash(world, MODELS[*index]),
            Self::Fails(index, cause) => {
                let causes =
                    [FailureCause::NoMemory, FailureCause::DiskFull, FailureCause::Download, FailureCause::PortBusy];
                let fate = Fate::dies(causes[usize::from(*cause) % causes.len()], "for now");
                world.machine.fates.insert(name(MODELS[*index]), fate);
            }
            Self::Busy(index, on) => {
                let busy = if *on { Busy::Yes(1) } else { Busy::No };
                servers(world, *index, |s| s.busy = busy);
            }
            Self::Silent(index, on) => servers(world, *index, |s| s.silent = *on),
            Self::Unreadable(index, on) => recorded_unreadable(world, *index, *on),
            // In the midst of a pass nobody could know of it.
            Self::Stray(..) if world.is_in_pass() => {}
            Self::Stray(index, spec) => {
                let port = 8150 + u16::try_from(world.machine.servers.len()).unwrap_or(0);
                world.stray(&model(MODELS[*index]).option("ctx_size", &spec.to_string()), port);
            }
            Self::Stranger(port, true) if world.machine.servers.iter().all(|s| s.port != Some(*port)) => {
                world.machine.strangers.insert(*port, "nginx".to_owned());
            }
            Self::Stranger(port, _) => {
                world.machine.strangers.remove(port);
            }
            Self::Foreign(index, on) => {
                let path = format!("/models.d/{}.toml", MODELS[*index]);
                match on {
                    true => world.machine.foreign.insert(path, (MODELS[*index].to_owned(), 1_000_000)),
                    false => world.machine.foreign.remove(&path),
                };
            }
            Self::ReusePid => world.machine.reuse_pid(),
            Self::Reboot => world.reboot(),
            Self::LoseDatabase => world.lose_database(),
            Self::Former => world.by_a_former_herdsman(),
            Self::DeleteRow(index) => world.store.delete_row(MODELS[*index]),
            Self::Drift(index) => world.store.change_column(MODELS[*index], "ctx_size", "1", "2"),
            Self::ForeignRow(index) => {
                world.store.add_row(index.map_or("hand-made", |index| MODELS[index]));
            }
            Self::Install(other) => world.machine.install(if *other { "release 2" } else { "release 1" }),
            // In the midst of a pass nobody begins to serve.
            Self::Serve(_) if world.is_in_pass() => {}
            Self::Serve(max) => {
                GROUPS.into_iter().zip([1, *max]).for_each(|(group, max)| world.group(group, max));
                world.serve();
            }
            Self::Ask(index, takes, leaves) => {
                let leaves = leaves.map(Duration::from_millis);
                world.client(MODELS[*index], Duration::from_millis(*takes), leaves);
            }
            Self::Leave(index) => world.leave(MODELS[*index]),
            Self::Poll(index) => {
                let now = world.now;
                let polled = [(name(MODELS[*index]), now)];
                world.gateway.iter_mut().for_each(|gateway| gateway.polled.extend(polled.clone()));
            }
            Self::Unload(index) if world.gateway.is_some() => {
                world.traffic(MODELS[*index]).unload = Some(world.now);
            }
            Self::Unload(_) => {}
            Self::ByHand(index, command) => by_hand(world, MODELS[*index], *command),
            Self::Missing(missing) => {
                let there = world.machine.binary(&Some("/bin/llama-server".to_owned()));
                world.machine.binaries.insert(None, if *missing { Err("no llama-server".to_owned()) } else { there });
            }
        }
    }

    /// What a watcher learns of it.
    pub const fn cause(&self) -> Option<Cause> {
        match self {
            Self::Define(_) | Self::Remove(_) | Self::Spoil(..) | Self::SpoilUnknown | Self::HideDirectory(_) => {
                Some(Cause::Files)
            }
            Self::DeleteRow(_) | Self::Drift(_) | Self::ForeignRow(_) | Self::ByHand(..) => Some(Cause::Database),
            Self::Ask(..) | Self::Leave(_) | Self::Unload(_) => Some(Cause::Demand),
            _ => None,
        }
    }

    /// Its kind, for counting.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Define(_) => "definition written",
            Self::Remove(_) => "definition removed",
            Self::Spoil(..) => "definition broken",
            Self::SpoilUnknown => "unknown file broken",
            Self::HideDirectory(_) => "directory gone or back",
            Self::ReplaceWeights(..) => "weights replaced or back",
            Self::Pass(_) => "pass",
            Self::Watch(_) => "watch",
            Self::Advance(_) => "time passes",
            Self::SetClock(_) => "clock set",
            Self::Crash(_) => "server killed",
            Self::Fails(..) => "starts fail for now",
            Self::Busy(..) => "requests begin or end",
            Self::Silent(..) => "server hangs or answers",
            Self::Unreadable(..) => "process unreadable or readable",
            Self::Stray(..) => "unrecorded server",
            Self::Stranger(..) => "port taken or left",
            Self::Foreign(..) => "server of another state directory",
            Self::ReusePid => "pid used again",
            Self::Reboot => "reboot",
            Self::LoseDatabase => "database deleted",
            Self::Former => "herdsman upgraded",
            Self::DeleteRow(_) => "row deleted",
            Self::Drift(_) => "row changed",
            Self::ForeignRow(_) => "row of another program",
            Self::Install(_) => "llama-server replaced",
            Self::Missing(_) => "llama-server gone or back",
            Self::Serve(_) => "gateway begins",
            Self::Ask(..) => "request",
            Self::Leave(_) => "clients leave",
            Self::Poll(_) => "page left open",
            Self::Unload(_) => "unloaded",
            Self::ByHand(_, command) => command.event(),
        }
    }
}

impl Try {
    fn make(&self, world: &mut World) {
        let limits = world.limits.clone();
        world.goal = if self.down { Goal::Down } else { Goal::Definitions };
        (world.limits.retry, world.limits.upgrade_binary) = (self.retry, self.upgrade);
        world.limits.targets = self.target.map(|index| name(MODELS[index])).into_iter().collect();
        world.interferences.clone_from(&self.interferences);
        // How it ended is counted, and whatever it left undone is the next one's.
        let _ = world.try_pass();
        if self.down {
            world.promises.forget_starts();
        }
        world.interferences.clear();
        (world.limits, world.goal) = (limits, Goal::Definitions);
    }
}

fn servers(world: &mut World, index: usize, change: impl Fn(&mut Server)) {
    world.machine.servers.iter_mut().filter(|s| s.model.as_str() == MODELS[index]).for_each(change);
}

fn crash(world: &mut World, model: &str) {
    while let Some(server) = world.machine.of(model).first() {
        let id = server.id.clone();
        world.machine.die(&id, FailureCause::NoMemory, "killed");
    }
}

/// The command line does it under the lock of a pass: never amid one.
fn by_hand(world: &mut World, model: &str, command: Command) {
    if world.is_in_pass() || world.unreadable {
        return;
    }
    if let Err(refusal) = world.by_hand(model, command) {
        world.tally.add("refused", refusal.name());
    }
}

fn replace_weights(world: &mut World, index: usize, replaced: bool) {
    let file = format!("/weights/{}.gguf", MODELS[index]);
    if !replaced {
        world.machine.replaced.remove(&file);
        return;
    }
    world.machine.replaced.insert(file);
    if let Some(definition) = world.desired.definitions.get(MODELS[index]).cloned() {
        world.define(Arc::unwrap_or_clone(definition).new_weights());
    }
}

/// Only one that is recorded, or whose start was, can be unknown; of others
/// nothing would tell at all.
fn recorded_unreadable(world: &mut World, index: usize, on: bool) {
    let store = &world.store;
    for server in world.machine.servers.iter_mut().filter(|s| s.model.as_str() == MODELS[index]) {
        let is_known = |record: &InstanceRecord| server.may_be(record);
        server.unreadable = on && store.instance(&server.id).is_some_and(is_known);
    }
}
