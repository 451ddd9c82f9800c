//! Streams that outlive their client: which server has which conversation.
//!
//! A request with `X-Conversation-Id` goes on when its client leaves, and the page
//! that comes back names only the conversation. So the gateway remembers who has
//! it. It knows servers, not models: a server that drains still has its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use hyper::body::{Body as HttpBody, Bytes};
use hyper::header::{HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Response};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::JoinSet;

use super::answers::{invalid, json, not_found};
use super::ask::ask;
use super::query::parameter;
use super::{Own, small_body};
use crate::model::ModelName;
use crate::serve::access::Caller;
use crate::serve::body::{Answer, BodyError, empty};
use crate::serve::gateway::{Backend, Gateway, Standing};

/// How many conversations are remembered: the last ones.
const MOST: usize = 10_000;

/// The longest id that is remembered, bytes: llama.cpp's page makes them of a UUID
/// and a model's name. A longer one is asked for everywhere.
const LONGEST: usize = 512;

/// How many conversations one lookup may name.
const MOST_AT_ONCE: usize = 1000;

const HEADER: HeaderName = HeaderName::from_static("x-conversation-id");

/// Who has which conversation.
#[derive(Default)]
pub(super) struct Conversations(Mutex<Known>);

#[derive(Default)]
struct Known {
    of: HashMap<Arc<str>, (u64, Holder)>,
    /// The ids by when they were used last.
    by_use: BTreeMap<u64, Arc<str>>,
    uses: u64,
}

/// A server that has a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    model: ModelName,
    backend: Arc<Backend>,
    /// The name of the key that began the conversation: no other key reaches it.
    key: Option<Arc<str>>,
}

impl Conversations {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, id: &str, holder: Holder) {
        if id.len() > LONGEST {
            return;
        }
        let mut known = self.lock();
        if known.of.get(id).is_some_and(|(_, before)| before.key != holder.key) {
            return;
        }
        known.uses += 1;
        let (number, id) = (known.uses, Arc::<str>::from(id));
        if let Some((before, _)) = known.of.insert(Arc::clone(&id), (number, holder)) {
            known.by_use.remove(&before);
        }
        known.by_use.insert(number, id);
        if known.by_use.len() > MOST
            && let Some((_, oldest)) = known.by_use.pop_first()
        {
            known.of.remove(&oldest);
        }
    }

    fn find(&self, id: &str) -> Option<Holder> {
        self.lock().of.get(id).map(|(_, holder)| holder.clone())
    }
}

impl Gateway {
    /// Remembers that the instance has the conversation that a request's headers
    /// name, if they name one. To be called before the request is sent to it.
    pub fn remember_conversation(
        &self,
        headers: &HeaderMap,
        key: Option<Arc<str>>,
        model: &ModelName,
        backend: &Arc<Backend>,
    ) {
        if let Some(id) = headers.get(HEADER).and_then(|id| id.to_str().ok()) {
            let holder = Holder { model: model.clone(), backend: Arc::clone(backend), key };
            self.0.own.conversations.remember(id, holder);
        }
    }

    /// Returns who has the conversation, if the caller may use that model.
    fn holder(&self, caller: &Caller, id: &str) -> Option<Holder> {
        self.0.own.conversations.find(id).filter(|holder| caller.may_use(&holder.model))
    }

    /// Whether another key began the conversation. Who needs no key may see all.
    fn is_of_another(&self, caller: &Caller, id: &str) -> bool {
        caller.name.is_some() && self.0.own.conversations.find(id).is_some_and(|holder| holder.key != caller.name)
    }

    /// Returns every server that is ready and that the caller may use.
    fn holders(&self, caller: &Caller) -> Vec<Holder> {
        let routes = self.routes();
        let usable = routes.all().filter(|route| caller.may_use(&route.model));
        let ready = usable.filter_map(|route| match &route.standing {
            Standing::Ready(backend) => {
                let (model, backend) = (route.model.clone(), Arc::clone(backend));
                Some(Holder { model, backend, key: caller.name.clone() })
            }
            _ => None,
        });
        ready.collect()
    }
}

/// `/v1/stream?conv_id=…`: goes to the server that has the conversation.
pub(super) async fn stream<B>(gateway: &Gateway, caller: &Caller, parts: &Parts, body: B) -> Own<B> {
    let Some(id) = parameter(&parts.uri, "conv_id").filter(|id| !id.is_empty()) else {
        return Own::Answer(invalid("conv_id is missing from the query"));
    };
    if gateway.is_of_another(caller, &id) {
        return Own::Answer(unknown(&parts.method));
    }
    let holder = match gateway.holder(caller, &id) {
        Some(holder) => Some(holder),
        None => {
            look_up(gateway, caller, &[id.to_string()]).await;
            gateway.holder(caller, &id)
        }
    };
    match holder {
        Some(holder) => Own::To(gateway.lease_of(holder.model, holder.backend), body),
        None => Own::Answer(unknown(&parts.method)),
    }
}

/// Returns what llama-server answers about a conversation that it does not have:
/// also for one whose server is gone.
#[must_use]
pub fn unknown(method: &Method) -> Answer {
    if *method != Method::DELETE {
        return not_found("there is no such conversation");
    }
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// The body of `/v1/streams/lookup`.
#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    conversation_ids: Vec<String>,
}

/// `POST /v1/streams/lookup`: the answers of all servers that may have one of the
/// conversations, in the order asked.
pub(super) async fn lookup<B>(gateway: &Gateway, caller: &Caller, body: B) -> Answer
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    let body = match small_body(body).await {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    // llama-server knows none of the conversations in a body that it cannot read.
    let asked: Asked = serde_json::from_slice(&body).unwrap_or_default();
    if asked.conversation_ids.len() > MOST_AT_ONCE {
        return invalid(&format!("more than {MOST_AT_ONCE} conversations at once"));
    }
    let found = look_up(gateway, caller, &asked.conversation_ids).await;
    let answers: Vec<_> = asked.conversation_ids.iter().filter_map(|id| found.get(id.as_str())).collect();
    json(StatusCode::OK, &answers)
}

/// Asks the servers that have these conversations, and remembers what they say: the
/// one that is remembered, else all of them. Starts nothing.
async fn look_up(gateway: &Gateway, caller: &Caller, ids: &[String]) -> HashMap<String, Value> {
    let mut questions: Vec<(Holder, Vec<String>)> =
        gateway.holders(caller).into_iter().map(|holder| (holder, Vec::new())).collect();
    for id in ids.iter().filter(|id| !gateway.is_of_another(caller, id)) {
        match gateway.holder(caller, id) {
            None => questions.iter_mut().for_each(|(_, ids)| ids.push(id.clone())),
            Some(known) => match questions.iter_mut().find(|(holder, _)| holder.backend == known.backend) {
                Some((_, ids)) => ids.push(id.clone()),
                // It drains, or is gone.
                None => questions.push((known, vec![id.clone()])),
            },
        }
    }
    let mut asked = JoinSet::new();
    for (holder, ids) in questions.into_iter().filter(|(_, ids)| !ids.is_empty()) {
        let gateway = gateway.clone();
        asked.spawn(async move { (ask_for(&gateway, &holder.backend, &ids).await, holder) });
    }
    let mut found: HashMap<String, Value> = HashMap::new();
    while let Some(Ok((answers, holder))) = asked.join_next().await {
        for (id, answer) in answers {
            // Of two that know it, the one that began it last has what the client saw.
            if found.get(&id).is_none_or(|before| started(before) < started(&answer)) {
                gateway.0.own.conversations.remember(&id, holder.clone());
                found.insert(id, answer);
            }
        }
    }
    found
}

fn started(answer: &Value) -> i64 {
    answer["started_at"].as_i64().unwrap_or_default()
}

/// Returns what one server knows of these conversations; nothing if it is gone.
async fn ask_for(gateway: &Gateway, backend: &Backend, ids: &[String]) -> Vec<(String, Value)> {
    let body = serde_json::json!({"conversation_ids": ids});
    let answers: Vec<Value> = ask(gateway, backend, "/v1/streams/lookup", Some(&body)).await.unwrap_or_default();
    let by_id = answers.into_iter().filter_map(|answer| Some((answer["conversation_id"].as_str()?.to_owned(), answer)));
    by_id.filter(|(id, _)| ids.contains(id)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::{Address, InstanceId};

    fn holder(model: &str) -> Holder {
        let backend = Backend {
            instance: InstanceId(model.to_owned()),
            generation: 1,
            address: Address::default(),
            max_in_flight: None,
            api_key: None,
        };
        Holder { model: model.parse().unwrap(), backend: Arc::new(backend), key: None }
    }

    #[test]
    fn another_key_neither_reaches_a_conversation_nor_takes_it_over() {
        let gateway = Gateway::new(crate::owner::settings::serve::Serve::default(), || {});
        let keyed = |name: &str| Caller { name: Some(name.into()), ..Caller::anyone() };
        let (ann, bob) = (keyed("ann"), keyed("bob"));
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "c".parse().unwrap());
        for (caller, model) in [(&ann, "a"), (&bob, "b")] {
            let Holder { model, backend, .. } = holder(model);
            gateway.remember_conversation(&headers, caller.name.clone(), &model, &backend);
        }
        assert_eq!(gateway.holder(&ann, "c").unwrap().model.as_str(), "a");
        assert_eq!(
            [&ann, &bob, &Caller::anyone()].map(|caller| gateway.is_of_another(caller, "c")),
            [false, true, false]
        );
    }

    #[test]
    fn the_last_holder_is_remembered_and_the_oldest_conversation_is_forgotten() {
        let conversations = Conversations::default();
        conversations.remember("c", holder("a"));
        conversations.remember("c", holder("b"));
        assert_eq!(conversations.find("c"), Some(holder("b")));
        conversations.remember(&"x".repeat(LONGEST + 1), holder("a"));
        for number in 0..MOST - 1 {
            conversations.remember(&number.to_string(), holder("a"));
        }
        conversations.remember("c", holder("b"));
        conversations.remember("new", holder("a"));
        assert_eq!(conversations.find("0"), None);
        assert_eq!((conversations.find("c"), conversations.find("1")), (Some(holder("b")), Some(holder("a"))));
        let known = conversations.lock();
        assert_eq!((known.of.len(), known.by_use.len()), (MOST, MOST));
    }
}
