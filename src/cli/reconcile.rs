//! `herdsman reconcile`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ground::{OnHost, Passes};
use super::json::{self, Document};
use super::limits::LimitArgs;
use super::output::{complain, print};
use super::places::{look_patiently, pass_and_tell_if, report_diagnostics};
use super::render::Scope;
use super::review::{self, Review};
use super::{Exit, Places, Refused, duration, markdown, render};
use crate::definition::closest;
use crate::host::Host;
use crate::instance::limit_logs;
use crate::model::{Definition, Diagnostic, ModelName, Timestamp};
use crate::notify::last_call;
use crate::owner::settings::Notify;
use crate::pass::converge::{self, Converged, Patience};
use crate::pass::next::waits;
use crate::pass::{Goal, Order, Pass};
use crate::plan::{Limits, WaitKind};
use crate::state::StateDir;
use crate::view::{ModelView, View};

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsman reconcile --dry-run                   show the plan
  herdsman reconcile                             apply it and wait for the models
  herdsman reconcile --dry-run --out plan.json   save the plan for review
  herdsman reconcile --plan plan.json            apply exactly the saved plan")]
pub struct ReconcileArgs {
    /// Show the plan and why; change nothing.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    /// Exit 2 if changes are pending (with --dry-run) or were made.
    #[arg(long)]
    detailed_exitcode: bool,
    /// Output format; markdown needs --dry-run.
    #[arg(long, value_enum, default_value_t)]
    format: PlanFormat,
    /// With --dry-run, save the plan to FILE for a later --plan.
    #[arg(long, value_name = "FILE", requires = "dry_run")]
    out: Option<PathBuf>,
    /// Apply a saved plan once, if nothing it rests on has changed; with --dry-run, only check that.
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
    /// Only this model; repeat the option for several.
    #[arg(long, value_name = "NAME")]
    target: Vec<ModelName>,
    /// Retry failed generations and crashed models now.
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

/// The output format of plans and results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people; may change.
    #[default]
    Text,
    /// For programs; versioned.
    Json,
    /// For a comment on a pull request; needs `--dry-run`.
    Markdown,
}

/// How long to wait for models.
#[derive(Clone, Debug, Args)]
pub(super) struct Wait {
    /// Make one pass and exit, without waiting for models to load or drain.
    #[arg(long)]
    no_wait: bool,
    /// Stop waiting after this time, such as 10m; models keep loading [default: no limit].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

impl Wait {
    /// Returns how long to wait for another pass to finish: at most as long as for this one.
    pub(super) fn lock_timeout(&self, lock_timeout: Duration) -> Duration {
        self.timeout.map_or(lock_timeout, |timeout| timeout.min(lock_timeout))
    }
}

impl ReconcileArgs {
    /// Returns the arguments of `reconcile --target NAME`, with the default limits.
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

    /// Returns what its passes may do.
    pub(super) fn limits(&self) -> Limits {
        Limits { targets: self.target.iter().cloned().collect(), retry: self.retry, ..self.limits.limits() }
    }
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &ReconcileArgs) -> anyhow::Result<Exit> {
    let limits = args.limits();
    if args.format == PlanFormat::Markdown && !args.dry_run {
        let message = "--format markdown needs --dry-run".to_owned();
        return Err(Refused { exit: Exit::Usage, message }.into());
    }
    let notify = places.settings()?.notify;
    let review = args.plan.as_deref().map(|path| Review::open(places, path)).transpose()?;
    let limits = review.as_ref().map_or(limits, Review::limits);
    let port_range = review.as_ref().map_or(places.port_range, Review::port_range);
    let places = &Places { port_range, ..places.clone() };
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
        PlanFormat::Text => print(shown(&seen, review.is_some()))?,
        PlanFormat::Json => json::print(&Document::plan(&seen, exit))?,
        PlanFormat::Markdown => print(markdown::plan(&seen.plan, seen.now, diagnostics(&seen)))?,
    }
    args.out.as_deref().map_or(Ok(()), |path| review::save(places, path, &seen, limits))?;
    // The process ends here: freeing thousands of definitions is wasted time.
    std::mem::forget(seen);
    Ok(exit)
}

/// Returns the plan of a pass as people read it. A saved one says nothing of the models
/// that it leaves alone.
fn shown(pass: &Pass, is_saved: bool) -> String {
    if is_saved && pass.plan.actions.is_empty() && pass.plan.waiting.is_empty() {
        return "No changes: the saved plan has none left to make.\n".to_owned();
    }
    render::plan(&pass.plan, pass.now)
}

/// Returns the document of `reconcile --dry-run --format json`, and its reasons in words
/// under `words`.
pub(super) fn plan(places: &Places) -> anyhow::Result<serde_json::Value> {
    Ok(plan_of(&mut places.open_read_only()?)?.0)
}

/// As [`plan`], with the pass behind it.
pub(super) fn plan_of(host: &mut Host) -> anyhow::Result<(serde_json::Value, Pass)> {
    let seen = crate::pass::look(host, Goal::Definitions, &LimitArgs::usual(Duration::ZERO).limits())?;
    let document = made(Document::plan(&seen, Exit::of_pass(&seen)), &seen)?;
    Ok((document, seen))
}

/// Returns the document, with the reasons of its last pass in words under `words`.
pub(super) fn made(document: Document, last: &Pass) -> anyhow::Result<serde_json::Value> {
    let mut document = serde_json::to_value(document)?;
    document["words"] = words(&View::of(last), last);
    Ok(document)
}

fn words(view: &View<'_>, seen: &Pass) -> serde_json::Value {
    let of = |say: &dyn Fn(&ModelView<'_>) -> Vec<String>| -> BTreeMap<String, Vec<String>> {
        let said = view.models().map(|model| (model.name.to_string(), say(model)));
        said.filter(|(_, words)| !words.is_empty()).collect()
    };
    serde_json::json!({
        "reasons": of(&|model| model.reasons_in_words()),
        "waiting": of(&|model| model.waits_in_words(view.now)),
        "guard": seen.plan.guard.as_ref().map(ToString::to_string),
    })
}

/// Makes passes until nothing is left to wait for; the history records `cause` as their reason.
pub(super) fn converge(
    places: &Places,
    args: &ReconcileArgs,
    limits: Limits,
    notify: Option<&Notify>,
    review: Option<Review>,
    cause: &'static str,
) -> anyhow::Result<Exit> {
    let wait = &args.wait;
    let run =
        Run { args, logs: places.state().logs(), notify, limits, review, cause, before: None, began_waiting: false };
    let mut ground = OnHost::new(places, wait.lock_timeout(args.limits.lock_timeout), run);
    let end = converge::converge(
        &mut ground,
        Patience { no_wait: wait.no_wait, timeout: wait.timeout, ends_at_failure: false },
    )?;
    ground.attend();
    ground.finish_progress();
    let OnHost { passes: run, mut host, document, .. } = ground;
    if let Some(host) = &mut host {
        tell(host, notify, &places.state());
    }
    if end.is_out_of_time {
        complain("gave up waiting (--timeout); models keep loading, and the next `herdsman reconcile` continues");
    }
    if let (Some(review), Some(host)) = (&run.review, &mut host) {
        review.end(host)?;
    }
    let last = &end.last;
    let exit = run.exit(&end, &document);
    match args.format {
        PlanFormat::Text | PlanFormat::Markdown => {
            let scope = match (&run.review, &*args.target) {
                (Some(_), _) => Scope::SavedPlan,
                (None, []) => Scope::All,
                (None, targets) => Scope::Targets(targets),
            };
            print(render::result(&document, &last.plan, run.began_waiting, scope, last.now))?;
        }
        PlanFormat::Json => json::print(&document.finish(last, exit))?,
    }
    // The process ends here: freeing thousands of definitions is wasted time.
    std::mem::forget(end);
    Ok(exit)
}

/// One running `reconcile`.
struct Run<'a> {
    args: &'a ReconcileArgs,
    logs: PathBuf,
    notify: Option<&'a Notify>,
    limits: Limits,
    /// The saved plan to apply.
    review: Option<Review>,
    cause: &'static str,
    /// The problems of definitions as last reported; `None`: no pass was made yet.
    before: Option<Vec<Diagnostic>>,
    /// Whether the first pass left something to wait for.
    began_waiting: bool,
}

impl Run<'_> {
    fn exit(&self, end: &Converged, document: &Document) -> Exit {
        let mut exit = Exit::of_pass(&end.last);
        exit = exit.and(self.review.as_ref().map_or(Exit::Converged, Review::exit));
        if document.has_failures() || end.is_unfinished && !self.args.wait.no_wait {
            exit = exit.and(Exit::Failed);
        }
        if self.args.detailed_exitcode && document.has_changes() {
            exit = exit.and(Exit::Changes);
        }
        exit
    }
}

impl Passes for Run<'_> {
    fn open(&self, places: &Places) -> anyhow::Result<Host> {
        Ok(places.open()?.telling(self.notify))
    }

    fn pass(&mut self, host: &mut Host, tried: &BTreeSet<ModelName>) -> anyhow::Result<Pass> {
        if self.limits.retry {
            host.ask_again();
        }
        let order = Order { limits: &self.limits, tried, cause: self.cause };
        let is_first = self.before.is_none();
        let pass = match &mut self.review {
            None => {
                // Later a target may be deleted, as was wanted.
                let approve =
                    |seen: &Pass| if is_first { Ok(reject_unknown_targets(seen, self.args)?) } else { Ok(()) };
                pass_and_tell_if(host, Goal::Definitions, order, approve)?
            }
            Some(review) => review.pass(host, order)?,
        };
        if is_first {
            // Where that fails the log grows, and the next reconcile tries again.
            limit_logs(&self.logs, &self.args.limits.logs()).iter().for_each(complain);
        }
        Ok(pass)
    }

    fn made(&mut self, pass: &Pass) -> anyhow::Result<()> {
        if self.before.as_deref() != Some(diagnostics(pass)) {
            report_diagnostics(pass);
        }
        if self.before.is_none() {
            self.began_waiting = !self.args.wait.no_wait && waits(pass, WaitKind::Progressing);
            if self.args.format == PlanFormat::Text {
                print(shown(pass, self.review.is_some()))?;
            }
        }
        self.before = Some(diagnostics(pass).to_vec());
        if let Some(review) = &mut self.review {
            review.carry_on(&mut self.limits, pass);
        }
        Ok(())
    }
}

/// Delivers pending notifications, without the lock and for a few seconds at most.
fn tell(host: &mut Host, notify: Option<&Notify>, state: &StateDir) {
    let now = || Timestamp(jiff::Timestamp::now().as_millisecond());
    let Some(database) = host.database_mut() else { return };
    let sent = match notify {
        Some(notify) => last_call::deliver(database, notify, state, now),
        None => last_call::nobody(database, now()),
    };
    match sent {
        Ok(notices) => notices.iter().for_each(complain),
        Err(error) => {
            complain(format_args!("notifications not sent: {error}; the next `herdsman reconcile` retries them"))
        }
    }
}

fn diagnostics(pass: &Pass) -> &[Diagnostic] {
    pass.desired.as_ref().map_or(&[], |desired| &desired.diagnostics)
}

/// Refuses a `--target` that names nothing: a typing error, not "nothing to do".
fn reject_unknown_targets(pass: &Pass, args: &ReconcileArgs) -> Result<(), Refused> {
    let Some(desired) = &pass.desired else { return Ok(()) };
    let known = |name: &ModelName| {
        desired.definitions.contains_key(name)
            || desired.unresolved.iter().any(|u| u.name.as_ref() == Some(name))
            || pass.plan.actions.iter().any(|a| a.model == *name)
            || pass.plan.waiting.iter().any(|w| w.model == *name)
    };
    let Some(unknown) = args.target.iter().find(|name| !known(name)) else { return Ok(()) };
    let has_alias = |definition: &Definition| definition.aliases.iter().any(|alias| alias == unknown.as_str());
    let owner = desired.definitions.values().find(|definition| has_alias(definition));
    let nearest = closest(unknown.as_str(), desired.definitions.keys().map(ModelName::as_str));
    let hint = match (owner, nearest) {
        (Some(owner), _) => format!("\nhelp: {unknown} is an alias of {0}; use --target {0}", owner.name),
        (None, Some(name)) => format!("\nhelp: did you mean {name}?"),
        (None, None) => String::new(),
    };
    let message = format!("--target {unknown}: there is no model of this name{hint}");
    Err(Refused { exit: Exit::Usage, message })
}
