//! Checks whether a command line would start: the weights exist, and llama-server
//! accepts the options in a dry run. The dry runs run beside the passes, so one that
//! hangs delays only its own model.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::beside::Beside;
use super::binaries::{Binaries, PATIENCE, SILENCE, silent};
use crate::definition;
use crate::llama::catalogue::binary::{self, BinaryProblem, Leash, Verdict};
use crate::model::{BinaryIdentity, Launch, Unusable};
use crate::plan::Objection;
use crate::sys::parallel::shares;

/// What is checked.
pub(super) type Check<'a> = (&'a Launch, &'a [PathBuf]);

/// Tells a check from others: the llama-server, and the command line with its
/// weights.
type Key = (BinaryIdentity, String);

/// An answer, and whether a pass went by it.
type Answer = Arc<(Result<(), Problem>, AtomicBool)>;

/// Why it would not start.
enum Problem {
    Refused(String),
    Silent(BinaryProblem),
}

/// The checks of this machine.
pub(super) struct Checks(Beside<Key, Answer>);

impl Checks {
    pub fn new(binaries: &Binaries) -> Self {
        Self(Beside::new(Arc::clone(&binaries.bell)))
    }

    /// Checks command lines, as many at once as there are processors.
    pub fn all(&self, checks: &[Check<'_>], binaries: &Binaries) -> Vec<Result<(), Objection>> {
        // What was refused may be accepted by now: weights come and go.
        self.0.retain(|_, answer, age| match answer.0 {
            Err(Problem::Silent(_)) => age < SILENCE,
            _ => !answer.1.load(Ordering::Relaxed) && age < UNTAKEN,
        });
        let share = |checks: &[Check<'_>]| checks.iter().map(|check| self.one(*check, binaries)).collect::<Vec<_>>();
        shares(checks, 2, share).into_iter().flatten().collect()
    }

    fn one(&self, (launch, weights): Check<'_>, binaries: &Binaries) -> Result<(), Objection> {
        let refused = |problem: BinaryProblem| Objection::Refused(problem.to_string());
        let identity = binary::identify(&launch.binary).map_err(refused)?;
        if !binaries.may_check(&identity) {
            return Ok(());
        }
        let question = question(launch, weights);
        let key = (identity.clone(), question.clone());
        if self.0.known(&key).is_none() && binaries.was_silent(&identity, &question) {
            return Err(unanswered(silent(&launch.binary, VERSION).to_string(), false));
        }
        let (asked, files, leash) = (launch.clone(), weights.to_vec(), binaries.leash().cloned());
        let ask = move || Arc::new((check(&asked, &files, leash.as_ref()), AtomicBool::new(false)));
        let Some(answer) = self.0.get(&key, PATIENCE, ask) else {
            return Err(unanswered(format!("{} has not answered {VERSION} yet", launch.binary.display()), true));
        };
        let is_first = !answer.1.swap(true, Ordering::Relaxed);
        match &answer.0 {
            Ok(()) => Ok(()),
            Err(Problem::Refused(message)) => Err(Objection::Refused(message.clone())),
            Err(Problem::Silent(problem)) => {
                if let (Some(cache), true) = (binaries.cache_to_write(), is_first) {
                    binary::keep_silence(&identity, &question, cache);
                }
                Err(unanswered(problem.to_string(), false))
            }
        }
    }

    /// Waits until no check is running.
    pub fn settle(&self, deadline: Instant) {
        self.0.settle(deadline);
    }
}

impl Drop for Checks {
    /// Those under way end with the leash, which was pulled before.
    fn drop(&mut self) {
        self.settle(Instant::now() + Duration::from_secs(1));
    }
}

const VERSION: &str = "--version";

/// How long an answer counts that came after the pass which asked.
const UNTAKEN: Duration = Duration::from_secs(60);

fn unanswered(problem: String, is_pending: bool) -> Objection {
    Objection::Unanswered(Unusable { problem, is_pending })
}

/// A name for the dry run of this command line.
fn question(launch: &Launch, weights: &[PathBuf]) -> String {
    let mut hasher = blake3::Hasher::new();
    let weights = weights.iter().filter_map(|path| path.to_str());
    let variables = launch.env.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    for word in launch.args.iter().map(String::as_str).chain(variables).chain(weights) {
        hasher.update(word.as_bytes());
        hasher.update(&[0]);
    }
    format!("version-{}", &hasher.finalize().to_hex()[..16])
}

/// Checks that llama-server accepts a command line and that its weights are complete
/// GGUF files.
fn check(launch: &Launch, weights: &[PathBuf], leash: Option<&Leash>) -> Result<(), Problem> {
    let is_gguf = |file: &PathBuf| definition::check_gguf(Path::new(file));
    weights.iter().try_for_each(is_gguf).map_err(|problem| Problem::Refused(problem.to_string()))?;
    match binary::dry_run_on(&launch.binary, &launch.args, &launch.env, leash) {
        Ok(Verdict::Accepted) => Ok(()),
        Ok(Verdict::Refused { message }) => {
            Err(Problem::Refused(format!("llama-server rejects its options: {message}")))
        }
        Err(silent @ BinaryProblem::Silent { .. }) => Err(Problem::Silent(silent)),
        Err(problem) => Err(Problem::Refused(problem.to_string())),
    }
}
