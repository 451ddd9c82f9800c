//! Scripts in the place of llama-server that start it instead of becoming it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::{Process, World, ask, eventually, llama_server};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world with one model, `a`, whose llama-server is a script. `$LLAMA` in it
/// is the real one, which answers what a dry run and `--help` ask.
fn wrapped(script: &str, toml: &str) -> World {
    let world = World::new();
    world.weights("a", "a ");
    let path = world.path().join("wrapper");
    let real = llama_server().display().to_string();
    let asks = "case \" $* \" in *\" --help \"*|*\" --version \"*) exec \"$LLAMA\" \"$@\";; esac";
    fs::write(&path, format!("#!/bin/bash\nLLAMA='{real}'\n{asks}\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    world.write_definition("a", &format!("binary = \"../wrapper\"\n{toml}{}", World::tiny_toml("a")));
    world
}

/// The live llama-servers among the processes of a world.
fn llamas(world: &World) -> Vec<Process> {
    let is_llama = |process: &Process| process.arguments.first().is_some_and(|name| name.ends_with("/llama-server"));
    world.servers().into_iter().filter(is_llama).collect()
}

/// How often `a` was started.
fn starts(world: &World) -> usize {
    fs::read_dir(world.state_dir().join("logs/a")).unwrap().count()
}

#[test]
fn a_server_that_its_wrapper_leaves_in_the_background_is_the_instance() {
    for script in [
        "nohup \"$LLAMA\" \"$@\" >/dev/null 2>&1 &",
        "setsid \"$LLAMA\" \"$@\" >/dev/null 2>&1 &",
        // In a session whose leader has ended, too.
        "setsid sh -c '\"$0\" \"$@\" >/dev/null 2>&1 & exit' \"$LLAMA\" \"$@\"",
    ] {
        let world = wrapped(script, "");
        world.converges();
        let [server] = &llamas(&world)[..] else { panic!("{script}: {:?}", world.servers()) };
        assert_eq!(world.status("a")["pid"], server.pid, "{script}");
        let port = world.port("a");
        assert!(ask(port).starts_with("a a "), "{script}");
        world.is_settled();

        kill_process(Pid::from_raw(server.pid).unwrap(), Signal::KILL).unwrap();
        eventually("it is gone", PATIENCE, || llamas(&world).is_empty());
        world.run(&["reconcile", "--retry"]).exits(0).says(&["process gone"]);
        assert_eq!((llamas(&world).len(), world.port("a")), (1, port), "{script}");

        world.run(&["down"]).exits(0).says(&["Stopped 1 server."]);
        assert!(world.servers().is_empty(), "{script}: {:?}", world.servers());
    }
}

#[test]
fn reports_a_wrapper_that_does_not_exec_and_retries_with_backoff() {
    for script in ["\"$LLAMA\" \"$@\" 2>&1 | tee -a /dev/null", "while true; do \"$LLAMA\" \"$@\"; done"] {
        let world = wrapped(script, "");
        let ran = world.run(&["reconcile"]).exits(1);
        ran.says(&[
            "answers instead of its parent, the wrapper (pid ",
            "must start llama-server with `exec`",
            "failed to start once",
        ]);
        assert!(world.servers().is_empty(), "{script}: {:?}", world.servers());
        let mut watcher = world.start(&["watch"]);
        eventually("a third start", PATIENCE, || starts(&world) == 3);
        watcher.child().kill().unwrap();
        watcher.child().wait().unwrap();
        world.run(&["reconcile"]).exits(1).says(&["times in a row"]).does_not_say("is in use by");
        let log = fs::read_to_string(world.path().join("stderr.log")).unwrap();
        assert!(!log.contains("->"), "{script}: another port: {log}");
        world.run(&["down"]).exits(0);
        assert!(world.servers().is_empty(), "{script}: {:?}", world.servers());
    }
}

#[test]
fn a_wrappers_own_child_is_no_stranger_on_a_declared_port() {
    let port = crate::support::free_port();
    let world = wrapped("\"$LLAMA\" \"$@\"\ntrue", &format!("port = {port}\n"));
    for _ in 0..3 {
        let ran = world.run(&["reconcile", "--retry"]).exits(1);
        ran.says(&["answers instead of its parent, the wrapper"]).does_not_say("is in use by");
    }
    // Repaired, it runs.
    let path = world.path().join("wrapper");
    let script = fs::read_to_string(&path).unwrap().replace("\"$LLAMA\" \"$@\"\ntrue", "exec \"$LLAMA\" \"$@\"");
    fs::write(&path, script).unwrap();
    world.run(&["reconcile", "--retry"]).exits(0);
    assert!(ask(port).starts_with("a a "));
}

#[test]
fn helpers_that_a_server_leaves_end_before_the_next_start_and_with_down() {
    let world = wrapped("sleep 1000 & exec \"$LLAMA\" \"$@\"", "");
    let helpers = || world.servers().into_iter().filter(|process| process.arguments[0] == "sleep").collect::<Vec<_>>();
    let kill = || {
        kill_process(Pid::from_raw(world.pid("a")).unwrap(), Signal::KILL).unwrap();
        eventually("it is gone", PATIENCE, || llamas(&world).is_empty());
    };
    world.converges();
    let first = helpers();
    assert_eq!(first.len(), 1, "{first:?}");
    kill();
    world.run(&["reconcile", "--retry"]).exits(0).says(&["is left over from a server that has exited"]);
    let second = helpers();
    assert!(second.len() == 1 && second != first, "{first:?} {second:?}");
    kill();
    world.run(&["down"]).exits(0);
    assert!(world.servers().is_empty(), "{:?}", world.servers());
}

#[test]
fn servers_that_lose_their_markers_do_not_multiply() {
    let world = wrapped("env -i nohup \"$LLAMA\" \"$@\" >/dev/null 2>&1 &", "");
    let mut watcher = world.start(&["watch"]);
    let said = || fs::read_to_string(world.path().join("stderr.log")).unwrap();
    let is_told = || said().contains("is in use by pid ") || said().contains("may be its server");
    eventually("it says who is there", PATIENCE, is_told);
    let begun = starts(&world);
    assert!(begun <= 4, "{begun}: {}", said());
    watcher.child().kill().unwrap();
}
