//! This machine, behind the trait [`World`]: real files, a real database, real
//! processes.

mod provenance;
mod store;
mod teller;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::provenance::Asker;
use self::store::Store;
use self::teller::Teller;
use crate::apply::{Read, World};
use crate::database::{Applied, Database, DatabaseError, Place};
use crate::definition::catalogue::Catalogue;
use crate::definition::catalogue::binary::{self, Verdict};
use crate::definition::{self, Catalogues, LoadError, LoadOptions, Loader};
use crate::instance::{self, Host as Processes};
use crate::model::{
    BinaryIdentity, Change, Death, Desired, FailureCause, Instance, Launch, ModelName, Observed, ProcessId, Provenance,
    Records, StopTarget, Timestamp,
};
use crate::plan::{Answers, Binary, Limits, Question};
use crate::policy::{Policy, PolicyError, PolicySource};
use crate::reconcile::{Goal, Pass};
use crate::settings::Notify;
use crate::state::{StateDir, StateError};
use crate::trust::{self, Untrusted};

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    /// The definitions, as the user named the directory.
    pub models_dir: PathBuf,
    /// The state directory.
    pub state: StateDir,
    /// The database.
    pub database: PathBuf,
    /// The llama-server of definitions that name none; `None`: from `PATH`.
    pub llama_server: Option<String>,
    /// The policy, as the user named it; `None`: at the default place, if there
    /// is one.
    pub policy: Option<PathBuf>,
}

impl Places {
    /// Whether the database is the one in the state directory.
    #[must_use]
    pub fn place(&self) -> Place {
        let absolute = |path: &Path| std::path::absolute(path).ok();
        let own = absolute(&self.state.database());
        if own.is_some() && own == absolute(&self.database) { Place::Own } else { Place::Named }
    }

    /// Refuses, as root, records that others can change.
    fn require_trusted(&self) -> Result<(), Untrusted> {
        let cwd = working_directory();
        trust::require(&definition::absolute(&cwd, self.state.path()), &[])?;
        trust::require(definition::absolute(&cwd, &self.database).parent().unwrap_or(Path::new("/")), &[])
    }
}

/// What ends a pass on this machine.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The definitions cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// What the host allows is not known.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Others can change what this goes by.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The database can be neither read nor written.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The processes cannot be listed.
    #[error(transparent)]
    Processes(#[from] instance::HostError),
    /// The state directory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A command that only looks was about to write: a defect of herdsman.
    #[error("herdsman was about to write in a command that only reads; please report this")]
    ReadOnly,
}

impl HostError {
    /// Whether the pass ended because the database is damaged: another pass
    /// sets it aside.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_damage())
    }
}

/// This machine.
pub struct Host {
    places: Places,
    store: Store,
    processes: Processes,
    state_key: [u8; 32],
    binaries: Binaries,
    loader: Loader,
    /// `None`: there is nobody to tell.
    teller: Option<Teller>,
    git: Asker,
    /// What Git is the cause of, and was not told yet.
    git_notice: Option<String>,
    policy: PolicySource,
}

impl Host {
    /// A host that may change things. The state directory is made if needed,
    /// and so is the database; a damaged one is set aside. Call it under the
    /// lock of the pass.
    ///
    /// # Errors
    /// The state directory or the database cannot be used.
    pub fn open(places: Places) -> Result<Self, HostError> {
        places.state.create()?;
        places.require_trusted()?;
        places.state.tighten()?;
        let id = places.state.id_or_new()?;
        let store = Store::open(&places)?;
        Self::new(places, &id, store)
    }

    /// A host that only looks, and writes nothing at all.
    ///
    /// # Errors
    /// The state directory or the database cannot be read.
    pub fn open_read_only(places: Places) -> Result<Self, HostError> {
        places.require_trusted()?;
        // Without an id nothing was ever started: a new one finds nothing.
        let id = places.state.id()?.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let store = Store::open_read_only(&places)?;
        Self::new(places, &id, store)
    }

    fn new(places: Places, state_id: &str, store: Store) -> Result<Self, HostError> {
        let cache = places.state.cache();
        let binaries = Binaries {
            default: places.llama_server.clone(),
            write: store.is_for_writing(),
            cache,
            known: Mutex::default(),
            catalogues: Mutex::default(),
            policy: None,
        };
        let policy = PolicySource::new(places.policy.as_deref(), &working_directory());
        let state_key = blake3::derive_key("herdsman 2026 secret digests", state_id.as_bytes());
        let processes = Processes::new(state_id)?;
        let (loader, git) = (Loader::default(), Asker::default());
        Ok(Self { places, store, processes, state_key, binaries, loader, policy, teller: None, git, git_notice: None })
    }

    /// Blocks until something about `instances` may have changed, or `timeout`.
    pub fn wait(&mut self, instances: &[Instance], timeout: std::time::Duration) {
        self.processes.wait_for_change(instances, timeout);
    }

    /// As [`Host::wait`], for instances watched from one wait to the next, and
    /// for other descriptors beside them.
    pub fn wait_for(
        &mut self,
        watched: &mut instance::Watched,
        bells: &[instance::Bell<'_>],
        timeout: std::time::Duration,
    ) -> instance::Woken {
        self.processes.wait(watched, bells, timeout)
    }

    /// Reaps whatever has died, if this is process 1 or its own child.
    pub fn reap(&mut self) {
        self.processes.reap();
    }

    /// The id that marks every process of this state directory.
    #[must_use]
    pub fn state_id(&self) -> &str {
        self.processes.state_id()
    }

    /// The database's file, absolute.
    #[must_use]
    pub fn database_path(&self) -> PathBuf {
        definition::absolute(&working_directory(), &self.places.database)
    }

    /// Reads the policy as it is now: what definitions may ask for, and which
    /// llama-servers may be run at all.
    ///
    /// # Errors
    /// It is not known what is allowed: nothing may be started or changed.
    pub fn read_policy(&mut self) -> Result<(), PolicyError> {
        self.binaries.policy = self.policy.current()?;
        Ok(())
    }

    /// The directory of definitions, absolute.
    #[must_use]
    pub fn models_dir(&self) -> PathBuf {
        definition::absolute(&working_directory(), &self.places.models_dir)
    }

    /// Reads definitions with `loader` from now on.
    #[must_use]
    pub fn with_loader(self, loader: Loader) -> Self {
        Self { loader, ..self }
    }

    /// Tells others, as `notify` says, what passes find.
    #[must_use]
    pub fn telling(self, notify: Option<&Notify>) -> Self {
        let teller = notify.map(|notify| Teller::new(notify, self.state_id()));
        Self { teller, ..self }
    }

    /// Whether the definition files are those that were last read; `false` if
    /// none were.
    #[must_use]
    pub fn definitions_are_as_read(&self) -> bool {
        self.loader.is_still_so(&self.models_dir())
    }

    /// Whether another program has written to the database since the records
    /// were last read; `false` if they never were.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn others_have_written(&self) -> Result<bool, HostError> {
        Ok(self.store.others_have_written()?)
    }

    /// The database, if there is one.
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.store.database()
    }

    /// The database, to record how deliveries went; `None`: there is none now.
    pub fn database_mut(&mut self) -> Option<&mut Database> {
        self.store.database_mut()
    }

    /// Records that a saved plan is about to be applied; if it was before, says
    /// when and records nothing. Call it under the lock of the pass.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn begin_plan(&mut self, id: &str) -> Result<Option<Applied>, HostError> {
        let now = self.now();
        Ok(self.store.for_writing()?.begin_plan(id, now)?)
    }

    /// Records that a saved plan was applied to its end.
    ///
    /// # Errors
    /// It cannot be recorded.
    pub fn end_plan(&mut self, id: &str) -> Result<(), HostError> {
        let now = self.now();
        Ok(self.store.for_writing()?.end_plan(id, now)?)
    }

    /// What a person must know and was not told yet: that the database was
    /// damaged, and what was done about it; that Git does not tell commits.
    pub fn take_notices(&mut self) -> Vec<String> {
        let mut notices = self.store.take_notices();
        notices.extend(self.git_notice.take());
        notices
    }
}

impl World for Host {
    type Error = HostError;

    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn seed(&mut self) -> [u8; 16] {
        uuid::Uuid::new_v4().into_bytes()
    }

    fn load(&mut self) -> Result<Arc<Desired>, HostError> {
        self.read_policy()?;
        load(&mut self.loader, &self.places, self.state_key, &self.binaries)
    }

    fn records(&mut self) -> Result<Arc<Records>, HostError> {
        // Passes go on without definitions, but not without knowing what is allowed.
        self.read_policy()?;
        Ok(self.store.records()?)
    }

    fn read(&mut self, goal: Goal) -> Result<Read, HostError> {
        if goal == Goal::Down {
            // Whatever the policy says, servers may be stopped.
            return Ok((None, self.store.records()?));
        }
        self.read_policy()?;
        let Self { places, store, state_key, binaries, loader, .. } = self;
        let (desired, records) = std::thread::scope(|scope| {
            let records = scope.spawn(|| store.records());
            let desired = load(loader, places, *state_key, binaries);
            (desired, records.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        Ok((Some(desired?), records?))
    }

    fn observe(&mut self, records: &Records) -> Result<Observed, HostError> {
        let recorded: Vec<_> =
            records.models.values().flat_map(|m| &m.instances).chain(&records.orphans).cloned().collect();
        Ok(self.processes.observe(&recorded, &self.places.state.logs())?)
    }

    fn answer(&mut self, questions: &[Question], observed: &Observed, answers: &mut Answers) -> Result<(), HostError> {
        let mut checks: Vec<(&Launch, &[PathBuf])> = Vec::new();
        let mut busy: Vec<&Instance> = Vec::new();
        for question in questions {
            match question {
                Question::Allowed { model, spec, hash } => {
                    let refusal = self.binaries.policy.as_ref().and_then(|policy| policy.refusal(spec));
                    answers.allowed.insert((model.clone(), hash.clone()), refusal.map_or(Ok(()), Err));
                }
                Question::Binary(declared) => {
                    let binary = self.binaries.find(declared.as_deref()).map(|(binary, _)| binary);
                    answers.binaries.insert(declared.clone(), binary);
                }
                Question::Check(launch, weights) => checks.push((launch, weights)),
                Question::Busy(id) => busy.extend(observed.instances.iter().find(|i| i.id == *id)),
                Question::PortHolder(port) => {
                    answers.holders.insert(*port, self.processes.port_holder(*port));
                }
                Question::GpuLayers { model, id, log_offset } => {
                    let log = self.places.state.log(model);
                    let layers = self.processes.offloaded_layers(&log, id, *log_offset);
                    answers.gpu_layers.insert(id.clone(), layers.map_or(0, |(layers, _)| layers));
                }
                Question::FilesIntact { model, files } => {
                    let intact = files.iter().all(|(path, was)| definition::identity_now(path) == Some(*was));
                    answers.files_intact.insert(model.clone(), intact);
                }
            }
        }
        for (instance, answer) in busy.iter().zip(self.processes.busy(&busy)) {
            answers.busy.insert(instance.id.clone(), answer);
        }
        if checks.is_empty() {
            return Ok(());
        }
        for ((launch, _), result) in checks.iter().zip(check_all(&checks)) {
            answers.checks.insert((launch.model.clone(), launch.spec.clone()), result);
        }
        Ok(())
    }

    fn tell(&mut self, plan: &Pass, limits: &Limits) -> Result<Vec<Change>, HostError> {
        let (Some(teller), Some(database)) = (&self.teller, self.store.database()) else { return Ok(Vec::new()) };
        let known = database.told()?;
        Ok(teller.tell(plan, &limits.targets, &known, &self.places.state))
    }

    fn provenance(&mut self, sources: &BTreeMap<ModelName, &Path>) -> BTreeMap<ModelName, Provenance> {
        let (loader, dir) = (&self.loader, self.models_dir());
        let (found, notice) = self.git.ask(sources, || loader.is_still_so(&dir));
        self.git_notice = notice.or(self.git_notice.take());
        found
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), HostError> {
        let now = self.now();
        self.store.commit(changes, now)
    }

    fn log_length(&self, log: &Path) -> u64 {
        // A log that cannot be looked at cannot be opened either: the start says so.
        instance::log_length(log).unwrap_or(0)
    }

    fn spawn(&mut self, launch: &Launch) -> Result<ProcessId, Death> {
        self.processes.spawn(launch).map_err(|error| Death { cause: FailureCause::Spawn, message: error.to_string() })
    }

    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>> {
        let results = self.processes.stop(targets);
        results.into_iter().map(|result| result.map_err(|error| error.to_string())).collect()
    }
}

fn load(
    loader: &mut Loader,
    places: &Places,
    state_key: [u8; 32],
    binaries: &Binaries,
) -> Result<Arc<Desired>, HostError> {
    binaries.look_again();
    let cwd = working_directory();
    let policy = binaries.policy.as_deref();
    let dir = definition::absolute(&cwd, &places.models_dir);
    let owners = policy.map_or(&[][..], Policy::owners);
    trust::require(&dir, owners)?;
    let options = LoadOptions { dir: &places.models_dir, lies_in: None, cwd: &cwd, state_key, catalogues: binaries };
    let mut desired = loader.load(&options)?;
    loader.require_trusted(&dir, owners)?;
    if let Some(policy) = policy {
        policy.enforce(&mut desired);
    }
    definition::host_checks(&mut desired);
    Ok(desired)
}

fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

/// Whether llama-server takes a command line, and its weights are GGUF files
/// that are all there.
fn check(launch: &Launch, weights: &[PathBuf]) -> Result<(), String> {
    for file in weights {
        definition::check_gguf(file).map_err(|problem| problem.to_string())?;
    }
    match binary::dry_run(&launch.binary, &launch.args, &launch.env) {
        Ok(Verdict::Accepted) => Ok(()),
        Ok(Verdict::Refused { message }) => Err(format!("llama-server refuses its options: {message}")),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Checks command lines, as many at once as there are processors: each takes
/// a dry run of llama-server.
fn check_all(checks: &[(&Launch, &[PathBuf])]) -> Vec<Result<(), String>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(checks.len()).max(1);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some((launch, weights)) = checks.get(index) else { return done };
            done.push((index, check(launch, weights)));
        }
    };
    let mut results: Vec<(usize, Result<(), String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

/// The llama-servers of this machine, each looked at once in a pass.
struct Binaries {
    default: Option<String>,
    write: bool,
    cache: PathBuf,
    known: Mutex<BTreeMap<Option<String>, Result<Known, String>>>,
    /// The options of every llama-server seen so far.
    catalogues: Mutex<BTreeMap<BinaryIdentity, Arc<Catalogue>>>,
    /// Says which llama-servers definitions may name.
    policy: Option<Arc<Policy>>,
}

/// A usable llama-server and the options it knows.
type Known = (Binary, Arc<Catalogue>);

impl Binaries {
    /// A llama-server may be replaced between two passes.
    fn look_again(&self) {
        lock(&self.known).clear();
    }

    fn find(&self, declared: Option<&str>) -> Result<Known, String> {
        let key = declared.map(str::to_owned);
        let mut known = lock(&self.known);
        known.entry(key).or_insert_with(|| self.look(declared)).clone()
    }

    fn look(&self, declared: Option<&str>) -> Result<Known, String> {
        let named = declared.or(self.default.as_deref());
        let path = binary::locate(named, std::env::var_os("PATH").as_deref()).map_err(|p| p.to_string())?;
        // It is run to ask for its options, so this comes before.
        if let (Some(policy), Some(_)) = (&self.policy, declared) {
            policy.allows_binary(&path)?;
        }
        trust::require(&path, &[]).map_err(|untrusted| untrusted.to_string())?;
        let identity = binary::identify(&path).map_err(|p| p.to_string())?;
        if let Some(catalogue) = lock(&self.catalogues).get(&identity) {
            return Ok((Binary { path, identity }, Arc::clone(catalogue)));
        }
        // A program that is not llama-server is found before anything stops
        // for it.
        let catalogue =
            binary::catalogue(&path, &identity, Some(&self.cache), self.write).map_err(|p| p.to_string())?;
        lock(&self.catalogues).insert(identity.clone(), Arc::clone(&catalogue));
        Ok((Binary { path, identity }, catalogue))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Catalogues for Binaries {
    /// The options of the llama-server that will run; where there is none,
    /// those of the pinned one.
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.find(binary).map_or_else(|_| Catalogue::embedded(), |(_, catalogue)| catalogue)
    }
}
