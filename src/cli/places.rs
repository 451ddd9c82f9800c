//! From arguments to a host and a pass, and from errors to exit codes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Places;
use super::exit::Exit;
pub(super) use super::exit::Refused;
use super::output::complain;
use crate::definition::Catalogue;
use crate::host::{self, Host, HostError, LlamaServers};
use crate::llama::catalogue::binary;
use crate::model::Diagnostic;
use crate::owner::policy::{Policy, PolicySource};
use crate::owner::settings::{Located, Settings, SettingsError, locate};
use crate::pass::next::awaits_llama_server;
use crate::pass::{Goal, Order, Pass, look, pass_if, read};
use crate::plan::Limits;
use crate::state::{Reads, StateDir};

impl Places {
    pub(super) fn state(&self) -> StateDir {
        StateDir::new(stated(self.state_dir.as_ref()).map_or_else(StateDir::default_path, Path::to_owned))
    }

    /// `--llama-server`; an empty variable is one that is not set.
    pub(super) fn stated_llama_server(&self) -> Option<&str> {
        self.llama_server.as_deref().filter(|name| !name.is_empty())
    }

    /// The options of that llama-server.
    pub(super) fn stated_catalogue(&self) -> Result<Option<Arc<Catalogue>>, Refused> {
        let Some(stated) = self.stated_llama_server() else { return Ok(None) };
        let path = std::env::var_os("PATH");
        let found = binary::locate(Some(stated), path.as_deref())
            .and_then(|path| binary::catalogue(&path, &binary::identify(&path)?, None, false));
        found.map(Some).map_err(|problem| Refused { exit: Exit::NoLlamaServer, message: problem.to_string() })
    }

    /// `--policy`, likewise.
    pub(super) fn stated_policy(&self) -> Option<&Path> {
        stated(self.policy.as_ref())
    }

    /// `--from-git`, likewise.
    pub(super) fn revision(&self) -> Option<&str> {
        self.from_git.as_deref().filter(|revision| !revision.is_empty())
    }

    /// Returns all paths, with every default filled in.
    pub(super) fn resolve(&self) -> host::Places {
        let state = self.state();
        host::Places {
            models_dir: self.models_dir.clone(),
            from_git: self.revision().map(str::to_owned),
            database: stated(self.database.as_ref()).map_or_else(|| state.database(), Path::to_owned),
            policy: self.stated_policy().map(Path::to_owned),
            llama_server: self.stated_llama_server().map(str::to_owned),
            port_range: self.port_range,
            state,
        }
    }

    /// Loads the settings of this host.
    pub(super) fn settings(&self) -> Result<Settings, SettingsError> {
        Settings::load(&self.settings_file())
    }

    /// Returns where the settings are.
    pub(super) fn settings_file(&self) -> Located {
        locate(stated(self.settings.as_ref()))
    }

    /// Returns the policy that `validate` applies: the one that was given, or with
    /// `--host` the one in force here.
    pub(super) fn policy_for_validate(&self, host: bool, cwd: &Path) -> Result<Option<Arc<Policy>>, HostError> {
        match self.stated_policy() {
            None if !host => Ok(None),
            stated => Ok(PolicySource::new(stated, cwd).current()?),
        }
    }

    /// Returns the llama-servers on this machine that `policy` allows.
    pub(super) fn llama_servers(&self, policy: Option<Arc<Policy>>) -> LlamaServers {
        LlamaServers::new(self.stated_llama_server(), self.state().cache(), policy)
    }

    /// Returns which definitions this herdsman reads.
    pub(super) fn reads(&self) -> Reads {
        Reads::new(self.resolve().models_dir(), self.revision())
    }

    /// Opens the host for changes. Refuses beside a watcher that reads other
    /// definitions: each would undo what the other does.
    pub(super) fn open(&self) -> anyhow::Result<Host> {
        if let Some(watched) = self.state().watched()?
            && !watched.agrees_with(&self.reads())
        {
            let message = format!(
                "the watcher on {} (pid {}) reads other definitions and would undo this\nhelp: pass {}, or stop the watcher first",
                self.state().path().display(),
                watched.pid,
                watched.options()
            );
            return Err(Refused { exit: Exit::Usage, message }.into());
        }
        Ok(Host::open(self.resolve())?)
    }

    pub(super) fn open_read_only(&self) -> Result<Host, HostError> {
        Host::open_read_only(self.resolve())
    }
}

/// A path that was stated; an empty variable is one that is not set.
fn stated(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

/// Makes a pass and prints notices about the database to standard error. If the
/// pass ends because the database is damaged, makes it once more: by then the
/// damaged file is set aside.
pub(super) fn pass_and_tell(host: &mut Host, goal: Goal, order: Order<'_>) -> anyhow::Result<Pass> {
    pass_and_tell_if(host, goal, order, |_| Ok(()))
}

/// Like [`pass_and_tell`], but changes nothing unless `approve` agrees.
pub(super) fn pass_and_tell_if(
    host: &mut Host,
    goal: Goal,
    order: Order<'_>,
    approve: impl Fn(&Pass) -> anyhow::Result<()>,
) -> anyhow::Result<Pass> {
    let make = |host: &mut Host| pass_if(host, |host| read(host, goal), order, |_, seen| approve(seen));
    let is_damage = |error: &anyhow::Error| error.downcast_ref().is_some_and(HostError::is_damage);
    let mut made = make(host);
    if made.as_ref().is_err_and(is_damage) {
        made = make(host);
    }
    host.take_notices().iter().for_each(complain);
    made
}

/// Looks, and prints notices about the database to standard error.
pub(super) fn look_and_tell(host: &mut Host, limits: &Limits) -> Result<Pass, HostError> {
    let seen = look(host, Goal::Definitions, limits);
    host.take_notices().iter().for_each(complain);
    seen
}

/// Like [`look_and_tell`], but waits for the llama-servers that are asked: first
/// for their options, then whether they accept the command lines.
pub(super) fn look_patiently(host: &mut Host, limits: &Limits) -> Result<Pass, HostError> {
    const ROUNDS: usize = 3;
    /// Longer than the time limit of each.
    const PATIENCE: Duration = Duration::from_secs(15);
    let mut seen = look_and_tell(host, limits)?;
    for _ in 0..ROUNDS {
        if !awaits_llama_server(&seen) {
            break;
        }
        host.wait_for_answers(PATIENCE);
        seen = look_and_tell(host, limits)?;
    }
    Ok(seen)
}

/// Prints all problems of all files, on standard error.
pub(super) fn report_diagnostics(pass: &Pass) {
    let Some(desired) = pass.desired.as_ref().filter(|d| !d.diagnostics.is_empty()) else { return };
    // Colours are stripped where standard error is not a terminal.
    complain(crate::definition::render(&desired.diagnostics, true));
}

/// Returns the problems of the policy, if these ended the command.
#[must_use]
pub fn diagnostics_of(error: &anyhow::Error) -> &[Diagnostic] {
    match error.downcast_ref::<HostError>() {
        Some(HostError::Policy(error)) => error.diagnostics(),
        _ => &[],
    }
}
