//! `herdsman suspend`, `resume`, `start`, `stop` and `restart`.
//!
//! Each records the request in one transaction under the lock of a pass. The
//! last three then make passes for that model, as `reconcile --target` does; a
//! watcher may be faster.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::named::Named;
use super::output::{complain, print};
use super::places::look_and_tell;
use super::reconcile::{PlanFormat, ReconcileArgs, Wait, converge};
use super::{Exit, Format, Places, Refused, duration};
use crate::definition::closest;
use crate::host::HostError;
use crate::model::text;
use crate::model::{Change, Desired, Given, ModelName, OverrideKind, Timestamp};
use crate::pass::by_hand::{self, Asked};
use crate::pass::{Fleet, Goal, Ledger, Read, read};
use crate::plan::{Command, Limits, Refusal, WaitKind};
use crate::view::words::at;

/// Arguments of `suspend`.
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// Name or alias of the model.
    name: Named,
    /// Resume the model after this time, such as 2h [default: stays suspended].
    #[arg(long = "for", value_name = "DURATION", value_parser = lasting)]
    lasts: Option<Duration>,
    #[command(flatten)]
    why: WhyArgs,
    #[command(flatten)]
    lock: LockArgs,
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Name or alias of the model.
    name: Named,
    #[command(flatten)]
    lock: LockArgs,
}

/// Arguments of `start`, `stop` and `restart`.
#[derive(Debug, Args)]
pub struct HandArgs {
    /// Name or alias of the model.
    name: Named,
    #[command(flatten)]
    why: WhyArgs,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    lock: LockArgs,
}

#[derive(Debug, Args)]
struct WhyArgs {
    /// Reason, shown in plans and by `status` and `why`.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Parses a time above zero.
fn lasting(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("expected a time above zero such as 30m or 2h; leave out --for to suspend until `resume`".to_owned())
        }
        lasts => Ok(lasts),
    }
}

#[derive(Debug, Args)]
struct LockArgs {
    /// Wait this long for another pass to finish.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    lock_timeout: Duration,
}

/// A request that was recorded, and what it met.
struct RecordedRequest {
    changes: Vec<Change>,
    /// When it was recorded.
    at: Timestamp,
    /// Whether a server of the model is alive.
    lives: bool,
    /// Whether its definition is gone, as far as the files can be read.
    removed: bool,
}

/// Runs `suspend`.
pub(super) fn suspend(places: &Places, args: &SuspendArgs) -> anyhow::Result<Exit> {
    let name = &args.name.resolve(places)?;
    let done = record(places, Command::Suspend(args.lasts), name, args.why.reason.as_deref(), &args.lock)?;
    let until = args.lasts.map_or_else(String::new, |lasts| {
        format!(" for {}, until {}", text::duration(lasts), at(done.at.plus(lasts), done.at))
    });
    let or = if args.lasts.is_some() { "then, or until " } else { "" };
    print(format_args!("suspended {name}{until}; herdsman leaves it alone until {or}`herdsman resume {name}`\n"))?;
    Ok(Exit::Converged)
}

/// Runs `resume`.
pub(super) fn resume(places: &Places, args: &ResumeArgs) -> anyhow::Result<Exit> {
    let name = &args.name.resolve(places)?;
    let done = record(places, Command::Resume, name, None, &args.lock)?;
    if done.changes.is_empty() {
        print(format_args!("{name} is not suspended; nothing to do\n"))?;
        return Ok(Exit::Converged);
    }
    let watched = places.state().has_watcher()?;
    let next = if watched { "the watcher" } else { "the next `herdsman reconcile`" };
    let what = if done.removed { "deletes it, because its definition is gone" } else { "manages it again" };
    print(format_args!("resumed {name}; {next} {what}\n"))?;
    Ok(Exit::Converged)
}

/// Runs `start`, `stop` or `restart`.
pub(super) fn act(places: &Places, command: Command, args: &HandArgs) -> anyhow::Result<Exit> {
    let notify = places.settings()?.notify;
    let name = &args.name.resolve(places)?;
    let lock_timeout = args.wait.lock_timeout(args.lock.lock_timeout);
    let lock = LockArgs { lock_timeout };
    let done = record(places, command, name, args.why.reason.as_deref(), &lock)?;
    // Who starts a model by hand does not want to wait for its next retry. But a
    // server that serves in place of a failed generation keeps serving.
    let retry = command != Command::Stop && !done.lives;
    let format = match args.format {
        Format::Text => PlanFormat::Text,
        Format::Json => PlanFormat::Json,
    };
    let of_one = ReconcileArgs::of_one(name, format, &args.wait, retry, lock_timeout);
    let exit = converge(places, &of_one, of_one.limits(), notify.as_ref(), None, command.as_str())?;
    if command == Command::Restart {
        take_back(places, name, &lock)?;
    }
    Ok(exit)
}

/// Withdraws a restart that cannot happen now: later nobody would expect it.
fn take_back(places: &Places, name: &ModelName, lock: &LockArgs) -> anyhow::Result<()> {
    let _lock = places.state().lock(lock.lock_timeout).map_err(HostError::from)?;
    let mut host = places.open()?;
    let limits = Limits { targets: [name.clone()].into(), ..Limits::default() };
    let seen = look_and_tell(&mut host, &limits)?;
    let is_asked_for = seen.records.overrides.get(name).is_some_and(|all| all.restart.is_some());
    let comes = seen.plan.actions.iter().any(|action| action.model == *name)
        || seen.plan.waiting.iter().any(|w| w.model == *name && w.on.kind() == WaitKind::Progressing);
    if is_asked_for && !comes {
        host.commit(&[Change::EndOverride { model: name.clone(), kind: OverrideKind::Restart }])?;
        complain(format_args!(
            "{name} was not restarted, and the request is withdrawn\nhelp: fix what it waits for, then run `herdsman restart {name}` again"
        ));
    }
    Ok(())
}

/// Records the request under the lock, so that no pass runs meanwhile.
fn record(
    places: &Places,
    command: Command,
    name: &ModelName,
    reason: Option<&str>,
    lock: &LockArgs,
) -> anyhow::Result<RecordedRequest> {
    let state = places.state();
    state.create().map_err(HostError::from)?;
    let _lock = state.lock(lock.lock_timeout).map_err(HostError::from)?;
    let mut host = places.open()?;
    let definitions = match read(&mut host, Goal::Definitions) {
        // A model can be left alone even while the definitions cannot be read.
        Err(HostError::Load(_) | HostError::Revision(_) | HostError::Policy(_))
            if matches!(command, Command::Suspend(_) | Command::Resume) =>
        {
            read(&mut host, Goal::Down)
        }
        read => read,
    };
    host.take_notices().iter().for_each(complain);
    let read = definitions?;
    let observed = host.observe(&read.1)?;
    let given = Given { by: user(), at: host.now(), because: reason.map(str::to_owned) };
    let asked = Asked { model: name.clone(), command, given };
    let changes = by_hand::record(&mut host, &asked, &read, &observed)?.map_err(|refusal| Refused {
        exit: exit_of(&refusal),
        message: match refusal {
            Refusal::Unknown => unknown(name, &read),
            refusal => format!("{} {name}: {refusal}", command.as_str()),
        },
    })?;
    let is_removed = |desired: &Arc<Desired>| desired.unresolved.is_empty() && !desired.definitions.contains_key(name);
    Ok(RecordedRequest {
        changes,
        at: asked.given.at,
        lives: observed.instances.iter().any(|instance| instance.model == *name),
        removed: read.0.as_ref().is_some_and(is_removed),
    })
}

fn unknown(name: &ModelName, (desired, records): &Read) -> String {
    let defined = desired.iter().flat_map(|desired| desired.definitions.keys());
    let names = defined.chain(records.models.keys()).map(ModelName::as_str);
    let next = match closest(name.as_str(), names) {
        Some(near) => format!("did you mean {near}?"),
        None => "`herdsman status` lists all models".to_owned(),
    };
    format!("there is no model named {name}\nhelp: {next}")
}

const fn exit_of(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Unknown | Refusal::Unmanaged => Exit::Usage,
        Refusal::Unresolved { .. } => Exit::InvalidDefinition,
        Refusal::Removed | Refusal::Suspended { .. } | Refusal::NotToRun => Exit::Failed,
    }
}

/// Returns who asks: the user who called sudo, or the user of this process.
fn user() -> String {
    let uid = nix::unistd::Uid::current();
    let sudo = std::env::var("SUDO_USER").ok().filter(|name| uid.is_root() && !name.is_empty());
    let name = || nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    sudo.or_else(name).unwrap_or_else(|| format!("uid {uid}"))
}
