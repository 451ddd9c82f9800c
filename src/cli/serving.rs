//! `herdsman watch --listen`: the gateway beside the watcher.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{Exit, Places, Refused};
use crate::llama::catalogue::binary;
use crate::model::{Given, ModelName, Timestamp};
use crate::owner::settings::Settings;
use crate::owner::settings::serve::{Listen, Serve};
use crate::pass::Pass;
use crate::pass::by_hand::Asked;
use crate::plan::Command;
use crate::serve::access::refuse_open;
use crate::serve::gateway::Gateway;
use crate::serve::gateway::dispatch::App;
use crate::serve::gateway::naming::Spool;
use crate::serve::gateway::own;
use crate::serve::gateway::publisher::Publisher;
use crate::serve::metrics::Metrics;
use crate::serve::server::{self, BindError, Listener};
use crate::serve::socket::Socket;
use crate::serve::tls::Acceptor;
use crate::state::StateDir;
use crate::watch::machine::{Machine, Observer};
use crate::watch::{Inbox, Surroundings as _};

/// Bound addresses, on which nobody answers yet.
pub(super) struct Bound {
    listeners: Vec<Listener>,
    settings: Serve,
    /// The text of the settings file, at the latest as it was read.
    text: Option<Vec<u8>>,
}

/// The gateway, which ends with this.
pub(super) struct Serving {
    server: server::Serving,
    /// Other processes find the gateway for as long as it has requests in flight.
    socket: Socket,
}

impl Bound {
    /// Binds the addresses of the command line or, if it names none, of the settings;
    /// `None`: neither names one.
    pub(super) fn new(listen: &[String], settings: Serve, text: Option<Vec<u8>>) -> anyhow::Result<Option<Self>> {
        let addresses = if listen.is_empty() { &settings.listen } else { listen };
        if addresses.is_empty() {
            return Ok(None);
        }
        let parsed =
            addresses.iter().map(|address| address.parse()).collect::<Result<Vec<Listen>, _>>().map_err(usage)?;
        refuse_open(&parsed, &settings).map_err(usage)?;
        let listeners = addresses.iter().map(|address| server::bind(address)).collect::<Result<_, BindError>>()?;
        Ok(Some(Self { listeners, settings, text }))
    }

    /// Connects a gateway with the watcher, and serves.
    pub(super) fn serve(
        self,
        mut machine: Machine,
        places: &Places,
        state: &StateDir,
        metrics: Metrics,
    ) -> anyhow::Result<(Machine, Serving)> {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let tls = self.settings.tls.as_ref().map(Acceptor::new).transpose().map_err(usage)?;
        let gateway = Gateway::new(self.settings, machine.demand_bell());
        machine.set_gateway(gateway.clone());
        let socket = Socket::serve(state, gateway.clone())
            .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", state.socket().display()))?;
        let settings = Reread { places: places.clone(), gateway: gateway.clone(), text: Mutex::new(self.text) };
        let machine = machine.observed_by(Some(settings)).observed_by(Some(Publisher::new(gateway.clone())));
        for listener in &self.listeners {
            match (listener, listener.address()?) {
                (Listener::Tcp(_), address) => tracing::info!("serving at {scheme}://{address}/v1"),
                (Listener::Unix(_), address) => tracing::info!("serving at {address}"),
            }
        }
        let watched = Watched { inbox: machine.inbox(), metrics, state: state.clone(), places: places.clone() };
        gateway.attach(Arc::new(watched));
        let server = server::serve(App { gateway, observer: None, spool: Spool::default() }, self.listeners, tls)?;
        Ok((machine, Serving { server, socket }))
    }
}

/// What the owner or the command line asks for cannot be done.
fn usage(error: impl std::fmt::Display) -> Refused {
    Refused { exit: Exit::Usage, message: error.to_string() }
}

impl Serving {
    /// Ends: new connections are refused, and requests in flight are cut off after
    /// `limit`.
    pub(super) fn finish(self, limit: Duration) {
        let Self { server, socket } = self;
        let _all_were_over = server.finish(limit);
        drop(socket);
    }
}

/// The watcher, as the gateway asks it.
struct Watched {
    inbox: Inbox,
    metrics: Metrics,
    state: StateDir,
    places: Places,
}

impl own::Host for Watched {
    fn start(&self, model: &ModelName, by: Option<&str>) -> Result<(), String> {
        let at = Timestamp(jiff::Timestamp::now().as_millisecond());
        let given = Given { by: by.unwrap_or("a client of the gateway").to_owned(), at, because: None };
        let asked = Asked { model: model.clone(), command: Command::Start, given };
        match self.inbox.put(asked).recv() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(refusal)) => Err(refusal.to_string()),
            Err(_) => Err("the watcher could not record it; its log says why".to_owned()),
        }
    }

    fn llama_server(&self) -> Option<PathBuf> {
        binary::locate(self.places.stated_llama_server(), std::env::var_os("PATH").as_deref()).ok()
    }

    fn state(&self) -> &StateDir {
        &self.state
    }

    fn metrics(&self) -> Result<String, String> {
        self.metrics.render().map_err(|error| error.to_string())
    }
}

/// Reads the settings again when their text has changed, at the latest with the next
/// pass, so that a key that was removed stops working. While they cannot be read, the
/// last ones hold.
struct Reread {
    places: Places,
    gateway: Gateway,
    text: Mutex<Option<Vec<u8>>>,
}

impl Observer for Reread {
    fn passed(&self, _pass: Option<&Pass>, _looked: Instant, _took: Duration) {
        let now = self.places.settings_text();
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        if *text == now {
            return;
        }
        *text = now;
        match self.places.settings() {
            Ok(Settings { serve, .. }) => {
                self.gateway.set_settings(serve);
                tracing::info!("the gateway obeys the changed settings");
            }
            Err(error) => tracing::error!("{error}; the gateway keeps the settings that it read last"),
        }
    }
}
