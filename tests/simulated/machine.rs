//! The machine in memory: servers, ports, llama-servers, boots.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use herdsman::model::{
    Address, BinaryIdentity, Busy, Death, FailureCause, Handle, Health, Instance, InstanceId, InstanceRecord, Launch,
    Leftover, Listener, ModelName, Observed, ProcessId, Progress, Served, SpecHash, Timestamp,
};
use herdsman::plan::Binary;

/// What becomes of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Ready after so long.
    Ready(Duration),
    /// Ready after a second, with no layer on a GPU.
    WithoutGpu,
    /// Answers after a second, without a model.
    Router,
    /// Answers after a second, and says what it serves only after so long.
    Secretive(Duration),
    /// Dies while loading, after a second.
    Dies(Death),
    /// Ready after a second, dies after ten.
    Crashes(Death),
    /// Never ready, no progress.
    Hangs,
    /// Never so much as listening, no matter who answers on its port.
    Deaf,
    /// Never ready, always progress.
    Crawls,
    /// A wrapper: never ready, and after a second its child answers.
    Wraps,
    /// A wrapper that ends after a second and leaves its server, which is ready
    /// after another.
    Leaves,
    /// As [`Fate::Crashes`], and a helper of it lives on.
    LeavesHelper(Death),
}

impl Fate {
    /// The fate a definition states with the option `fate`.
    pub fn of(word: &str) -> Self {
        match word {
            "ready" => Self::Ready(Duration::from_secs(1)),
            "slow" => Self::Ready(Duration::from_secs(60)),
            "no-gpu" => Self::WithoutGpu,
            "router" => Self::Router,
            "secretive" => Self::Secretive(Duration::from_secs(5)),
            "dies" => Self::dies(FailureCause::Spec, "invalid magic characters"),
            "crashes" => Self::Crashes(Death { cause: FailureCause::Spec, message: "segmentation fault".to_owned() }),
            "hangs" => Self::Hangs,
            "deaf" => Self::Deaf,
            "crawls" => Self::Crawls,
            "wraps" => Self::Wraps,
            "leaves" => Self::Leaves,
            "leaves-helper" => {
                Self::LeavesHelper(Death { cause: FailureCause::Spec, message: "segmentation fault".to_owned() })
            }
            _ => panic!("no fate {word}"),
        }
    }

    /// Dies while loading, of this.
    pub fn dies(cause: FailureCause, message: &str) -> Self {
        Self::Dies(Death { cause, message: message.to_owned() })
    }

    /// When it becomes ready and when it dies, counted from its start.
    fn course(&self) -> (Option<Duration>, Option<(Duration, &Death)>) {
        match self {
            Self::Ready(after) => (Some(*after), None),
            Self::WithoutGpu | Self::Router | Self::Secretive(_) => (Some(Duration::from_secs(1)), None),
            Self::Dies(death) => (None, Some((Duration::from_secs(1), death))),
            Self::Leaves => (Some(Duration::from_secs(2)), None),
            Self::Crashes(death) | Self::LeavesHelper(death) => {
                (Some(Duration::from_secs(1)), Some((Duration::from_secs(10), death)))
            }
            Self::Hangs | Self::Deaf | Self::Crawls | Self::Wraps => (None, None),
        }
    }

    /// When it is seen to be a wrapper, counted from its start.
    fn turn(&self) -> Option<Duration> {
        matches!(self, Self::Wraps | Self::Leaves).then_some(Duration::from_secs(1))
    }
}

/// A process of ours.
#[derive(Clone, Debug)]
pub struct Server {
    /// What it was started with.
    pub id: InstanceId,
    /// Its model.
    pub model: ModelName,
    /// Its spec.
    pub spec: SpecHash,
    /// Who it is.
    pub handle: Handle,
    /// Since when.
    pub started_at: Timestamp,
    /// Since when there is what its wrapper left, if that has ended.
    pub left_at: Option<Timestamp>,
    /// Its address.
    pub host: String,
    /// Its port.
    pub port: Option<u16>,
    /// The weights it was started with.
    pub weights: Option<String>,
    /// How it fares.
    pub fate: Fate,
    /// What it has in flight.
    pub busy: Busy,
    /// Its `/health` does not answer.
    pub silent: bool,
    /// Its environment cannot be read.
    pub unreadable: bool,
}

/// Processes, ports and llama-servers.
#[derive(Clone, Debug)]
pub struct Machine {
    /// This boot.
    pub boot: u32,
    /// What runs.
    pub servers: Vec<Server>,
    /// What those left that have ended.
    pub leftovers: Vec<Leftover>,
    /// The server that left each of them: they carry its markers and its
    /// command line.
    left_by: BTreeMap<InstanceId, Server>,
    /// Ports that leftovers listen on.
    pub left_ports: BTreeMap<u16, InstanceId>,
    /// Ports other programs hold, and who.
    pub strangers: BTreeMap<u16, String>,
    /// Instances under another state id, by definition path.
    pub foreign: BTreeMap<String, (String, i32)>,
    /// What becomes of a model's next servers, whatever its definition says.
    pub fates: BTreeMap<ModelName, Fate>,
    /// llama-servers by `binary`; those not named are the first release.
    pub binaries: BTreeMap<Option<String>, Result<Binary, String>>,
    /// Options this llama-server refuses.
    pub refused: BTreeSet<String>,
    /// Options that the host's policy does not allow.
    pub forbidden: BTreeSet<String>,
    /// Files that are no longer what they were.
    pub replaced: BTreeSet<String>,
    /// Processes that are nobody's business here: start time by pid.
    pub bystanders: BTreeMap<i32, u64>,
    booted: Timestamp,
    last_pid: i32,
    /// How recorded servers ended, as their logs say.
    pub deaths: BTreeMap<InstanceId, Death>,
    /// The last process of ours that ended.
    ended: Option<Handle>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            boot: 1,
            servers: Vec::new(),
            leftovers: Vec::new(),
            left_by: BTreeMap::new(),
            left_ports: BTreeMap::new(),
            strangers: BTreeMap::new(),
            foreign: BTreeMap::new(),
            fates: BTreeMap::new(),
            binaries: BTreeMap::new(),
            refused: BTreeSet::new(),
            forbidden: BTreeSet::new(),
            replaced: BTreeSet::new(),
            bystanders: BTreeMap::new(),
            booted: Timestamp(0),
            last_pid: 100,
            deaths: BTreeMap::new(),
            ended: None,
        }
    }
}

impl Machine {
    /// The live servers of a model.
    pub fn of(&self, model: &str) -> Vec<&Server> {
        self.servers.iter().filter(|s| s.model.as_str() == model).collect()
    }

    /// The only live server of a model.
    pub fn server(&mut self, model: &str) -> &mut Server {
        assert_eq!(self.of(model).len(), 1, "servers of {model}");
        self.servers.iter_mut().find(|s| s.model.as_str() == model).unwrap()
    }

    /// A server dies of this.
    pub fn kill(&mut self, model: &str, cause: FailureCause, message: &str) {
        let id = self.server(model).id.clone();
        self.die(&id, cause, message);
    }

    /// One server dies of this.
    pub fn die(&mut self, id: &InstanceId, cause: FailureCause, message: &str) {
        self.deaths.insert(id.clone(), Death { cause, message: message.to_owned() });
        let helped = self.servers.iter().find(|s| s.id == *id && matches!(s.fate, Fate::LeavesHelper(_)));
        if let Some(mut server) = helped.cloned() {
            server.handle = ProcessId { pid: self.next_pid(), ..server.handle.process().clone() }.into();
            let Server { id, model, handle, .. } = server.clone();
            self.left_by.insert(id.clone(), server);
            self.leftovers.push(Leftover { id, model, handle });
        }
        self.end(id);
    }

    /// What an instance left ends.
    pub fn clear(&mut self, id: &InstanceId) {
        self.leftovers.retain(|leftover| leftover.id != *id);
        self.left_ports.retain(|_, by| by != id);
        self.left_by.remove(id);
    }

    fn next_pid(&mut self) -> i32 {
        self.last_pid += 1;
        while self.bystanders.contains_key(&self.last_pid) {
            self.last_pid += 1;
        }
        self.last_pid
    }

    /// The machine starts again, and counts pids and ticks from the beginning.
    pub fn reboot(&mut self, now: Timestamp) {
        self.boot += 1;
        self.servers.clear();
        self.leftovers.clear();
        self.left_by.clear();
        self.left_ports.clear();
        self.strangers.clear();
        self.bystanders.clear();
        (self.booted, self.last_pid, self.ended) = (now, 100, None);
    }

    /// The clock is set; the kernel tells start times by the clock as it is.
    pub fn set_clock(&mut self, by: i64) {
        self.booted.0 += by;
        for server in &mut self.servers {
            server.started_at.0 += by;
            server.left_at.iter_mut().for_each(|time| time.0 += by);
        }
    }

    /// A process of somebody else gets the pid of the last of ours that ended.
    pub fn reuse_pid(&mut self) {
        if let Some(ended) = self.ended.take() {
            self.bystanders.insert(ended.pid(), ended.process().start_ticks + 1);
        }
    }

    /// How one that is no longer there died by itself, in this boot.
    pub fn death(&self, id: &InstanceId) -> Option<&Death> {
        self.deaths.get(id)
    }

    /// Another release of the default llama-server.
    pub fn install(&mut self, release: &str) {
        self.binaries.insert(None, Ok(binary("/bin/llama-server", release)));
    }

    /// The llama-server meant by `declared`.
    pub fn binary(&self, declared: &Option<String>) -> Result<Binary, String> {
        let path = declared.as_deref().unwrap_or("/bin/llama-server");
        self.binaries.get(declared).cloned().unwrap_or_else(|| Ok(binary(path, "release 1")))
    }

    /// Lets servers whose time has come die, and wrappers end.
    pub fn pass_time(&mut self, now: Timestamp) {
        let leaves =
            |s: &Server| s.fate == Fate::Leaves && s.left_at.is_none() && !s.unreadable && s.turns_at() <= Some(now);
        for index in (0..self.servers.len()).filter(|index| leaves(&self.servers[*index])).collect::<Vec<_>>() {
            let (pid, ticks) = (self.next_pid(), self.ticks(now));
            let server = &mut self.servers[index];
            self.ended = Some(server.handle.clone());
            let process = server.handle.process().clone();
            server.handle = ProcessId { pid, start_ticks: ticks, ..process }.into();
            server.left_at = Some(now);
        }
        let died: Vec<_> = self
            .servers
            .iter()
            .filter_map(|s| Some((s.id.clone(), s.fate.course().1.filter(|(t, _)| now.since(s.started_at) >= *t)?)))
            .map(|(id, (_, death))| (id, death.clone()))
            .collect();
        died.into_iter().for_each(|(id, death)| self.die(&id, death.cause, &death.message));
    }

    /// When a server next becomes ready or dies.
    pub fn next_event(&self, now: Timestamp) -> Option<Timestamp> {
        let times = self.servers.iter().flat_map(|s| {
            let (ready, death) = s.fate.course();
            let said = match &s.fate {
                Fate::Secretive(until) => Some(*until),
                _ => None,
            };
            ready.into_iter().chain(said).chain(death.map(|(t, _)| t)).map(|t| s.started_at.plus(t)).chain(s.turns_at())
        });
        times.filter(|t| *t > now).min()
    }

    /// Starts a server; it dies at once if its port is taken.
    pub fn spawn(&mut self, launch: &Launch, now: Timestamp) -> Handle {
        let handle = Handle::Process(ProcessId {
            pid: self.next_pid(),
            start_ticks: self.ticks(now),
            boot_id: self.boot_id(),
            pid_namespace: 1,
        });
        let after = |flag: &str| launch.args.iter().skip_while(|a| *a != flag).nth(1).cloned();
        let port = after("--port").map(|port| port.parse().unwrap());
        assert_eq!(
            port.is_some(),
            launch.socket.is_none(),
            "llama-server would listen where it likes: {:?}",
            launch.args
        );
        let fate = self.fates.get(&launch.model).cloned();
        let server = Server {
            id: launch.id.clone(),
            model: launch.model.clone(),
            spec: launch.spec.clone(),
            handle: handle.clone(),
            started_at: now,
            left_at: None,
            host: after("--host").unwrap(),
            port,
            weights: after("--model"),
            fate: fate.unwrap_or_else(|| Fate::of(after("--fate").as_deref().unwrap_or("ready"))),
            busy: Busy::No,
            silent: false,
            unreadable: false,
        };
        let taken = port.is_some_and(|p| self.listener(p).is_some());
        self.servers.push(server);
        if taken {
            self.die(&launch.id, FailureCause::PortBusy, "couldn't bind HTTP server socket");
        }
        handle
    }

    fn ticks(&self, now: Timestamp) -> u64 {
        u64::try_from(now.0.saturating_sub(self.booted.0)).unwrap_or(0)
    }

    /// Ends a server because it was asked to.
    pub fn end(&mut self, id: &InstanceId) {
        if let Some(index) = self.servers.iter().position(|s| s.id == *id) {
            self.ended = Some(self.servers.remove(index).handle);
        }
    }

    /// Whether the server is ready, no matter who can or cannot see it.
    pub fn is_ready(server: &Server, now: Timestamp) -> bool {
        server.instance(now).health == Health::Ready
            && !matches!(server.served(now), Served::Nothing | Served::Unanswered)
    }

    /// One look, as the real one would describe it.
    pub fn observe(&self, recorded: &[&InstanceRecord], now: Timestamp) -> Observed {
        let readable = || self.servers.iter().filter(|s| !s.unreadable);
        let mut observed = Observed {
            boot_id: self.boot_id(),
            instances: readable().map(|s| s.instance(now)).collect(),
            foreign: self.foreign.clone(),
            ..Observed::default()
        };
        // Only a record tells that a helper that carries the command line is
        // no server that loads.
        let is_known = |leftover: &&Leftover| recorded.iter().any(|record| record.id == leftover.id);
        let (known, others): (Vec<_>, Vec<_>) = self.leftovers.iter().partition(is_known);
        observed.leftovers = known.into_iter().cloned().collect();
        let alike = others.into_iter().filter_map(|leftover| self.left_by.get(&leftover.id));
        observed.instances.extend(alike.map(|s| Instance { health: Health::NotListening, ..s.instance(now) }));
        observed.instances.sort_by(|a, b| (&a.model, a.started_at).cmp(&(&b.model, b.started_at)));
        for record in recorded.iter().filter(|r| !readable().any(|s| s.id == r.id)) {
            if self.servers.iter().any(|s| s.unreadable && s.may_be(record)) {
                observed.unknown.push(record.id.clone());
            } else if let Some(death) = self.deaths.get(&record.id) {
                observed.deaths.insert(record.id.clone(), death.clone());
            }
        }
        let ports = self.strangers.keys().copied().chain(self.servers.iter().filter_map(|s| s.port));
        let ports = ports.chain(self.left_ports.keys().copied());
        observed.listeners = ports.filter_map(|port| Some((port, self.listener(port)?))).collect();
        observed
    }

    fn listener(&self, port: u16) -> Option<Listener> {
        match self.servers.iter().find(|s| s.port == Some(port)) {
            Some(server) if server.unreadable => Some(Listener::Stranger),
            Some(server) => Some(Listener::Ours(server.id.clone())),
            None => match self.left_ports.get(&port) {
                Some(id) => Some(Listener::Ours(id.clone())),
                None => self.strangers.contains_key(&port).then_some(Listener::Stranger),
            },
        }
    }

    /// Which boot this is.
    pub fn boot_id(&self) -> String {
        format!("boot {}", self.boot)
    }
}

impl Server {
    /// Whether it is, for one who cannot read its markers, what was recorded:
    /// the process, or the start of one that may have come about.
    pub fn may_be(&self, record: &InstanceRecord) -> bool {
        record.handle.as_ref().map_or(self.started_at >= record.started_at, |handle| *handle == self.handle)
    }

    /// When it is seen to be a wrapper.
    fn turns_at(&self) -> Option<Timestamp> {
        Some(self.started_at.plus(self.fate.turn()?))
    }

    /// What it says it serves.
    pub fn served(&self, now: Timestamp) -> Served {
        match &self.fate {
            Fate::Router => Served::Nothing,
            Fate::Secretive(until) if now.since(self.started_at) < *until => Served::Unanswered,
            _ => self.weights.clone().map_or(Served::Untold, Served::File),
        }
    }

    fn instance(&self, now: Timestamp) -> Instance {
        let age = now.since(self.started_at);
        let ready = self.fate.course().0.is_some_and(|t| age >= t);
        let health = match (self.silent, ready) {
            _ if self.fate == Fate::Deaf => Health::NotListening,
            _ if self.fate == Fate::Wraps => match self.turns_at() {
                Some(time) if time <= now => Health::Wrapped { child: self.handle.pid() + 1000 },
                _ => Health::NotListening,
            },
            (true, _) => Health::Unanswered("timed out".to_owned()),
            (false, true) => Health::Ready,
            (false, false) => Health::Loading,
        };
        let progress = if self.fate == Fate::Crawls { age.as_secs() << 20 } else { 0 };
        Instance {
            id: self.id.clone(),
            model: self.model.clone(),
            spec: self.spec.clone(),
            handle: self.handle.clone(),
            started_at: self.left_at.unwrap_or(self.started_at),
            address: Address { host: self.host.clone(), port: self.port, ..Address::default() },
            health,
            progress: Progress(progress),
            resident: 0,
        }
    }
}

fn binary(path: &str, release: &str) -> Binary {
    Binary { path: PathBuf::from(path), identity: BinaryIdentity(release.to_owned()) }
}
