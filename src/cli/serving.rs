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
use crate::serve::handover::{Given, HALL, Hall, Heir, Inherited};
use crate::serve::server::{self, BindError, Listener};
use crate::serve::socket::Socket;
use crate::state::StateDir;
use crate::watch::machine::{Machine, Observer};

/// Bound addresses, on which nobody answers yet.
pub(super) struct Bound {
    /// With the addresses as they were asked for.
    listeners: Vec<(String, Listener)>,
    /// Where the herdsman before this one sends the requests that wait there.
    hall: Option<Listener>,
    settings: Serve,
}

/// The gateway, which ends with this.
pub(super) struct Serving {
    server: server::Serving,
    /// Other processes find the gateway for as long as it has requests in flight.
    socket: Socket,
    gateway: Gateway,
}

impl Bound {
    /// Binds the addresses of the command line or, if it names none, of the settings;
    /// `None`: neither names one.
    /// Sockets of the service manager, or of the herdsman before this one, need no
    /// address.
    pub(super) fn new(
        listen: &[String],
        settings: Serve,
        inherited: Option<&mut Inherited>,
    ) -> Result<Option<Self>, BindError> {
        let addresses = if listen.is_empty() { &settings.listen } else { listen };
        let (mut given, hall) = match inherited {
            Some(inherited) => (Given::inherited(inherited)?, inherited.take_listener(HALL)),
            None => (Given::by_service_manager()?, None),
        };
        let mut listeners: Vec<(String, Listener)> = Vec::new();
        for address in addresses {
            let listener = given.take(address).map_or_else(|| server::bind(address), Ok)?;
            listeners.push((address.clone(), listener));
        }
        if addresses.is_empty() {
            listeners = given.all();
        }
        let hall = hall.map(|hall| Listener::Unix(hall.into()));
        Ok((!listeners.is_empty()).then_some(Self { listeners, hall, settings }))
    }

    /// Connects a gateway with the watcher, and serves.
    pub(super) fn serve(
        self,
        mut machine: Machine,
        places: &Places,
        state: &StateDir,
        heir: &Heir,
    ) -> anyhow::Result<(Machine, Serving)> {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let gateway = Gateway::new(self.settings, machine.demand_bell());
        machine.set_gateway(gateway.clone());
        let socket = Socket::serve(state, gateway.clone())
            .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", state.socket().display()))?;
        let settings = Reread { places: places.clone(), gateway: gateway.clone(), problem: Mutex::default() };
        let machine = machine.observed_by(Some(settings)).observed_by(Some(Publisher::new(gateway.clone())));
        for (asked, listener) in &self.listeners {
            heir.add(asked.clone(), listener)?;
            match (listener, listener.address()?) {
                (Listener::Tcp(_), address) => tracing::info!("serving at {scheme}://{address}/v1"),
                (Listener::Unix(_), address) => tracing::info!("serving at {address}"),
            }
        }
        let listeners = self.listeners.into_iter().map(|(_, listener)| listener).chain(self.hall).collect();
        let app = App { gateway: gateway.clone(), observer: None, spool: Spool::default() };
        let server = server::serve(app, listeners, None)?;
        Ok((machine, Serving { server, socket, gateway }))
    }
}

impl Serving {
    /// Ends: new connections are refused, and requests in flight are cut off after
    /// `limit`.
    pub(super) fn finish(self, limit: Duration) {
        let Self { server, socket, .. } = self;
        let _all_were_over = server.finish(limit);
        drop(socket);
    }

    /// Leaves everything to the herdsman that has taken over, and ends with the last
    /// request that this one answers. Those that wait here go there.
    pub(super) fn hand_over(self, hall: &Hall) {
        let Self { server, socket, gateway } = self;
        gateway.hand_over(&hall.path());
        server.hand_over();
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
