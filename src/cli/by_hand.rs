//! `herdsman suspend`, `resume`, `start`, `stop` and `restart`.
//!
//! Each records what was asked for in one transaction under the lock of a
//! pass. The last three then make passes for that model, as
//! `reconcile --target` does; a watcher may be faster.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::open::{Refused, look_and_tell};
use super::output::{complain, print};
use super::reconcile::{PlanFormat, ReconcileArgs, Wait, converge};
use super::{Exit, Format, Places, duration};
use crate::definition::closest;
use crate::host::{Host, HostError};
use crate::model::text;
use crate::model::{Change, Given, ModelName, OverrideKind, Timestamp};
use crate::pass::apply::World;
use crate::pass::{Goal, Pass, look};
use crate::plan::{Command, Known, Limits, Refusal, WaitKind, request};
use crate::view::words::at;

/// Arguments of `suspend`.
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// The model.
    name: ModelName,
    /// Resume it by itself after this time [default: never].
    #[arg(long = "for", value_name = "T", value_parser = lasting)]
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
    /// How to write plan and results.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
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

/// A time that is not over at once.
fn lasting(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("that is over at once: give a time such as 30m or 2h, or leave --for out".to_owned()),
        lasts => Ok(lasts),
    }
}

#[derive(Debug, Args)]
struct LockArgs {
    /// How long to wait for another pass to end.
    #[arg(long, value_name = "T", default_value = "60s", value_parser = duration)]
    lock_timeout: Duration,
}

/// What was found and recorded.
struct Recorded {
    changes: Vec<Change>,
    /// When.
    at: Timestamp,
    /// A server of the model lives.
    lives: bool,
    /// Its definition is gone, as far as the files can be read.
    removed: bool,
}

/// Runs `suspend`.
pub(super) fn suspend(places: &Places, args: &SuspendArgs) -> anyhow::Result<Exit> {
    let done = record(places, Command::Suspend(args.lasts), &args.name, args.why.reason.as_deref(), &args.lock)?;
    let until = args.lasts.map_or_else(String::new, |lasts| {
        format!(" for {}, until {}", text::duration(lasts), at(done.at.plus(lasts), done.at))
    });
    let name = &args.name;
    print(format_args!("{name} is suspended{until}: nothing is done to it. `herdsman resume {name}` ends that.\n"))?;
    Ok(Exit::Converged)
}

/// Runs `resume`.
pub(super) fn resume(places: &Places, args: &ResumeArgs) -> anyhow::Result<Exit> {
    let done = record(places, Command::Resume, &args.name, None, &args.lock)?;
    let name = &args.name;
    if done.changes.is_empty() {
        print(format_args!("{name} is not suspended.\n"))?;
        return Ok(Exit::Converged);
    }
    let watched = places.state().has_watcher()?;
    let next = if watched { "the watcher" } else { "the next `herdsman reconcile`" };
    let what = if done.removed { "deletes it, for its definition is gone" } else { "takes it up" };
    print(format_args!("{name} is resumed; {next} {what}.\n"))?;
    Ok(Exit::Converged)
}

/// Runs `start`, `stop` or `restart`.
pub(super) fn act(places: &Places, command: Command, args: &HandArgs) -> anyhow::Result<Exit> {
    let notify = places.settings()?.notify;
    let lock_timeout = args.wait.lock_timeout(args.lock.lock_timeout);
    let lock = LockArgs { lock_timeout };
    let done = record(places, command, &args.name, args.why.reason.as_deref(), &lock)?;
    // Whoever wants it to run does not want to wait for its next try. But what
    // serves in the place of a failed generation does not give way to that.
    let retry = command != Command::Stop && !done.lives;
    let format = match args.format {
        Format::Text => PlanFormat::Text,
        Format::Json => PlanFormat::Json,
    };
    let of_one = ReconcileArgs::of_one(&args.name, format, &args.wait, retry, lock_timeout);
    let exit = converge(places, &of_one, of_one.limits(places), notify.as_ref(), None, command.as_str())?;
    if command == Command::Restart {
        take_back(places, &args.name, &lock)?;
    }
    Ok(exit)
}

/// A restart that cannot come now would come when nobody expects it any more.
fn take_back(places: &Places, name: &ModelName, lock: &LockArgs) -> anyhow::Result<()> {
    let _lock = places.state().lock(lock.lock_timeout).map_err(HostError::from)?;
    let mut host = places.open()?;
    let seen = see(places, &mut host, Command::Restart, name)?;
    let is_asked_for = seen.records.overrides.get(name).is_some_and(|all| all.restart.is_some());
    let comes = seen.plan.actions.iter().any(|action| action.model == *name)
        || seen.plan.waiting.iter().any(|w| w.model == *name && w.on.kind() == WaitKind::Progressing);
    if is_asked_for && !comes {
        host.commit(&[Change::EndOverride { model: name.clone(), kind: OverrideKind::Restart }])?;
        complain(format_args!(
            "{name} is not restarted, and that is no longer asked for: ask again once that is mended"
        ));
    }
    Ok(())
}

/// Records what was asked for, under the lock: no pass is in the midst of it.
fn record(
    places: &Places,
    command: Command,
    name: &ModelName,
    reason: Option<&str>,
    lock: &LockArgs,
) -> anyhow::Result<Recorded> {
    let state = places.state();
    state.create().map_err(HostError::from)?;
    let _lock = state.lock(lock.lock_timeout).map_err(HostError::from)?;
    let mut host = places.open()?;
    let seen = see(places, &mut host, command, name)?;
    let unread = Arc::default();
    let desired = seen.desired.as_ref().unwrap_or(&unread);
    let known = Known { desired, records: &seen.records, observed: &seen.observed };
    let given = Given { by: user(), at: host.now(), because: reason.map(str::to_owned) };
    let changes = request(command, name, &given, known).map_err(|refusal| Refused {
        exit: exit_of(&refusal),
        message: match refusal {
            Refusal::Unknown => unknown(command, name, known),
            refusal => format!("{} {name}: {refusal}", command.as_str()),
        },
    })?;
    if !changes.is_empty() {
        host.commit(&changes)?;
    }
    host.take_notices().iter().for_each(complain);
    Ok(Recorded {
        changes,
        at: given.at,
        lives: seen.observed.instances.iter().any(|instance| instance.model == *name),
        removed: seen
            .desired
            .is_some_and(|desired| desired.unresolved.is_empty() && !desired.definitions.contains_key(name)),
    })
}

/// A look at everything. Hands are taken off, and put on again, also while the
/// definitions cannot be read at all.
fn see(places: &Places, host: &mut Host, command: Command, name: &ModelName) -> Result<Pass, HostError> {
    let (logs, targets) = (places.state().logs(), [name.clone()].into());
    let limits = Limits { port_range: places.port_range, logs, targets, ..Limits::default() };
    match look_and_tell(host, &limits) {
        Err(HostError::Load(_) | HostError::Revision(_) | HostError::Policy(_))
            if matches!(command, Command::Suspend(_) | Command::Resume) =>
        {
            look(host, Goal::Down, &limits)
        }
        seen => seen,
    }
}

fn unknown(command: Command, name: &ModelName, known: Known<'_>) -> String {
    let names = known.desired.definitions.keys().chain(known.records.models.keys()).map(ModelName::as_str);
    let next = match closest(name.as_str(), names) {
        Some(near) => format!("did you mean {near}?"),
        None => "`herdsman status` lists all".to_owned(),
    };
    format!("{} {name}: no definition declares it; {next}", command.as_str())
}

const fn exit_of(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Unknown | Refusal::Unmanaged => Exit::Usage,
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
