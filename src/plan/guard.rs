//! The mass-delete guard: an empty or half-checked-out directory must not wipe a
//! machine.

use super::action::GuardRefusal;
use super::decide::{Decision, Wish};
use super::input::MaxDeletes;
use crate::model::{Desired, ModelName, ModelRecord, Records};

/// Returns whether herdsman may delete this many of `managed` models.
#[must_use]
pub fn allows(deletions: usize, managed: usize, limit: Option<MaxDeletes>) -> bool {
    match limit {
        Some(MaxDeletes::Count(most)) => deletions <= most,
        Some(MaxDeletes::Percent(most)) => deletions * 100 <= managed * usize::from(most),
        None => {
            let all = deletions == managed && managed >= 2;
            let most = managed >= 4 && deletions * 2 > managed;
            !(all || most)
        }
    }
}

/// Refuses the deletions of a pass if there are too many.
pub fn check(
    decisions: &[(ModelName, Decision)],
    desired: Option<&Desired>,
    records: &Records,
    limit: Option<MaxDeletes>,
) -> Option<GuardRefusal> {
    let deleted: Vec<&ModelName> =
        decisions.iter().filter(|(_, d)| matches!(d.wish, Wish::Delete(_))).map(|(name, _)| name).collect();
    let unrecorded = deleted.iter().filter(|name| !records.models.contains_key::<ModelName>(name)).count();
    let managed = records.models.len() + unrecorded;
    // The rule counts models that only their suspension spares, because their
    // definitions are gone too. A number given by hand means deletions only.
    let suspended = decisions.iter().filter(|(_, d)| d.removed_and_suspended).count();
    let missing = if limit.is_some() { 0 } else { suspended };
    if deleted.is_empty() || allows(deleted.len() + missing, managed, limit) {
        return None;
    }
    let created =
        decisions.iter().filter(|(_, d)| matches!(d.wish, Wish::Create(_))).map(|(name, _)| name).collect::<Vec<_>>();
    let renames = deleted
        .iter()
        .filter_map(|old| {
            let weights = weights_of(records.models.get(*old)?)?;
            let new = created.iter().find(|new| {
                desired.and_then(|d| d.definitions.get(**new)).and_then(|d| d.parameters.get("model")?.as_str())
                    == Some(&weights)
            })?;
            Some(((*old).clone(), (*new).clone()))
        })
        .collect();
    Some(GuardRefusal { deletions: deleted.into_iter().cloned().collect(), managed, renames })
}

fn weights_of(record: &ModelRecord) -> Option<String> {
    Some(record.config().ok()?.parameters.get("model")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_two_or_more_and_more_than_half_of_four_or_more_are_refused() {
        assert!(allows(1, 1, None), "the only model may go");
        assert!(!allows(2, 2, None));
        assert!(allows(2, 3, None), "half is counted from four on");
        assert!(allows(2, 4, None));
        assert!(!allows(3, 4, None));
        assert!(!allows(3, 3, None));
        assert!(!allows(4, 7, None));
        assert!(allows(0, 0, None));
    }

    #[test]
    fn an_explicit_limit_replaces_the_rule() {
        assert!(allows(4, 4, Some(MaxDeletes::Count(4))));
        assert!(!allows(2, 100, Some(MaxDeletes::Count(1))));
        assert!(allows(50, 100, Some(MaxDeletes::Percent(50))));
        assert!(!allows(51, 100, Some(MaxDeletes::Percent(50))));
        assert!(allows(0, 4, Some(MaxDeletes::Count(0))));
        assert!(allows(0, 4, Some(MaxDeletes::Percent(0))));
    }
}
