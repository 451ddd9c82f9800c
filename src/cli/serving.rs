//! `herdsman watch --listen`: the gateway beside the watcher.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::Places;
use crate::owner::settings::Settings;
use crate::owner::settings::serve::Serve;
use crate::pass::Pass;
use crate::serve::gateway::Gateway;
use crate::serve::gateway::publisher::Publisher;
use crate::serve::listen::{ListenError, Listener};
use crate::serve::server;
use crate::serve::socket::Socket;
use crate::state::StateDir;
use crate::watch::machine::{Machine, Observer};

/// Where to listen, and for whom.
pub(super) struct Serving {
    listeners: Vec<Listener>,
    settings: Serve,
}

impl Serving {
    /// Binds the addresses of the command line or, if it names none, of the settings;
    /// `None`: neither names one.
    pub(super) fn bind(listen: &[String], settings: Serve) -> Result<Option<Self>, ListenError> {
        let addresses = if listen.is_empty() { &settings.listen } else { listen };
        if addresses.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { listeners: Listener::all(addresses)?, settings }))
    }

    /// Connects the gateway with the watcher, and serves. The socket for other
    /// processes goes with what this returns.
    pub(super) fn begin(
        self,
        machine: Machine,
        places: &Places,
        state: &StateDir,
    ) -> anyhow::Result<(Machine, Socket)> {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let gateway = Gateway::new(self.settings, machine.demand_bell());
        let mut machine = machine;
        machine.set_gateway(gateway.clone());
        let socket = Socket::serve(state, gateway.clone())
            .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", state.socket().display()))?;
        let reread = Reread { places: places.clone(), gateway: gateway.clone(), problem: Mutex::default() };
        let machine = machine.observed_by(Some(reread)).observed_by(Some(Publisher::new(gateway.clone())));
        let at: Vec<String> = self.listeners.iter().map(|listener| place(listener, scheme)).collect();
        server::serve(gateway, self.listeners)?;
        at.iter().for_each(|at| tracing::info!("serving at {at}"));
        Ok((machine, socket))
    }
}

fn place(listener: &Listener, scheme: &str) -> String {
    match listener.address() {
        Some(address) => format!("{scheme}://{address}/v1"),
        None => listener.to_string(),
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
        let mut problem = self.problem.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
