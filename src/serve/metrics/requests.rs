//! What is counted of the requests that the gateway answers.
//!
//! Labels are bounded: models by the routes (one that is gone is forgotten), keys by the settings, codes by HTTP. A
//! request for anything else has an empty `model`.

use std::sync::Arc;

use hyper::StatusCode;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::{forget, known};
use crate::model::{ModelName, Timestamp};
use crate::serve::gateway::Gateway;
use crate::serve::gateway::record::{Finished, Observer};
use crate::serve::gateway::tokens::Tokens;

/// Buckets for the parts of a request, in seconds: a small answer takes milliseconds,
/// the load of a large model minutes, `[serve] hold` is 10 minutes.
const BUCKETS: [f64; 15] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// The code of a client that left before there was an answer, as nginx has it.
const LEFT: &str = "499";

/// The requests of a gateway; clones count together.
#[derive(Clone)]
pub(super) struct Requests {
    gateway: Gateway,
    requests: IntCounterVec,
    in_flight: IntGaugeVec,
    waiting: IntGaugeVec,
    first_byte: HistogramVec,
    duration: HistogramVec,
    holds: HistogramVec,
    retries: IntCounterVec,
    prompt_tokens: IntCounterVec,
    generated_tokens: IntCounterVec,
}

impl Requests {
    /// None counted yet.
    pub fn new(gateway: Gateway, registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters =
            |name, help, labels: &[&str]| known(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let gauges = |name, help| known(registry, IntGaugeVec::new(Opts::new(name, help), &["model"])?);
        let histograms = |name, help| {
            let opts = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
            known(registry, HistogramVec::new(opts, &["model"])?)
        };
        Ok(Self {
            gateway,
            requests: counters(
                "herdsman_requests_total",
                "Requests that are over, by status code (499: the client left before the answer) and name of the key.",
                &["model", "code", "key"],
            )?,
            in_flight: gauges("herdsman_requests_in_flight", "Requests that a server is answering, without polls.")?,
            waiting: gauges("herdsman_requests_waiting", "Requests that wait for a server, without polls.")?,
            first_byte: histograms(
                "herdsman_request_first_byte_seconds",
                "Seconds from the arrival of a request to the head of its answer.",
            )?,
            duration: histograms(
                "herdsman_request_duration_seconds",
                "Seconds from the arrival of a request to the last byte of its answer.",
            )?,
            holds: histograms(
                "herdsman_request_hold_seconds",
                "Seconds that requests waited for a model that was not ready; the others are not counted.",
            )?,
            retries: counters(
                "herdsman_request_retries_total",
                "Requests that were sent again because a server failed before its answer.",
                &["model"],
            )?,
            prompt_tokens: counters(
                "herdsman_prompt_tokens_total",
                "Tokens of prompts, cached ones included, where the answer says.",
                &["model"],
            )?,
            generated_tokens: counters(
                "herdsman_generated_tokens_total",
                "Tokens that models generated, where the answer says.",
                &["model"],
            )?,
        })
    }

    /// Returns what counts each request, and lists it in the gateway's activity.
    pub fn observer(self) -> Observer {
        Arc::new(move |finished| {
            let tokens = Tokens::of(finished);
            self.count(finished, tokens);
            // Neither polls nor who has no key push the requests of others out of the list.
            let is_listed = !finished.is_own && !matches!(finished.status, Some(401 | 403));
            if finished.model.is_some() || is_listed {
                self.gateway.activity().add(finished, tokens);
            }
        })
    }

    fn count(&self, finished: &Finished, tokens: Tokens) {
        let model = finished.model.as_ref().map_or("", |model| model.as_str());
        let code = finished.status.and_then(|code| StatusCode::from_u16(code).ok());
        let key = finished.caller.as_deref().unwrap_or_default();
        self.requests.with_label_values(&[model, code.as_ref().map_or(LEFT, StatusCode::as_str), key]).inc();
        if finished.model.is_none() {
            return;
        }
        self.duration.with_label_values(&[model]).observe((finished.ended - finished.started).as_secs_f64());
        if let Some(first_byte) = finished.first_byte {
            self.first_byte.with_label_values(&[model]).observe(first_byte.as_secs_f64());
        }
        if finished.held {
            self.holds.with_label_values(&[model]).observe(finished.waited.as_secs_f64());
        }
        if finished.retries > 0 {
            self.retries.with_label_values(&[model]).inc_by(finished.retries.into());
        }
        for (counter, number) in [(&self.prompt_tokens, tokens.prompt), (&self.generated_tokens, tokens.generated)] {
            if let Some(number) = number {
                counter.with_label_values(&[model]).inc_by(number.into());
            }
        }
    }

    /// Sets the gauges to what is asked for now, and begins the counters of every model.
    pub fn refresh(&self) {
        self.in_flight.reset();
        self.waiting.reset();
        let demand = self.gateway.demand(Timestamp(jiff::Timestamp::now().as_millisecond()));
        for route in self.gateway.routes().all() {
            let model = [route.model.as_str()];
            let traffic = demand.models.get(&route.model).copied().unwrap_or_default();
            self.in_flight.with_label_values(&model).set(traffic.in_flight.into());
            self.waiting.with_label_values(&model).set(traffic.waiting.into());
            // A counter that begins at its first event hides that event from `increase()`.
            for counter in [&self.retries, &self.prompt_tokens, &self.generated_tokens] {
                counter.with_label_values(&model);
            }
        }
    }
}

impl Requests {
    /// Returns which models there are, or are still in use; `None` before the first pass.
    pub fn known_models(&self) -> Option<impl Fn(&str) -> bool + use<>> {
        let routes = self.gateway.routes();
        let mut demand = self.gateway.demand(Timestamp(jiff::Timestamp::now().as_millisecond())).models;
        demand.retain(|_, traffic| traffic.in_flight > 0 || traffic.waiting > 0);
        routes.are_known().then_some(move |model: &str| {
            let is_it = |name: &ModelName| name.as_str() == model;
            routes.all().any(|route| is_it(&route.model)) || demand.keys().any(is_it)
        })
    }

    /// Forgets the models that are not known.
    pub fn forget(&self, is_known: &impl Fn(&str) -> bool) {
        for counters in [&self.requests, &self.retries, &self.prompt_tokens, &self.generated_tokens] {
            forget(counters, is_known);
        }
        for histograms in [&self.first_byte, &self.duration, &self.holds] {
            forget(histograms, is_known);
        }
    }
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
