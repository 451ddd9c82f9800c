//! The metrics of a watcher for Prometheus: taken from each pass, rendered on request.
//!
//! | file | holds |
//! |---|---|
//! | `mod` | what is counted of passes |
//! | `on_demand` | what passes do for requests, where a gateway serves |
//! | `requests` | what is counted of requests, where a gateway serves |
//! | `server` | `/metrics` over HTTP, in a thread of its own |
//!
//! Counters begin at 0 with the watcher, as Prometheus expects.

mod on_demand;
mod requests;
mod server;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use server::{ListenError, Server, bind, listen};

use self::on_demand::OnDemand;
use self::requests::Requests;
use crate::database::Undelivered;
use crate::model::{DesiredState, ModelName, Status};
use crate::pass::Pass;
use crate::plan::{ActionKind, Found, Reason};
use crate::serve::gateway::Gateway;
use crate::serve::gateway::record::Observer as RequestObserver;
use crate::view::{Drift, View};
use crate::watch::machine::Observer;

/// Buckets for the duration of a pass, in seconds: a pass with nothing to do takes
/// milliseconds, one that waits for the lock up to a minute.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// How long a model that is gone is still rendered: every scraper asks more often.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Everything that is counted; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Counted>>);

impl Observer for Metrics {
    fn passed(&self, pass: Result<&Pass, &str>, _looked: Instant, took: Duration) {
        self.counted().passed(pass.ok(), took);
    }

    fn undelivered(&self, undelivered: &Undelivered) {
        let counted = self.counted();
        counted.pending.set(undelivered.pending.into());
        counted.given_up.set(undelivered.given_up.into());
    }
}

impl Metrics {
    /// Nothing counted yet.
    ///
    /// # Errors
    /// Two metrics share a name: a defect of herdsman.
    pub fn new() -> Result<Self, prometheus::Error> {
        Ok(Self(Arc::new(Mutex::new(Counted::new()?))))
    }

    /// Counts the requests of a gateway from now on, and what passes do for them;
    /// returns what the gateway shows each request to.
    ///
    /// # Errors
    /// Two metrics share a name: there is a gateway already.
    pub fn serve(&self, gateway: Gateway) -> Result<RequestObserver, prometheus::Error> {
        let mut counted = self.counted();
        let requests = Requests::new(gateway, &counted.registry)?;
        counted.on_demand = Some(OnDemand::new(&counted.registry)?);
        counted.requests = Some(requests.clone());
        Ok(requests.observer())
    }

    /// All of it, in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// A metric cannot be rendered: a defect of herdsman.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        self.render_at(Instant::now())
    }

    fn render_at(&self, now: Instant) -> Result<String, prometheus::Error> {
        let mut counted = self.counted();
        counted.set_out_of_sync();
        counted.requests.iter().for_each(Requests::refresh);
        counted.forget_gone(now);
        TextEncoder::new().encode_to_string(&counted.registry.gather())
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Counted {
    registry: Registry,
    desired: IntGaugeVec,
    observed: IntGaugeVec,
    generation: IntGaugeVec,
    by_hand: IntGaugeVec,
    out_of_sync: GaugeVec,
    passes: IntCounterVec,
    duration: Histogram,
    restarts: IntCounterVec,
    crashes: IntCounterVec,
    failed_starts: IntCounterVec,
    drift: IntCounterVec,
    invalid: IntGauge,
    pending: IntGauge,
    given_up: IntGauge,
    /// Since when each model does not match its definition; `None` if it does.
    since: BTreeMap<ModelName, Option<Instant>>,
    /// Since when each model is gone whose requests are still counted.
    gone: HashMap<String, Instant>,
    /// Where a gateway serves.
    requests: Option<Requests>,
    on_demand: Option<OnDemand>,
}

impl Counted {
    fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let opts = |name: &str, help: &str| Opts::new(name, help);
        let gauges = |name, help, labels: &[&str]| known(&registry, IntGaugeVec::new(opts(name, help), labels)?);
        let counters = |name, help, labels: &[&str]| known(&registry, IntCounterVec::new(opts(name, help), labels)?);
        let gauge = |name, help| known(&registry, IntGauge::new(name, help)?);
        let out_of_sync = opts(
            "herdsman_model_out_of_sync_seconds",
            "Seconds since the model stopped matching its definition; 0 if it matches.",
        );
        let duration = HistogramOpts::new("herdsman_pass_duration_seconds", "Duration of passes in seconds.");
        let counted = Self {
            desired: gauges(
                "herdsman_model_desired_state",
                "1 for the state that the definition wants, 0 for the others.",
                &["model", "state"],
            )?,
            observed: gauges(
                "herdsman_model_observed_state",
                "1 for the state the model is in, 0 for the others.",
                &["model", "state"],
            )?,
            generation: gauges(
                "herdsman_model_generation",
                "The newest generation, which the model should run.",
                &["model"],
            )?,
            by_hand: gauges(
                "herdsman_model_by_hand",
                "1 for each override in force: suspended, stopped, started.",
                &["model", "what"],
            )?,
            out_of_sync: known(&registry, GaugeVec::new(out_of_sync, &["model"])?)?,
            passes: counters("herdsman_passes_total", "Passes by result: ok, action_failed, failed.", &["result"])?,
            duration: known(&registry, Histogram::with_opts(duration.buckets(BUCKETS.to_vec()))?)?,
            restarts: counters(
                "herdsman_restarts_total",
                "Restarts of servers by reason: crash, definition, rollback, retry, binary, reboot, by_hand, lost.",
                &["model", "reason"],
            )?,
            crashes: counters(
                "herdsman_crashes_total",
                "Servers that crashed after they had become ready.",
                &["model"],
            )?,
            failed_starts: counters(
                "herdsman_failed_starts_total",
                "Servers that failed to start: they never became ready.",
                &["model"],
            )?,
            drift: counters(
                "herdsman_drift_total",
                "Rows that another program changed or deleted and herdsman restored.",
                &["model"],
            )?,
            invalid: gauge("herdsman_definitions_invalid", "Definition files that are invalid.")?,
            pending: gauge("herdsman_notifications_pending", "Notifications waiting for delivery.")?,
            given_up: gauge("herdsman_notifications_failed", "Notifications given up in the last 7 days.")?,
            since: BTreeMap::new(),
            gone: HashMap::new(),
            requests: None,
            on_demand: None,
            registry: registry.clone(),
        };
        for result in ["ok", "action_failed", "failed"] {
            counted.passes.with_label_values(&[result]);
        }
        let build = gauges("herdsman_build_info", "1, with the version of herdsman as a label.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let start = gauge("process_start_time_seconds", "Start time of the watcher in seconds since the Unix epoch.")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        start.set(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        Ok(counted)
    }

    fn passed(&mut self, pass: Option<&Pass>, took: Duration) {
        self.duration.observe(took.as_secs_f64());
        let Some(pass) = pass else { return self.passes.with_label_values(&["failed"]).inc() };
        let failed = pass.outcomes.iter().any(|outcome| outcome.result.is_err());
        self.passes.with_label_values(&[if failed { "action_failed" } else { "ok" }]).inc();
        let view = View::of(pass);
        self.events(pass, &view);
        self.states(pass, &view);
    }

    /// Counts what happened.
    fn events(&self, pass: &Pass, view: &View<'_>) {
        for finding in &pass.plan.findings {
            let counter = match finding.what {
                Found::Crashed(_) => &self.crashes,
                Found::StartFailed(_) => &self.failed_starts,
                Found::Ready { .. } => continue,
            };
            counter.with_label_values(&[finding.model.as_str()]).inc();
        }
        for outcome in pass.outcomes.iter().filter(|outcome| outcome.result.is_ok() && !outcome.only_begun) {
            let Some(model) = view.model(&outcome.model) else { continue };
            if model.drift() != Drift::default() {
                self.drift.with_label_values(&[outcome.model.as_str()]).inc();
            }
            self.on_demand.iter().for_each(|on_demand| on_demand.count(&outcome.model, model.reasons()));
            if matches!(outcome.kind, ActionKind::Restart | ActionKind::Start)
                && let Some(why) = model.reasons().iter().filter_map(why_again).min()
            {
                self.restarts.with_label_values(&[outcome.model.as_str(), why.1]).inc();
            }
        }
    }

    /// Sets the gauges to the state of each model.
    fn states(&mut self, pass: &Pass, view: &View<'_>) {
        for family in [&self.desired, &self.observed, &self.generation] {
            family.reset();
        }
        let Some(desired) = &pass.desired else { return };
        self.invalid.set(i64::try_from(desired.unresolved.len()).unwrap_or(i64::MAX));
        self.by_hand.reset();
        let before = std::mem::take(&mut self.since);
        for model in view.models() {
            let name = model.name.as_str();
            // A restart by hand is over in a moment; the gauge shows what stays in force.
            for asked in model.by_hand().filter(|asked| asked.what != "restart") {
                self.by_hand.with_label_values(&[name, asked.what]).set(1);
            }
            if !model.is_managed() {
                continue;
            }
            for state in DesiredState::ALL {
                let is = i64::from(model.wanted.declared == Some(state));
                self.desired.with_label_values(&[name, state.as_str()]).set(is);
            }
            for status in Status::ALL {
                self.observed.with_label_values(&[name, status.as_str()]).set(i64::from(model.status == status));
            }
            self.generation.with_label_values(&[name]).set(model.generation().into());
            self.on_demand.iter().for_each(|on_demand| on_demand.begin(name));
            // A counter that begins at its first event hides that event from `increase()`.
            for (counter, labels) in self.begun_at_zero(name) {
                counter.with_label_values(&labels);
            }
            // A manual override must not raise an alarm.
            let since = before.get(model.name).copied().flatten();
            let since = model.is_out_of_sync().then(|| since.unwrap_or_else(Instant::now));
            self.since.insert(model.name.clone(), since);
        }
        // A model that is gone keeps only what happened to it.
        for gone in before.keys().filter(|name| !self.since.contains_key(*name)) {
            for (counter, labels) in self.begun_at_zero(gone.as_str()) {
                if counter.with_label_values(&labels).get() == 0 {
                    // It was there a line ago.
                    let _removed = counter.remove_label_values(&labels);
                }
            }
        }
    }

    /// The counters that each model has from the beginning.
    fn begun_at_zero<'n>(&self, name: &'n str) -> [(&IntCounterVec, Vec<&'n str>); 4] {
        let Self { crashes, failed_starts, drift, restarts, .. } = self;
        [(crashes, vec![name]), (failed_starts, vec![name]), (drift, vec![name]), (restarts, vec![name, "crash"])]
    }

    /// Forgets what requests did to models that have been gone for a while: who renames
    /// models often would else have ever more series.
    fn forget_gone(&mut self, now: Instant) {
        let Some(requests) = &self.requests else { return };
        let Some(is_known) = requests.known_models() else { return };
        let gone = &mut self.gone;
        gone.retain(|model, _| !is_known(model));
        let mut is_kept = |model: &str| {
            let since = |gone: &mut HashMap<String, Instant>| *gone.entry(model.to_owned()).or_insert(now);
            is_known(model) || now.saturating_duration_since(since(gone)) < KEPT
        };
        requests.forget(&mut is_kept);
        self.on_demand.iter().for_each(|on_demand| on_demand.forget(&mut is_kept));
        gone.retain(|_, since| now.saturating_duration_since(*since) < KEPT);
    }

    fn set_out_of_sync(&self) {
        self.out_of_sync.reset();
        for (name, since) in &self.since {
            let seconds = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
            self.out_of_sync.with_label_values(&[name.as_str()]).set(seconds);
        }
    }
}

/// Returns why a server restarts, with a number that is lower for the more telling
/// reason; `None` if it is not a restart.
const fn why_again(reason: &Reason) -> Option<(u8, &'static str)> {
    match reason {
        Reason::RolledBack { .. } => Some((0, "rollback")),
        Reason::ProcessGone { .. } => Some((1, "crash")),
        Reason::Rebooted => Some((2, "reboot")),
        Reason::TriedAgain => Some((3, "retry")),
        Reason::BinaryChanged => Some((4, "binary")),
        Reason::FieldChanged { .. } | Reason::OtherSpec { .. } => Some((5, "definition")),
        Reason::ByHand { .. } => Some((6, "by_hand")),
        Reason::NotRunning => Some((7, "lost")),
        _ => None,
    }
}

/// Removes the series of the models that are not kept.
fn forget<B: MetricVecBuilder>(family: &MetricVec<B>, is_kept: &mut impl FnMut(&str) -> bool)
where
    MetricVec<B>: Collector,
{
    let families = family.collect();
    for metric in families.iter().flat_map(|family| family.get_metric()) {
        let labels: HashMap<&str, &str> =
            metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
        if labels.get("model").is_some_and(|model| !model.is_empty() && !is_kept(model)) {
            // It was there a line ago.
            let _removed = family.remove(&labels);
        }
    }
}

fn known<M: Collector + Clone + 'static>(registry: &Registry, metric: M) -> Result<M, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}
