//! What has to hold at the moment of a death, and what at the end.

use std::collections::BTreeSet;
use std::path::Path;

use crate::recorded::{self, Recorded, Row};
use crate::seen::{self, Instance};
use crate::story::{End, Story};
use crate::support::World;

/// What was there before herdsman was run that is killed.
pub struct Before {
    /// Before anything happened.
    instances: Vec<Instance>,
    /// After it.
    rows: Vec<Row>,
    /// The instances that nobody owned then: a lost database, a stray.
    unowned: BTreeSet<String>,
}

impl Before {
    /// `instances`: from before the story's event.
    pub fn new(world: &World, instances: Vec<Instance>) -> Self {
        let recorded = recorded::read(world);
        let owned = |id: &String| recorded.instances.iter().any(|instance| instance.id == *id);
        let unowned = instances.iter().map(|instance| instance.id.clone()).filter(|id| !owned(id)).collect();
        Self { instances, rows: recorded.rows, unowned }
    }
}

/// What is not as it has to be.
#[derive(Debug, Default)]
pub struct Findings {
    /// Live instances that nobody owns.
    pub orphans: Vec<String>,
    /// Models with several live instances.
    pub doubles: Vec<String>,
    /// Rows that are gone, or another's that were changed.
    pub lost: Vec<String>,
    /// Anything else.
    pub wrong: Vec<String>,
}

impl Findings {
    /// Every one, with its kind.
    pub fn all(&self) -> Vec<String> {
        let kinds =
            [("orphan", &self.orphans), ("double", &self.doubles), ("lost row", &self.lost), ("wrong", &self.wrong)];
        kinds.into_iter().flat_map(|(kind, found)| found.iter().map(move |one| format!("{kind}: {one}"))).collect()
    }

    fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// With what was found `when`.
    pub fn join(&mut self, when: &str, other: Self) {
        let Self { orphans, doubles, lost, wrong } = other;
        for (ours, theirs) in [
            (&mut self.orphans, orphans),
            (&mut self.doubles, doubles),
            (&mut self.lost, lost),
            (&mut self.wrong, wrong),
        ] {
            ours.extend(theirs.into_iter().map(|one| format!("{when}: {one}")));
        }
    }

    fn check(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.wrong.push(otherwise());
        }
    }
}

/// What holds always, so also while nobody works: no herdsman lives.
pub fn always(world: &World, story: &Story, before: &Before) -> Findings {
    promises(story, &(story.end)(world), before, &seen::instances(world), &recorded::read(world))
}

fn promises(story: &Story, ends: &[End], before: &Before, live: &[Instance], recorded: &Recorded) -> Findings {
    let mut findings = Findings { wrong: recorded.broken.clone(), ..Findings::default() };
    let began_with = seen::count(&before.instances);
    for (model, number) in seen::count(live) {
        if number > began_with.get(model).copied().unwrap_or(0).max(1) {
            findings.doubles.push(format!("{number} of {model}: {live:?}"));
        }
    }
    for instance in live {
        let owned = recorded.instances.iter().any(|one| one.id == instance.id && one.model == instance.model);
        if !owned && !before.unowned.contains(&instance.id) {
            findings.orphans.push(format!("{instance:?}, recorded are {:?}", recorded.instances));
        }
    }
    for end in ends.iter().filter(|end| matches!(end, End::Untouched(_))) {
        let was = before.instances.iter().find(|instance| instance.model == end.model());
        findings.check(was.is_some_and(|was| live.contains(was)), || format!("{} was touched", end.model()));
    }
    for row in &before.rows {
        let to_go = ends.iter().any(|end| matches!(end, End::Gone(model) if *model == row.name));
        let is_there = recorded.rows.iter().find(|now| (now.id, &now.name) == (row.id, &row.name));
        let is_theirs = !ends.iter().any(|end| end.model() == row.name);
        if is_there.is_none() && !to_go || is_there.is_some_and(|now| is_theirs && now.all != row.all) {
            findings.lost.push(format!("{row:?}, of {:?}", recorded.rows));
        }
    }
    findings.check(recorded.crashes <= story.crashes, || format!("{} crashes are counted", recorded.crashes));
    findings
}

/// Whether every model is as declared, and recorded as it is.
pub fn as_declared(world: &World, story: &Story, before: &Before) -> Findings {
    let (ends, live, recorded) = ((story.end)(world), seen::instances(world), recorded::read(world));
    let mut findings = promises(story, &ends, before, &live, &recorded);
    for instance in &live {
        let process = Some((instance.pid, instance.start_ticks));
        let owners = recorded.instances.iter().filter(|one| one.id == instance.id && one.process == process);
        if owners.count() != 1 {
            findings.orphans.push(format!("{instance:?} is recorded as {:?}", recorded.instances));
        }
    }
    findings.check(recorded.instances.len() == live.len(), || {
        format!("of {:?} only these live: {live:?}", recorded.instances)
    });
    ends.iter().for_each(|end| has_ended(&mut findings, end, &live, &recorded));
    let is_declared = |model: &str| ends.iter().any(|end| end.model() == model);
    for instance in live.iter().filter(|instance| !is_declared(&instance.model)) {
        findings.orphans.push(format!("nothing declares {instance:?}"));
    }
    findings.check(recorded.crashes == story.crashes, || format!("{} crashes are counted", recorded.crashes));
    findings
}

fn has_ended(findings: &mut Findings, end: &End, live: &[Instance], recorded: &Recorded) {
    let instances: Vec<_> = live.iter().filter(|instance| instance.model == end.model()).collect();
    let row = recorded.rows.iter().find(|row| row.name == end.model());
    let status = row.filter(|row| row.managed).map(|row| row.status.as_str());
    let as_it_has_to = match end {
        End::Untouched(_) => instances.len() == 1 && status == Some("running"),
        End::Runs(_, option) => {
            matches!(&instances[..], [one] if one.command_line.contains(option.as_str())) && status == Some("running")
        }
        End::Stopped(_) => instances.is_empty() && status == Some("stopped"),
        End::Gone(_) => instances.is_empty() && row.is_none(),
    };
    findings.check(as_it_has_to, || format!("not {end:?}: {row:?}, {instances:?}"));
}

/// Whether nothing is left to do, and nothing left over.
pub fn at_rest(world: &World, story: &Story) -> Findings {
    let mut findings = Findings::default();
    if story.command != ["down"] {
        let ran = world.run(&["reconcile", "--dry-run", "--format", "json"]);
        findings.check(ran.json()["actions"] == serde_json::json!([]), || format!("there is more to do: {ran}"));
    }
    let left_over = seen::left_over(world, &seen::instances(world));
    findings.check(left_over.is_empty(), || format!("left over: {left_over:?}"));
    let mut files = Vec::new();
    unexpected_files(&world.state_dir(), &mut files);
    findings.check(files.is_empty(), || format!("left over: {files:?}"));
    if let Err(why) = (story.also)(world) {
        findings.wrong.push(why);
    }
    findings
}

/// Files in a state directory that no finished herdsman leaves there.
fn unexpected_files(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() {
            unexpected_files(&path, found);
            continue;
        }
        let is_known = matches!(
            &*name,
            "id" | "lock"
                | "watch.lock"
                | "notify.lock"
                | "slots.json"
                | "herdsman.db"
                | "herdsman.db-wal"
                | "herdsman.db-shm"
        );
        if !is_known && !name.ends_with(".help") && !name.ends_with(".log") {
            found.push(path.display().to_string());
        }
    }
}

/// Whether a play has come to its end as it has to.
pub fn is_over(world: &World, story: &Story, before: &Before) -> bool {
    as_declared(world, story, before).is_empty()
}
