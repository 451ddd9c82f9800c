//! `herdsman watch --listen`: the gateway beside the watcher.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Places;
use crate::owner::settings::Settings;
use crate::owner::settings::serve::Serve;
use crate::pass::Pass;
use crate::serve::gateway::Gateway;
use crate::serve::gateway::dispatch::App;
use crate::serve::gateway::naming::Spool;
use crate::serve::gateway::publisher::Publisher;
use crate::serve::server::{self, BindError, Listener};
use crate::serve::socket::Socket;
use crate::state::StateDir;
use crate::watch::machine::{Machine, Observer};

/// Bound addresses, on which nobody answers yet.
pub(super) struct Bound {
    listeners: Vec<Listener>,
    settings: Serve,
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
    pub(super) fn new(listen: &[String], settings: Serve) -> Result<Option<Self>, BindError> {
        let addresses = if listen.is_empty() { &settings.listen } else { listen };
        if addresses.is_empty() {
            return Ok(None);
        }
        let listeners = addresses.iter().map(|address| server::bind(address)).collect::<Result<_, _>>()?;
        Ok(Some(Self { listeners, settings }))
    }

    /// Connects a gateway with the watcher, and serves.
    pub(super) fn serve(
        self,
        mut machine: Machine,
        places: &Places,
        state: &StateDir,
    ) -> anyhow::Result<(Machine, Serving)> {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let gateway = Gateway::new(self.settings, machine.demand_bell());
        machine.set_gateway(gateway.clone());
        let socket = Socket::serve(state, gateway.clone())
            .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", state.socket().display()))?;
        let settings = Reread { places: places.clone(), gateway: gateway.clone(), problem: Mutex::default() };
        let machine = machine.observed_by(Some(settings)).observed_by(Some(Publisher::new(gateway.clone())));
        for listener in &self.listeners {
            match (listener, listener.address()?) {
                (Listener::Tcp(_), address) => tracing::info!("serving at {scheme}://{address}/v1"),
                (Listener::Unix(_), address) => tracing::info!("serving at {address}"),
            }
        }
        let server = server::serve(App { gateway, observer: None, spool: Spool::default() }, self.listeners, None)?;
        Ok((machine, Serving { server, socket }))
    }
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

/// Reads the settings again with every pass, so that a key that was removed stops
/// working. While they cannot be read, the last ones hold.
struct Reread {
    places: Places,
    gateway: Gateway,
    /// What was logged about them.
    problem: Mutex<Option<String>>,
}

impl Observer for Reread {
    fn passed(&self, _pass: Option<&Pass>, _looked: Instant, _took: Duration) {
        let read = self.places.settings();
        let now = read.as_ref().err().map(ToString::to_string);
        if let Ok(Settings { serve, .. }) = read {
            self.gateway.set_settings(serve);
        }
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        match &now {
            Some(now) if problem.as_ref() != Some(now) => {
                tracing::error!("{now}; the gateway keeps the settings that it read last");
            }
            None if problem.is_some() => tracing::info!("the settings can be read again"),
            _ => {}
        }
        *problem = now;
    }
}
