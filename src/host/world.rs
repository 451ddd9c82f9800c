//! Implements [`Source`], [`Ledger`] and [`Fleet`] for this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::binaries::Binaries;
use super::check::Check;
use super::{FromGit, Host, HostError, Places, working_directory};
use crate::definition::{self, Edit, LoadOptions, Loader, ReadFrom};
use crate::model::{
    Change, Demand, Desired, Handle, Instance, InstanceId, Launch, ModelName, Observed, Provenance, Records,
    StopTarget, Timestamp,
};
use crate::owner::policy::Policy;
use crate::pass::{Fallible, Fleet, Ledger, Pass, Source};
use crate::plan::{Answers, Limits, Question, Site};
use crate::sys::trust;

impl Fallible for Host {
    type Error = HostError;
}

impl Source for Host {
    /// Reads the records beside the definitions, for [`Ledger::records`] to return:
    /// of thousands of models both take their time.
    fn definitions(&mut self) -> Result<Arc<Desired>, HostError> {
        self.records_beside = None;
        self.read_policy()?;
        let Self { places, store, state_key, binaries, loader, from_git, edit, .. } = self;
        let from = (from_git.as_mut(), edit.as_ref());
        let (desired, records) = std::thread::scope(|scope| {
            let records = scope.spawn(|| store.records());
            let desired = load(loader, from, places, *state_key, binaries);
            (desired, records.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        self.records_beside = desired.is_ok().then_some(records);
        desired
    }
}

impl Ledger for Host {
    fn records(&mut self) -> Result<Arc<Records>, HostError> {
        if let Some(records) = self.records_beside.take() {
            return Ok(records?);
        }
        // A watcher goes on without definitions, and without knowing what is
        // allowed: it watches what runs, and starts nothing.
        if let Err(unreadable) = self.read_policy() {
            self.binaries.policy = Some(Arc::new(Policy::unknown(&unreadable)));
            self.allowed.clear();
        }
        Ok(self.store.records()?)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), HostError> {
        self.records_beside = None;
        let now = self.now();
        self.store.commit(changes, now)
    }

    fn notifications(&mut self, pass: &Pass, limits: &Limits) -> Result<Vec<Change>, HostError> {
        let (Some(teller), Some(database)) = (&self.teller, self.store.database()) else { return Ok(Vec::new()) };
        let known = database.announced()?;
        Ok(teller.tell(pass, &limits.targets, &known, &self.places.state))
    }
}

impl Fleet for Host {
    fn now(&self) -> Timestamp {
        Timestamp(jiff::Timestamp::now().as_millisecond())
    }

    fn seed(&mut self) -> [u8; 16] {
        uuid::Uuid::new_v4().into_bytes()
    }

    fn site(&self) -> Site {
        let state = &self.places.state;
        Site {
            port_range: self.places.port_range,
            has_gateway: self.gateway.as_ref().is_some_and(|gateway| gateway.serves()),
            logs: state.logs(),
            downloads: state.downloads(),
        }
    }

    fn observe(&mut self, records: &Records) -> Result<Observed, HostError> {
        let recorded: Vec<_> =
            records.models.values().flat_map(|m| &m.instances).chain(&records.orphans).cloned().collect();
        Ok(self.processes.observe(&recorded, &self.places.state.logs())?)
    }

    fn answer(&mut self, questions: &[Question], observed: &Observed, answers: &mut Answers) -> Result<(), HostError> {
        let mut checks: Vec<Check<'_>> = Vec::new();
        let mut sources: BTreeMap<ModelName, &Path> = BTreeMap::new();
        let (mut busy, mut served): (Vec<&Instance>, Vec<&Instance>) = Default::default();
        for question in questions {
            match question {
                Question::Allowed { model, spec, hash } => {
                    let refusal = self.binaries.policy.as_ref().and_then(|policy| policy.refusal(spec));
                    let key = (model.clone(), hash.clone());
                    if self.binaries.policy.is_some() && refusal.is_none() {
                        self.allowed.insert(key.clone(), (**spec).clone());
                    }
                    answers.allowed.insert(key, refusal.map_or(Ok(()), Err));
                }
                Question::Binary(declared) => {
                    let binary = self.binaries.program(declared.as_deref());
                    answers.binaries.insert(declared.clone(), binary);
                }
                Question::Check(launch, weights) => checks.push((launch, weights)),
                Question::Busy(id) => busy.extend(observed.instances.iter().find(|i| i.id == *id)),
                Question::Served(id) => served.extend(observed.instances.iter().find(|i| i.id == *id)),
                Question::PortHolder(port) => {
                    answers.holders.insert(*port, self.processes.port_holder(*port));
                }
                Question::GpuLayers { model, id, log_offset } => {
                    let logs = self.places.state.logs();
                    let layers = self.processes.offloaded_layers(&logs, (model, id), *log_offset);
                    answers.gpu_layers.insert(id.clone(), layers.map_or(0, |(layers, _)| layers));
                }
                Question::Provenance { model, source } => {
                    sources.insert(model.clone(), source);
                }
                Question::FilesIntact { model, files } => {
                    let intact = files.iter().all(|(path, was)| definition::identity_now(path) == Some(*was));
                    answers.files_intact.insert(model.clone(), intact);
                }
            }
        }
        let in_flight = self.in_flight(&busy)?;
        for (instance, answer) in busy.iter().zip(self.processes.busy(&busy, &in_flight)) {
            answers.busy.insert(instance.id.clone(), answer);
        }
        for (instance, answer) in served.iter().zip(self.processes.served(&served)) {
            answers.served.insert(instance.id.clone(), answer);
        }
        if !sources.is_empty() {
            let mut found = self.provenance(&sources);
            answers.provenance.extend(sources.into_keys().map(|model| (model.clone(), found.remove(&model))));
        }
        if checks.is_empty() {
            return Ok(());
        }
        for ((launch, _), result) in checks.iter().zip(self.checks.all(&checks, &self.binaries)) {
            answers.checks.insert((launch.model.clone(), launch.spec.clone()), result);
        }
        Ok(())
    }

    fn demand(&self) -> Option<Demand> {
        self.gateway.as_ref()?.demand(self.now())
    }

    fn withdraw(&mut self, instances: &[InstanceId]) -> Result<(), String> {
        let Some(gateway) = &self.gateway else { return Ok(()) };
        gateway.withdraw(instances).map_err(|error| error.to_string())
    }

    fn readmit(&mut self, instances: &[InstanceId]) -> Result<(), String> {
        let Some(gateway) = &self.gateway else { return Ok(()) };
        gateway.readmit(instances).map_err(|error| error.to_string())
    }

    fn start(&mut self, launch: &Launch) -> Result<Handle, String> {
        match self.refusal(launch) {
            Some(why) => Err(why),
            None => self.processes.spawn(launch).map(Handle::from).map_err(|error| error.to_string()),
        }
    }

    fn stop(&mut self, targets: &[StopTarget]) -> Vec<Result<(), String>> {
        let results = self.processes.stop(targets);
        results.into_iter().map(|result| result.map_err(|error| error.to_string())).collect()
    }
}

impl Host {
    /// Returns what the gateway has in flight at these instances.
    fn in_flight(&self, instances: &[&Instance]) -> Result<BTreeMap<InstanceId, u32>, HostError> {
        let Some(gateway) = self.gateway.as_ref().filter(|_| !instances.is_empty()) else { return Ok(BTreeMap::new()) };
        let ids: Vec<InstanceId> = instances.iter().map(|instance| instance.id.clone()).collect();
        match gateway.in_flight(&ids) {
            // Who only looks on stops nothing.
            Err(_) if !self.store.is_for_writing() => Ok(BTreeMap::new()),
            in_flight => Ok(in_flight?),
        }
    }

    /// Returns the commits of these definition files, present or deleted.
    fn provenance(&mut self, sources: &BTreeMap<ModelName, &Path>) -> BTreeMap<ModelName, Provenance> {
        if let Some(commit) = self.read_commit() {
            let provenance = Provenance { commit: commit.clone(), dirty: false };
            return sources.keys().map(|model| (model.clone(), provenance.clone())).collect();
        }
        let (loader, dir) = (&self.loader, self.models_dir());
        let (found, notice) = self.git.ask(sources, || loader.is_still_so(&dir));
        self.git_notice = notice.or(self.git_notice.take());
        found
    }
}

fn load(
    loader: &mut Loader,
    from: (Option<&mut FromGit>, Option<&Edit>),
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
    let from = match from {
        (Some(from_git), _) => ReadFrom::Commit(from_git.read(&dir, Some(owners))?),
        (None, Some(edit)) => ReadFrom::Edited(edit),
        (None, None) => ReadFrom::Itself,
    };
    let options = LoadOptions { dir: &places.models_dir, from, cwd: &cwd, state_key, catalogues: binaries };
    let mut desired = loader.load(&options)?;
    loader.require_trusted(&dir, owners)?;
    if let Some(policy) = policy {
        policy.enforce(&mut desired, from);
    }
    definition::host_checks(&mut desired, from);
    Ok(desired)
}
