//! The routes of a pass: pure, from what it saw, decided and did.
//!
//! | a model | its requests |
//! |---|---|
//! | with a ready instance that stays | go there, whatever its definition says by now |
//! | that loads, drains, restarts, rolls back, or tries again soon | wait |
//! | on demand and cold, also if its file cannot be used but was recorded | wait, and start it |
//! | on demand, and a start would not come or not soon | fail at once, with the reason |
//! | that herdsman will not start | fail, with the reason that `why` gives |
//!
//! A crash after it was ready costs waiting time. One that never became ready may
//! have had bad luck once; after that its requests fail at once, until it starts.

use std::sync::Arc;
use std::time::Duration;

use super::routes::{About, ApiKey, Backend, Route, Standing};
use crate::model::text::printable;
use crate::model::{Change, DesiredState, Health, Instance, InstanceId, InstanceRecord, InstanceState, Timestamp};
use crate::pass::Pass;
use crate::plan::{Action, Step, WaitFor, WaitKind};
use crate::view::{ModelView, View, words};
use crate::watch::CHANGING;

/// The longest time that requests wait for the next try after crashes.
const SOON: Duration = Duration::from_secs(60);

/// What is known of an instance besides what a pass says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The key it asks for.
    pub api_key: Option<ApiKey>,
    /// Its command line; empty if it cannot be read.
    pub command: Vec<String>,
}

/// Returns where the requests for each model go after `pass`. `known` says what it
/// knows of an instance.
#[must_use]
pub fn routes(pass: &Pass, known: impl Fn(&Instance) -> Known) -> Vec<Route> {
    let view = View::of(pass);
    let mut routes: Vec<Route> =
        view.models().filter(|model| model.is_managed()).map(|model| route(model, pass, &known)).collect();
    // A file that cannot be used takes no name away from a model that has it.
    let is_taken = |name: &str| routes.iter().any(|route| route.aliases.iter().any(|alias| alias == name));
    let invalid = view.models().filter(|model| !model.is_managed() && model.invalid.is_some());
    let invalid: Vec<Route> =
        invalid.filter(|model| !is_taken(model.name.as_str())).map(|model| route(model, pass, &known)).collect();
    routes.extend(invalid);
    routes.sort_by(|a, b| a.model.cmp(&b.model));
    routes
}

/// Whether requests start it and clients may unload it, also after a start by hand.
fn is_on_demand(model: &ModelView<'_>) -> bool {
    model.wanted.declared == Some(DesiredState::OnDemand) && model.wanted.state() != Some(DesiredState::Stopped)
}

/// Whether it is declared stopped and runs all the same, by hand.
fn is_by_hand(model: &ModelView<'_>) -> bool {
    model.wanted.declared == Some(DesiredState::Stopped) && model.wanted.state() == Some(DesiredState::Running)
}

fn route(model: &ModelView<'_>, pass: &Pass, known: &impl Fn(&Instance) -> Known) -> Route {
    let config = || model.record.and_then(|record| record.config().ok());
    let (aliases, description) = match model.definition {
        Some(definition) => (definition.aliases.clone(), definition.description.clone()),
        None => config().map(|config| (config.aliases, config.description)).unwrap_or_default(),
    };
    let ready = ready(model, pass);
    let mut known = ready.or(model.live).map(known).unwrap_or_default();
    let max_in_flight = model.definition.and_then(|definition| definition.serve.max_in_flight);
    let about = About {
        description,
        created: model.record.and_then(|record| record.created_at).map_or(0, |at| at.0.div_euclid(1000)),
        is_stopping: ready.is_none() && is_stopping(model, pass),
        is_by_hand: is_by_hand(model),
        ttl: ttl(model),
        command: Some(std::mem::take(&mut known.command)).filter(|is| !is.is_empty()).unwrap_or_else(|| command(model)),
    };
    let backend = |instance: &Instance| Backend {
        instance: instance.id.clone(),
        generation: model.serving().unwrap_or_default(),
        address: instance.address.clone(),
        max_in_flight,
        api_key: known.api_key.clone(),
    };
    Route {
        model: model.name.clone(),
        aliases,
        listed: model.definition.is_none_or(|definition| definition.serve.listed),
        on_demand: is_on_demand(model),
        standing: match ready {
            Some(instance) => Standing::Ready(Arc::new(backend(instance))),
            None => without_instance(model, pass.now),
        },
        about,
    }
}

/// Returns the instance that answers for the model: one that is known to serve it,
/// and that this pass leaves where it is.
fn ready<'p>(model: &ModelView<'p>, pass: &'p Pass) -> Option<&'p Instance> {
    let mut instances = pass.observed.instances.iter().filter(|instance| instance.model == *model.name);
    instances.find(|instance| {
        let record = record_of(model, instance);
        answers(instance, record) && pass.has_proven(instance) && !is_leaving(instance, record, model.action, pass)
    })
}

fn record_of<'p>(model: &ModelView<'p>, instance: &Instance) -> Option<&'p InstanceRecord> {
    model.record?.instances.iter().find(|is| is.id == instance.id)
}

/// Whether an instance of the model drains or stops, and none starts yet.
fn is_stopping(model: &ModelView<'_>, pass: &Pass) -> bool {
    let starts = |action: &Action| action.steps.iter().any(|step| matches!(step, Step::Start { .. }));
    let mut instances = pass.observed.instances.iter().filter(|instance| instance.model == *model.name);
    !model.action.is_some_and(starts)
        && instances.any(|instance| is_leaving(instance, record_of(model, instance), model.action, pass))
}

/// Whether it takes requests. One that was ready and does not answer in time may be
/// at its limit: its own queue is as good as ours.
fn answers(instance: &Instance, record: Option<&InstanceRecord>) -> bool {
    match instance.health {
        Health::Ready => true,
        Health::Unanswered(_) => record.is_some_and(|record| record.ready.is_some()),
        Health::Loading | Health::NotListening | Health::Wrapped { .. } => false,
    }
}

/// Whether it drains or stops, or begins to in this pass.
fn is_leaving(instance: &Instance, record: Option<&InstanceRecord>, action: Option<&Action>, pass: &Pass) -> bool {
    let steps = || action.into_iter().flat_map(|action| &action.steps);
    let is_stopped = |step: &Step| matches!(step, Step::Stop { target, .. } if target.id == instance.id);
    let changes = pass.plan.bookkeeping.iter().chain(action.into_iter().flat_map(Action::changes));
    let newest = changes.filter_map(|change| recorded(change, &instance.id)).last().or(record);
    let goes = |state| matches!(state, InstanceState::Draining { .. } | InstanceState::Stopping);
    steps().any(is_stopped) || newest.is_some_and(|record| goes(record.state))
}

fn recorded<'c>(change: &'c Change, id: &InstanceId) -> Option<&'c InstanceRecord> {
    match change {
        Change::PutInstance(record) if record.id == *id => Some(record),
        _ => None,
    }
}

/// Where requests go while no instance takes them.
fn without_instance(model: &ModelView<'_>, now: Timestamp) -> Standing {
    let is_stopped = model.wanted.state() == Some(DesiredState::Stopped);
    let waits = || model.waits.iter().map(|waiting| &waiting.on);
    // An action is followed by another pass, which sees what has come of it.
    let is_acted_on =
        model.action.is_some_and(|action| action.steps.iter().any(|step| !matches!(step, Step::Record(_))));
    let comes = is_acted_on || waits().any(|on| comes(on, now));
    if !is_stopped && comes {
        return Standing::Coming;
    }
    if let Some(on) = waits().find(|on| prevents(on) && !is_stood_in_for(on, model)) {
        return Standing::Unavailable(to_a_client(on, words::wait(on, model, now)));
    }
    if let Some(on) = model.on_request.iter().find(|on| prevents(on) && !self::comes(on, now)) {
        return Standing::Unavailable(to_a_client(on, words::on_request(on, model, now)));
    }
    match (model.wanted.state(), model.live) {
        (Some(DesiredState::Stopped), _) => Standing::Unavailable(stopped(model)),
        (Some(DesiredState::OnDemand), None) => Standing::OnDemand,
        (Some(_), _) => Standing::Coming,
        (None, _) => Standing::Unavailable(invalid(model)),
    }
}

/// Whether waiting for this ends soon, and then the model serves.
fn comes(on: &WaitFor, now: Timestamp) -> bool {
    match on {
        WaitFor::Backoff { until, crashes, was_ready, .. } => {
            now.until(*until) <= SOON && (*was_ready || *crashes <= 1)
        }
        // Another process has recorded what is not read here yet.
        WaitFor::Definition { problem, .. } => problem == CHANGING,
        WaitFor::Answer { .. } | WaitFor::Edit { serving: Some(_), .. } => true,
        on => on.kind() == WaitKind::Progressing,
    }
}

/// Whether this keeps herdsman from starting the model.
const fn prevents(on: &WaitFor) -> bool {
    !matches!(on, WaitFor::StateByHand { state: DesiredState::Running | DesiredState::OnDemand, .. })
        && !matches!(on.kind(), WaitKind::Note | WaitKind::Progressing)
}

/// Whether it is a file that cannot be used, and its record serves requests instead.
fn is_stood_in_for(on: &WaitFor, model: &ModelView<'_>) -> bool {
    matches!(on, WaitFor::Definition { .. })
        && model.wanted.state() == Some(DesiredState::OnDemand)
        && model.is_recorded()
}

fn stopped(model: &ModelView<'_>) -> String {
    let place = model.definition.map(|definition| definition.origin("state").to_string());
    format!("it is declared stopped{}", place.map_or_else(String::new, |place| format!(" ({place})")))
}

/// Says `on` to a client, whose key may not be for the other models that `words` name.
fn to_a_client(on: &WaitFor, words: String) -> String {
    match on {
        WaitFor::NoRoom { group, .. } => {
            let group = printable(group);
            format!("no room in group {group}: its members never stop for it; stop one or raise max_running")
        }
        WaitFor::Sibling { origin, .. } => format!("not restarted: the same edit failed on another model ({origin})"),
        _ => in_a_sentence(words),
    }
}

/// A place that plans put into a column of its own, in brackets: clients show no
/// columns.
fn in_a_sentence(words: String) -> String {
    match words.rsplit_once("   ") {
        Some((what, place)) => format!("{what} ({place})"),
        None => words,
    }
}

fn invalid(model: &ModelView<'_>) -> String {
    match model.invalid {
        Some(invalid) => format!("{}: {}", invalid.place(), invalid.problem),
        None => "it has no definition".to_owned(),
    }
}

/// After how many seconds without a request it stops, rounded up: 0 means never.
fn ttl(model: &ModelView<'_>) -> u64 {
    let is_on_demand = model.wanted.state() == Some(DesiredState::OnDemand);
    let definition = model.definition.filter(|_| is_on_demand);
    let stop_after = definition.and_then(|definition| definition.idle.stop_after).unwrap_or_default();
    stop_after.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// The command line that its server is about to get, or the part of it that its
/// definition says.
fn command(model: &ModelView<'_>) -> Vec<String> {
    let start = model.action.into_iter().flat_map(|action| &action.steps).find_map(|step| match step {
        Step::Start { launch, .. } => {
            let program = launch.binary.to_string_lossy().into_owned();
            Some(std::iter::once(program).chain(launch.args.iter().cloned()).collect())
        }
        _ => None,
    });
    let spec = || match model.record.zip(model.live) {
        Some((record, live)) => {
            let generations = std::iter::once(&record.generation).chain(&record.last_ready);
            generations.into_iter().find(|is| is.hash == live.spec)?.spec().ok()
        }
        None => model.definition.map(|definition| definition.spec.clone()),
    };
    let declared = || {
        let spec = spec()?;
        let program = spec.binary.clone().unwrap_or_else(|| "llama-server".to_owned());
        let options = spec.options.values().flat_map(|option| option.args.iter().map(ToString::to_string));
        Some(std::iter::once(program).chain(options).collect())
    };
    start.or_else(declared).unwrap_or_default()
}
