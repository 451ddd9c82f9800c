//! The stories: every kind of action, and what goes together.

use rustix::process::Signal;

use crate::begins::{
    define, kill, let_the_delay_pass, lose_database, port, run, run_behind_wrapper, run_in_wrapper, signal, stray,
};
use crate::by_hand;
use crate::logs;
use crate::notified;
use crate::recorded::{as_another_program, files};
use crate::story::{End, PLAIN, Story, runs};
use crate::support::World;

/// A watcher that does not wait for the end of a burst of edits.
const WATCH: &[&str] = &["watch", "--debounce", "10ms"];

/// All of them.
pub const STORIES: &[Story] = &[
    Story {
        name: "first run",
        event: |world| define(world, "a", 512, ""),
        end: |_| vec![runs("a", "--ctx-size 512")],
        ..PLAIN
    },
    Story {
        name: "create",
        begin: |world| run(world, &["b"]),
        event: |world| {
            define(world, "a", 512, "");
            define(world, "c", 512, "state = \"stopped\"");
        },
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b"), End::Stopped("c")],
        ..PLAIN
    },
    Story {
        name: "create on a unix socket, with an old one in the way",
        begin: |world| {
            run(world, &["b"]);
            drop(std::os::unix::net::UnixListener::bind(world.path().join("a.sock")).unwrap());
        },
        event: |world| define(world, "a", 512, &format!("host = \"{}\"", world.path().join("a.sock").display())),
        end: |_| vec![runs("a", "a.sock"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "update",
        begin: |world| run(world, &["a", "b"]),
        event: |world| define(world, "a", 512, "description = \"new\""),
        end: |_| vec![End::Untouched("a"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "save a plan",
        begin: |world| run(world, &["a", "b"]),
        command: &["reconcile", "--dry-run", "--out", "plan.json"],
        end: |_| vec![End::Untouched("a"), End::Untouched("b")],
        also: |world| match std::fs::read_to_string(world.path().join("plan.json")) {
            Ok(text) if text.ends_with("}\n") => Ok(()),
            other => Err(format!("no whole plan: {other:?}")),
        },
        ..PLAIN
    },
    Story {
        name: "restart",
        begin: |world| run(world, &["a", "b"]),
        event: |world| define(world, "a", 1024, ""),
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "restart two",
        begin: |world| run(world, &["a", "b", "c"]),
        event: |world| {
            define(world, "a", 1024, "");
            define(world, "b", 1024, "");
        },
        end: |_| vec![runs("a", "--ctx-size 1024"), runs("b", "--ctx-size 1024"), End::Untouched("c")],
        ..PLAIN
    },
    Story {
        name: "exchange ports",
        begin: |world| {
            define(world, "a", 512, &format!("port = {}", port(world, 0)));
            define(world, "b", 512, &format!("port = {}", port(world, 1)));
            world.converges();
        },
        event: |world| {
            define(world, "a", 512, &format!("port = {}", port(world, 1)));
            define(world, "b", 512, &format!("port = {}", port(world, 0)));
        },
        end: |world| {
            let on = |number| format!("--port {}", port(world, number));
            vec![End::Runs("a", on(1)), End::Runs("b", on(0))]
        },
        ..PLAIN
    },
    Story {
        name: "drain one that cannot be asked, and restart it",
        begin: |world| run(world, &["a", "b"]),
        event: |world| {
            define(world, "a", 1024, "update.drain = \"200ms\"");
            signal(world, "a", Signal::STOP);
        },
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        patience: 20,
        ..PLAIN
    },
    Story {
        name: "stop",
        begin: |world| run(world, &["a", "b"]),
        event: |world| define(world, "a", 512, "state = \"stopped\""),
        end: |_| vec![End::Stopped("a"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "stop on a unix socket",
        begin: |world| {
            define(world, "a", 512, &format!("host = \"{}\"", world.path().join("a.sock").display()));
            run(world, &["b"]);
        },
        event: |world| {
            define(
                world,
                "a",
                512,
                &format!("state = \"stopped\"\nhost = \"{}\"", world.path().join("a.sock").display()),
            );
        },
        end: |_| vec![End::Stopped("a"), End::Untouched("b")],
        also: |world| if world.path().join("a.sock").exists() { Err("its socket is left".to_owned()) } else { Ok(()) },
        ..PLAIN
    },
    Story {
        name: "stop a wrapper that leaves its server",
        begin: |world| {
            run(world, &["b"]);
            run_in_wrapper(world, "a");
        },
        event: |world| define(world, "a", 512, "state = \"stopped\""),
        end: |_| vec![End::Stopped("a"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "stop a server that its wrapper left in the background",
        begin: |world| {
            run(world, &["b"]);
            run_behind_wrapper(world, "a");
        },
        event: |world| define(world, "a", 512, "state = \"stopped\""),
        end: |_| vec![End::Stopped("a"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "restart a wrapper that leaves its server",
        begin: |world| {
            run(world, &["b"]);
            run_in_wrapper(world, "a");
        },
        event: |world| define(world, "a", 1024, ""),
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "start",
        begin: |world| {
            define(world, "a", 512, "state = \"stopped\"");
            run(world, &["b"]);
        },
        event: |world| define(world, "a", 512, ""),
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "crash",
        begin: |world| {
            run(world, &["a", "b"]);
            let_the_delay_pass();
        },
        event: |world| kill(world, "a"),
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        crashes: 1,
        ..PLAIN
    },
    Story {
        name: "restart one that hangs",
        begin: |world| {
            define(world, "a", 512, "ready.unhealthy_after = \"1s\"");
            run(world, &["b"]);
            signal(world, "a", Signal::STOP);
            // Seen, and noted since when.
            world.run(&["reconcile"]);
            let_the_delay_pass();
        },
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        crashes: 1,
        patience: 20,
        ..PLAIN
    },
    Story {
        name: "delete",
        begin: |world| run(world, &["a", "b", "c"]),
        event: |world| world.remove_definition("a"),
        end: |_| vec![End::Gone("a"), End::Untouched("b"), End::Untouched("c")],
        ..PLAIN
    },
    Story {
        name: "rename",
        begin: |world| run(world, &["a", "b", "c"]),
        event: |world| {
            world.remove_definition("a");
            define(world, "d", 512, "");
        },
        end: |_| vec![End::Gone("a"), End::Untouched("b"), End::Untouched("c"), runs("d", "--ctx-size 512")],
        ..PLAIN
    },
    Story {
        name: "adopt after a lost database",
        begin: |world| run(world, &["a", "b", "c"]),
        event: |world| {
            lose_database(world);
            define(world, "b", 1024, "");
        },
        end: |_| vec![End::Untouched("a"), runs("b", "--ctx-size 1024"), End::Untouched("c")],
        ..PLAIN
    },
    Story {
        name: "duplicates",
        begin: |world| {
            run(world, &["a", "b"]);
            stray(world, "a", port(world, 0));
        },
        event: |_| {},
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "duplicates of an old generation",
        begin: |world| {
            run(world, &["a", "b"]);
            stray(world, "a", port(world, 0));
        },
        event: |world| define(world, "a", 1024, ""),
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "roll back a generation that dies",
        begin: |world| run(world, &["a", "b"]),
        event: |world| {
            world.weights_that_die("bad");
            world.write_definition("a", &World::tiny_toml("bad"));
        },
        end: |_| vec![runs("a", "a.gguf"), End::Untouched("b")],
        exit: 1,
        ..PLAIN
    },
    Story {
        name: "tell of a rollback",
        begin: |world| {
            notified::by_command(world);
            run(world, &["a", "b"]);
        },
        event: |world| {
            world.weights_that_die("bad");
            world.write_definition("a", &World::tiny_toml("bad"));
        },
        end: |_| vec![runs("a", "a.gguf"), End::Untouched("b")],
        also: notified::once,
        exit: 1,
        ..PLAIN
    },
    Story {
        name: "tell what nobody heard",
        begin: |world| {
            notified::by_command(world);
            run(world, &["a", "b"]);
            notified::nobody_listens(world);
            world.weights_that_die("bad");
            world.write_definition("a", &World::tiny_toml("bad"));
            world.run(&["reconcile"]).exits(1);
        },
        event: |world| {
            notified::by_command(world);
            let [database, ..] = files(world);
            as_another_program(&database, "UPDATE herdsman_notifications SET next_try = 0");
        },
        end: |_| vec![End::Untouched("a"), End::Untouched("b")],
        also: notified::once,
        exit: 1,
        ..PLAIN
    },
    Story {
        name: "down",
        begin: |world| run(world, &["a", "b"]),
        command: &["down"],
        end: |_| vec![End::Stopped("a"), End::Stopped("b")],
        ..PLAIN
    },
    Story {
        name: "suspend",
        begin: |world| run(world, &["a", "b"]),
        event: |world| define(world, "a", 1024, ""),
        command: &["suspend", "a"],
        end: |_| vec![End::Untouched("a"), End::Untouched("b")],
        also: |world| by_hand::holds(world, "suspended", "suspended"),
        ..PLAIN
    },
    Story {
        name: "reconcile past a suspended one",
        begin: |world| {
            run(world, &["a", "b"]);
            world.run(&["suspend", "a"]).exits(0);
        },
        event: |world| {
            define(world, "a", 1024, "");
            define(world, "b", 1024, "");
        },
        end: |_| vec![End::Untouched("a"), runs("b", "--ctx-size 1024")],
        ..PLAIN
    },
    Story {
        name: "stop by hand",
        begin: |world| run(world, &["a", "b"]),
        command: &["stop", "a"],
        end: |_| vec![End::Stopped("a"), End::Untouched("b")],
        also: |world| by_hand::holds(world, "state", "stop_asked"),
        ..PLAIN
    },
    Story {
        name: "start by hand",
        begin: |world| {
            define(world, "a", 512, "state = \"stopped\"");
            run(world, &["b"]);
        },
        command: &["start", "a"],
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        also: |world| by_hand::holds(world, "state", "start_asked"),
        ..PLAIN
    },
    Story {
        name: "restart by hand",
        begin: |world| run(world, &["a", "b"]),
        command: &["restart", "a"],
        end: |_| vec![runs("a", "--ctx-size 512"), End::Untouched("b")],
        also: |world| by_hand::is_over(world, "restart", "restart_asked"),
        ..PLAIN
    },
    Story {
        name: "an edit ends a stop by hand",
        begin: |world| {
            run(world, &["a", "b"]);
            world.run(&["stop", "a"]).exits(0);
        },
        event: |world| define(world, "a", 1024, ""),
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        also: |world| by_hand::is_over(world, "state", "stop_asked"),
        ..PLAIN
    },
    Story {
        name: "shorten logs",
        begin: |world| run(world, &["a"]),
        event: |world| logs::grow(world, "a"),
        command: &["reconcile", "--log-max-size", "128KiB", "--log-keep", "0"],
        end: |_| vec![End::Untouched("a")],
        also: |world| logs::are_shortened(world, "a"),
        ..PLAIN
    },
    Story {
        name: "watch a restart",
        begin: |world| run(world, &["a", "b"]),
        event: |world| define(world, "a", 1024, ""),
        command: WATCH,
        end: |_| vec![runs("a", "--ctx-size 1024"), End::Untouched("b")],
        ..PLAIN
    },
    Story {
        name: "watch a first run",
        event: |world| define(world, "a", 512, ""),
        command: WATCH,
        end: |_| vec![runs("a", "--ctx-size 512")],
        ..PLAIN
    },
    Story {
        name: "take over the row of another program",
        begin: |world| {
            std::fs::create_dir(world.state_dir()).unwrap();
            let [database, ..] = files(world);
            as_another_program(
                &database,
                "CREATE TABLE models (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, type TEXT NOT NULL,
                     status TEXT NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, model_path TEXT);
                 INSERT INTO models VALUES (7, 'a', 'gpt', 'stopped', 1, 2, '/there/a.gguf')",
            );
        },
        event: |world| define(world, "a", 512, ""),
        end: |_| vec![runs("a", "--ctx-size 512")],
        ..PLAIN
    },
];
