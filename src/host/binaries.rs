//! Finds the llama-servers of this machine and learns their options.
//!
//! ```text
//!   look   a `binary`    -> file and identity     every pass
//!   ask    an identity   -> its `--help`          once, beside the passes
//! ```
//!
//! Both run in threads of their own: a program that never answers, or a file
//! system that does not respond, delays only its own models. A program that does
//! not answer in time is remembered as silent while its files stay the same, for
//! [`SILENCE`] at most.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::beside::{Bell, Beside};
use crate::definition::{Catalogue, Catalogues, Knowledge};
use crate::llama::catalogue::binary::{self, BinaryProblem, Heard, Leash};
use crate::model::{BinaryIdentity, Unusable};
use crate::owner::policy::Policy;
use crate::plan::Binary;
use crate::sys::trust;

/// How long a pass waits for a llama-server, which usually answers in 12 ms. A pass
/// waits for each only once; the pass after the answer uses it.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// How long herdsman remembers that a program did not answer. A stalled disk may
/// recover, and asking again does not delay other models.
pub(super) const SILENCE: Duration = Duration::from_secs(5 * 60);

/// How long herdsman remembers any other failure: a missing library may appear at
/// any moment.
const REFUSAL: Duration = Duration::from_secs(5);

const HELP: &str = "help";

/// The llama-servers of this machine, each looked at once in a pass.
pub(super) struct Binaries {
    default: Option<String>,
    write: bool,
    cache: PathBuf,
    /// `false`: the command only shows the state, and uses what is cached.
    pub asks: bool,
    /// `false`: no command line is tried.
    pub checks: bool,
    /// Silence that others remember does not count.
    pub retries: bool,
    looks: Beside<Option<String>, Result<Binary, Unusable>>,
    answers: Beside<BinaryIdentity, Answer>,
    /// The options that were read from `cache`.
    recalled: Mutex<BTreeMap<BinaryIdentity, Arc<Catalogue>>>,
    known: Mutex<BTreeMap<Option<String>, Result<Usable, Unusable>>>,
    /// Says which llama-servers definitions may name.
    pub policy: Option<Arc<Policy>>,
    leash: Option<Leash>,
    pub bell: Bell,
}

/// A usable llama-server and the options it knows.
type Usable = (Binary, Arc<Catalogue>);

/// What a llama-server said of itself, and whether that is on the disk.
type Answer = Arc<(Result<Heard, BinaryProblem>, AtomicBool)>;

impl Binaries {
    /// Those that definitions name, and `default`. Their options are cached in `cache`,
    /// which grows only if this may `write`.
    pub fn new(default: Option<String>, cache: PathBuf, write: bool) -> Self {
        let bell = Bell::default();
        Self {
            default,
            write,
            cache,
            asks: true,
            checks: true,
            retries: false,
            looks: Beside::new(Arc::clone(&bell)),
            answers: Beside::new(Arc::clone(&bell)),
            recalled: Mutex::default(),
            known: Mutex::default(),
            policy: None,
            // Without a leash, a dry run still ends at its time limit.
            leash: Leash::new().ok(),
            bell,
        }
    }

    /// A llama-server may be replaced between two passes.
    pub fn look_again(&self) {
        lock(&self.known).clear();
        self.looks.retain(|_, _, _| false);
        self.answers.retain(|_, answer, age| match &answer.0 {
            Ok(_) => true,
            Err(BinaryProblem::Silent { .. }) => age < SILENCE,
            Err(_) => age < REFUSAL,
        });
    }

    /// Waits until every llama-server that was asked has answered, or has had
    /// the time for it.
    pub fn settle(&self, deadline: Instant) {
        self.looks.settle(deadline);
        self.answers.settle(deadline);
    }

    /// The leash: what it holds ends with this one.
    pub fn leash(&self) -> Option<&Leash> {
        self.leash.as_ref()
    }

    /// Where what is remembered of llama-servers may be kept.
    pub fn cache_to_write(&self) -> Option<&PathBuf> {
        self.write.then_some(&self.cache)
    }

    /// Whether it is remembered that this one left a question unanswered.
    pub fn was_silent(&self, identity: &BinaryIdentity, question: &str) -> bool {
        !self.retries && binary::was_silent(identity, question, &self.cache, SILENCE)
    }

    /// The one that is meant by a definition's `binary`.
    pub fn find(&self, declared: Option<&str>) -> Result<Usable, Unusable> {
        let key = declared.map(str::to_owned);
        if let Some(known) = lock(&self.known).get(&key) {
            return known.clone();
        }
        let found = self.look(&key).and_then(|binary| {
            let catalogue = self.catalogue_of(&binary)?;
            Ok((binary, catalogue))
        });
        lock(&self.known).insert(key, found.clone());
        found
    }

    /// The one that is meant by a definition's `binary`, to run. A host that asks no
    /// program trusts the default one before its first answer.
    pub fn program(&self, declared: Option<&str>) -> Result<Binary, Unusable> {
        match self.find(declared) {
            Ok((binary, _)) => Ok(binary),
            Err(unasked) if unasked.is_pending && !self.asks && declared.is_none() => self.look(&None),
            Err(unusable) => Err(unusable),
        }
    }

    /// Whether its command lines may be checked: a host that asks no program runs
    /// only what is known to be a llama-server.
    pub fn may_check(&self, identity: &BinaryIdentity) -> bool {
        self.checks && (self.asks || self.recall(identity).is_some())
    }

    fn look(&self, key: &Option<String>) -> Result<Binary, Unusable> {
        let (declared, default, policy) = (key.clone(), self.default.clone(), self.policy.clone());
        let look = move || look(declared.as_deref(), default.as_deref(), policy.as_deref()).map_err(Unusable::from);
        self.looks.get(key, PATIENCE, look).unwrap_or_else(|| {
            let name = key.as_deref().or(self.default.as_deref()).unwrap_or("llama-server");
            // A busy disk takes its time. One that is gone does not come back.
            let is_pending = self.looks.awaited(key).is_none_or(|awaited| awaited < binary::PATIENCE);
            let problem = match is_pending {
                true => format!("{name} has not been read yet"),
                false => format!("cannot read {name}: its file system is not responding"),
            };
            Err(Unusable { problem, is_pending })
        })
    }

    /// The options of a llama-server, asked for where they are not known.
    fn catalogue_of(&self, binary: &Binary) -> Result<Arc<Catalogue>, Unusable> {
        let Binary { path, identity } = binary;
        if let Some((answer, _)) = self.answers.known(identity) {
            return self.take(binary, &answer);
        }
        if let Some(catalogue) = self.recall(identity) {
            return Ok(catalogue);
        }
        if self.was_silent(identity, HELP) {
            return Err(Unusable::from(silent(path, "--help").to_string()));
        }
        if !self.asks {
            let problem =
                format!("the options of {} are not known yet; `herdsman reconcile` reads them", path.display());
            return Err(Unusable { problem, is_pending: true });
        }
        let (asked, leash) = (binary.clone(), self.leash.clone());
        let ask = move || Arc::new((ask(&asked, leash.as_ref()), AtomicBool::new(false)));
        match self.answers.get(identity, PATIENCE, ask) {
            Some(answer) => self.take(binary, &answer),
            None => {
                let problem = format!("{} has not answered --help yet", path.display());
                Err(Unusable { problem, is_pending: true })
            }
        }
    }

    fn recall(&self, identity: &BinaryIdentity) -> Option<Arc<Catalogue>> {
        if let Some(catalogue) = lock(&self.recalled).get(identity) {
            return Some(Arc::clone(catalogue));
        }
        let catalogue = binary::recall(identity, &self.cache)?;
        lock(&self.recalled).insert(identity.clone(), Arc::clone(&catalogue));
        Some(catalogue)
    }

    /// Takes an answer and caches it for other commands. The thread that asked cannot,
    /// because only a pass holds the lock.
    fn take(&self, binary: &Binary, answer: &Answer) -> Result<Arc<Catalogue>, Unusable> {
        let (said, kept) = &**answer;
        let is_first = self.write && !kept.swap(true, Ordering::Relaxed);
        match said {
            Ok(heard) => {
                if is_first {
                    heard.keep(&binary.identity, &self.cache);
                }
                Ok(Arc::clone(&heard.catalogue))
            }
            Err(problem) => {
                if let BinaryProblem::Silent { .. } = problem {
                    if is_first {
                        binary::keep_silence(&binary.identity, HELP, &self.cache);
                    } else if let Some(catalogue) = self.recall(&binary.identity) {
                        // Somebody else had an answer.
                        return Ok(catalogue);
                    }
                }
                Err(Unusable::from(problem.to_string()))
            }
        }
    }
}

impl Drop for Binaries {
    /// Ends every question that is still running.
    fn drop(&mut self) {
        if let Some(leash) = &self.leash {
            leash.pull();
            self.answers.settle(Instant::now() + Duration::from_secs(1));
        }
    }
}

/// Returns the problem of a llama-server that did not answer `question`.
pub(super) fn silent(path: &Path, question: &'static str) -> BinaryProblem {
    BinaryProblem::Silent { path: path.to_owned(), question, after: binary::PATIENCE }
}

fn look(declared: Option<&str>, default: Option<&str>, policy: Option<&Policy>) -> Result<Binary, String> {
    let named = declared.or(default);
    let path = binary::locate(named, std::env::var_os("PATH").as_deref()).map_err(|p| p.to_string())?;
    // Checked first, because reading its options runs it.
    if let (Some(policy), Some(_)) = (policy, declared) {
        policy.allows_binary(&path)?;
    }
    trust::require(&path, &[]).map_err(|untrusted| untrusted.to_string())?;
    let identity = binary::identify(&path).map_err(|p| p.to_string())?;
    Ok(Binary { path, identity })
}

/// Asks a llama-server for its options. This finds a program that is not llama-server
/// before any server stops for it.
fn ask(binary: &Binary, leash: Option<&Leash>) -> Result<Heard, BinaryProblem> {
    let heard = binary::ask(&binary.path, leash);
    match binary::identify(&binary.path) {
        Ok(now) if now == binary.identity => heard,
        _ => {
            let why = "was replaced while it ran".to_owned();
            Err(BinaryProblem::Failed { path: binary.path.clone(), why })
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Catalogues for Binaries {
    /// Returns the options of the llama-server that will run, or of the pinned one.
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.knowledge(binary).catalogue()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        match self.find(binary) {
            Ok((_, catalogue)) => Knowledge::Its(catalogue),
            Err(unusable) if unusable.is_pending && self.asks => Knowledge::Awaited(unusable),
            // There is no llama-server at all: the pinned one is as good as any.
            Err(unusable) if binary.is_none() && !unusable.is_pending => Knowledge::Its(Catalogue::embedded()),
            Err(because) => Knowledge::StandIn { catalogue: Catalogue::embedded(), because: Some(because) },
        }
    }
}
