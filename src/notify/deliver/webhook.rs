//! By a webhook: a POST, and any 2xx for "arrived".
//!
//! herdsman follows no redirects: a payload goes where the settings say and nowhere
//! else. Neither the address, which often holds a secret, nor the answer appears
//! in any message.

use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Client, StatusCode, Url};

use super::super::address_of;
use super::Failure;
use crate::database::Delivery;
use crate::owner::settings::{Webhook as Settings, webhook_address};
use crate::sys::runtime::runtime;

/// Where to POST, and the runtime to do it.
#[derive(Debug)]
pub(super) struct Webhook {
    settings: Settings,
    runtime: tokio::runtime::Runtime,
}

impl Webhook {
    pub fn new(settings: &Settings) -> io::Result<Self> {
        let runtime = runtime()?;
        // Fails when one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self { settings: settings.clone(), runtime })
    }

    pub fn post(&self, delivery: &Delivery, body: String, timeout: Duration) -> Result<(), Failure> {
        // Read on each attempt, so that a renewed secret works at once.
        let url = self.settings.url.read().map_err(|error| Failure::Now(format!("webhook: {error}")))?;
        let url = webhook_address(&url).map_err(|wrong| Failure::Now(format!("webhook: the address {wrong}")))?;
        let to = address_of(&url);
        let failed = |why: String| Failure::Now(format!("{to} {why}"));
        let headers = self.headers(delivery).map_err(failed)?;
        let client = client(&url, timeout).map_err(|error| failed(format!("cannot be called: {}", reason(error))))?;
        let answer = self.runtime.block_on(async { client.post(url).headers(headers).body(body).send().await });
        let status = answer.map_err(|error| failed(describe(error, timeout)))?.status();
        match status {
            status if status.is_success() => Ok(()),
            // It will not accept later what it does not understand now.
            StatusCode::BAD_REQUEST
            | StatusCode::GONE
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY => {
                Err(Failure::Forever(format!("{to} rejected it ({})", status.as_u16())))
            }
            status if status.is_redirection() => Err(failed(format!(
                "answered {}: herdsman follows no redirects; set the final address",
                status.as_u16()
            ))),
            status => Err(failed(format!("answered {}", status.as_u16()))),
        }
    }

    fn headers(&self, delivery: &Delivery) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("herdsman/", env!("CARGO_PKG_VERSION"))));
        if let Ok(id) = HeaderValue::from_str(&delivery.id) {
            headers.insert("idempotency-key", id);
        }
        for (name, text) in &self.settings.headers {
            let value = text.read().map_err(|error| format!("was not called: header {name}: {error}"))?;
            let mut value = HeaderValue::from_str(&value)
                .map_err(|_| format!("was not called: the value of header {name} is not one line of text"))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }
}

fn client(url: &Url, timeout: Duration) -> Result<Client, reqwest::Error> {
    let builder =
        Client::builder().timeout(timeout).redirect(reqwest::redirect::Policy::none()).pool_max_idle_per_host(0);
    // A receiver on this machine is not requested through a proxy.
    if is_loopback(url) { builder.no_proxy().build() } else { builder.build() }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn describe(error: reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return format!("did not answer within {}", crate::model::text::duration(timeout));
    }
    format!("cannot be reached: {}", reason(error))
}

/// The innermost cause, without the address.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |cause| cause.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
