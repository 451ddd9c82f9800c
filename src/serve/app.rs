//! One request, from its arrival: who sends it, and whether the page, the API or the
//! gateway answers.

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Version};

use super::access::{Caller, Denied, Peer, passed_on};
use super::api::{self, Api};
use super::body::{Answer, empty};
use super::gateway::errors::{Error, Shape};
use super::gateway::naming::Spool;
use super::gateway::record::{End, Observer, Record};
use super::gateway::{Gateway, dispatch, succeeded};
use super::page;

/// What every request is answered with.
#[derive(Clone)]
pub struct App {
    /// The gateway.
    pub gateway: Gateway,
    /// What there is to see and to do; `None`: nobody watches.
    pub api: Option<Api>,
    /// What sees each request that is over.
    pub observer: Option<Observer>,
    /// Where bodies of requests are kept.
    pub spool: Spool,
}

impl App {
    /// Answers a request that comes from `peer`, if it may be answered.
    pub async fn answer(&self, peer: Peer, mut request: Request<Incoming>) -> Answer {
        let upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        if peer == Peer::Predecessor {
            passed_on::arrived(&parts.headers).into_iter().for_each(|arrived| _ = parts.extensions.insert(arrived));
            passed_on::asked_path(&parts.headers).into_iter().for_each(|asked| _ = parts.extensions.insert(asked));
        }
        if let Err(error) = names_its_host(&parts) {
            return self.record(&parts, &Caller::anyone()).answers(error.answer(Shape::of(parts.uri.path())));
        }
        self.gateway.look_at_files().await;
        let access = self.gateway.access();
        if let Some(preflight) = access.preflight(&parts).filter(|_| peer != Peer::Predecessor) {
            return match preflight {
                Ok(headers) => self.record(&parts, &Caller::anyone()).answers(preflighted(headers)),
                Err(denied) => self.refused(&parts, &denied),
            };
        }
        let (cors, checked) = (access.cors(&parts), access.check(&parts, peer));
        drop(access);
        let mut answer = match checked {
            Ok(caller) => self.answer_to(caller, parts, body, upgrade).await,
            Err(denied) => self.refused(&parts, &denied),
        };
        cors.apply(answer.headers_mut());
        answer
    }

    fn record(&self, parts: &Parts, caller: &Caller) -> Record {
        Record::new(parts, caller, self.observer.clone())
    }

    fn refused(&self, parts: &Parts, denied: &Denied) -> Answer {
        let mut record = self.record(parts, &Caller::anyone());
        record.answered(denied.status().as_u16());
        record.ends(End::Complete);
        let kind = if denied.status() == StatusCode::FORBIDDEN { "permission_error" } else { "authentication_error" };
        let mut error = Error::new(denied.status(), kind, denied.to_string());
        error.code = matches!(denied, Denied::WrongKey).then_some("invalid_api_key");
        let mut answer = error.answer(Shape::of(parts.uri.path()));
        for challenge in denied.challenges() {
            answer.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        answer
    }

    /// Chooses who answers: the herdsman that has taken over, the page, the API, the gateway.
    async fn answer_to(&self, caller: Caller, parts: Parts, body: Incoming, upgrade: OnUpgrade) -> Answer {
        // The page and the API say themselves why nothing is known yet.
        let is_api = page::is_one(&parts) || Shape::of(parts.uri.path()) == Shape::Problem;
        if !(self.api.is_some() && is_api)
            && let Err(error) = dispatch::models_are_known(&self.gateway, &parts).await
        {
            return self.record(&parts, &caller).answers(error.answer(Shape::of(parts.uri.path())));
        }
        if let Some(successor) = self.gateway.successor() {
            return succeeded::answer(&self.gateway, &self.spool, successor, &parts, body, &caller, upgrade).await;
        }
        let record = self.record(&parts, &caller);
        if let Some(answer) = self.api.as_ref().and_then(|_| page::answer(&parts)) {
            return record.answers(answer);
        }
        let (body, upgrade) = match &self.api {
            None => (body, upgrade),
            Some(api) => match api::answer(api, api::Asked { caller: &caller, parts: &parts, body, upgrade }).await {
                Ok(answer) => return record.answers(answer),
                Err(theirs) => theirs,
            },
        };
        dispatch::answer(&self.gateway, &self.spool, &caller, parts, body, upgrade, record).await
    }
}

/// Checks that a request has the one `Host` that HTTP/1.1 asks for (RFC 9112, 3.2).
fn names_its_host(parts: &Parts) -> Result<(), Error> {
    let hosts = parts.headers.get_all(HOST).iter().count();
    if hosts == 1 || parts.version != Version::HTTP_11 && hosts == 0 {
        return Ok(());
    }
    let what = if hosts == 0 { "has no `Host` header" } else { "has more than one `Host` header" };
    Err(Error::invalid(format!("the request {what}; HTTP/1.1 needs exactly one")))
}

fn preflighted(headers: HeaderMap) -> Answer {
    let mut answer = Response::new(empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    *answer.headers_mut() = headers;
    answer
}
