//! What passes do because clients ask, or do not ask any more.

use prometheus::{IntCounterVec, Opts, Registry};

use super::{forget, known};
use crate::model::ModelName;
use crate::plan::Reason;

/// Starts and stops of models that run on demand.
#[derive(Debug)]
pub(super) struct OnDemand {
    starts: IntCounterVec,
    idle_stops: IntCounterVec,
    evictions: IntCounterVec,
}

impl OnDemand {
    /// None counted yet.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name, help, labels: &[&str]| known(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        Ok(Self {
            starts: counters("herdsman_starts_on_demand_total", "Starts because requests waited.", &["model"])?,
            idle_stops: counters("herdsman_idle_stops_total", "Stops because nobody used the model.", &["model"])?,
            evictions: counters(
                "herdsman_evictions_total",
                "Stops that made room for another model of a full group: swaps.",
                &["model", "group"],
            )?,
        })
    }

    /// Counts an action that was carried out for these reasons.
    pub fn count(&self, model: &ModelName, reasons: &[Reason]) {
        for reason in reasons {
            match reason {
                Reason::AskedFor { .. } => self.starts.with_label_values(&[model.as_str()]).inc(),
                Reason::Idle { .. } => self.idle_stops.with_label_values(&[model.as_str()]).inc(),
                Reason::MakesRoom { group, .. } => {
                    self.evictions.with_label_values(&[model.as_str(), group]).inc();
                }
                _ => {}
            }
        }
    }

    /// Forgets the models that are not known.
    pub fn forget(&self, is_known: &impl Fn(&str) -> bool) {
        for counter in [&self.starts, &self.idle_stops, &self.evictions] {
            forget(counter, is_known);
        }
    }

    /// Begins the counters of a model: one that begins at its first event hides that
    /// event from `increase()`.
    pub fn begin(&self, model: &str) {
        for counter in [&self.starts, &self.idle_stops] {
            counter.with_label_values(&[model]);
        }
    }
}
