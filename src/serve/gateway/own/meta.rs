//! What servers say of their models in `meta`, such as `n_ctx`: asked once of each,
//! when it is ready, so that no list waits for an answer.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::ask::ask;
use crate::model::InstanceId;
use crate::serve::gateway::{Backend, Gateway};

/// The longest text that is kept, bytes.
const LONGEST: usize = 100;

/// The `meta` of a server's model.
pub(super) type Meta = Arc<Map<String, Value>>;

/// What the ready servers have said; `None`: nothing.
#[derive(Default)]
pub(super) struct Metas(Mutex<HashMap<InstanceId, Option<Meta>>>);

/// A server's `/v1/models`.
#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    meta: Option<Map<String, Value>>,
}

impl Metas {
    /// Returns what a server has said.
    pub fn of(&self, instance: &InstanceId) -> Option<Meta> {
        self.lock().get(instance).cloned().flatten()
    }

    /// Keeps what a server says: numbers and short texts.
    pub fn keep(&self, instance: &InstanceId, said: Option<Map<String, Value>>) {
        let meta = said.map(|mut meta| {
            meta.retain(|_, value| value.is_number() || value.as_str().is_some_and(|text| text.len() <= LONGEST));
            Arc::new(meta)
        });
        self.lock().insert(instance.clone(), meta);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Option<Meta>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Asks each server what it says of its model, once it is ready: for as long as the
    /// runtime lasts. One that does not answer is asked again after the next pass.
    pub async fn learn(self) {
        let mut changes = self.changes();
        loop {
            let routes = Arc::clone(&self.routes());
            let ready: HashSet<_> = routes.ready().map(|backend| &backend.instance).collect();
            self.0.own.metas.lock().retain(|instance, _| ready.contains(instance));
            let mut asked = JoinSet::new();
            for backend in routes.ready() {
                let (gateway, backend) = (self.clone(), Arc::clone(backend));
                asked.spawn(async move { gateway.learn_of(&backend).await });
            }
            asked.join_all().await;
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Asks a server what it says of its model, unless it has said so.
    pub(super) async fn learn_of(&self, backend: &Backend) {
        let metas = &self.0.own.metas;
        if backend.is_successor() || metas.lock().contains_key(&backend.instance) {
            return;
        }
        let Some(list) = ask::<List>(self, backend, "/v1/models", None).await else { return };
        metas.keep(&backend.instance, list.data.into_iter().next().and_then(|entry| entry.meta));
    }
}
