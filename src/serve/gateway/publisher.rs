//! Follows the watcher's passes, and publishes the routes of each.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::publish::{Known, routes};
use super::routes::ApiKey;
use super::{Gateway, Routes};
use crate::instance;
use crate::model::{Health, Instance, InstanceId};
use crate::pass::Pass;
use crate::watch::machine::Observer;

/// Publishes the routes of every pass. A pass that failed has seen nothing: the
/// routes of the one before stay.
#[derive(Debug)]
pub struct Publisher {
    gateway: Gateway,
    /// What was found out about each ready instance, once: before, a wrapper may be
    /// about to become the server.
    known: Mutex<HashMap<InstanceId, Known>>,
    /// The default model whose absence was logged.
    missing_default: Mutex<Option<String>>,
}

impl Publisher {
    /// Publishes to `gateway`.
    #[must_use]
    pub fn new(gateway: Gateway) -> Self {
        Self { gateway, known: Mutex::default(), missing_default: Mutex::default() }
    }
}

impl Observer for Publisher {
    fn passed(&self, pass: Result<&Pass, &str>, looked: Instant, _took: Duration) {
        let Ok(pass) = pass else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|id, _| pass.observed.instances.iter().any(|instance| instance.id == *id));
        let known = std::cell::RefCell::new(known);
        let find = |instance: &Instance| {
            if instance.health != Health::Ready {
                return find_out(instance);
            }
            let mut known = known.borrow_mut();
            known.entry(instance.id.clone()).or_insert_with(|| find_out(instance)).clone()
        };
        let routes = Routes::new(looked, routes(pass, find));
        self.check_default(&routes);
        self.gateway.publish(routes);
    }
}

impl Publisher {
    /// Warns of a default model that does not exist, once until something changes.
    fn check_default(&self, routes: &Routes) {
        let default = self.gateway.settings().default_model.clone();
        let missing = default.filter(|name| routes.find(name).is_none());
        let mut warned = self.missing_default.lock().unwrap_or_else(PoisonError::into_inner);
        if *warned == missing {
            return;
        }
        if let Some(name) = &missing {
            tracing::warn!(
                "`default_model` in `[serve]` names {name}, which no definition declares; requests that name no model fail"
            );
        }
        *warned = missing;
    }
}

fn find_out(instance: &Instance) -> Known {
    let Some((command, api_key)) = instance::command_line(instance) else { return Known::default() };
    Known { api_key: api_key.map(ApiKey), command }
}
