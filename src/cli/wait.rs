//! `herdsman wait`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;

use super::output::{complain, print};
use super::places::report_diagnostics;
use super::{Exit, Places, Refused, duration, render};
use crate::definition::LoadError;
use crate::host::{Deployed, deployed};
use crate::host::{Host, HostError};
use crate::model::text;
use crate::pass::wait::{Verdict, Vigil};
use crate::pass::{self, Goal, Pass};
use crate::plan::{Limits, WaitKind};

/// Arguments of `wait`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  herdsman wait --commit origin/main --timeout 15m")]
pub struct WaitArgs {
    /// Wait for this commit, or for a later one that contains it [default: the definitions as they are].
    #[arg(long, value_name = "SHA")]
    commit: Option<String>,
    /// Give up after this time.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,
    /// Require every model to match its definition for this long, without a crash.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    stable_for: Duration,
}

/// How often to look; the exit of a process is seen at once.
const POLL: Duration = Duration::from_millis(250);

/// Runs the command. It only looks and changes nothing.
pub(super) fn run(places: &Places, args: &WaitArgs) -> anyhow::Result<Exit> {
    if args.stable_for > args.timeout {
        let [stable, timeout] = [args.stable_for, args.timeout].map(text::duration);
        let message =
            format!("--stable-for {stable} is longer than --timeout {timeout}, so the wait can never succeed");
        return Err(Refused { exit: Exit::Usage, message }.into());
    }
    let begun = Instant::now();
    let mut vigil = Vigil::new(args.stable_for);
    let (mut said, mut noticed) = (String::new(), BTreeSet::new());
    loop {
        let mut seen = look(places, args)?;
        for notice in seen.notices() {
            if noticed.insert(notice.clone()) {
                complain(notice);
            }
        }
        let (state, verdict) = match &seen {
            Standing::NotYet(why) => {
                vigil.interrupted();
                (format!("waiting: {why}"), Verdict::NotYet)
            }
            Standing::Machine { pass, .. } => {
                let verdict = vigil.judge(pass, begun.elapsed());
                (state(&verdict, pass), verdict)
            }
        };
        match (verdict, &seen) {
            (Verdict::Reached, Standing::Machine { what, pass, .. }) => {
                let healthy = text::duration(args.stable_for);
                let models = render::match_summary(&pass.plan);
                print(format_args!("{what} is in sync and has been healthy for {healthy}: {models}\n"))?;
                return Ok(Exit::Converged);
            }
            (Verdict::Never, Standing::Machine { what, pass, .. }) => {
                report_diagnostics(pass);
                return Err(given_up(&format!("{what} is not in sync, and waiting will not help"), Some(pass)));
            }
            _ if begun.elapsed() >= args.timeout => {
                let waited = text::duration(args.timeout);
                return Err(match &seen {
                    Standing::NotYet(why) => given_up(&format!("gave up after {waited}: {why}"), None),
                    Standing::Machine { what, pass, .. } => {
                        let is_settling = matches!(verdict, Verdict::Settling(_));
                        let how =
                            if is_settling { "has not been in sync for long enough" } else { "is not in sync yet" };
                        let why = format!("gave up after {waited}: {what} {how}");
                        given_up(&(why + nobody(places, pass)?), Some(pass))
                    }
                });
            }
            _ => {}
        }
        if state != said {
            complain(&state);
            said = state;
        }
        let left = args.timeout.saturating_sub(begun.elapsed());
        let pause = if let Verdict::Settling(for_long) = verdict { for_long.min(POLL) } else { POLL };
        seen.pause(pause.min(left));
    }
}

/// What a look found.
enum Standing {
    /// The commit is not the one that is read, or the files cannot be read now.
    NotYet(String),
    /// How things stand.
    Machine {
        /// What is looked at: a commit, or the definitions.
        what: String,
        pass: Box<Pass>,
        host: Box<Host>,
    },
}

impl Standing {
    /// Takes the notices about the database.
    fn notices(&mut self) -> Vec<String> {
        match self {
            Self::NotYet(_) => Vec::new(),
            Self::Machine { host, .. } => host.take_notices(),
        }
    }

    /// Waits until the next look; the exit of a server ends the wait.
    fn pause(&mut self, time: Duration) {
        match self {
            Self::NotYet(_) => std::thread::sleep(time),
            Self::Machine { pass, host, .. } => host.wait(&pass.observed.instances, time),
        }
    }
}

fn look(places: &Places, args: &WaitArgs) -> anyhow::Result<Standing> {
    // Asked before the definitions are read, so that these are at least as new.
    let what = match &args.commit {
        None => places.models_dir.display().to_string(),
        Some(commit) => match deployed(&places.resolve().models_dir(), places.revision(), commit)? {
            Deployed::NotYet(why) => return Ok(Standing::NotYet(why)),
            Deployed::In { wanted, read } if wanted == read => wanted.short().to_owned(),
            Deployed::In { wanted, read } => format!("{} (in {})", wanted.short(), read.short()),
        },
    };
    let limits = Limits::default();
    let seen = places
        .open_read_only()
        .map(Host::asking_nobody)
        .and_then(|mut host| Ok((pass::look(&mut host, Goal::Definitions, &limits)?, host)));
    match seen {
        Ok((pass, host)) => Ok(Standing::Machine { what, pass: Box::new(pass), host: Box::new(host) }),
        // Somebody is changing the files.
        Err(HostError::Load(problem @ (LoadError::GitBusy { .. } | LoadError::Unsettled { .. }))) => {
            Ok(Standing::NotYet(problem.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Describes how things stand.
fn state(verdict: &Verdict, pass: &Pass) -> String {
    match verdict {
        Verdict::Reached | Verdict::Settling(_) => "in sync; checking that it stays healthy".to_owned(),
        Verdict::NotYet | Verdict::Never if pass.plan.actions.is_empty() => {
            let waits = pass.plan.waiting.iter().filter(|waiting| waiting.on.kind() != WaitKind::Note);
            let waits: Vec<String> = waits.map(|waiting| format!("{}: {}", waiting.model, waiting.on)).collect();
            waits.join("\n")
        }
        Verdict::NotYet | Verdict::Never => render::summary(&pass.plan).trim_end().to_owned(),
    }
}

/// Returns the advice to reconcile, if changes are pending and no watcher runs.
fn nobody(places: &Places, pass: &Pass) -> anyhow::Result<&'static str> {
    let idle = !pass.plan.actions.is_empty() && !places.state().has_watcher()?;
    Ok(if idle { "\nhelp: no watcher is running; run `herdsman reconcile`" } else { "" })
}

/// Makes the error of a wait without success; the plan says what is missing.
fn given_up(why: &str, pass: Option<&Pass>) -> anyhow::Error {
    let exit = pass.map_or(Exit::Failed, |pass| Exit::of_pass(pass).and(Exit::Failed));
    let plan = pass.map(|pass| format!("\n{}", render::plan(&pass.plan, pass.now).trim_end())).unwrap_or_default();
    Refused { exit, message: format!("{why}{plan}") }.into()
}
