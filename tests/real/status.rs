//! What `herdsman status` says of models that are not as they should be, and
//! how `--watch` keeps saying it.

use std::fs;
use std::time::Duration;

use crate::support::{Terminal, World, eventually};
use rustix::process::Signal;
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

/// Kills the server of `model` so often that herdsman waits for 16 s before it
/// starts it again, long enough to look at it: how often.
fn into_backoff(world: &World, model: &str) -> u32 {
    const CRASHES: u32 = 5;
    for _ in 1..CRASHES {
        world.kill(model);
        world.run(&["reconcile", "--retry"]).exits(0);
    }
    world.logs_that_it_listens(model);
    world.kill(model);
    world.run(&["reconcile"]).exits(1);
    CRASHES
}

#[test]
fn a_crashed_model_is_shown_with_its_next_try_and_the_last_words_of_its_log() {
    let world = World::new();
    world.tiny("a");
    world.tiny("b");
    world.converges();
    let crashes = into_backoff(&world, "a");
    let log = world.log("a");
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str("0.01 E its \u{1b}[2Jlast words\n");
    fs::write(&log, text).unwrap();

    let ran = world.run(&["status"]).exits(0);
    let row = ran.stdout.lines().find(|line| line.starts_with("a ")).unwrap();
    let expected = format!("crashed {crashes} times in a row, next try in ");
    assert!(row.contains(" error ") && row.contains(&expected), "{ran}");
    let said_at = row.split_once("(at ").unwrap().1.split_once(')').unwrap().0;
    assert!(said_at.len() == 8 && said_at.split(':').all(|part| part.parse::<u8>().is_ok()), "{said_at}");
    let after: Vec<&str> = ran.stdout.lines().skip_while(|line| !line.contains("last lines of a in")).collect();
    assert!(after[0].contains(&*log.to_string_lossy()), "{ran}");
    assert_eq!(after[5], "  0.01 E its last words", "{ran}");
    assert!(!ran.stdout.contains("instance") && !ran.stdout.contains("words of b"), "{ran}");
    assert!(after.last().unwrap().starts_with("No watcher is running"), "{ran}");

    let report = world.run(&["status", "--format", "json"]).exits(0).json();
    let [a, b] = &report["models"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!((&report["watcher"], &a["status"], &a["crashes"]), (&json!(false), &json!("error"), &json!(crashes)));
    let next_try: jiff::Timestamp = a["next_try"].as_str().unwrap().parse().unwrap();
    assert_eq!(said_at, next_try.to_zoned(jiff::tz::TimeZone::system()).strftime("%H:%M:%S").to_string());
    assert_eq!(a["log"], json!(log.to_string_lossy()));
    assert_eq!(a["log_tail"].as_array().unwrap().last().unwrap(), "0.01 E its last words", "{a:#}");
    assert_eq!((&b["next_try"], &b["restarts"], b.get("log")), (&json!(null), &json!(0), None), "{b:#}");

    let watcher = fs::File::create(world.state_dir().join("watch.lock")).unwrap();
    watcher.lock().unwrap();
    world.run(&["status"]).exits(0).does_not_say("No watcher is running");
    assert_eq!(world.run(&["status", "--format", "json"]).json()["watcher"], true);
}

#[test]
fn restarts_count_deaths_and_neither_edits_nor_starts_by_hand() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.status("a")["restarts"], 1);
    world.write_definition("a", &World::tiny_toml("a").replace("512", "768"));
    world.converges().says(&["-/+ a  restart"]);
    world.run(&["down"]).exits(0);
    world.converges().says(&["> a  start"]);
    assert_eq!(world.status("a")["restarts"], 1);
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.status("a")["restarts"], 2);
}

#[test]
fn a_server_that_hung_counts_as_restarted() {
    let world = World::new();
    world.weights("a", "a ");
    world.write_definition("a", &format!("{}[ready]\nunhealthy_after = \"1s\"\n", World::tiny_toml("a")));
    world.converges();
    let pid = world.signal("a", Signal::STOP);
    eventually("it is killed and started again", PATIENCE, || {
        world.run(&["reconcile", "--no-wait"]).exits_with(&[0, 1]);
        world.instances().first().is_some_and(|(now, _)| *now != pid)
    });
    assert_eq!(world.status("a")["restarts"], 1);
}

#[test]
fn a_failed_generation_shows_why_it_failed_and_a_named_model_its_log() {
    let world = World::new();
    world.tiny("good");
    world.weights("bad", "bad ");
    let bad = "[update]\non_failure = \"stop\"\n[parameters]\nctx_size = 512\nmmproj = \"../weights/good.gguf\"\n";
    world.write_definition("bad", &format!("model = \"../weights/bad.gguf\"\n{bad}"));
    world.run(&["reconcile"]).exits(1);
    let ran = world.run(&["status"]).exits(0);
    let ran = ran.says(&["generation 1 failed", "waiting for an edit"]).does_not_say("words of good");
    // Now and then llama-server ends before it has written a word.
    let heads = ["last lines of bad in", "bad wrote nothing to"];
    assert!(heads.iter().any(|head| ran.stdout.contains(head)), "{ran}");
    world.logs_that_it_listens("good");
    world.run(&["status", "good"]).exits(0).says(&["last lines of good in", "listening on"]);
    assert!(world.status("good").get("log").is_none());
    let named = world.run(&["status", "good", "--format", "json"]).json();
    assert!(named["models"][0]["log_tail"].to_string().contains("listening on"), "{named:#}");
}

#[test]
fn a_broken_definition_is_named_with_its_line_and_its_model_keeps_running() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    world.write_definition("a", &World::tiny_toml("a").replace("ctx_size", "ctx_sizes"));
    world.write_definition("new", "model = 7\n");
    let ran = world.run(&["status"]).exits(0);
    let row = |name: &str| ran.stdout.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let kept = "keeps running unchanged: models.d/a.toml:3: llama-server has no option `ctx_sizes`";
    assert!(row("a ").contains(" running ") && row("a ").ends_with(kept), "{ran}");
    assert!(row("new ").contains("left unchanged: models.d/new.toml:1: "), "{ran}");
}

#[test]
fn the_table_is_drawn_again_when_a_server_dies_and_ctrl_c_gives_the_terminal_back() {
    let world = World::new();
    world.tiny("a");
    world.tiny("b");
    world.converges();
    let mut terminal = Terminal::run(world.command().args(["status", "--watch", "--interval", "100ms"]), 24, 80);
    // A frame arrives line by line: all that one is to show is waited for together.
    let row = |lines: &[String], name: &str| lines.iter().find(|line| line.starts_with(name)).cloned();
    let columns = ["NAME", "STATUS", "GEN", "PORT", "PID", "UPTIME", "MEMORY", "RESTARTS", "NOTE"];
    terminal.shows("two servers run", |lines| {
        lines[0].contains("2 models: 2 running") && lines[2].split_whitespace().eq(columns)
    });
    assert_eq!(terminal.is_taken(), (true, true));
    let settings = terminal.settings();

    world.kill("a");
    terminal.shows("one is gone, in one table", |lines| {
        lines[0].contains("1 error, 1 running")
            && row(lines, "a ").is_some_and(|row| row.contains(" error "))
            && lines.iter().filter(|line| line.starts_with("NAME")).count() == 1
    });
    world.run(&["reconcile", "--retry"]).exits(0);
    terminal.shows("it is back", |lines| {
        lines[0].contains("2 running") && row(lines, "a ").is_some_and(|row| row.contains(" 1"))
    });

    // Narrower, so that lines are cut, and too low for both.
    fs::write(world.models_dir().join("broken.toml"), "x").unwrap();
    terminal.resize(8, 30);
    terminal
        .shows("it fits", |lines| lines.iter().any(|l| l.ends_with('…')) && lines.iter().any(|l| l.contains("more")));
    terminal.resize(24, 80);
    terminal.shows("a problem", |lines| lines.iter().any(|l| l.starts_with("error: models.d/broken.toml:1: ")));
    fs::remove_file(world.models_dir().join("broken.toml")).unwrap();
    terminal.shows("no problem", |lines| !lines.iter().any(|l| l.contains("error")));

    terminal.types("\u{3}");
    assert_eq!(terminal.exit_code(), Some(0));
    // What it wrote last may still be on its way to the screen.
    eventually("the screen is given back", PATIENCE, || terminal.is_taken() == (false, false));
    terminal.shows("the last look stays", |lines| lines.iter().any(|line| line.starts_with("NAME")));
    assert_eq!(terminal.settings(), settings);
}

#[test]
fn a_watch_beside_a_watcher_that_serves_shows_each_change_at_once() {
    let world = World::new();
    world.tiny("a");
    let mut served = crate::gateway::served::Served::new(world);
    let mut watch = served.world.command();
    // Longer than the test: only what the watcher says brings another look.
    let terminal = Terminal::run(watch.args(["status", "--watch", "--interval", "1h"]), 24, 120);
    let row = |status: &str| {
        let status = format!(" {status} ");
        move |lines: &[String]| lines.iter().any(|line| line.starts_with("a ") && line.contains(&status))
    };
    terminal.shows("it runs", row("running"));
    served.world.run(&["stop", "a"]).exits(0);
    terminal.shows("it is stopped", row("idle"));
    served.watcher = None;
    served.start();
    served.world.run(&["start", "a"]).exits(0);
    terminal.shows("it runs again, as another watcher says", row("running"));
}

#[test]
fn a_look_that_fails_is_told_and_the_next_one_is_shown_again() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let mut terminal = Terminal::run(world.command().args(["status", "--watch", "--interval", "100ms", "a"]), 24, 120);
    terminal.shows("its log", |lines| lines.iter().any(|line| line.contains("last lines of a in")));
    let (id, aside) = (world.state_dir().join("id"), world.path().join("aside"));
    let kept = fs::read(&id).unwrap();
    fs::write(&id, "damaged").unwrap();
    terminal.shows("the error, and the model as it was seen last", |lines| {
        lines.iter().any(|line| line.contains("error: ") && line.contains("does not contain a state id"))
            && lines.iter().any(|line| line.starts_with("a ") && line.contains(" running "))
    });
    fs::write(&id, kept).unwrap();
    fs::rename(world.models_dir(), &aside).unwrap();
    terminal.shows("no definitions", |lines| {
        lines.iter().any(|line| line.contains("models.d does not exist"))
            && lines.iter().any(|line| line.starts_with("a ") && line.contains(" running "))
    });
    fs::rename(&aside, world.models_dir()).unwrap();
    terminal.shows("all is well", |lines| !lines.iter().any(|line| line.contains("error")));
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.exit_code(), Some(0));
    terminal.shows("it is given back", |_| terminal.is_taken() == (false, false));
}

#[test]
fn a_stopped_watch_lends_the_terminal_out_and_takes_it_again() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let mut terminal = Terminal::run(world.command().args(["status", "--watch", "--interval", "100ms"]), 24, 80);
    terminal.shows("the table", |lines| lines[0].contains("1 running"));
    terminal.signal(Signal::TSTP);
    terminal.shows("it is given back", |_| terminal.is_taken() == (false, false));
    terminal.signal(Signal::CONT);
    terminal.shows("it is taken again", |lines| terminal.is_taken() == (true, true) && lines[0].contains("1 running"));
    terminal.types("\u{3}");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn watching_needs_a_terminal_and_says_what_does_not() {
    let world = World::new();
    world.run(&["status", "--watch"]).exits(64).says(&["terminal", "--format json"]);
    world.run(&["status", "--watch", "--format", "json"]).exits(64).says(&["cannot be used with"]);
    world.run(&["status", "--watch", "--exit-code"]).exits(64).says(&["cannot be used with"]);
    world.run(&["status", "--interval", "1s"]).exits(64).says(&["--watch"]);
    let mut terminal = Terminal::run(world.command().env("NO_COLOR", "1").args(["status", "--watch"]), 24, 80);
    terminal.shows("nothing", |lines| lines.contains(&"No models.".to_owned()));
    terminal.types("\u{3}");
    assert_eq!(terminal.exit_code(), Some(0));
}

#[test]
fn a_model_whose_generation_failed_is_idle_once_it_is_declared_stopped() {
    let world = World::new();
    world.weights_that_die("m");
    let toml = World::tiny_toml("m");
    world.write_definition("m", &format!("{toml}[update]\non_failure = \"stop\"\n"));
    world.run(&["reconcile"]).exits(1);
    assert_eq!(world.status("m")["status"], "error");
    world.write_definition("m", &format!("state = \"stopped\"\n{toml}[update]\non_failure = \"stop\"\n"));
    world.converges();
    world.run(&["models", "get", "m"]).exits(0).says(&["idle"]);
    assert_eq!(world.status("m")["status"], "idle");
}
