//! A saved plan that somebody else made: it is refused, or compared, and what is
//! printed about it cannot control a terminal.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;

use super::parse;
use crate::hostile::{Target, survives};
use crate::model::{Desired, Observed, Records, Timestamp};
use crate::pass::Pass;
use crate::pass::review::{Here, changes, other_place};
use crate::plan::{Answers, Plan};

#[test]
fn no_saved_plan_does_harm() {
    let words: &[&[u8]] =
        &[b"\"action\": ", b"\"waiting_for\": ", b"\"reason\": ", b"\\u001b[31m", b"null", b"[]", b"{}"];
    let target = Target { name: "plan", words, cases: 600, ..Target::default() };
    let seen = Pass {
        now: Timestamp(0),
        desired: Some(Arc::new(Desired::default())),
        records: Arc::new(Records::default()),
        observed: Observed::default(),
        demand: None,
        answers: Answers::default(),
        plan: Plan::default(),
        outcomes: Vec::new(),
    };
    let here = Here::new(Some("id"), Path::new("/srv/state"), Path::new("/srv/models.d"));
    survives(target, move |bytes| {
        let said = match parse(Path::new("plan.json"), bytes) {
            Err(problem) => problem.to_string(),
            Ok(saved) => {
                let _ = saved.limits();
                let changed = changes(&saved, &seen, &here).into_iter().chain(other_place(&saved, &here));
                changed.map(|change| change.to_string()).collect()
            }
        };
        assert!(!said.contains(|c: char| c.is_control()), "{said:?}");
    });
}
