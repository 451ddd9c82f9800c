//! What there is to show, numbered: the last pass, the rows of the database, and the
//! requests, as one list of models.
//!
//! A pass leaves what it saw ([`Observer`]). A task brings the list up to date
//! ([`Board::keep`]) when a pass or the database changed something and, while somebody
//! reads, every second for the requests and the memory. Each list that differs from the
//! one before has the next number.
//!
//! Numbers of a later watcher are greater than all of an earlier one, because they begin
//! with the time.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::Host;
use super::document::{Document, Requests, Seen, seen};
use crate::database::ModelRow;
use crate::model::{ModelName, Status, Timestamp};
use crate::pass::Pass;
use crate::serve::gateway::Gateway;
use crate::view::View;
use crate::watch::machine::Observer;

/// Changes within this time are one.
const TOGETHER: Duration = Duration::from_millis(100);

/// How often requests and memory are looked at while somebody reads.
const LOOK: Duration = Duration::from_secs(1);

/// How long definitions may be unreadable before that is shown: Git takes a moment to
/// check them out.
const SETTLED: Duration = Duration::from_secs(1);

/// How many changes are kept for readers that come back.
const KEPT: usize = 1000;

/// The board of a watcher.
#[derive(Clone)]
pub struct Board(Arc<Inner>);

struct Inner {
    seen: Mutex<Seens>,
    rows: Mutex<Rows>,
    passed: Notify,
    shown: watch::Sender<Arc<Shown>>,
}

/// What passes have seen.
#[derive(Default)]
struct Seens {
    models: BTreeMap<ModelName, (Status, Seen)>,
    /// Since when passes fail, and why the last one did.
    failing: Option<(Timestamp, String)>,
    /// Since when the definitions cannot be read, and why.
    unread: Option<(Instant, String)>,
    has_passed: bool,
}

/// What is shown at one moment.
#[derive(Clone, Default)]
pub struct Shown {
    /// Its number.
    pub seq: u64,
    /// When the watcher began, milliseconds since 1970: another one means another
    /// watcher.
    pub epoch: i64,
    /// Every model: rows newest first, then what has no row, by name.
    pub models: Vec<Arc<Document>>,
    /// Whether a pass and the database have said something; before, it is empty.
    pub is_known: bool,
    /// Why it may be out of date.
    pub problem: Option<String>,
    /// The message with all of it, once somebody needed it.
    pub(super) whole: Arc<OnceLock<Bytes>>,
    /// The numbers before, with what each of them changed.
    changes: Arc<VecDeque<(u64, Arc<Changed>)>>,
}

/// The keys of the models that changed or went, each with the names that the model had
/// before and has now: who may know of a change depends on them.
type Changed = BTreeMap<String, BTreeSet<String>>;

impl Board {
    /// Returns an empty board of a watcher that begins at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let shown = Shown { seq: u64::try_from(now.0).unwrap_or_default() * 1000, epoch: now.0, ..Shown::default() };
        Self(Arc::new(Inner {
            seen: Mutex::default(),
            rows: Mutex::default(),
            passed: Notify::new(),
            shown: watch::Sender::new(Arc::new(shown)),
        }))
    }

    /// Returns what is shown now.
    #[must_use]
    pub fn shown(&self) -> Arc<Shown> {
        Arc::clone(&self.0.shown.borrow())
    }

    /// Returns what changes with every number.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Shown>> {
        self.0.shown.subscribe()
    }

    /// Returns what is shown now, once there is something, with the requests as of now.
    pub async fn newest(&self, gateway: &Gateway) -> Arc<Shown> {
        let mut shown = self.follow();
        if shown.borrow().is_known {
            self.show(gateway);
        }
        // The sender is in `self`.
        let known = shown.wait_for(|shown| shown.is_known).await;
        known.map(|shown| Arc::clone(&shown)).unwrap_or_default()
    }

    /// Keeps the board up to date until the runtime ends.
    pub async fn keep(self, host: Arc<dyn Host>, gateway: Gateway) {
        // Before the first pass has it open, reading may look into the file, which would
        // cost the pass its locks on it: see `database::open`.
        self.0.passed.notified().await;
        loop {
            let is_read = self.read(&host).await;
            self.show(&gateway);
            tokio::time::sleep(TOGETHER).await;
            // While the database cannot be read, nothing may say that it can be again.
            while !self.is_due(is_read).await {
                self.show(&gateway);
            }
        }
    }

    /// Waits until the rows are to be read again or, while somebody reads, the requests
    /// are to be looked at.
    async fn is_due(&self, is_read: bool) -> bool {
        let passed = self.0.passed.notified();
        if is_read && self.0.shown.receiver_count() == 0 {
            passed.await;
            return true;
        }
        tokio::select! {
            () = passed => true,
            () = tokio::time::sleep(LOOK) => !is_read,
        }
    }

    /// Reads the rows; returns whether that succeeded.
    async fn read(&self, host: &Arc<dyn Host>) -> bool {
        let host = Arc::clone(host);
        let read = tokio::task::spawn_blocking(move || host.rows()).await;
        let read = read.unwrap_or_else(|_| Err("herdsman could not read the database; its log says why".to_owned()));
        let mut rows = self.rows();
        match read {
            Ok(read) => *rows = Rows { rows: read, is_read: true, problem: None },
            Err(problem) => (rows.is_read, rows.problem) = (true, Some(problem)),
        }
        rows.problem.is_none()
    }

    fn rows(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.0.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what is shown the next number, if it is not what it was.
    fn show(&self, gateway: &Gateway) {
        let rows = self.rows();
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        let demand = gateway.demand(now);
        let speeds = gateway.activity().speeds();
        let seen = self.seen();
        let document = |name: &str, row| {
            let model = ModelName::parse(name).ok();
            let traffic = model.as_ref().and_then(|name| demand.models.get(name)).copied().unwrap_or_default();
            let speed = model.as_ref().and_then(|name| speeds.get(name)).copied();
            Document::of(name, row, model.and_then(|name| seen.models.get(&name)), Requests::of(&traffic, speed))
        };
        let with_row: HashSet<&str> = rows.rows.iter().map(ModelRow::name).collect();
        let without_row = seen.models.keys().map(ModelName::as_str).filter(|name| !with_row.contains(name));
        let models: Vec<Document> = rows
            .rows
            .iter()
            .map(|row| document(row.name(), Some(row)))
            .chain(without_row.map(|name| document(name, None)))
            .collect();
        let failing = seen.failing.as_ref().map(|(since, why)| {
            let since = crate::model::text::rfc3339(*since).unwrap_or_default();
            format!("passes fail since {since}: {why}; herdsman tries again")
        });
        let unread = seen.unread.as_ref().filter(|(since, _)| since.elapsed() >= SETTLED);
        let unread = unread.map(|(_, why)| format!("{why}; models stay as they were defined before"));
        let problem = rows.problem.clone().or(failing).or(unread);
        let is_known = rows.is_read && (seen.has_passed || problem.is_some());
        drop(seen);
        self.0.shown.send_if_modified(|shown| match shown.followed_by(models, is_known, problem) {
            Some(next) => {
                *shown = Arc::new(next);
                true
            }
            None => false,
        });
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seens> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that were read last, and why not anew.
#[derive(Default)]
struct Rows {
    rows: Vec<ModelRow>,
    /// Whether they were asked for.
    is_read: bool,
    problem: Option<String>,
}

impl Shown {
    /// Returns the next one, if anything differs. What is the same is shared.
    fn followed_by(&self, models: Vec<Document>, is_known: bool, problem: Option<String>) -> Option<Self> {
        let mut before: BTreeMap<&str, &Arc<Document>> = self.models.iter().map(|is| (is.key(), is)).collect();
        let mut changed = Changed::new();
        let mut note = |model: &Document| {
            changed.entry(model.key().to_owned()).or_default().insert(model.store.name.clone());
        };
        let models: Vec<Arc<Document>> = models
            .into_iter()
            .map(|mut now| {
                let then = before.remove(now.key());
                then.into_iter().for_each(|then| now.steady(then));
                match then {
                    Some(then) if **then == now => Arc::clone(then),
                    then => {
                        then.into_iter().for_each(|then| note(then));
                        note(&now);
                        Arc::new(now)
                    }
                }
            })
            .collect();
        before.into_values().for_each(|gone| note(gone));
        if changed.is_empty() && problem == self.problem && is_known == self.is_known {
            return None;
        }
        let seq = self.seq + 1;
        let mut changes = (*self.changes).clone();
        changes.push_back((seq, Arc::new(changed)));
        if changes.len() > KEPT {
            changes.pop_front();
        }
        Some(Self {
            seq,
            epoch: self.epoch,
            models,
            is_known,
            problem,
            whole: Arc::default(),
            changes: Arc::new(changes),
        })
    }

    /// Returns the keys of the models that changed after the number `since`, with their
    /// names; `None`: that is too long ago, or of another watcher.
    #[must_use]
    pub fn changed_since(&self, since: u64) -> Option<BTreeMap<&str, BTreeSet<&str>>> {
        let first = self.changes.front().map_or(self.seq + 1, |(seq, _)| *seq);
        if since + 1 < first || since > self.seq {
            return None;
        }
        let later = self.changes.iter().filter(|(seq, _)| *seq > since);
        let mut changed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (key, names) in later.flat_map(|(_, changed)| changed.iter()) {
            changed.entry(key).or_default().extend(names.iter().map(String::as_str));
        }
        Some(changed)
    }
}

impl Document {
    /// Returns what it is known by: two rows may have one name.
    #[must_use]
    pub fn key(&self) -> &str {
        self.store.id.as_deref().unwrap_or(&self.store.name)
    }
}

impl Observer for Board {
    fn unread(&self, why: Option<&str>) {
        let mut all = self.seen();
        all.unread = why.map(|why| {
            let since = all.unread.take().map_or_else(Instant::now, |(since, _)| since);
            (since, why.to_owned())
        });
    }

    fn passed(&self, pass: Result<&Pass, &str>, _looked: Instant, _took: Duration) {
        {
            let mut all = self.seen();
            match pass {
                Ok(pass) => {
                    all.models = seen(&View::of(pass)).into_iter().collect();
                    all.failing = None;
                    all.has_passed = true;
                }
                Err(why) => {
                    let now = Timestamp(jiff::Timestamp::now().as_millisecond());
                    let since = all.failing.take().map_or(now, |(since, _)| since);
                    all.failing = Some((since, why.to_owned()));
                }
            }
        }
        self.0.passed.notify_one();
    }
}
