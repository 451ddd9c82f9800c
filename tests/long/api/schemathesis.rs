//! Schemathesis invents requests from `/api/openapi.json`, also malformed ones, and holds
//! the answers against it: no 5xx, no status, header or document that is not described.
//!
//! `HERDSMAN_API_SEED` invents others.

use crate::gateway::served::Served;
use crate::support::{Ran, World};

use super::client::get;

/// How long an answer may take, seconds.
const PATIENCE: &str = "30";

#[test]
fn invented_requests_get_what_the_description_says() {
    let world = World::new();
    world.tiny("alpha");
    world.weights("cold", "cold ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    std::fs::write(world.settings(), "[serve]\nedit = true\n").unwrap();
    let mut served = Served::new(world);
    served.watcher().eventually_says("alpha is ready");
    let description = format!("http://127.0.0.1:{}/api/openapi.json", served.port);
    let seed = std::env::var("HERDSMAN_API_SEED").unwrap_or_else(|_| "1".to_owned());
    let time = super::seconds();
    let arguments = [
        "run",
        &description,
        // It has no end: `readers` reads it.
        "--exclude-path=/api/events",
        "--phases=coverage,fuzzing",
        "--checks=all",
        "--workers=1",
        "--continue-on-failure",
        "--no-shrink",
        &format!("--request-timeout={PATIENCE}"),
        &format!("--max-time={time}"),
        &format!("--max-examples={}", time * 2),
        &format!("--seed={seed}"),
    ];
    let ran = Ran::of(&mut served.world.schemathesis(&arguments)).exits(0);
    let summary = ran.stdout.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    println!("{}, seed {seed}, {time} s", summary.trim());
    // The other one's file may be gone.
    assert_eq!(get(served.port, "/api/models/cold").status, 200);
    assert!(!served.watcher().log().contains("panicked at"));
}
