//! `herdsman reconcile`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::json::{self, Document};
use super::limits::LimitArgs;
use super::open::{Refused, awaits_llama_server, look_patiently, pass_and_tell_if};
use super::output::{complain, print};
use super::progress::Progress;
use super::review::{self, Review};
use super::{Exit, Places, duration, markdown, render};
use crate::definition::closest;
use crate::host::Host;
use crate::instance::limit_logs;
use crate::model::{Diagnostic, ModelName, Timestamp};
use crate::notify::last_call;
use crate::plan::{ActionKind, Limits, WaitFor, WaitKind};
use crate::reconcile::{Goal, Pass};
use crate::settings::Notify;
use crate::state::StateDir;

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Show what would be done and why; write nothing at all.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Exit 2 if changes are pending (dry run) or were made.
    #[arg(long)]
    detailed_exitcode: bool,
    /// How to write plan and results.
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
    /// Save the plan of a dry run to this file.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    out: Option<PathBuf>,
    /// Apply this saved plan, once, if everything is as it was; with --dry-run, only say whether it is.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = [
            "out", "target", "no_wait", "retry", "max_deletes", "parallel", "max_restarting", "upgrade_binary"
        ]
    )]
    plan: Option<PathBuf>,
    #[command(flatten)]
    wait: Wait,
    /// Only this model; may be given again.
    #[arg(long, value_name = "NAME")]
    target: Vec<ModelName>,
    /// Try failed generations and crashed models again now.
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// How plans and results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people; may change.
    #[default]
    Text,
    /// For programs; versioned.
    Json,
    /// For a comment on a pull request (with --dry-run).
    Markdown,
}

/// How long to stay.
#[derive(Clone, Debug, Args)]
pub(super) struct Wait {
    /// Make one pass and leave what loads or drains to the next.
    #[arg(long)]
    no_wait: bool,
    /// Give up waiting after this time; what was begun goes on [default: never].
    #[arg(long, value_name = "T", value_parser = duration)]
    timeout: Option<Duration>,
}

impl Wait {
    /// How long to wait for another pass to end: not longer than for this one.
    pub(super) fn lock_timeout(&self, lock_timeout: Duration) -> Duration {
        self.timeout.map_or(lock_timeout, |timeout| timeout.min(lock_timeout))
    }
}

impl ReconcileArgs {
    /// `reconcile --target NAME`, with the default limits.
    pub(super) fn of_one(
        name: &ModelName,
        format: PlanFormat,
        wait: &Wait,
        retry: bool,
        lock_timeout: Duration,
    ) -> Self {
        let limits = LimitArgs::usual(lock_timeout);
        let target = vec![name.clone()];
        Self {
            dry_run: false,
            detailed_exitcode: false,
            format,
            out: None,
            plan: None,
            wait: wait.clone(),
            target,
            retry,
            limits,
        }
    }

    /// What its passes may do.
    pub(super) fn limits(&self, places: &Places) -> Limits {
        Limits { targets: self.target.iter().cloned().collect(), retry: self.retry, ..self.limits.limits(places) }
    }
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &ReconcileArgs) -> anyhow::Result<Exit> {
    let limits = args.limits(places);
    if args.format == PlanFormat::Markdown && !args.dry_run {
        let message = "--format markdown shows a plan: add --dry-run".to_owned();
        return Err(Refused { exit: Exit::Usage, message }.into());
    }
    let notify = places.settings()?.notify;
    let review = args.plan.as_deref().map(|path| Review::open(places, path)).transpose()?;
    let limits = review.as_ref().map_or(limits.clone(), |review| review.limits(&limits));
    if args.dry_run {
        dry_run(places, args, &limits, review.as_ref())
    } else {
        converge(places, args, limits, notify.as_ref(), review, "reconcile")
    }
}

fn dry_run(places: &Places, args: &ReconcileArgs, limits: &Limits, review: Option<&Review>) -> anyhow::Result<Exit> {
    let mut host = places.open_read_only()?;
    if limits.retry {
        host.ask_again();
    }
    let seen = look_patiently(&mut host, limits)?;
    report_diagnostics(&seen);
    reject_unknown_targets(&seen, args)?;
    review.map_or(Ok(()), |review| review.check(&host, &seen))?;
    let exit = Exit::of_pass(&seen).and(if args.detailed_exitcode && !seen.plan.actions.is_empty() {
        Exit::Changes
    } else {
        Exit::Converged
    });
    match args.format {
        PlanFormat::Text => print(render::plan(&seen.plan, seen.now))?,
        PlanFormat::Json => json::print(&Document::plan(&seen, exit))?,
        PlanFormat::Markdown => print(markdown::plan(&seen.plan, seen.now, diagnostics(&seen)))?,
    }
    args.out.as_deref().map_or(Ok(()), |path| review::save(places, path, &seen, limits))?;
    // The process ends here: freeing thousands of definitions is wasted time.
    std::mem::forget(seen);
    Ok(exit)
}

/// Passes until nothing is left to wait for; `cause` is what makes them.
pub(super) fn converge(
    places: &Places,
    args: &ReconcileArgs,
    limits: Limits,
    notify: Option<&Notify>,
    review: Option<Review>,
    cause: &'static str,
) -> anyhow::Result<Exit> {
    let mut run = Run::new(args, limits, notify, review, cause);
    let mut host = None;
    let mut last = run.pass(places, &mut host)?;
    report_diagnostics(&last);
    if args.format == PlanFormat::Text {
        print(render::plan(&last.plan, last.now))?;
    }
    let began_waiting = !args.wait.no_wait && waits(&last, WaitKind::Progressing);
    loop {
        run.note(&last);
        if run.ends_with(&last) {
            break;
        }
        if last.outcomes.is_empty()
            && let Some(host) = &mut host
        {
            run.wait(host, &last);
        }
        let before = std::mem::replace(&mut last, run.pass(places, &mut host)?);
        if diagnostics(&before) != diagnostics(&last) {
            report_diagnostics(&last);
        }
    }
    run.progress.finish();
    if let Some(host) = &mut host {
        tell(host, notify, &places.state());
    }
    if run.out_of_time() && waits(&last, WaitKind::Progressing) {
        complain("gave up waiting (--timeout); what was begun goes on, and the next reconcile takes it up");
    }
    if let (Some(review), Some(host)) = (&run.review, &mut host) {
        review.end(host)?;
    }
    let exit = run.exit(&last);
    match args.format {
        PlanFormat::Text | PlanFormat::Markdown => {
            let is_all = run.review.is_none();
            print(render::result(&run.document, &last.plan, began_waiting, is_all, last.now))?;
        }
        PlanFormat::Json => json::print(&run.document.finish(&last, exit))?,
    }
    // The process ends here: freeing thousands of definitions is wasted time.
    std::mem::forget(last);
    Ok(exit)
}

/// Passes that each change something and never come to rest mean that another
/// program undoes them; better to say so than to fight it.
const MOST_PASSES_IN_A_ROW: usize = 100;

/// One `reconcile` on its way.
struct Run<'a> {
    args: &'a ReconcileArgs,
    notify: Option<&'a Notify>,
    limits: Limits,
    /// The saved plan that is applied.
    review: Option<Review>,
    cause: &'static str,
    document: Document,
    progress: Progress,
    begun: Instant,
    /// Its first pass was made: targets are known, long logs were shortened.
    is_under_way: bool,
    /// Passes in a row that did something, and in which nothing worked.
    busy_passes: usize,
    futile_passes: usize,
}

impl<'a> Run<'a> {
    fn new(
        args: &'a ReconcileArgs,
        limits: Limits,
        notify: Option<&'a Notify>,
        review: Option<Review>,
        cause: &'static str,
    ) -> Self {
        let (document, progress, begun) = (Document::new(), Progress::new(), Instant::now());
        Self {
            args,
            notify,
            limits,
            review,
            cause,
            document,
            progress,
            begun,
            is_under_way: false,
            busy_passes: 0,
            futile_passes: 0,
        }
    }

    /// One pass under the lock.
    fn pass(&mut self, places: &Places, host: &mut Option<Host>) -> anyhow::Result<Pass> {
        let state = places.state();
        state.create()?;
        let _lock = state.lock(self.args.wait.lock_timeout(self.args.limits.lock_timeout))?;
        let host = match host {
            Some(host) => host,
            None => host.insert(places.open()?.telling(self.notify)),
        };
        if self.limits.retry {
            host.ask_again();
        }
        let pass = match &mut self.review {
            None => {
                let is_first = !self.is_under_way;
                // Later a target may be deleted, as was wanted.
                let approve =
                    |seen: &Pass| if is_first { Ok(reject_unknown_targets(seen, self.args)?) } else { Ok(()) };
                pass_and_tell_if(host, Goal::Definitions, &self.limits, self.cause, approve)?
            }
            Some(review) => review.pass(host, &self.limits)?,
        };
        if !std::mem::replace(&mut self.is_under_way, true) {
            // The log grows on, and the next reconcile tries again.
            limit_logs(&state.logs(), &self.args.limits.logs()).iter().for_each(complain);
        }
        Ok(pass)
    }

    /// Reports a pass, and remembers what the next ones must know of it.
    fn note(&mut self, last: &Pass) {
        self.progress.report(last);
        self.document.add(last);
        let futile = !last.outcomes.is_empty() && last.outcomes.iter().all(|o| o.result.is_err());
        self.busy_passes = if last.outcomes.is_empty() { 0 } else { self.busy_passes + 1 };
        self.futile_passes = if futile { self.futile_passes + 1 } else { 0 };
        // `--retry` means once, not until it works.
        let started = last.outcomes.iter().filter(|o| matches!(o.kind, ActionKind::Start | ActionKind::Restart));
        self.limits.tried.extend(started.map(|o| o.model.clone()));
        if let Some(review) = &mut self.review {
            review.carry_on(&mut self.limits, last);
        }
    }

    fn ends_with(&self, last: &Pass) -> bool {
        let (did_nothing, progressing) = (last.outcomes.is_empty(), waits(last, WaitKind::Progressing));
        // Out of time it ends with a pass that only looked: what it did last
        // is not known to have worked.
        self.args.wait.no_wait && !awaits_llama_server(last)
            || did_nothing && (!progressing || self.out_of_time())
            || self.busy_passes > MOST_PASSES_IN_A_ROW
            || self.futile_passes > 1
    }

    /// Waits, without the lock, until a loading or draining model may have
    /// come further.
    fn wait(&mut self, host: &mut Host, last: &Pass) {
        let waiting = |wait: &WaitFor| wait.kind() == WaitKind::Progressing;
        let names: std::collections::BTreeSet<_> =
            last.plan.waiting.iter().filter(|w| waiting(&w.on)).map(|w| &w.model).collect();
        let watched: Vec<_> = last.observed.instances.iter().filter(|i| names.contains(&i.model)).cloned().collect();
        let longest = if awaits_llama_server(last) { Duration::from_millis(100) } else { Duration::from_secs(1) };
        let deadlines = last.plan.waiting.iter().filter_map(|w| match w.on {
            WaitFor::Ready { deadline, .. } | WaitFor::Drain { deadline, .. } => Some(last.now.until(deadline)),
            _ => None,
        });
        let timeout = self.args.wait.timeout.map(|t| t.saturating_sub(self.begun.elapsed()));
        host.wait(&watched, deadlines.chain(timeout).min().map_or(longest, |soonest| soonest.min(longest)));
    }

    fn out_of_time(&self) -> bool {
        self.args.wait.timeout.is_some_and(|timeout| self.begun.elapsed() >= timeout)
    }

    fn exit(&self, last: &Pass) -> Exit {
        let mut exit = Exit::of_pass(last);
        let unfinished = !last.outcomes.is_empty() || waits(last, WaitKind::Progressing);
        exit = exit.and(self.review.as_ref().map_or(Exit::Converged, Review::exit));
        if self.document.has_failures() || unfinished && !self.args.wait.no_wait {
            exit = exit.and(Exit::Failed);
        }
        if self.args.detailed_exitcode && self.document.has_changes() {
            exit = exit.and(Exit::Changes);
        }
        exit
    }
}

/// Delivers what there is to tell, without a lock and for some seconds at most.
fn tell(host: &mut Host, notify: Option<&Notify>, state: &StateDir) {
    let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
    let Some(database) = host.database_mut() else { return };
    let told = match notify {
        Some(notify) => last_call::deliver(database, notify, state, now),
        None => last_call::nobody(database, now()),
    };
    match told {
        Ok(notices) => notices.iter().for_each(complain),
        Err(error) => complain(format_args!("what is to be told is left to the next reconcile: {error}")),
    }
}

fn waits(pass: &Pass, kind: WaitKind) -> bool {
    pass.plan.waiting.iter().any(|w| w.on.kind() == kind)
}

fn diagnostics(pass: &Pass) -> &[Diagnostic] {
    pass.desired.as_ref().map_or(&[], |desired| &desired.diagnostics)
}

/// All problems of all files, on standard error.
pub(super) fn report_diagnostics(pass: &Pass) {
    let Some(desired) = pass.desired.as_ref().filter(|d| !d.diagnostics.is_empty()) else { return };
    // Colours are stripped where standard error is no terminal.
    complain(crate::definition::render(&desired.diagnostics, true));
}

/// A `--target` that names nothing is a typing error, not "nothing to do".
fn reject_unknown_targets(pass: &Pass, args: &ReconcileArgs) -> Result<(), Refused> {
    let Some(desired) = &pass.desired else { return Ok(()) };
    let known = |name: &ModelName| {
        desired.definitions.contains_key(name)
            || desired.unresolved.iter().any(|u| u.name.as_ref() == Some(name))
            || pass.plan.actions.iter().any(|a| a.model == *name)
            || pass.plan.waiting.iter().any(|w| w.model == *name)
    };
    let Some(unknown) = args.target.iter().find(|name| !known(name)) else { return Ok(()) };
    let nearest = closest(unknown.as_str(), desired.definitions.keys().map(ModelName::as_str));
    let hint = nearest.map_or_else(String::new, |name| format!("; did you mean {name}?"));
    let message = format!("--target {unknown}: no definition declares it{hint}");
    Err(Refused { exit: Exit::Usage, message })
}
