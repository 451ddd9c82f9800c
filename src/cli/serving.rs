//! `herdsman watch --listen`: the gateway beside the watcher.

mod api_host;

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
use crate::serve::access::{Open, refuse_open};
use crate::serve::api::Api;
use crate::serve::api::board::Board;
use crate::serve::gateway::Gateway;
use crate::serve::gateway::dispatch::App;
use crate::serve::gateway::naming::Spool;
use crate::serve::gateway::own;
use crate::serve::gateway::publisher::Publisher;
use crate::serve::handover::{HALL, Hall, Heir, Inherited, Predecessor, Sockets, Successor};
use crate::serve::metrics::Metrics;
use crate::serve::server::{self, Listener, SocketFile};
use crate::serve::socket::Socket;
use crate::serve::tls::Acceptor;
use crate::state::StateDir;
use crate::sys::descriptors;
use crate::watch::machine::{Machine, Observer};
use crate::watch::{Inbox, Surroundings as _};

/// Bound addresses, on which nobody answers yet.
pub(super) struct Bound {
    /// With the addresses as they were asked for.
    listeners: Vec<(String, Listener)>,
    /// Where they listen.
    addresses: Vec<Listen>,
    /// The files of their unix sockets, unless the service manager made them.
    socket_files: Vec<SocketFile>,
    /// Where herdsmen before this one send the requests that wait there.
    halls: Vec<Listener>,
    tls: Option<Acceptor>,
    settings: Serve,
    /// Whether the herdsman before this one had keys.
    had_keys: bool,
    /// The text of the settings.
    text: Option<String>,
}

/// The gateway, which ends with this.
pub(super) struct Serving {
    server: server::Serving,
    /// Other processes find the gateway for as long as it has requests in flight.
    socket: Arc<Socket>,
    socket_files: Vec<SocketFile>,
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
        text: Option<String>,
        inherited: Option<&mut Inherited>,
    ) -> anyhow::Result<Option<Self>> {
        let addresses = if listen.is_empty() { &settings.listen } else { listen };
        let had_keys = inherited.as_ref().is_some_and(|inherited| inherited.has_had_keys);
        let (mut given, halls, mut socket_files) = match inherited {
            Some(inherited) => {
                (Sockets::inherited(inherited)?, inherited.take_halls(), std::mem::take(&mut inherited.socket_files))
            }
            None => (Sockets::by_service_manager()?, Vec::new(), Vec::new()),
        };
        let mut listeners: Vec<(String, Listener)> = Vec::new();
        let asked = addresses.iter().map(String::as_str).chain(given.addresses().filter(|_| addresses.is_empty()));
        let asked = asked.map(str::parse).collect::<Result<Vec<Listen>, _>>().map_err(usage)?;
        refuse_open(&asked, &settings).map_err(usage)?;
        for (address, listen) in addresses.iter().zip(&asked) {
            let listener = match given.take(address) {
                Some(given) => given,
                None => {
                    let bound = server::bind(listen)?;
                    socket_files.extend(listen.file().and_then(|file| SocketFile::of(file).ok()));
                    bound
                }
            };
            listeners.push((address.clone(), listener));
        }
        if addresses.is_empty() {
            listeners = given.all();
        }
        if listeners.is_empty() {
            return Ok(None);
        }
        let tls = settings.tls.as_ref().map(Acceptor::new).transpose().map_err(usage)?;
        let halls = halls.into_iter().map(|hall| Listener::Hall(hall.into())).collect();
        Ok(Some(Self { listeners, addresses: asked, socket_files, halls, tls, settings, had_keys, text }))
    }

    /// Connects a gateway with the watcher, and serves. No pass stops a server that
    /// `predecessor` still answers from.
    pub(super) fn serve(
        self,
        mut machine: Machine,
        places: &Places,
        state: &StateDir,
        metrics: Metrics,
        heir: &Heir,
        predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<(Machine, Serving)> {
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let gateway = Gateway::new(self.settings, machine.demand_bell());
        if self.had_keys {
            gateway.had_keys();
        }
        machine.set_gateway(gateway.clone());
        heir.serves(gateway.clone());
        heir.owns(&self.socket_files);
        if let Some(predecessor) = predecessor {
            predecessor.counts_for(gateway.clone());
        }
        let text = self.text.map(Ok);
        let seen = Seen { obeyed: text.clone(), last: text };
        let settings = Arc::new(Reread {
            places: places.clone(),
            addresses: self.addresses,
            gateway: gateway.clone(),
            seen: Mutex::new(seen),
        });
        let board = Board::new(Timestamp(jiff::Timestamp::now().as_millisecond()));
        let machine = machine
            .observed_by(Some(Arc::clone(&settings)))
            .observed_by(Some(Publisher::new(gateway.clone())))
            .observed_by(Some(board.clone()));
        self.halls.iter().try_for_each(|hall| heir.add(HALL.to_owned(), hall))?;
        for (asked, listener) in &self.listeners {
            heir.add(asked.clone(), listener)?;
            match (listener, listener.address()?) {
                (Listener::Tcp(_), address) => tracing::info!("serving at {scheme}://{address}/v1"),
                (Listener::Unix(_) | Listener::Hall(_), address) => tracing::info!("serving at {address}"),
            }
        }
        let observer = Some(metrics.serve(gateway.clone())?);
        let watched =
            Watched { inbox: machine.inbox(), metrics, state: state.clone(), places: places.clone(), settings };
        let watched = Arc::new(watched);
        gateway.attach(watched.clone());
        let api = Api::new(watched, gateway.clone(), board);
        let listeners = self.listeners.into_iter().map(|(_, listener)| listener).chain(self.halls).collect();
        if let Err(error) = descriptors::raise() {
            tracing::warn!("cannot raise the limit of open files: {error}; fewer clients can connect at once");
        }
        let app = App { gateway: gateway.clone(), api: Some(api), observer, spool: Spool::at(state.spool()) };
        let server = server::serve(app, listeners, self.tls)?;
        server.learn();
        // Last: if anything fails before, the watcher before this one keeps its own.
        let socket = Socket::serve(state, gateway.clone())
            .map(Arc::new)
            .map_err(|error| anyhow::anyhow!("cannot listen on {}: {error}", state.socket().display()))?;
        heir.answers_at(&socket);
        Ok((machine, Serving { server, socket, socket_files: self.socket_files, gateway }))
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
        let Self { server, socket, socket_files, .. } = self;
        let _all_were_over = server.finish(limit);
        socket_files.iter().for_each(SocketFile::remove);
        drop(socket);
    }

    /// Sends all that waits here, or comes on an old connection, to the herdsman that
    /// takes over.
    pub(super) fn lead_to(&self, hall: &Hall) {
        self.gateway.hand_over(&hall.path());
    }

    /// Leaves the addresses to the herdsman that has taken over, and ends with the last
    /// request that this one answers, or the one before it.
    pub(super) fn hand_over(self, mut successor: Successor) {
        let Self { server, socket, gateway, .. } = self;
        server.hand_over(|| {
            let unfinished = gateway.unfinished();
            let is_busy = !unfinished.is_empty() || gateway.is_loading();
            successor.still_answers(unfinished);
            is_busy
        });
        drop(socket);
    }
}

/// The watcher, as the gateway asks it.
struct Watched {
    inbox: Inbox,
    metrics: Metrics,
    state: StateDir,
    places: Places,
    settings: Arc<Reread>,
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

    fn look_at_settings(&self) {
        self.settings.look();
    }

    fn state(&self) -> &StateDir {
        &self.state
    }

    fn metrics(&self) -> Result<String, String> {
        self.metrics.render().map_err(|error| error.to_string())
    }
}

/// Reads the settings again when their text has changed, which it looks for with every
/// pass and while requests come. While they cannot be read, the last ones hold.
struct Reread {
    places: Places,
    /// Where the gateway listens.
    addresses: Vec<Listen>,
    gateway: Gateway,
    seen: Mutex<Seen>,
}

/// The settings file: as obeyed, and as it was at the last look.
struct Seen {
    obeyed: Option<Text>,
    last: Option<Text>,
}

/// The text of the settings file, or why it cannot be read.
type Text = Result<String, String>;

/// The time after which a changed file is looked at again: it is written by then.
const WRITTEN: Duration = Duration::from_millis(20);

impl Observer for Arc<Reread> {
    fn passed(&self, _pass: Option<&Pass>, _looked: Instant, _took: Duration) {
        self.look();
    }
}

impl Reread {
    fn look(&self) {
        let file = self.places.settings_file();
        let text = || Settings::text(&file).map_err(|error| error.to_string()).transpose();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // While it is being written a file may be gone, empty or half there: without its
        // keys, everybody could do everything. So it counts once it is seen twice, in
        // this look: a request that waits for it obeys what it finds.
        let mut now = text();
        if seen.last != now {
            std::thread::sleep(WRITTEN);
            let before = std::mem::replace(&mut now, text());
            seen.last.clone_from(&now);
            if before != now {
                return;
            }
        }
        let Some(text) = now.filter(|now| seen.obeyed.as_ref() != Some(now)) else { return };
        seen.obeyed = Some(text.clone());
        // What counts is the text that was seen: the file may be another one by now.
        let of = |text: String| Settings::of(&file, &text).map_err(|error| error.to_string());
        match text.and_then(of) {
            Ok(Settings { serve, .. }) => self.obey(serve),
            Err(error) => tracing::error!("the gateway keeps the settings that it read last: {error}"),
        }
    }

    /// Obeys changed settings, unless anybody could use the models by them. The last
    /// ones hold then, but for what lets somebody in: a key that was removed does not
    /// work any longer.
    fn obey(&self, new: Serve) {
        let Err(Open(address)) = refuse_open(&self.addresses, &new) else {
            self.gateway.set_settings(new);
            return tracing::info!("the gateway obeys the changed settings");
        };
        let last = Serve::clone(&self.gateway.settings());
        self.gateway.set_settings(Serve { keys: Vec::new(), open: false, ..last });
        tracing::error!(
            "the gateway refuses the settings {} and answers only this machine: by them, everybody who reaches \
             {address} could use its models; add `[[serve.keys]]`, or set `open = true` in `[serve]`",
            self.places.settings_file().path().display(),
        );
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::IpAddr;

    use clap::Parser;
    use hyper::Request;

    use super::*;
    use crate::cli::Cli;
    use crate::serve::access::Peer;

    #[test]
    fn settings_that_would_open_an_address_to_everybody_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("herdsman.toml");
        std::fs::write(dir.path().join("ann"), "s3cret").unwrap();
        let places = Cli::parse_from(["herdsman", "--settings", file.to_str().unwrap(), "watch"]).places;
        let gateway = Gateway::new(Serve::default(), || {});
        let (addresses, seen) =
            (vec!["192.0.2.7:8080".parse().unwrap()], Mutex::new(Seen { obeyed: None, last: None }));
        let reread = Reread { places, addresses, gateway: gateway.clone(), seen };
        let write = |text: &str| {
            std::fs::write(&file, text).unwrap();
            reread.look();
        };
        let ask = |from: &str| {
            let request = Request::builder().uri("/v1/models").header("x-api-key", "s3cret").body(()).unwrap();
            let from = Peer::Tcp(from.parse::<IpAddr>().unwrap());
            let caller = gateway.access().check(&request.into_parts().0, from);
            caller.map_or_else(|denied| denied.status().as_u16(), |_| 200)
        };
        let keyed = "[serve]\nhold = \"1s\"\n[[serve.keys]]\nname = \"ann\"\nkey = { file = \"ann\" }\n";
        let (open, neither) = ("[serve]\nhold = \"2s\"\nopen = true\n", "[serve]\nhold = \"3s\"\n");
        // What is refused lets nobody in that the settings before did, and not the key that is gone.
        for (text, hold, status) in
            [(keyed, 1, 200), (neither, 1, 403), (open, 2, 200), (neither, 2, 403), (keyed, 1, 200)]
        {
            write(text);
            assert_eq!(gateway.settings().hold, Some(Duration::from_secs(hold)), "{text}");
            assert_eq!(["192.0.2.1", "127.0.0.1"].map(ask), [status, 200], "{text}");
        }
    }
}
