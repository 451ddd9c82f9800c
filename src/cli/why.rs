//! `herdsman why`: the chain of events that made a model what it is, in plain words.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::history::{JsonChange, JsonEvent, JsonGeneration, failure, prose, what};
use super::json::{self, FORMAT_VERSION};
use super::named::Named;
use super::output::{complain, print};
use super::status::report::{DefinitionFile, Log, Look, ModelStatus};
use super::status::table;
use super::{Exit, Format, Places, named};
use crate::database::{Database, DatabaseError};
use crate::model::text::{self, local_time, printable, short_duration, squeezed};
use crate::model::{
    DesiredState, EventRecord, GenerationOutcome, GenerationRecord, ModelName, Provenance, Status, Timestamp,
};
use crate::serve::api::document::ByHand;
use crate::view::history::{LastAction, last_action, made_by};

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Name or alias of the model.
    name: Named,
}

/// How many events back to look for the last action.
const LOOKED_THROUGH: u32 = 1000;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Known {
    /// A recorded model.
    Managed,
    /// A definition without a record yet.
    New,
    /// A row of another program.
    Unmanaged,
    /// A deleted model.
    Deleted,
}

/// Everything there is to say of one name.
struct Explanation {
    now: Timestamp,
    /// Whether the definitions could be read, so that there is a plan.
    is_planned: bool,
    name: ModelName,
    known: Known,
    status: ModelStatus,
    events: Vec<EventRecord>,
    generations: Vec<GenerationRecord>,
}

/// The document of `why --format json`; its schema is `schema/why.v1.json`.
#[derive(Debug, Serialize)]
struct Document<'a> {
    format_version: u32,
    name: &'a ModelName,
    known: Known,
    status: Option<Status>,
    state: Option<DesiredState>,
    definition: Option<&'a DefinitionFile>,
    generation: Option<JsonGeneration>,
    changes: Vec<JsonChange>,
    action: Option<JsonEvent>,
    then: Option<JsonEvent>,
    process: Option<Process<'a>>,
    reasons: &'a [String],
    waiting_for: &'a [String],
    by_hand: &'a [ByHand],
    #[serde(flatten)]
    log: Option<&'a Log>,
}

#[derive(Debug, Serialize)]
struct Process<'a> {
    pid: i32,
    generation: Option<u32>,
    host: &'a Option<String>,
    port: Option<u16>,
    url: &'a Option<String>,
    started_at: &'a Option<String>,
    resident_bytes: Option<u64>,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &WhyArgs) -> anyhow::Result<Exit> {
    let name = args.name.resolve(places)?;
    let look = Look::take(places, None)?;
    look.notices.iter().for_each(complain);
    let mut exit = Exit::Converged;
    if let Some(error) = &look.unreadable {
        complain(format_args!("error: {error}"));
        exit = look.exit;
    }
    let at = places.resolve();
    let database = match Database::open_read_only(&at.database).map_err(|error| error.at(at.place())) {
        // The damage has been reported already.
        Err(error) if error.is_damage() => None,
        opened => opened?,
    };
    let Some(explanation) = explain(look, database.as_ref(), &name)? else {
        let known = named::known(places, database.as_ref())?;
        return Err(named::unknown(name.as_str(), &known).into());
    };
    match args.format {
        Format::Json => json::print(&explanation.document())?,
        Format::Text => print(explanation.text())?,
    }
    Ok(exit)
}

/// Returns the document of `why NAME --format json`.
pub(super) fn document(places: &Places, name: &ModelName) -> anyhow::Result<serde_json::Value> {
    let look = Look::take(places, None)?;
    let at = places.resolve();
    let database = Database::open_read_only(&at.database).map_err(|error| error.at(at.place()))?;
    let Some(explanation) = explain(look, database.as_ref(), name)? else {
        return Err(named::unknown(name.as_str(), &named::known(places, database.as_ref())?).into());
    };
    Ok(serde_json::to_value(explanation.document())?)
}

/// Returns `None` if nothing has this name or ever had it.
fn explain(look: Look, database: Option<&Database>, name: &ModelName) -> Result<Option<Explanation>, DatabaseError> {
    let (now, is_planned) = (look.now, look.unreadable.is_none());
    let status = look.models.into_iter().find(|model| model.name == name.as_str());
    let events = database.map(|database| database.events(Some(name), LOOKED_THROUGH)).transpose()?.unwrap_or_default();
    let generations = database.map(|database| database.generations(name)).transpose()?.unwrap_or_default();
    let known = match &status {
        None if events.is_empty() => return Ok(None),
        None => Known::Deleted,
        Some(status) if !status.managed => Known::Unmanaged,
        Some(status) if status.generation == 0 => Known::New,
        Some(_) => Known::Managed,
    };
    Ok(Some(Explanation {
        now,
        is_planned,
        name: name.clone(),
        known,
        status: status.unwrap_or_default(),
        events,
        generations,
    }))
}

impl Explanation {
    fn document(&self) -> Document<'_> {
        let last = last_action(&self.events);
        let ModelStatus { status, state, definition, reasons, waiting_for, by_hand, log, .. } = &self.status;
        let changes = made_by(&self.name, &self.generations);
        Document {
            format_version: FORMAT_VERSION,
            name: &self.name,
            known: self.known,
            status: (self.known != Known::Deleted).then_some(*status),
            state: *state,
            definition: definition.as_ref(),
            generation: self.generations.first().map(JsonGeneration::of),
            changes: changes.into_iter().filter_map(JsonChange::of).collect(),
            action: last.map(|last| JsonEvent::of(last.action)),
            then: last.and_then(|last| last.then).map(JsonEvent::of),
            process: self.process(),
            reasons,
            waiting_for: if self.known == Known::Unmanaged { &[] } else { waiting_for },
            by_hand,
            log: log.as_ref(),
        }
    }

    fn process(&self) -> Option<Process<'_>> {
        let ModelStatus { pid, serving, host, port, url, started_at, resident_bytes, .. } = &self.status;
        Some(Process {
            pid: (*pid)?,
            generation: *serving,
            host,
            port: *port,
            url,
            started_at,
            resident_bytes: *resident_bytes,
        })
    }

    fn text(&self) -> String {
        let mut out = Lines::default();
        out.line(&self.headline());
        out.0.push('\n');
        self.definition(&mut out);
        self.generation(&mut out);
        self.action(&mut out);
        self.now(&mut out);
        for line in table::log(&self.status).filter(|_| self.status.status == Status::Error).into_iter().flatten() {
            if !line.starts_with(' ') {
                out.0.push('\n');
            }
            out.line(&line);
        }
        out.0
    }

    fn headline(&self) -> String {
        let name = &self.name;
        match (self.known, self.status.status) {
            (Known::Unmanaged, _) => format!(
                "{name} is not managed: another program owns its row in the table `models`. \
                 To adopt it, add a definition with that name."
            ),
            (Known::Deleted, _) => format!("{name} is deleted."),
            (Known::New, _) => format!("{name} is not recorded yet."),
            (Known::Managed, Status::Running) => format!("{name} is running."),
            (Known::Managed, Status::Loading) => format!("{name} is loading."),
            (Known::Managed, Status::Idle) if self.is_on_demand() => {
                format!("{name} is not running; it starts on demand.")
            }
            (Known::Managed, Status::Error) if self.is_on_demand() => {
                format!("{name} is not running; its server failed.")
            }
            (Known::Managed, Status::Idle) if self.is_to_run() => format!("{name} is not running, but should be."),
            (Known::Managed, Status::Idle) => format!("{name} is stopped, as it should be."),
            (Known::Managed, Status::Error) => format!("{name} is not running, but should be."),
        }
    }

    /// Whether it is to run now, by its definition or by hand.
    fn is_to_run(&self) -> bool {
        let is_by_hand = |what: &str| self.status.by_hand.iter().any(|by_hand| by_hand.what == what);
        let is_left_alone = is_by_hand("suspended") || is_by_hand("stopped");
        !is_left_alone && (is_by_hand("started") || self.status.state == Some(DesiredState::Running))
    }

    /// Whether requests start it, and nobody has started or stopped it by hand.
    fn is_on_demand(&self) -> bool {
        self.status.state == Some(DesiredState::OnDemand) && self.status.by_hand.is_empty()
    }

    /// Whether no request has started it since its last edit.
    fn has_not_been_asked(&self) -> bool {
        self.is_on_demand() && self.status.pid.is_none() && self.status.crashes == 0
    }

    fn definition(&self, out: &mut Lines) {
        const HEAD: &str = "definition";
        match &self.status.definition {
            Some(DefinitionFile { problem: Some(problem), .. }) => {
                out.item(HEAD, &format!("{problem}; the model stays as it is until that is fixed"));
            }
            Some(DefinitionFile { file, problem: None }) => {
                out.item(
                    HEAD,
                    &match self.status.state.unwrap_or_default() {
                        DesiredState::OnDemand => format!("{file} runs it on demand"),
                        state => format!("{file} declares it {}", state.as_str()),
                    },
                );
            }
            None if self.known == Known::Managed => out.item(HEAD, "none, or an invalid one"),
            None => out.item(HEAD, "none"),
        }
    }

    fn generation(&self, out: &mut Lines) {
        let Some(GenerationRecord { number, created_at, outcome, provenance, .. }) = self.generations.first() else {
            return;
        };
        let went = match outcome {
            GenerationOutcome::Pending
                if self.status.state == Some(DesiredState::Stopped) || self.has_not_been_asked() =>
            {
                "never started".to_owned()
            }
            GenerationOutcome::Pending => "not ready yet".to_owned(),
            GenerationOutcome::Ready => "it became ready".to_owned(),
            GenerationOutcome::Failed(death) => format!("failed: {}", death.message),
        };
        let from = provenance.as_ref().map_or_else(String::new, |from| format!(", {}", commit(from)));
        out.item("generation", &format!("{number}{from}, {}: {went}", self.when(*created_at)));
        for change in made_by(&self.name, &self.generations) {
            out.more(&change.to_string());
        }
    }

    fn action(&self, out: &mut Lines) {
        let Some(LastAction { action, then }) = last_action(&self.events) else { return };
        let took = short_duration(action.duration_ms);
        let went = match failure(&action.outcome) {
            Some(why) => squeezed(why),
            None => format!("done in {took}"),
        };
        // A deletion has no generation to tell it.
        let from = action.provenance.as_ref().filter(|_| self.generations.is_empty());
        let from = from.map_or_else(String::new, |from| format!(", {}", commit(from)));
        let when = self.when(action.at);
        out.item("action", &format!("{}, {when} ({}){from}: {went}", what(action), action.cause));
        let said: Vec<String> = made_by(&self.name, &self.generations).iter().map(ToString::to_string).collect();
        for reason in prose(action).into_iter().filter(|reason| !said.contains(reason)) {
            out.more(&reason);
        }
        if let Some(then) = then {
            let after = short_duration(then.duration_ms);
            out.more(&match (&*then.action, failure(&then.outcome)) {
                ("ready", _) => format!("ready after {after}"),
                ("start_failed", Some(why)) => format!("failed to start after {after}: {why}"),
                (_, why) => format!("crashed after {after}: {}", why.unwrap_or_default()),
            });
        }
    }

    fn now(&self, out: &mut Lines) {
        if matches!(self.known, Known::Unmanaged | Known::Deleted) {
            return;
        }
        let ModelStatus { pid, port, uptime, resident_bytes, serving, generation, reasons, waiting_for, .. } =
            &self.status;
        match pid {
            Some(pid) => {
                let mut parts = vec![format!("pid {pid}")];
                parts.extend(port.map(|port| format!("port {port}")));
                parts.extend(uptime.map(|uptime| format!("up for {}", text::duration(uptime))));
                parts.extend(resident_bytes.map(text::bytes));
                parts.extend(serving.filter(|number| number != generation).map(|n| format!("serving generation {n}")));
                out.item("process", &parts.join(", "));
            }
            None => out.item("process", "none"),
        }
        let acts = reasons.iter().map(|reason| format!("the next pass will {}", squeezed(reason)));
        let all: Vec<String> = acts.chain(waiting_for.iter().cloned()).collect();
        match all.split_first() {
            Some((first, rest)) => {
                out.item("now", first);
                rest.iter().for_each(|line| out.more(line));
            }
            None if self.is_planned => out.item("now", "matches its definition; nothing to do"),
            None => out.item("now", "unknown, because the definitions cannot be read"),
        }
    }

    /// `12 s ago, at 2026-11-24 08:03:10`.
    fn when(&self, at: Timestamp) -> String {
        format!("{}, at {}", text::ago(self.now.since(at)), local_time(at))
    }
}

fn commit(from: &Provenance) -> String {
    let edited = if from.dirty { " with uncommitted edits" } else { "" };
    format!("commit {}{edited}", from.commit.short())
}

/// Lines under heads.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line as it is, but for what a terminal would obey.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.0, "{}", table::one_line(text).trim_end());
    }

    fn item(&mut self, head: &str, text: &str) {
        self.line(&format!("{head:<12}{}", printable(text)));
    }

    /// More of the same.
    fn more(&mut self, text: &str) {
        self.line(&format!("{:14}{}", "", printable(text)));
    }
}
