//! The watcher, as the API asks it.

use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

use serde_json::Value;
use tokio::sync::watch;

use super::Watched;
use crate::cli::json::Document;
use crate::cli::{Exit, Places, history, reconcile, why};
use crate::database::{Database, ModelFilter, ModelRow};
use crate::definition::Edit;
use crate::model::{Diagnostic, ModelName};
use crate::pass::by_hand::{Answer, Asked};
use crate::pass::{Pass, Source as _};
use crate::serve::api;
use crate::serve::api::edit::Preview;
use crate::serve::api::reconcile::Reconciled;
use crate::state::StateDir;
use crate::watch::permit::{Follower, Permit, Progress};

impl api::Host for Watched {
    fn ask(&self, asked: Asked) -> Option<Answer> {
        self.inbox.put(asked).recv().ok()
    }

    fn rows(&self) -> Result<Vec<ModelRow>, String> {
        let at = self.places.resolve();
        let opened = Database::open_read_only(&at.database).map_err(|error| error.at(at.place()));
        let rows = opened
            .and_then(|database| database.map(|database| database.get_models(&ModelFilter::default())).transpose());
        rows.map(Option::unwrap_or_default).map_err(|error| error.to_string())
    }

    fn definitions(&self) -> Option<PathBuf> {
        self.places.revision().is_none().then(|| self.places.models_dir.clone())
    }

    fn plan(&self) -> Result<Value, String> {
        made(reconcile::plan(&self.places))
    }

    fn why(&self, model: &ModelName) -> Result<Value, String> {
        made(why::document(&self.places, model))
    }

    fn history(&self, model: &ModelName) -> Result<Value, String> {
        made(history::document(&self.places, model))
    }

    fn preview(&self, edit: Edit) -> Result<Preview, String> {
        made(preview(&self.places, edit))
    }

    fn edits(&self) -> MutexGuard<'_, ()> {
        self.inbox.edits()
    }

    fn reconcile(&self, permit: Permit) -> watch::Receiver<Option<Reconciled>> {
        let (send, receive) = watch::channel(None);
        let mut document = Document::new();
        let follower: Follower = Box::new(move |progress| {
            if send.is_closed() {
                return false;
            }
            let (said, goes_on) = match progress {
                Progress::Passed { pass, is_over: true } => (far(&mut document, pass, Reconciled::Over), false),
                Progress::Passed { pass, is_over: false } => (far(&mut document, pass, Reconciled::UnderWay), true),
                Progress::OutOfTime(pass) => (far(&mut document, pass, Reconciled::OutOfTime), false),
                Progress::Failed(why) => (Reconciled::Failed(format!("the pass failed: {why}")), false),
                Progress::Refused(by) => (Reconciled::Busy(by.to_owned()), false),
            };
            send.send(Some(said)).is_ok() && goes_on
        });
        self.inbox.permit(permit, follower);
        receive
    }

    fn wake(&self) {
        self.inbox.wake();
    }

    fn state(&self) -> &StateDir {
        &self.state
    }
}

/// Adds a pass to the document, and returns how far that is.
fn far(document: &mut Document, pass: &Pass, so_far: fn(Value) -> Reconciled) -> Reconciled {
    document.add(pass);
    let failed = if document.has_failures() { Exit::Failed } else { Exit::Converged };
    match reconcile::made(document.clone().finish(pass, Exit::of_pass(pass).and(failed)), pass) {
        Ok(document) => so_far(document),
        Err(error) => Reconciled::Failed(error.to_string()),
    }
}

/// Looks at the directory as it is, then as if `edit` were made.
fn preview(places: &Places, edit: Edit) -> anyhow::Result<Preview> {
    let mut host = places.open_read_only()?.running_nothing();
    let before = host.definitions()?;
    let name = edit.name().to_owned();
    host.suppose(edit);
    let (plan, pass) = reconcile::plan_of(&mut host)?;
    let is_its_own = |problem: &Diagnostic| Path::new(&*problem.file).file_name() == Some(&name);
    let after = pass.desired.iter().flat_map(|desired| &desired.diagnostics);
    let diagnostics = after.filter(|problem| is_its_own(problem) || !before.diagnostics.contains(problem));
    Ok(Preview { diagnostics: diagnostics.cloned().collect(), plan })
}

fn made<T>(made: anyhow::Result<T>) -> Result<T, String> {
    made.map_err(|error| format!("{error:#}"))
}
