//! One look at desired, recorded and observed, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::super::open::Refused;
use super::super::{Exit, Places};
use super::note;
use crate::database::{Database, Undelivered};
use crate::definition::Loader;
use crate::host::{Host, HostError};
use crate::instance::{last_lines, newest_log};
use crate::model::text::rfc3339;
use crate::model::{DesiredState, Diagnostic, Given, Instance, ModelName, ModelRecord, Status, Timestamp};
use crate::pass::{Goal, Pass, look};
use crate::plan::{Limits, Reason, WaitFor, WaitKind};

/// How many lines of a log are shown.
const LOG_LINES: usize = 5;

/// What one look found, for people and programs.
#[derive(Debug)]
pub(in crate::cli) struct Look {
    /// When it was.
    pub now: Timestamp,
    /// Every model, or the one that was asked for.
    pub models: Vec<ModelStatus>,
    /// Every problem of the definitions.
    pub diagnostics: Vec<Diagnostic>,
    /// What is to be told of the database.
    pub notices: Vec<String>,
    /// Why the definitions cannot be read at all.
    pub unreadable: Option<String>,
    /// Whether a watcher lives.
    pub watcher: bool,
    /// What others could not be told.
    pub undelivered: Undelivered,
    /// Whether something is to be done that only a pass does.
    pub needs_a_pass: bool,
    /// The exit code of `--exit-code`.
    pub exit: Exit,
}

/// One model.
#[derive(Debug, Default, Serialize)]
pub(in crate::cli) struct ModelStatus {
    pub name: String,
    /// What it does: `idle | loading | running | error`.
    pub status: Status,
    /// What is wanted; `None`: no definition.
    pub state: Option<DesiredState>,
    /// The generation wanted; 0: not recorded yet.
    pub generation: u32,
    /// The generation that serves, if an instance lives.
    pub serving: Option<u32>,
    pub pid: Option<i32>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub url: Option<String>,
    pub resident_bytes: Option<u64>,
    pub started_at: Option<String>,
    #[serde(skip)]
    pub uptime: Option<Duration>,
    /// When `status` was last seen, if the server cannot be asked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_age_ms: Option<u64>,
    /// Crashes in a row.
    pub crashes: u32,
    /// How often it was started again because it had died or hung, ever.
    pub restarts: u32,
    /// When it is tried again, after a crash.
    pub next_try: Option<String>,
    pub managed: bool,
    /// What was asked for by hand and is in force.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<ByHand>,
    /// Why the next pass would act on it.
    pub reasons: Vec<String>,
    /// What it waits for.
    pub waiting_for: Vec<String>,
    /// The file that declares it.
    #[serde(skip)]
    pub definition: Option<DefinitionFile>,
    /// Its log, where that is worth a look.
    #[serde(flatten)]
    pub log: Option<Log>,
}

/// The file that declares a model.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct DefinitionFile {
    pub file: String,
    /// What is wrong with it, and where.
    pub problem: Option<String>,
}

/// Something asked for by hand.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct ByHand {
    /// `suspended`, `stopped`, `started`, or `restart`: one that is still to come.
    pub what: &'static str,
    /// Who.
    pub by: String,
    /// When.
    pub at: Option<String>,
    /// Until when a suspension lasts; `None`: until somebody ends it.
    pub until: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

impl ByHand {
    fn of(wait: &WaitFor) -> Option<Self> {
        let (what, given, until) = match wait {
            WaitFor::Suspended { given, until, .. } => ("suspended", given, until.and_then(rfc3339)),
            WaitFor::StateByHand { given, state } => (WaitFor::words_by_hand(*state).0, given, None),
            _ => return None,
        };
        Some(Self::new(what, given, until))
    }

    fn new(what: &'static str, given: &Given, until: Option<String>) -> Self {
        Self { what, by: given.by.clone(), at: rfc3339(given.at), until, reason: given.because.clone() }
    }
}

/// The end of a log.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Log {
    /// Where it is.
    #[serde(rename = "log")]
    pub path: String,
    /// The last lines of the last instance.
    #[serde(rename = "log_tail")]
    pub lines: Vec<String>,
    /// Why it cannot be read.
    #[serde(skip)]
    pub problem: Option<String>,
}

impl Look {
    /// Looks, and writes nothing.
    ///
    /// # Errors
    /// The database, the processes or the state directory cannot be read, or
    /// nothing is named `only`.
    pub(in crate::cli) fn take(places: &Places, only: Option<&ModelName>) -> anyhow::Result<Self> {
        let state = places.state();
        // Somebody looks on: while git is at work, what runs is shown all the same.
        let mut host = places.open_read_only()?.with_loader(Loader::impatient()).asking_nobody();
        let limits = Limits::default();
        let (seen, unreadable) = match look(&mut host, Goal::Definitions, &limits) {
            Ok(seen) => (seen, None),
            // Without definitions there is still something to see.
            Err(
                error @ (HostError::Load(_) | HostError::Revision(_) | HostError::Policy(_) | HostError::Untrusted(_)),
            ) => (look(&mut host, Goal::Down, &limits)?, Some(error)),
            Err(error) => return Err(error.into()),
        };
        let mut models = models(&host, &seen, unreadable.is_none())?;
        if let Some(only) = only {
            models.retain(|m| m.name == only.as_str());
            if models.is_empty() {
                let message = format!("no definition, record or row is named {only}; `herdsman status` lists all");
                return Err(Refused { exit: Exit::Usage, message }.into());
            }
        }
        for model in models.iter_mut().filter(|m| only.is_some() || m.status == Status::Error) {
            // An unmanaged row may have any name, and has no log.
            model.log =
                ModelName::parse(&model.name).ok().and_then(|name| log(&newest_log(&state.logs(), &name).ok()?));
        }
        let waits = || seen.plan.waiting.iter().map(|w| &w.on);
        let acts = unreadable.is_none() && !seen.plan.actions.is_empty();
        let unfinished = acts || waits().any(|on| on.kind() == WaitKind::Progressing);
        Ok(Self {
            now: seen.now,
            models,
            exit: match &unreadable {
                Some(error) => Exit::of_host(error),
                None => Exit::of_pass(&seen).and(if unfinished { Exit::Failed } else { Exit::Converged }),
            },
            unreadable: unreadable.as_ref().map(ToString::to_string),
            watcher: state.has_watcher()?,
            undelivered: host
                .database()
                .map(|database| database.undelivered(seen.now))
                .transpose()
                .map_err(HostError::from)?
                .unwrap_or_default(),
            notices: host.take_notices(),
            needs_a_pass: acts || waits().any(|on| matches!(on, WaitFor::Backoff { .. })),
            diagnostics: seen.desired.map(|desired| desired.diagnostics.clone()).unwrap_or_default(),
        })
    }
}

/// `explained`: the plan is one for the definitions, and tells why.
fn models(host: &Host, seen: &Pass, explained: bool) -> Result<Vec<ModelStatus>, HostError> {
    let mut names: BTreeSet<&ModelName> = seen.records.models.keys().collect();
    names.extend(seen.desired.iter().flat_map(|d| d.definitions.keys()));
    names.extend(seen.desired.iter().flat_map(|d| &d.unresolved).filter_map(|u| u.name.as_ref()));
    names.extend(seen.observed.instances.iter().map(|i| &i.model));
    names.extend(seen.records.overrides.keys());
    let restarts = host.database().map(Database::restarts).transpose()?.unwrap_or_default();
    let status = |name: &ModelName| ModelStatus {
        restarts: restarts.get(name.as_str()).copied().unwrap_or_default(),
        ..status_of(host, seen, name)
    };
    let mut models: BTreeMap<&ModelName, ModelStatus> = names.into_iter().map(|name| (name, status(name))).collect();
    if explained {
        explain(seen, &mut models);
    }
    let unmanaged = seen.plan.unmanaged.iter().map(|row| ModelStatus {
        name: row.name.clone(),
        waiting_for: vec!["not managed".to_owned()],
        ..ModelStatus::default()
    });
    Ok(models.into_values().chain(unmanaged).collect())
}

/// Adds what the plan says of each.
fn explain(seen: &Pass, models: &mut BTreeMap<&ModelName, ModelStatus>) {
    for action in &seen.plan.actions {
        if let Some(model) = models.get_mut(&action.model) {
            let kind = action.kind.as_str();
            model.reasons.extend(action.reasons.iter().map(|reason| format!("{kind}: {reason}")));
        }
    }
    for (name, overrides) in &seen.records.overrides {
        let asked = overrides.restart.as_ref().filter(|asked| {
            seen.observed.instances.iter().any(|live| live.model == *name && live.id == asked.instance)
        });
        if let (Some(asked), Some(model)) = (asked, models.get_mut(name)) {
            model.by_hand.push(ByHand::new("restart", &asked.given, None));
            let says_so = |reason: &Reason| matches!(reason, Reason::ByHand { given } if *given == asked.given);
            if !seen.plan.actions.iter().any(|a| a.model == *name && a.reasons.iter().any(says_so)) {
                model.waiting_for.push(format!("a restart is asked for by hand ({})", asked.given));
            }
        }
    }
    for waiting in &seen.plan.waiting {
        let Some(model) = models.get_mut(&waiting.model) else { continue };
        model.waiting_for.push(note::of_wait(&waiting.on, seen, model.pid.is_some()));
        model.by_hand.extend(ByHand::of(&waiting.on));
        if matches!(waiting.on, WaitFor::StateByHand { state: DesiredState::Stopped, .. }) && model.pid.is_none() {
            model.status = Status::Idle;
        }
        if let WaitFor::Backoff { until, crashes, .. } = waiting.on {
            // The last crash may be one that no pass has recorded yet.
            model.crashes = crashes;
            model.next_try = rfc3339(until);
        }
    }
}

fn status_of(host: &Host, seen: &Pass, name: &ModelName) -> ModelStatus {
    let record = seen.records.models.get(name);
    let definition = seen.desired.as_ref().and_then(|d| d.definitions.get(name));
    let live = seen.observed.instances.iter().find(|i| i.model == *name);
    let (status, stale) = Status::seen(record, live, live.is_some_and(|live| seen.has_proven(live)));
    let recorded_at = host.database().and_then(|d| d.status_recorded_at(name).ok().flatten());
    let age = recorded_at.filter(|_| stale).map(|at| seen.now.since(at).as_millis());
    ModelStatus {
        name: name.to_string(),
        status,
        state: definition.map(|d| d.state).or(record.map(|r| r.state)),
        generation: record.map_or(0, |r| r.generation.number),
        serving: live.and_then(|i| serving(record?, i)),
        pid: live.map(|i| i.handle.pid()),
        host: live.map(|i| i.host.clone()),
        port: live.and_then(|i| i.port).or_else(|| Some(record?.port?.port)),
        url: live.and_then(|live| live.url.clone()),
        resident_bytes: live.map(|i| i.resident),
        started_at: live.and_then(|i| rfc3339(i.started_at)),
        uptime: live.map(|i| seen.now.since(i.started_at)),
        status_age_ms: age.and_then(|ms| u64::try_from(ms).ok()),
        crashes: record.map_or(0, |r| r.crashes.count),
        managed: true,
        definition: definition_of(seen, name, record),
        ..ModelStatus::default()
    }
}

/// The definition of a model, or the file that stands for it and is not valid.
fn definition_of(seen: &Pass, name: &ModelName, record: Option<&ModelRecord>) -> Option<DefinitionFile> {
    let desired = seen.desired.as_ref()?;
    let is_of_it = |path: &str| record.is_some_and(|record| record.source == path);
    let broken = desired.unresolved.iter().find(|u| u.name.as_ref() == Some(name) || is_of_it(&u.path));
    match (broken, desired.definitions.get(name)) {
        (Some(broken), _) => Some(DefinitionFile {
            file: broken.file.to_string(),
            problem: Some(format!("{}: {}", note::place(&broken.file, seen), broken.problem)),
        }),
        (None, definition) => Some(DefinitionFile { file: definition?.file.to_string(), problem: None }),
    }
}

fn serving(record: &ModelRecord, live: &Instance) -> Option<u32> {
    let generations = std::iter::once(&record.generation).chain(&record.last_ready);
    generations.into_iter().find(|g| g.hash == live.spec).map(|g| g.number)
}

/// The end of the log at `path`; `None`: nothing was ever started.
fn log(path: &Path) -> Option<Log> {
    let (lines, problem) = match last_lines(path, LOG_LINES) {
        Ok(lines) => (lines, None),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    // So that whoever reads it elsewhere finds it too.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Some(Log { path: path.display().to_string(), lines, problem })
}
