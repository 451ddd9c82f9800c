//! Requests of all kinds while everything happens that may: none fails.

use std::thread;
use std::time::{Duration, Instant};

use super::client::Kind;
use super::clients::Clients;
use super::faults::{self, Kills, edit};
use super::served::Served;
use crate::support::{World, eventually};

/// Models that run.
const RUNNING: [&str; 4] = ["a", "b", "c", "d"];

/// Models that share room for one, and run on demand.
const SHARING: [&str; 2] = ["x", "y"];

/// What stands in the definitions of these.
const ON_DEMAND: &str = "state = \"on_demand\"\ngroup = \"one\"\n";

/// How often a definition is edited, and a server killed.
const EDIT_EVERY: Duration = Duration::from_secs(2);
const KILL_EVERY: Duration = Duration::from_secs(5);

/// How long the database is locked.
const LOCK: Duration = Duration::from_secs(5);

/// The least time it takes until everything has happened: an upgrade and a lock. They
/// come again every such time.
const ROUND: Duration = Duration::from_secs(45);

/// How long all may take to be as defined at the end.
const PATIENCE: Duration = Duration::from_secs(120);

/// What each of 32 clients does.
const KINDS: [(Kind, usize, usize); 5] =
    [(Kind::Fresh, 7, 2), (Kind::Kept, 8, 2), (Kind::Streams, 6, 2), (Kind::Slow, 2, 0), (Kind::Leaves, 2, 1)];

#[test]
fn no_request_fails_through_edits_kills_swaps_an_upgrade_and_a_locked_database() {
    let world = World::new();
    std::fs::write(world.settings(), "[serve]\nmax_wait = \"2s\"\n").unwrap();
    std::fs::write(world.models_dir().join("_groups.toml"), "[one]\nmax_running = 1\n").unwrap();
    let clients = Clients::default();
    RUNNING.iter().for_each(|model| edit(&world, &clients.texts, model, ""));
    SHARING.iter().for_each(|model| edit(&world, &clients.texts, model, ON_DEMAND));
    let served = Served::new(world);
    RUNNING.iter().for_each(|model| served.watcher.as_ref().unwrap().eventually_says(&format!("{model} is ready")));

    let begun = Instant::now();
    let faults = thread::scope(|scope| {
        let _over = clients.guard();
        for (kind, on_running, on_sharing) in KINDS {
            (0..on_running).for_each(|_| drop(clients.start(scope, served.port, kind, &RUNNING)));
            (0..on_sharing).for_each(|_| drop(clients.start(scope, served.port, kind, &SHARING)));
        }
        let faults = Faults::happen(&served.world, &clients);
        // The last edit of each: what all is to be in the end.
        RUNNING.iter().for_each(|model| edit(&served.world, &clients.texts, model, ""));
        SHARING.iter().for_each(|model| edit(&served.world, &clients.texts, model, ON_DEMAND));
        faults
    });
    let took = begun.elapsed();

    let answered = clients.answered();
    let (mut sum, texts) = clients.sum();
    let waits = sum.waits();
    println!(
        "{answered} answers in {:.0} s ({:.0} a second), {} clients left, {} broken streams; first bytes: {waits}; \
         {} edits, at most {:.1?} until they count; {} kills, {} upgrades, {} locks, {} starts",
        took.as_secs_f64(),
        answered as f64 / took.as_secs_f64(),
        sum.left,
        sum.broken.len(),
        faults.edits,
        texts.longest_lag(),
        faults.kills.len(),
        faults.upgrades,
        faults.locks,
        served.watcher.as_ref().unwrap().log().matches(" start: asked for").count(),
    );
    assert!(sum.failed.is_empty(), "{} failed:\n{}", sum.failed.len(), sum.failed.join("\n"));
    faults.were_as_many_as_fit(took);
    let unexplained = sum.broken.iter().filter(|broken| !faults.kills.explain(broken));
    let unexplained: Vec<_> = unexplained.map(ToString::to_string).collect();
    assert!(unexplained.is_empty(), "the test killed no server of theirs:\n{}", unexplained.join("\n"));

    settles(&served, &texts);
    let log = served.watcher.as_ref().unwrap().log();
    assert!(!log.contains("panicked at") && !log.contains("rolled back"), "a generation failed, or herdsman did");
    faults::end_watcher(&served.world);
    served.world.run(&["down"]).exits(0);
    assert!(served.world.servers().is_empty(), "left over: {:?}", served.world.servers());
}

/// Waits until there is nothing to do, and all is recorded as it is.
fn settles(served: &Served, texts: &super::texts::Texts) {
    let (begun, world) = (Instant::now(), &served.world);
    loop {
        let dry_run = world.run(&["reconcile", "--dry-run", "--detailed-exitcode"]);
        let wrong = faults::wrong_record(world, texts);
        if dry_run.code == 0 && wrong.is_none() {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{wrong:?}\n{dry_run}\n{}", world.run(&["status"]));
        thread::sleep(Duration::from_millis(200));
    }
    for model in RUNNING.iter().chain(&SHARING) {
        let text = format!("{model}-{} ", texts.last(model));
        assert_eq!(served.ask(model), Ok(text.repeat(3)));
    }
}

/// What happened.
struct Faults {
    edits: usize,
    kills: Kills,
    upgrades: usize,
    locks: usize,
}

impl Faults {
    /// Asserts that enough of it happened in this time: kills may find no server that
    /// is ready, and all of it may take longer on a machine that does much else besides.
    fn were_as_many_as_fit(&self, took: Duration) {
        let fit = |every: Duration| took.as_millis() / every.as_millis();
        let least = [
            ("edits", self.edits, fit(EDIT_EVERY) / 2),
            ("kills", self.kills.len(), fit(KILL_EVERY) / 3),
            ("upgrades", self.upgrades, fit(ROUND) / 2),
            ("locks", self.locks, fit(ROUND) / 2),
        ];
        for (what, happened, least) in least {
            assert!(happened as u128 >= least.max(1), "{happened} {what} in {took:?}, of at least {least}");
        }
    }

    /// Lets it happen until there are enough answers, or a request fails.
    fn happen(world: &World, clients: &Clients) -> Self {
        let begun = Instant::now();
        let mut faults = Self { edits: 0, kills: Kills::default(), upgrades: 0, locks: 0 };
        let mut locked = None;
        let (mut edit_at, mut kill_at) = (EDIT_EVERY, KILL_EVERY);
        while (clients.answered() < super::requests() || begun.elapsed() < ROUND) && !clients.has_failed() {
            let now = begun.elapsed();
            if now >= edit_at {
                let number = faults.edits % (RUNNING.len() + SHARING.len());
                match RUNNING.get(number) {
                    Some(model) => edit(world, &clients.texts, model, ""),
                    None => edit(world, &clients.texts, SHARING[number - RUNNING.len()], ON_DEMAND),
                }
                (faults.edits, edit_at) = (faults.edits + 1, edit_at + EDIT_EVERY);
            }
            if now >= kill_at {
                let model = fastrand::choice([RUNNING.as_slice(), &SHARING].concat()).unwrap();
                if faults.kills.kill(world, &clients.texts, model) {
                    kill_at += KILL_EVERY;
                }
            }
            // Every other one while the database is locked.
            let upgrade_at = if faults.upgrades.is_multiple_of(2) { ROUND / 3 } else { ROUND * 2 / 3 + LOCK / 5 };
            if now >= ROUND * faults.upgrades as u32 + upgrade_at {
                faults.upgrades += 1;
                faults::upgrade(world);
            }
            if now >= ROUND * faults.locks as u32 + ROUND * 2 / 3 {
                faults.locks += 1;
                locked = Some(faults::lock_database(world, LOCK));
            }
            thread::sleep(Duration::from_millis(20));
        }
        if let Some(locked) = locked {
            locked.join().unwrap();
        }
        eventually("clients go on", PATIENCE, || clients.has_failed() || clients.answered() >= super::requests());
        faults
    }
}
