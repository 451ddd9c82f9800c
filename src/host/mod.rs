//! This machine, behind the trait [`World`]: real files, a real database, real
//! processes.

mod beside;
mod binaries;
mod check;
mod deployed;
mod from_git;
pub mod gateway;
mod llama_servers;
mod places;
mod provenance;
pub mod saved_plan;
mod store;
mod teller;
mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use self::binaries::Binaries;
use self::check::Checks;
pub use self::deployed::{Deployed, deployed};
pub(crate) use self::from_git::FromGit;
pub use self::from_git::RevisionError;
pub use self::gateway::Gateway;
use self::gateway::{BRIEFLY, Beside};
pub use self::llama_servers::LlamaServers;
use self::places::trusted_policy;
pub use self::places::{HostError, Places};
use self::provenance::Asker;
use self::store::Store;
use self::teller::Teller;
use crate::database::{Applied, Database, DatabaseError, Location};
use crate::definition::{self, Edit, Glance, Loader};
use crate::instance::{self, Host as Processes};
use crate::model::{Commit, Instance, Launch, ModelName, Records, Spec, SpecHash};
use crate::owner::policy::{PolicyError, PolicySource};
use crate::owner::settings::Notify;
use crate::pass::Fleet;
use crate::state::StateDir;

/// This machine.
pub struct Host {
    places: Places,
    store: Store,
    processes: Processes,
    state_key: [u8; 32],
    binaries: Binaries,
    /// After the llama-servers, whose end ends what is under way here.
    checks: Checks,
    loader: Loader,
    /// `None`: definitions are those in the directory.
    from_git: Option<FromGit>,
    /// A change of the directory to look at as if it were made.
    edit: Option<Edit>,
    /// `None` without notifications.
    teller: Option<Teller>,
    git: Asker,
    /// Problems of Git that were not reported yet.
    git_notice: Option<String>,
    policy: PolicySource,
    /// `None`: nobody serves beside this process.
    gateway: Option<Box<dyn Gateway>>,
    /// What the policy allows to be started, as of this pass.
    allowed: BTreeMap<(ModelName, SpecHash), Spec>,
    /// The records as they were read beside the definitions of this pass.
    records_beside: Option<Result<Arc<Records>, DatabaseError>>,
}

impl Host {
    /// Opens the host for changes. Creates the state directory and the database if
    /// needed, and sets a damaged database aside. Call it under the lock of the pass.
    ///
    /// # Errors
    /// The state directory or the database cannot be used.
    pub fn open(places: Places) -> Result<Self, HostError> {
        places.state.create()?;
        let policy = trusted_policy(&places)?;
        places.state.tighten(&places.database)?;
        let is_lost = places.state.id()?.is_none() && places.place() == Location::Own && places.database.exists();
        let id = places.state.id_or_new()?;
        let mut store = Store::open(&places)?;
        if is_lost {
            store.notice(lost_id(&places.state));
        }
        Self::new(places, &id, store, policy)
    }

    /// Opens the host for a look; nothing is written.
    ///
    /// # Errors
    /// The state directory or the database cannot be read.
    pub fn open_read_only(places: Places) -> Result<Self, HostError> {
        let policy = trusted_policy(&places)?;
        // Without an id nothing was ever started: a new one finds nothing.
        let id = places.state.id()?.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let store = Store::open_read_only(&places)?;
        Self::new(places, &id, store, policy)
    }

    fn new(places: Places, state_id: &str, store: Store, policy: PolicySource) -> Result<Self, HostError> {
        let binaries = Binaries::new(places.llama_server.clone(), places.state.cache(), store.is_for_writing());
        let checks = Checks::new(&binaries);
        let state_key = blake3::derive_key("herdsman 2026 secret digests", state_id.as_bytes());
        let looks_on = !store.is_for_writing();
        let processes = Processes::new(state_id)?.sharing(places.state.cache().join("slots.json"), looks_on);
        let (loader, git) = (Loader::default(), Asker::default());
        let from_git = places.from_git.clone().map(FromGit::new);
        let gateway = Beside::new(places.state.clone());
        let gateway: Box<dyn Gateway> =
            if looks_on { Box::new(gateway.with_patience(BRIEFLY)) } else { Box::new(gateway) };
        Ok(Self {
            places,
            store,
            processes,
            state_key,
            binaries,
            checks,
            loader,
            from_git,
            edit: None,
            teller: None,
            git,
            git_notice: None,
            policy,
            gateway: Some(gateway),
            allowed: BTreeMap::new(),
            records_beside: None,
        })
    }

    /// Uses only what is cached about llama-servers and runs none: for a command that
    /// only shows how things stand.
    #[must_use]
    pub fn asking_nobody(mut self) -> Self {
        self.binaries.asks = false;
        self
    }

    /// Runs no program, not even a known llama-server to check a command line: for a
    /// look at definitions that nobody has saved.
    #[must_use]
    pub fn running_nothing(mut self) -> Self {
        self.binaries.checks = false;
        self.asking_nobody()
    }

    /// Reads the directory from now on as if `edit` were made. A commit stays as it is.
    pub fn suppose(&mut self, edit: Edit) {
        self.edit = Some(edit);
    }

    /// Asks llama-servers again that did not answer before (`--retry`).
    pub fn ask_again(&mut self) {
        self.binaries.retries = true;
    }

    /// Has `ring` called when a llama-server answers after the pass that asked.
    pub fn on_answer(&self, ring: impl Fn() + Send + Sync + 'static) {
        // It is set once.
        let _set = self.binaries.bell.set(Box::new(ring));
    }

    /// Waits for the llama-servers that were asked, until each has answered or
    /// has had the time for it.
    pub fn wait_for_answers(&self, timeout: std::time::Duration) {
        let deadline = std::time::Instant::now() + timeout;
        self.binaries.settle(deadline);
        self.checks.settle(deadline);
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
        self.allowed.clear();
        Ok(())
    }

    /// Returns why the policy forbids this start now. Follows paths again, because a
    /// link may have changed since the plan. What was not checked is forbidden.
    fn refusal(&self, launch: &Launch) -> Option<String> {
        let policy = self.binaries.policy.as_ref()?;
        match self.allowed.get(&(launch.model.clone(), launch.spec.clone())) {
            Some(spec) => policy.refusal(spec),
            None => Some("herdsman did not check it against the policy; this is a bug, please report it".to_owned()),
        }
    }

    /// The directory of definitions, absolute.
    #[must_use]
    pub fn models_dir(&self) -> PathBuf {
        self.places.models_dir()
    }

    /// Reads definitions with `loader` from now on.
    #[must_use]
    pub fn with_loader(self, loader: Loader) -> Self {
        Self { loader, ..self }
    }

    /// Speaks with `gateway` instead of the one of another process; `None`: nobody
    /// serves, as a watcher knows that holds the only lock of its kind.
    pub fn set_gateway(&mut self, gateway: Option<Box<dyn Gateway>>) {
        self.gateway = gateway;
    }

    /// Sends notifications about what passes find, as `notify` says.
    #[must_use]
    pub fn telling(self, notify: Option<&Notify>) -> Self {
        let teller = notify.map(|notify| Teller::new(notify, self.state_id()));
        Self { teller, ..self }
    }

    /// Whether the definition files are those that were last read; `false` if
    /// none were.
    #[must_use]
    pub fn definitions_are_as_read(&self) -> bool {
        let dir = self.models_dir();
        match &self.from_git {
            Some(from) => from.commit().is_some_and(|commit| from.named(&dir).as_ref() == Some(commit)),
            None => self.loader.is_still_so(&dir),
        }
    }

    /// What the definitions look like now, without reading one.
    #[must_use]
    pub fn glance(&self) -> Glance {
        let dir = self.models_dir();
        self.from_git.as_ref().map_or_else(|| Glance::at(&dir), |from| Glance::Commit(from.named(&dir)))
    }

    /// The revision that definitions are read from; `None`: from the directory.
    #[must_use]
    pub fn revision(&self) -> Option<&str> {
        self.places.from_git.as_deref()
    }

    /// The commit the definitions were last read from; `None`: from the work
    /// tree, or never.
    #[must_use]
    pub fn read_commit(&self) -> Option<&Commit> {
        self.from_git.as_ref().and_then(FromGit::commit)
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

    /// Takes the notices that were not reported yet: about a damaged database and
    /// what was done about it, and about commits that Git does not give.
    pub fn take_notices(&mut self) -> Vec<String> {
        let mut notices = self.store.take_notices();
        notices.extend(self.git_notice.take());
        notices
    }
}

/// Returns the notice for a database without the id beside it.
fn lost_id(state: &StateDir) -> String {
    format!(
        "{} was lost and replaced by a new id, so servers from before now belong to another state directory; \
         stop them, or restore the old id: it is HERDSMAN_STATE in their environment (/proc/PID/environ)",
        state.path().join("id").display()
    )
}

fn working_directory() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}
