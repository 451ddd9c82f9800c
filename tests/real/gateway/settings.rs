//! What the log says of settings, as soon as somebody would notice.

use std::fs;
use std::time::{Duration, Instant};

use super::definitions::on_demand;
use super::served::Served;
use crate::support::{World, get};

fn served(settings: &str) -> Served {
    let world = World::new();
    on_demand(&world, "chat");
    on_demand(&world, "other");
    fs::write(world.settings(), settings).unwrap();
    Served::new(world)
}

#[test]
fn a_default_model_that_nothing_declares_is_logged_once() {
    let mut served = served("[serve]\ndefault_model = \"gone\"\n");
    let warning = "`default_model` in `[serve]` names gone, which no definition declares";
    served.watcher().eventually_says(warning);
    // Passes go by.
    served.world.tiny("third");
    served.watcher().eventually_says("third is ready");
    assert_eq!(served.watcher().log().matches(warning).count(), 1, "{}", served.watcher().log());
}

#[test]
fn a_hold_that_ends_before_a_group_makes_room_is_logged() {
    let mut served = served("[serve]\nhold = \"30s\"\n");
    served.watcher().eventually_says("is not longer than `max_wait`");
    fs::write(served.world.settings(), "[serve]\nhold = \"20s\"\n").unwrap();
    served.watcher().eventually_says("`hold` (20 s)");
}

#[test]
fn broken_settings_are_logged_when_a_request_comes() {
    let mut served = served("[serve]\n");
    get(served.port, "/health").unwrap();
    for round in 0..3 {
        fs::write(served.world.settings(), format!("[serve]\nhold = {round}{round}\n")).unwrap();
        let before = served.watcher().log().matches("the gateway keeps the settings").count();
        let since = Instant::now();
        // One that comes within 0.1 s of the last look does not look.
        while served.watcher().log().matches("the gateway keeps the settings").count() == before {
            assert!(since.elapsed() < Duration::from_secs(2), "{}", served.watcher().log());
            get(served.port, "/health").unwrap();
        }
    }
}
