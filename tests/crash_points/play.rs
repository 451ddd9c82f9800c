//! Plays a story: to its end, or to a death and then to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::checks::{self, Before, Findings};
use crate::patrol::Patrol;
use crate::recorded;
use crate::seen;
use crate::story::Story;
use crate::support::{Background, Ran, World};

use herdsman::sys::failpoint::Point;

/// A death to die.
pub struct Death<'s> {
    /// In which story.
    pub story: &'s Story,
    /// Where.
    pub point: Point,
    /// When it is reached for which time, from 1.
    pub count: usize,
}

impl Death<'_> {
    /// As `HERDSMAN_FAILPOINT` names it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.point.name(), self.count)
    }
}

impl fmt::Display for Death<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HERDSMAN_CRASH_POINT='{}:{}'", self.story.name, self.place())
    }
}

/// How a play went.
pub struct Played {
    /// Whether herdsman died there; else it had ended before.
    pub died: bool,
    /// What was not as it has to be.
    pub findings: Findings,
}

/// The deaths that differ: at every change, and once in a story at each point
/// that changes nothing. (A death there, again, is one at the last change.)
pub fn deaths<'s>(story: &'s Story, points: &[Point]) -> Vec<Death<'s>> {
    let (mut changes, mut died) = (0, BTreeSet::new());
    let mut reached = BTreeMap::new();
    let mut deaths = Vec::new();
    for point in points.iter().copied() {
        let count = reached.entry(point).or_insert(0);
        *count += 1;
        changes += usize::from(is_change(point));
        let after = if is_change(point) || point == Point::CommitInside { changes } else { 0 };
        if died.insert((after, point)) {
            deaths.push(Death { story, point, count: *count });
        }
    }
    deaths
}

/// Whether something is otherwise than before, once this point is reached. What
/// is opened again, locked, asked or about to be done is not.
fn is_change(point: Point) -> bool {
    use Point as P;
    !matches!(
        point,
        P::StateDirMade
            | P::LockMade
            | P::LockTaken
            | P::DatabaseMade
            | P::DatabaseInWal
            | P::MigrationBegun
            | P::CommitBegin
            | P::CommitInside
            | P::ProgramStart
            | P::ProgramStarted
            | P::ProgramEnded
            | P::SocketRemove
            | P::LogOpen
            | P::Fork
            | P::Terminate
            | P::Kill
            | P::Gone
            | P::LeftoverKill
            | P::HealthAsk
            | P::HealthAsked
            | P::SlotsAsk
            | P::SlotsAsked
            | P::LogFree
    )
}

/// The points that a story reaches when nothing is killed.
pub fn points_of(story: &Story, patrol: &Patrol) -> Result<Vec<Point>, String> {
    let stage = Stage::set(story, patrol);
    stage.run(None)?;
    stage.go_on()?;
    let mut findings = checks::as_declared(&stage.world, story, &stage.before);
    findings.join("at rest", checks::at_rest(&stage.world, story));
    match findings.all() {
        found if found.is_empty() => stage.reached(),
        found => Err(found.join("\n  ")),
    }
}

/// Plays a death, and what comes after it.
pub fn play(death: &Death<'_>, patrol: &Patrol) -> Result<Played, String> {
    let story = death.story;
    let stage = Stage::set(story, patrol);
    let died = stage.run(Some(death))? == Ended::Killed;
    let mut findings = Findings::default();
    if died {
        findings.join("at its death", checks::always(&stage.world, story, &stage.before));
    }
    stage.go_on()?;
    findings.join("at the end", checks::as_declared(&stage.world, story, &stage.before));
    findings.join("at rest", checks::at_rest(&stage.world, story));
    Ok(Played { died, findings })
}

/// How the herdsman that was to die ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Killed,
    Lived,
}

/// A world in which a story is about to be played.
struct Stage<'s> {
    story: &'s Story,
    world: World,
    before: Before,
    log: PathBuf,
}

impl<'s> Stage<'s> {
    fn set(story: &'s Story, patrol: &Patrol) -> Self {
        let world = World::new();
        (story.begin)(&world);
        let [database, ..] = recorded::files(&world);
        if database.exists() {
            recorded::as_another_program(
                &database,
                "INSERT INTO models (name, type, status, created_at, updated_at)
                 VALUES ('theirs', 'gpt', 'running', 1, 2)",
            );
        }
        let instances = seen::instances(&world);
        (story.event)(&world);
        patrol.watch(&world, &instances);
        let before = Before::new(&world, instances);
        let log = world.path().join("points");
        Self { story, world, before, log }
    }

    /// Runs herdsman, which dies at a point.
    fn run(&self, death: Option<&Death<'_>>) -> Result<Ended, String> {
        let mut herdsman = self.world.command();
        herdsman.args(self.story.command).env("HERDSMAN_FAILPOINT_LOG", &self.log);
        herdsman.envs(death.map(|death| ("HERDSMAN_FAILPOINT", death.place())));
        if self.story.is_watched() {
            return self.watch(herdsman);
        }
        let ran = Ran::of(&mut herdsman);
        match ran.code {
            -1 if death.is_some() => Ok(Ended::Killed),
            code if code == self.story.exit || code == 1 && self.waits_for_next_try() => Ok(Ended::Lived),
            _ => Err(format!("{ran}")),
        }
    }

    /// Runs a watcher, until it dies or everything is as declared.
    fn watch(&self, mut herdsman: Command) -> Result<Ended, String> {
        let log = self.world.path().join("watch.log");
        let output = std::fs::File::create(&log).unwrap();
        let said = || std::fs::read_to_string(&log).unwrap();
        herdsman.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut watcher = Background::from(herdsman.spawn().unwrap());
        let begun = Instant::now();
        let mut is_asked = false;
        loop {
            if let Some(status) = watcher.child().try_wait().unwrap() {
                return Ok(if status.success() { Ended::Lived } else { Ended::Killed });
            }
            // Before it says that it watches, a signal would just kill it.
            if !is_asked && said().contains("watching ") && checks::is_over(&self.world, self.story, &self.before) {
                is_asked = true;
                // It has not been waited for: the pid is its own.
                kill_process(Pid::from_child(watcher.child()), Signal::TERM).unwrap();
            }
            if begun.elapsed() > self.patience() {
                let findings = checks::as_declared(&self.world, self.story, &self.before);
                return Err(format!("the watcher does not get there: {:?}, {}", findings.all(), said()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The next run goes on where the last one was; only a next try, after a
    /// crash, is waited for.
    fn waits_for_next_try(&self) -> bool {
        self.story.crashes > 0
    }

    fn patience(&self) -> Duration {
        // Many worlds share the cores.
        Duration::from_secs(self.story.patience * 4)
    }

    /// herdsman again, until it exits as it has to.
    fn go_on(&self) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let mut herdsman = self.world.command();
            herdsman.args(self.story.command);
            if self.story.is_watched() {
                let ended = self.watch(herdsman)?;
                return if ended == Ended::Lived { Ok(()) } else { Err("the second watcher died".to_owned()) };
            }
            let ran = Ran::of(&mut herdsman);
            if ran.code == self.story.exit {
                return Ok(());
            }
            if !self.waits_for_next_try() || begun.elapsed() > self.patience() {
                return Err(format!("after its death: {ran}"));
            }
        }
    }

    /// The points that were reached.
    fn reached(&self) -> Result<Vec<Point>, String> {
        let log = std::fs::read_to_string(&self.log).map_err(|error| format!("no point was reached: {error}"))?;
        let point = |line: &str| Point::ALL.iter().copied().find(|point| point.name() == line);
        log.lines().map(|line| point(line).ok_or_else(|| format!("what point is {line:?}?"))).collect()
    }
}
