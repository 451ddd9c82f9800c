//! The machine dies at any moment of the writes to the database, and comes
//! back with the servers still running (the database was on another machine's
//! disk, say), which is worse than without: every record may be outdated.
//!
//! `src/database/tests/power_loss.rs` proves that every prefix of the log opens
//! as it was committed. Here real passes wrote the log, and real servers run.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::support::{Ran, World};
use herdsman::database::Database;
use rusqlite::Connection;

/// sqlite.org/fileformat2.html, 4.1: the header of the log, and of a frame.
const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

/// A database as its passes left it, all of their commits still in its log.
struct Image {
    world: World,
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Image {
    /// Creates, updates, restarts and stops models; `a`, `b` and `c` run.
    fn take() -> Self {
        let world = World::new();
        world.converges();
        let path = world.state_dir().join("herdsman.db");
        // As long as somebody has it open, nobody takes the log away.
        let dashboard = Connection::open(&path).unwrap();
        dashboard.query_row("SELECT count(*) FROM models", [], |row| row.get::<_, i64>(0)).unwrap();
        let file = fs::read(&path).unwrap();
        for name in ["a", "b", "idle"] {
            world.tiny(name);
        }
        world.converges();
        world.write_definition("a", &World::tiny_toml("a").replace("512", "1024"));
        world.write_definition("idle", &format!("state = \"stopped\"\n{}", World::tiny_toml("idle")));
        world.converges();
        world.tiny("c");
        world.write_definition("b", &format!("description = \"b\"\n{}", World::tiny_toml("b")));
        world.converges();
        let log = fs::read(world.state_dir().join("herdsman.db-wal")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), file, "a checkpoint took commits out of the log");
        world.is_settled();
        Self { world, file, log }
    }

    fn frames(&self) -> usize {
        (self.log.len() - HEADER) / FRAME
    }

    /// Puts back what was on the disk when so many frames were written, and
    /// half of the next one.
    fn restore(&self, frames: usize) -> PathBuf {
        let path = self.world.state_dir().join("herdsman.db");
        let log = self.world.state_dir().join("herdsman.db-wal");
        for left in [&path, &log, &self.world.state_dir().join("herdsman.db-shm")] {
            // The last one that closes it removes the two.
            let _ = fs::remove_file(left);
        }
        fs::write(&path, &self.file).unwrap();
        let end = HEADER + frames * FRAME + FRAME / 2;
        fs::write(log, &self.log[..end.min(self.log.len())]).unwrap();
        path
    }
}

/// The actions of a dry run, as `kind model`.
fn planned(ran: &Ran) -> BTreeSet<String> {
    let document = ran.json();
    let word = |action: &serde_json::Value, field: &str| action[field].as_str().unwrap_or("?").to_owned();
    let actions = document["actions"].as_array().unwrap();
    actions.iter().map(|action| format!("{} {}", word(action, "action"), word(action, "model"))).collect()
}

#[test]
fn after_every_frame_the_database_opens_and_no_plan_touches_a_server() {
    let image = Image::take();
    let running = image.world.instances();
    let mut plans = Vec::new();
    for frames in 0..=image.frames() {
        let path = image.restore(frames);
        drop(Database::open(&path).unwrap_or_else(|error| panic!("{frames} frames: {error}")));
        let ran = image.world.run(&["reconcile", "--dry-run", "--format", "json"]);
        let plan = planned(&ran);
        let harmless =
            |action: &String| matches!(action.split(' ').next(), Some("adopt" | "update")) || action == "create idle";
        assert!(plan.iter().all(harmless), "{frames} frames: {plan:?} {ran}");
        plans.push(plan);
    }
    assert_eq!(image.world.instances(), running);
    // Else the frames would not be those of what the passes did.
    assert!(plans.len() > 60 && plans.iter().collect::<BTreeSet<_>>().len() > 4, "{plans:?}");
    assert_eq!(plans.last(), Some(&BTreeSet::new()));
}

#[test]
fn after_a_sample_of_frames_passes_converge_with_every_server_running_on() {
    let image = Image::take();
    let running = image.world.instances();
    let ports = ["a", "b", "c"].map(|model| image.world.port(model));
    for frames in (0..=image.frames()).step_by(image.frames() / 8) {
        image.restore(frames);
        let ran = image.world.run(&["reconcile"]);
        assert_eq!(image.world.instances(), running, "{frames} frames: {ran}");
        ran.exits(0);
        image.world.is_settled();
        assert_eq!(["a", "b", "c"].map(|model| image.world.port(model)), ports, "{frames} frames");
    }
}
