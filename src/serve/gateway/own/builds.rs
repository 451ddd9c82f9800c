//! Which builds of llama-server run: asked once of each server, when somebody looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use tokio::task::JoinSet;

use super::ask::ask;
use crate::model::InstanceId;
use crate::serve::gateway::Gateway;

/// What the servers have said; `None`: they do not say it.
#[derive(Default)]
pub(super) struct Builds(Mutex<HashMap<InstanceId, Option<String>>>);

/// A server's `/props`.
#[derive(Deserialize)]
struct Props {
    /// `b10434-1a2b3c4`: the number and the commit of its build.
    build_info: Option<String>,
}

impl Builds {
    fn lock(&self) -> MutexGuard<'_, HashMap<InstanceId, Option<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gateway {
    /// Returns what each ready server says of its build; one that does not say it is left
    /// out. Those that have not said it yet take up to two seconds.
    pub async fn builds(&self) -> HashMap<InstanceId, String> {
        let (routes, builds) = (Arc::clone(&self.routes()), &self.0.own.builds);
        let mut asked = JoinSet::new();
        {
            let mut known = builds.lock();
            known.retain(|instance, _| routes.ready().any(|backend| backend.instance == *instance));
            let unknown = routes.ready().filter(|backend| !known.contains_key(&backend.instance));
            for backend in unknown {
                let (gateway, backend) = (self.clone(), Arc::clone(backend));
                asked.spawn(async move {
                    let props = ask::<Props>(&gateway, &backend, "/props", None).await?;
                    Some((backend.instance.clone(), props.build_info))
                });
            }
        }
        let said = asked.join_all().await;
        let mut known = builds.lock();
        known.extend(said.into_iter().flatten());
        known.iter().filter_map(|(instance, build)| Some((instance.clone(), build.clone()?))).collect()
    }
}
