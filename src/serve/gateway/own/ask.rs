//! Small questions to servers: what the gateway has to know itself.

use std::sync::OnceLock;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::serve::gateway::Backend;

/// How long a server may take to answer. With 40 requests in flight it takes 2 ms.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The most bytes of an answer that are read.
const LARGEST: usize = 4 << 20;

/// Asks servers; made when the first one is to be asked.
#[derive(Clone, Default)]
pub(super) struct Client(OnceLock<reqwest::Client>);

impl Client {
    /// Posts a question; `None`: there is no answer that can be read.
    pub async fn post<T: DeserializeOwned>(&self, backend: &Backend, path: &str, body: &Value) -> Option<T> {
        let address = &backend.address;
        let (client, base) = match address.socket() {
            None => (self.client()?, address.url()?),
            Some(socket) => {
                (builder().unix_socket(socket).build().ok()?, format!("http://localhost{}", address.prefix))
            }
        };
        let request = client.post(format!("{base}{path}")).json(body);
        let request = match &backend.api_key {
            Some(key) => request.bearer_auth(&key.0),
            None => request,
        };
        let mut response = request.send().await.ok()?.error_for_status().ok()?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            if answer.len() + chunk.len() > LARGEST {
                return None;
            }
            answer.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&answer).ok()
    }

    fn client(&self) -> Option<reqwest::Client> {
        if self.0.get().is_none() {
            // Another thread may have made one meanwhile: as good.
            let _made = self.0.set(builder().build().ok()?);
        }
        self.0.get().cloned()
    }
}

/// No connection is kept: each one holds a thread of the server.
fn builder() -> reqwest::ClientBuilder {
    // Fails when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .http1_only()
        .tls_danger_accept_invalid_certs(true)
}
