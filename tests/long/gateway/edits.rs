//! Quick saves, and edits that cannot start, under load.

use std::thread;
use std::time::Duration;

use super::client::Kind;
use super::clients::Clients;
use super::faults::edit;
use super::served::{PATIENCE, Served};
use crate::support::{World, eventually};

#[test]
fn quick_saves_and_rollbacks_fail_no_request() {
    let world = World::new();
    world.weights_that_die("bad");
    let clients = Clients::default();
    edit(&world, &clients.texts, "a", "");
    let served = Served::new(world);
    let log = || served.watcher.as_ref().unwrap().log();
    let rounds = super::rounds(40);
    thread::scope(|scope| {
        let _over = clients.guard();
        for kind in [Kind::Fresh, Kind::Fresh, Kind::Kept, Kind::Kept, Kind::Streams, Kind::Slow] {
            clients.start(scope, served.port, kind, &["a"]);
        }
        for round in 1..=rounds {
            for _ in 0..10 {
                edit(&served.world, &clients.texts, "a", "");
                thread::sleep(Duration::from_millis(20));
            }
            let last = clients.texts.last("a");
            eventually("the last save answers", PATIENCE, || clients.has_failed() || clients.texts.seen("a") == last);
            // The server of before comes back.
            let toml =
                format!("model = \"../weights/bad.gguf\"\ndescription = \"{round}\"\n[parameters]\nctx_size = 512\n");
            served.world.write_definition("a", &toml);
            eventually("it is rolled back", PATIENCE, || {
                clients.has_failed() || log().matches("waiting for an edit").count() >= round
            });
            clients.go_on(50);
        }
    });
    let answered = clients.answered();
    let (mut sum, texts) = clients.sum();
    println!("{rounds} rounds, {answered} answers; first bytes: {}; lag {:.1?}", sum.waits(), texts.longest_lag());
    sum.is_flawless();
    assert_eq!(served.ask("a"), Ok(format!("a-{} ", texts.last("a")).repeat(3)));
}
