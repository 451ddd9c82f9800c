//! One look at desired, recorded and observed, as data.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::super::places::Refused;
use super::super::{Exit, Places};
use crate::database::{Database, Undelivered};
use crate::definition::Loader;
use crate::host::gateway::{GatewayError, traffic};
use crate::host::{Host, HostError};
use crate::instance::{last_lines, newest_log};
use crate::model::text::rfc3339;
use crate::model::{DesiredState, Diagnostic, ModelName, Status, Timestamp, Traffic};
use crate::pass::{Goal, look};
use crate::plan::{Limits, WaitFor, WaitKind};
use crate::serve::api::document::ByHand;
use crate::view::{ModelView, View};

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
    /// Notices about the database.
    pub notices: Vec<String>,
    /// Why the definitions cannot be read at all.
    pub unreadable: Option<String>,
    /// Whether a watcher lives.
    pub watcher: bool,
    /// Notifications that were not delivered.
    pub undelivered: Undelivered,
    /// Whether a pass is needed.
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
    /// What clients ask of it, where a gateway serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
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

/// What clients ask of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Requests {
    /// Requests that a server is answering.
    pub in_flight: u32,
    /// Requests that wait for one.
    pub waiting: u32,
    /// When the last one began or ended, since the gateway began to serve.
    #[serde(serialize_with = "as_rfc3339")]
    pub last_used: Option<Timestamp>,
}

fn as_rfc3339<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.and_then(rfc3339).serialize(serializer)
}

/// The file that declares a model.
#[derive(Clone, Debug, Serialize)]
pub(in crate::cli) struct DefinitionFile {
    pub file: String,
    /// What is wrong with it, and where.
    pub problem: Option<String>,
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
        // Somebody looks on: while git runs, what runs is shown all the same.
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
        let mut models = models(&host, &View::of(&seen))?;
        if let Some(only) = only {
            models.retain(|m| m.name == only.as_str());
            if models.is_empty() {
                let message = format!("there is no model named {only}\nhelp: `herdsman status` lists all models");
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

    /// Adds what clients ask of each model, if a gateway serves; one that does not
    /// answer gets a notice and costs no more than a second.
    pub(super) fn with_requests(mut self, places: &Places) -> Self {
        match traffic(&places.state()) {
            Ok(None) => {}
            Ok(Some(traffic)) => {
                for model in self.models.iter_mut().filter(|model| model.managed) {
                    let Traffic { in_flight, waiting, last_used, .. } =
                        traffic.get(model.name.as_str()).copied().unwrap_or_default();
                    model.requests = Some(Requests { in_flight, waiting, last_used });
                }
            }
            Err(GatewayError(problem)) => {
                self.notices.push(format!("note: the requests of models are unknown: {problem}"));
            }
        }
        self
    }
}

fn models(host: &Host, view: &View<'_>) -> Result<Vec<ModelStatus>, HostError> {
    let restarts = host.database().map(Database::restarts).transpose()?.unwrap_or_default();
    let managed = view.models().map(|model| {
        let recorded_at = || host.database().and_then(|d| d.status_recorded_at(model.name).ok().flatten());
        let age = model.is_last_known.then(recorded_at).flatten().map(|at| view.now.since(at).as_millis());
        let status = ModelStatus {
            restarts: restarts.get(model.name.as_str()).copied().unwrap_or_default(),
            status_age_ms: age.and_then(|ms| u64::try_from(ms).ok()),
            ..status_of(model, view.now)
        };
        // A plan to stop everything says nothing of the definitions.
        if view.follows_definitions { explain(status, model, view.now) } else { status }
    });
    let unmanaged = view.totals.unmanaged.iter().map(|row| ModelStatus {
        name: row.name.clone(),
        waiting_for: vec!["not managed".to_owned()],
        ..ModelStatus::default()
    });
    Ok(managed.chain(unmanaged).collect())
}

/// Adds what the plan says of it.
fn explain(status: ModelStatus, model: &ModelView<'_>, now: Timestamp) -> ModelStatus {
    ModelStatus {
        next_try: model.next_try().and_then(rfc3339),
        by_hand: model.by_hand().map(ByHand::of).collect(),
        reasons: model.reasons_in_words(),
        waiting_for: model.waits_in_words(now),
        ..status
    }
}

/// What it is now.
fn status_of(model: &ModelView<'_>, now: Timestamp) -> ModelStatus {
    ModelStatus {
        name: model.name.to_string(),
        status: model.status,
        state: model.wanted.declared,
        generation: model.generation(),
        serving: model.serving(),
        pid: model.pid(),
        host: model.host().map(str::to_owned),
        port: model.port(),
        url: model.url(),
        resident_bytes: model.live.map(|live| live.resident),
        started_at: model.live.and_then(|live| rfc3339(live.started_at)),
        uptime: model.uptime(now),
        crashes: model.crashes.count,
        managed: true,
        definition: model.file().map(|file| DefinitionFile {
            file: file.to_owned(),
            problem: model.invalid.map(|invalid| format!("{}: {}", invalid.place(), invalid.problem)),
        }),
        ..ModelStatus::default()
    }
}

/// The end of the log at `path`; `None`: nothing was ever started.
fn log(path: &Path) -> Option<Log> {
    let (lines, problem) = match last_lines(path, LOG_LINES) {
        Ok(lines) => (lines, None),
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    // So that who reads it elsewhere finds it too.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Some(Log { path: path.display().to_string(), lines, problem })
}
