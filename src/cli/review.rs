//! `reconcile --dry-run --out FILE` and `reconcile --plan FILE`.

use std::path::Path;

use super::output::complain;
use super::places::{pass_and_tell, report_diagnostics};
use super::{Exit, Places, Refused};
use crate::database::Applied;
use crate::host::{Host, HostError, saved_plan};
use crate::model::ModelName;
use crate::pass::review::{self, Changed, Here, Saved};
use crate::pass::{Goal, Order, Pass, pass_if, read};
use crate::plan::Limits;

/// The most differences to list; of more, only the number.
const MOST_TOLD: usize = 50;

/// Saves the plan of a dry run.
pub(super) fn save(places: &Places, path: &Path, seen: &Pass, limits: &Limits) -> anyhow::Result<()> {
    let saved = Saved::new(seen, limits, places.port_range, here(places)?);
    saved_plan::write(path, &saved)?;
    let path = path.display();
    complain(format_args!(
        "saved the plan to {path}; apply exactly this plan with `herdsman reconcile --plan {path}` and the same options"
    ));
    Ok(())
}

/// A saved plan to apply, once.
pub(super) struct Review {
    saved: Saved,
    here: Here,
    /// The file, for people.
    path: String,
    begun: bool,
    /// Models whose definition changed meanwhile; each is reported once.
    edited: Vec<ModelName>,
    /// The exit code of those that left the scope: later passes do not look at them.
    left: Exit,
}

impl Review {
    /// Reads the plan. Refuses one from another place before it changes anything.
    pub(super) fn open(places: &Places, path: &Path) -> anyhow::Result<Self> {
        let saved = saved_plan::read(path)?;
        let here = here(places)?;
        let (path, edited) = (path.display().to_string(), Vec::new());
        let review = Self { saved, here, path, begun: false, edited, left: Exit::Converged };
        review.refuse_if(review::other_place(&review.saved, &review.here))?;
        Ok(review)
    }

    /// The limits of the run: those of the dry run, and its scope.
    pub(super) fn limits(&self) -> Limits {
        self.saved.limits()
    }

    /// The ports that the dry run assigned from.
    pub(super) fn port_range(&self) -> (u16, u16) {
        self.saved.port_range()
    }

    /// Checks whether the plan can still be applied.
    pub(super) fn check(&self, host: &Host, seen: &Pass) -> anyhow::Result<()> {
        let before = host.database().map(|database| database.applied_plan(&self.saved.plan_id)).transpose();
        self.refuse_if_applied(before.map_err(HostError::from)?.flatten())?;
        self.refuse_if(review::changes(&self.saved, seen, &self.here))
    }

    /// Makes a pass: the first only if nothing has changed, and recorded as begun
    /// before its first effect.
    pub(super) fn pass(&mut self, host: &mut Host, order: Order<'_>) -> anyhow::Result<Pass> {
        let cause = &format!("reconcile --plan {}", self.saved.plan_id);
        if self.begun {
            return pass_and_tell(host, Goal::Definitions, Order { cause, ..order });
        }
        let made = pass_if(
            host,
            |host| read(host, Goal::Definitions),
            Order { cause, ..order },
            |host, seen| {
                // A problem in a file may be the cause.
                self.check(host, seen).inspect_err(|_| report_diagnostics(seen))?;
                self.refuse_if_applied(host.begin_plan(&self.saved.plan_id)?)
            },
        );
        host.take_notices().iter().for_each(complain);
        self.begun = made.is_ok();
        made
    }

    /// Takes what a pass finished out of the scope. Reports models that leave it
    /// because of an edit.
    pub(super) fn carry_on(&mut self, limits: &mut Limits, last: &Pass) {
        let Some(approved) = &mut limits.approved else { return };
        for name in last.desired.iter().flat_map(|desired| approved.edited(desired)) {
            if !self.edited.contains(name) {
                complain(format_args!(
                    "{name}: its definition changed meanwhile; the next `herdsman reconcile` does the rest"
                ));
                self.edited.push(name.clone());
            }
        }
        let before: Vec<ModelName> = approved.tasks.keys().cloned().collect();
        approved.carry_on(&last.plan);
        let left: Vec<&ModelName> = before.iter().filter(|name| !approved.tasks.contains_key(*name)).collect();
        for waiting in last.plan.waiting.iter().filter(|waiting| left.contains(&&waiting.model)) {
            self.left = self.left.and(Exit::of_wait(&waiting.on));
        }
    }

    /// Returns the exit code for what was left undone, which later passes do not see.
    pub(super) fn exit(&self) -> Exit {
        if self.edited.is_empty() { self.left } else { self.left.and(Exit::Failed) }
    }

    /// Records that the plan was applied completely.
    pub(super) fn end(&self, host: &mut Host) -> Result<(), HostError> {
        host.end_plan(&self.saved.plan_id)
    }

    fn refuse_if_applied(&self, before: Option<Applied>) -> anyhow::Result<()> {
        let Some(Applied { begun_at, ended_at }) = before else { return Ok(()) };
        let time = |at: crate::model::Timestamp| jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        let when = match ended_at {
            Some(ended) => format!("was already applied at {:.0}", time(ended)),
            None => format!(
                "was already started at {:.0}, and is still being applied or was interrupted; a new plan shows what is left",
                time(begun_at)
            ),
        };
        Err(self.refused(&format!("{when}; a plan can be applied only once")))
    }

    fn refuse_if(&self, changed: Vec<Changed>) -> anyhow::Result<()> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = changed.iter().take(MOST_TOLD).map(|change| format!("\n  {change}")).collect();
        if changed.len() > MOST_TOLD {
            lines.push(format!("\n  … and {} more", changed.len() - MOST_TOLD));
        }
        Err(self.refused(&format!("is out of date:{}", lines.concat())))
    }

    fn refused(&self, why: &str) -> anyhow::Error {
        let path = &self.path;
        let message = format!(
            "the saved plan {path} {why}\nNothing was changed.\nhelp: make a new plan: herdsman reconcile --dry-run --out {path}"
        );
        Refused { exit: Exit::Refused, message }.into()
    }
}

fn here(places: &Places) -> anyhow::Result<Here> {
    let (state, places) = (places.state(), places.resolve());
    Ok(Here::new(state.id()?.as_deref(), state.path(), &places.models_dir))
}
