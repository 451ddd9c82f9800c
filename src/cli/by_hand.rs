//! `herdsman suspend`, `resume`, `start`, `stop` and `restart`.
//!
//! Each records what was asked for in one transaction under the lock of a
//! pass. The last three then make passes for that model, as
//! `reconcile --target` does; a watcher may be faster.

use std::time::Duration;

use clap::Args;

use super::open::{Refused, look_and_tell};
use super::output::print;
use super::reconcile::{ReconcileArgs, Wait, converge};
use super::status::clock;
use super::{Exit, Places, duration};
use crate::apply::World;
use crate::host::HostError;
use crate::model::{Change, Given, ModelName, Override};
use crate::plan::{Command, Known, Limits, Refusal, request};
use crate::text;

/// Arguments of `suspend`.
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// The model.
    name: ModelName,
    /// Resume it by itself after this time [default: never].
    #[arg(long = "for", value_name = "T", value_parser = duration)]
    lasts: Option<Duration>,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    lock: LockArgs,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// The model.
    name: ModelName,
    #[command(flatten)]
    lock: LockArgs,
}

/// Arguments of `start`, `stop` and `restart`.
#[derive(Debug, Args)]
pub struct HandArgs {
    /// The model.
    name: ModelName,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    lock: LockArgs,
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// Why, for whoever wonders.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct LockArgs {
    /// How long to wait for another pass to end.
    #[arg(long, value_name = "T", default_value = "60s", value_parser = duration)]
    lock_timeout: Duration,
}

/// Runs `suspend`.
pub(super) fn suspend(places: &Places, args: &SuspendArgs) -> anyhow::Result<Exit> {
    let changes = record(places, Command::Suspend(args.lasts), &args.name, args.why.reason.as_deref(), &args.lock)?;
    let until = changes.iter().find_map(|change| match change {
        Change::PutOverride { what: Override::Suspended(suspended), .. } => suspended.until,
        _ => None,
    });
    let (name, lasts) = (&args.name, args.lasts.map(text::duration).unwrap_or_default());
    let until = until.map_or_else(String::new, |until| format!(" for {lasts}, until {}", clock(until)));
    print(format_args!("{name} is suspended{until}: nothing is done to it. `herdsman resume {name}` ends that.\n"))?;
    Ok(Exit::Converged)
}

/// Runs `resume`.
pub(super) fn resume(places: &Places, args: &ResumeArgs) -> anyhow::Result<Exit> {
    let changes = record(places, Command::Resume, &args.name, None, &args.lock)?;
    let name = &args.name;
    if changes.is_empty() {
        print(format_args!("{name} is not suspended.\n"))?;
    } else if places.state().has_watcher()? {
        print(format_args!("{name} is resumed; the watcher takes it up.\n"))?;
    } else {
        print(format_args!("{name} is resumed; the next `herdsman reconcile` takes it up.\n"))?;
    }
    Ok(Exit::Converged)
}

/// Runs `start`, `stop` or `restart`.
pub(super) fn act(places: &Places, command: Command, args: &HandArgs) -> anyhow::Result<Exit> {
    record(places, command, &args.name, args.why.reason.as_deref(), &args.lock)?;
    // Whoever wants it to run does not want to wait for its next try.
    let retry = command != Command::Stop;
    let of_one = ReconcileArgs::of_one(&args.name, &args.wait, retry, args.lock.lock_timeout);
    converge(places, &of_one, &of_one.limits(places), command.as_str())
}

/// Records what was asked for; what that is.
fn record(
    places: &Places,
    command: Command,
    name: &ModelName,
    reason: Option<&str>,
    lock: &LockArgs,
) -> anyhow::Result<Vec<Change>> {
    let state = places.state();
    state.create().map_err(HostError::from)?;
    let _lock = state.lock(lock.lock_timeout).map_err(HostError::from)?;
    let mut host = places.open()?;
    let targets = [name.clone()].into();
    let limits = Limits { port_range: places.port_range, logs: state.logs(), targets, ..Limits::default() };
    let seen = look_and_tell(&mut host, &limits)?;
    let desired = seen.desired.unwrap_or_default();
    let known = Known { desired: &desired, records: &seen.records, observed: &seen.observed };
    let given = Given { by: user(), at: host.now(), because: reason.map(str::to_owned) };
    let changes = request(command, name, &given, known).map_err(|refusal| Refused {
        exit: exit_of(&refusal),
        message: format!("{} {name}: {refusal}", command.as_str()),
    })?;
    if !changes.is_empty() {
        host.commit(&changes)?;
    }
    Ok(changes)
}

const fn exit_of(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Unknown { .. } | Refusal::Unmanaged => Exit::Usage,
        Refusal::Unresolved { .. } => Exit::InvalidDefinition,
        Refusal::Removed | Refusal::Suspended { .. } | Refusal::NotToRun => Exit::Failed,
    }
}

/// Who asks: whoever called sudo, or whose process this is.
fn user() -> String {
    let uid = nix::unistd::Uid::current();
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    let name = || nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    sudo.or_else(name).unwrap_or_else(|| format!("uid {uid}"))
}
