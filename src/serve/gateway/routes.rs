//! Where requests may go: immutable, published by every pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Address, InstanceId, ModelName};

/// Every model that requests may name.
#[derive(Debug)]
pub struct Routes {
    /// When the pass began that found them.
    pub began: Instant,
    models: BTreeMap<ModelName, Arc<Route>>,
    /// Names and aliases.
    names: BTreeMap<String, ModelName>,
    /// Whether a pass has found them.
    are_known: bool,
}

impl Default for Routes {
    /// Those before the first pass: nothing is known of any model.
    fn default() -> Self {
        Self { are_known: false, ..Self::new(Instant::now(), Vec::new()) }
    }
}

impl Routes {
    /// Returns the routes of a pass that began at `began`. A model's own name goes
    /// before another's alias.
    #[must_use]
    pub fn new(began: Instant, routes: Vec<Route>) -> Self {
        let models: BTreeMap<_, _> = routes.into_iter().map(|route| (route.model.clone(), Arc::new(route))).collect();
        let mut names = BTreeMap::new();
        for route in models.values() {
            names.extend(route.aliases.iter().map(|alias| (alias.clone(), route.model.clone())));
        }
        names.extend(models.keys().map(|name| (name.to_string(), name.clone())));
        Self { began, models, names, are_known: true }
    }

    /// Returns routes that lead every request to another gateway, which listens on the
    /// unix socket at `hall`: it knows where to go from there.
    #[must_use]
    pub fn leading_to(&self, hall: &str) -> Self {
        let led = |route: &Arc<Route>| {
            let backend = Backend::successor(hall, format!("/upstream/{}", route.model));
            Route { standing: Standing::Ready(Arc::new(backend)), ..Route::clone(route) }
        };
        Self::new(Instant::now(), self.all().map(led).collect())
    }

    /// Whether a pass has found them; before the first one, every name is unknown.
    #[must_use]
    pub const fn are_known(&self) -> bool {
        self.are_known
    }

    /// Returns the model with this name or alias.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Route>> {
        self.models.get(self.names.get(name)?)
    }

    /// Returns every model, in order of name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Arc<Route>> {
        self.models.values()
    }

    /// Returns the instances that are ready.
    pub fn ready(&self) -> impl Iterator<Item = &Arc<Backend>> {
        self.all().filter_map(|route| match &route.standing {
            Standing::Ready(backend) => Some(backend),
            _ => None,
        })
    }
}

/// One model, as requests see it.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub model: ModelName,
    /// Its other names.
    pub aliases: Vec<String>,
    /// Whether lists show it.
    pub listed: bool,
    /// Whether it starts when asked for.
    pub on_demand: bool,
    /// Where its requests go.
    pub standing: Standing,
    /// What lists say about it besides.
    pub about: About,
}

impl Route {
    /// Whether a client may unload it, and it stays so: it starts when it is asked for,
    /// or runs only because somebody started it by hand.
    #[must_use]
    pub const fn unloads(&self) -> bool {
        self.on_demand || self.about.is_by_hand
    }
}

/// What lists say about a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// `description`.
    pub description: Option<String>,
    /// When its row was created, seconds since 1970; 0: it has none yet.
    pub created: i64,
    /// Whether its server drains or stops, and the next one has not started yet.
    pub is_stopping: bool,
    /// Whether it is declared stopped, and somebody has started it by hand.
    pub is_by_hand: bool,
    /// After how many seconds without a request it stops; 0: never.
    pub ttl: u64,
    /// The command line of its server, or of the next one as far as it is known.
    pub command: Vec<String>,
}

/// Where the requests for a model go.
#[derive(Clone, Debug)]
pub enum Standing {
    /// To this instance.
    Ready(Arc<Backend>),
    /// They wait: an instance loads, drains, or is about to start.
    Coming,
    /// They wait, and their waiting starts it.
    OnDemand,
    /// They fail: herdsman will not start it, and here is why.
    Unavailable(String),
}

/// A ready instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Which one.
    pub instance: InstanceId,
    /// The generation it serves.
    pub generation: u32,
    /// Where it listens.
    pub address: Address,
    /// How many requests it answers at once; `None`: any number.
    pub max_in_flight: Option<u32>,
    /// The key it asks for; clients never see it.
    pub api_key: Option<ApiKey>,
}

impl Backend {
    /// Returns the herdsman that has taken over, which listens on the unix socket at
    /// `hall`.
    #[must_use]
    pub fn successor(hall: &str, prefix: String) -> Self {
        let address = Address { host: hall.to_owned(), prefix, ..Address::default() };
        // A server's generations begin with 1.
        Self { instance: InstanceId(hall.to_owned()), generation: 0, address, max_in_flight: None, api_key: None }
    }

    /// Whether it is the herdsman that has taken over, and no server.
    #[must_use]
    pub const fn is_successor(&self) -> bool {
        self.generation == 0
    }
}

/// A server's own key, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(pub String);

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}
