//! llama-servers that are not the default one: forks with options of their own,
//! and programs that never answer.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::fork::{Silent, fork};
use crate::support::{Background, World, eventually, free_port, get, llama_server};
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);

/// How long a llama-server has to answer; what does not wait for one is done
/// well before.
const ANSWER: Duration = Duration::from_secs(10);

/// A tiny model's definition that names its llama-server.
fn toml_of(binary: &Path, weights: &str) -> String {
    format!("binary = \"{}\"\n{}", binary.display(), World::tiny_toml(weights))
}

/// What `work` took.
fn took<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// The definition of a model that a fork alone understands.
fn for_a_fork(weights: &str) -> String {
    format!("{}k_cache_hadamard = true\ncache_type_k = \"turbo4\"\n", World::tiny_toml(weights))
}

#[test]
fn a_watcher_repairs_other_models_at_once_beside_a_llama_server_that_never_answers() {
    let world = World::new();
    world.tiny("good");
    let silent = Silent::new(&world, "silent");
    world.write_definition("bad", &toml_of(&silent.path, "good"));
    world.write_definition("off", &format!("state = \"stopped\"\n{}", toml_of(&silent.path, "good")));
    let begun = Instant::now();
    let mut watcher = world.watch(&["--resync", "200ms"]);
    watcher.eventually_says("good is ready");
    assert!(begun.elapsed() < ANSWER, "it came first: {:?}", begun.elapsed());
    for command in [&["status"][..], &["why", "bad"]] {
        let (time, ran) = took(|| world.run(command));
        ran.exits(0).says(&["not known yet"]);
        assert!(time < ANSWER / 2, "{command:?} took {time:?}");
    }
    eventually("it has run longer than the first delay", PATIENCE, || begun.elapsed() > Duration::from_secs(2));
    let killed = world.signal("good", Signal::KILL);
    let back = || world.instances().iter().any(|(pid, model)| model == "good" && *pid != killed);
    let (time, ()) = took(|| eventually("good is back", PATIENCE, back));
    assert!(time < ANSWER / 2, "good was back after {time:?}");

    let message = "did not answer --help within 10 s";
    eventually("it says so", PATIENCE, || world.status("bad").to_string().contains(message));
    eventually("more passes are over", PATIENCE, || begun.elapsed() > ANSWER + Duration::from_secs(3));
    assert_eq!((silent.times_asked(), silent.is_running()), (1, false));

    // Another program is asked, whatever the former one did.
    let replaced = fork(&world);
    fs::rename(replaced, &silent.path).unwrap();
    watcher.signal(Signal::HUP);
    watcher.eventually_says("bad is ready");
    assert_eq!(world.answer("bad"), "good good good ");
}

#[test]
fn reconcile_carries_out_the_rest_first_and_remembers_who_was_silent() {
    let world = World::new();
    world.tiny("good");
    let [silent, other] = ["silent", "other"].map(|name| Silent::new(&world, name));
    let endless = Silent::doing(&world, "endless", "exec yes");
    let parting =
        Silent::doing(&world, "parting", "case \"$*\" in --help) sleep 1000 & ;; esac; exec \"$real\" \"$@\"");
    for (name, program) in [("a", &silent), ("b", &other), ("c", &endless), ("d", &parting)] {
        world.write_definition(name, &toml_of(&program.path, "good"));
    }
    let mut herdsman = world.command();
    herdsman.args(["reconcile", "--no-wait"]).stdin(Stdio::null());
    herdsman.stdout(Stdio::null()).stderr(Stdio::null());
    let (time, mut run) = took(|| {
        let run = Background::from(herdsman.spawn().unwrap());
        let runs = |name: &str| world.instances().iter().any(|(_, model)| model == name);
        eventually("the others run", PATIENCE, || runs("good") && runs("d"));
        run
    });
    assert!(time < ANSWER, "the others came first: {time:?}");
    assert_eq!(run.child().wait().unwrap().code(), Some(69));

    let (time, ran) = took(|| world.run(&["reconcile"]));
    ran.exits(69).says(&["a", "silent/llama-server did not answer --help within 10 s", "--retry"]);
    assert!(time < ANSWER / 2, "a cron job does not pay again: {time:?}");
    assert_eq!([&silent, &other, &endless].map(Silent::times_asked), [1; 3]);
    assert!(!silent.is_running() && !other.is_running() && !endless.is_running());
    assert_eq!(world.answer("d"), "good good good ");

    let (time, ran) = took(|| world.run(&["reconcile", "--retry"]));
    ran.exits(69).says(&["has not answered --help yet", "did not answer --help within 10 s"]);
    assert!(time < ANSWER * 2, "they are asked side by side: {time:?}");
    assert_eq!([&silent, &other, &endless].map(Silent::times_asked), [2; 3]);

    fs::rename(fork(&world), &silent.path).unwrap();
    world.run(&["reconcile"]).exits(69).says(&["b"]).does_not_say("silent/llama-server did not");
    assert_eq!(world.answer("a"), "good good good ");
}

#[test]
fn a_dry_run_that_never_ends_keeps_only_its_own_model_waiting() {
    let world = World::new();
    world.tiny("good");
    let body = "case \"$*\" in *--version) exec sleep 1000;; esac; exec \"$real\" \"$@\"";
    let program = Silent::doing(&world, "silent", body);
    world.write_definition("bad", &toml_of(&program.path, "good"));
    let mut herdsman = world.command();
    herdsman.args(["reconcile"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let (time, mut run) = took(|| {
        let run = Background::from(herdsman.spawn().unwrap());
        eventually("good runs", PATIENCE, || world.instances().iter().any(|(_, model)| model == "good"));
        run
    });
    assert!(time < ANSWER, "the others came first: {time:?}");
    assert_eq!(run.child().wait().unwrap().code(), Some(69));
    let asked = program.times_asked();
    for command in [&["reconcile"][..], &["status", "bad"]] {
        let (time, ran) = took(|| world.run(command));
        ran.exits_with(&[0, 69]).says(&["did not answer --version within 10 s"]);
        assert!(time < ANSWER / 2, "{command:?} took {time:?}");
    }
    assert_eq!((program.times_asked(), program.is_running()), (asked, false));
}

#[test]
fn a_slow_llama_server_is_waited_for() {
    let world = World::new();
    world.weights("m", "m ");
    let body = "case \"$*\" in *--version|--help) sleep 1;; esac; exec \"$real\" \"$@\"";
    let program = Silent::doing(&world, "slow", body);
    world.write_definition("m", &toml_of(&program.path, "m"));
    world.run(&["reconcile", "--dry-run"]).exits(0).says(&["+ m", "create"]);
    world.run(&["reconcile"]).exits(0);
    assert_eq!(world.answer("m"), "m m m ");
    world.is_settled();
    // Its help is remembered, and the command line that it accepted.
    assert_eq!(program.times_asked(), 2 + 3, "a dry run, then help, dry run and server");
}

#[test]
fn who_only_looks_asks_nobody() {
    let world = World::new();
    world.tiny("good");
    let program = Silent::new(&world, "silent");
    world.write_definition("m", &toml_of(&program.path, "good"));
    world.write_definition("forked", &format!("binary = \"{}\"\n{}", program.path.display(), for_a_fork("good")));
    world.run(&["status"]).exits(0).says(&["create: models.d/good.toml", "silent/llama-server are not known yet"]);
    world.run(&["status", "forked"]).exits(0).says(&["the options of ", "silent/llama-server are not known yet"]);
    world.run(&["why", "m"]).exits(0);
    world.run(&["wait", "--timeout", "1s", "--stable-for", "1s"]).exits_with(&[1, 69]);
    world.run(&["validate"]).exits(0);
    assert_eq!(program.times_asked(), 0);

    // A plan rests on what they say.
    world.run(&["reconcile", "--dry-run"]).exits(69).says(&["+ good", "did not answer --help within 10 s"]);
    assert_eq!((program.times_asked(), program.is_running()), (1, false));
    assert!(!world.state_dir().exists(), "nothing is written");
}

#[test]
fn a_program_that_is_replaced_while_it_is_asked_is_asked_anew() {
    let world = World::new();
    world.weights("m", "m ");
    let silent = Silent::new(&world, "silent");
    world.write_definition("m", &toml_of(&silent.path, "m"));
    let mut watcher = world.watch(&["--resync", "200ms"]);
    eventually("it is asked", PATIENCE, || silent.times_asked() > 0);
    let begun = Instant::now();
    fs::rename(fork(&world), &silent.path).unwrap();
    eventually("m runs", PATIENCE, || world.instances().iter().any(|(_, model)| model == "m"));
    assert!(begun.elapsed() < ANSWER, "it does not wait for the former one: {:?}", begun.elapsed());
    watcher.signal(Signal::TERM);
    assert_eq!(watcher.ended(Instant::now()).code, Some(0));
    assert!(!silent.is_running(), "a watcher that ends leaves no question behind");
}

#[test]
fn a_fork_is_judged_by_its_own_options() {
    let world = World::new();
    world.weights("m", "m ");
    let path = fork(&world);
    world.write_definition("_defaults", &format!("binary = \"{}\"\n", path.display()));
    world.write_definition("m", &for_a_fork("m"));
    world.run(&["validate"]).exits(0).says(&[
        "1 definition is valid",
        "warning",
        "`k_cache_hadamard` is not checked",
        "`cache_type_k = \"turbo4\"` is not checked",
        "depends on `binary`",
    ]);
    world.run(&["validate", "--host"]).exits(0).does_not_say("not checked");
    world.run(&["reconcile"]).exits(0).does_not_say("not checked");
    assert_eq!(world.answer("m"), "m m m ");
    world.is_settled();

    // What nobody has is found by asking.
    world.write_definition("m", &for_a_fork("m").replace("hadamard", "hadamart"));
    world.run(&["validate"]).exits(0);
    world.run(&["validate", "--host"]).exits(65).says(&["no option `k_cache_hadamart`", "k_cache_hadamard"]);
    world.run(&["reconcile"]).exits(65);
    // Other faults are none of its business.
    world.write_definition("m", &for_a_fork("m").replace("ctx_size = 512", "ctx_size = \"512x\""));
    world.run(&["validate"]).exits(65).says(&["ctx_size"]);
    // Without `binary` it is the pinned one that counts.
    world.remove_definition("_defaults");
    world.write_definition("m", &for_a_fork("m"));
    world.run(&["validate"]).exits(65).says(&["no option `k_cache_hadamard`", "turbo4"]);
}

#[test]
fn what_a_missing_fork_would_understand_waits_for_it() {
    let world = World::new();
    world.weights("m", "m ");
    world.write_definition("m", &format!("binary = \"/nowhere/llama-server\"\n{}", for_a_fork("m")));
    world.run(&["validate"]).exits(0).says(&["not checked"]);
    world.run(&["validate", "--host"]).exits(65).says(&["no llama-server at /nowhere/llama-server"]);
    world.run(&["reconcile"]).exits(69).says(&["no llama-server at /nowhere/llama-server"]).does_not_say("no option");
}

/// A configuration of llama-swap with one model.
fn llama_swap(world: &World, program: &Path) {
    let command =
        format!("{} --port ${{PORT}} -m /m.gguf --k-cache-hadamard -ctk turbo4 -c 512 --nonsense 1", program.display());
    fs::write(world.path().join("config.yaml"), format!("models:\n  m:\n    cmd: {command}\n")).unwrap();
}

const IMPORT: &[&str] = &["import", "llama-swap", "config.yaml", "--to", "out"];

/// The definition that was imported.
fn imported(world: &World) -> String {
    fs::read_to_string(world.path().join("out/m.toml")).unwrap()
}

#[test]
fn an_import_keeps_what_its_own_llama_server_understands() {
    let world = World::new();
    let path = fork(&world);
    llama_swap(&world, &path);
    let not_its = format!("--nonsense 1: {} has no such option", path.display());
    world.run(IMPORT).says(&[&not_its]).does_not_say("not checked").does_not_say("hadamard");
    let text = imported(&world);
    let kept = ["k_cache_hadamard = true", "cache_type_k = \"turbo4\"", "ctx_size = 512"];
    assert!(kept.iter().all(|line| text.contains(line)) && !text.contains("nonsense ="), "{text}");
    assert!(!world.state_dir().exists(), "an import writes only definitions");
}

#[test]
fn an_import_keeps_what_it_cannot_check_and_says_so() {
    let world = World::new();
    llama_swap(&world, Path::new("/nowhere/llama-server"));
    world.run(IMPORT).exits(0).says(&[
        "~ config.yaml:2: m: --k-cache-hadamard: kept, not checked: no llama-server at /nowhere/llama-server",
        "--cache-type-k turbo4: kept, not checked",
        "--nonsense 1: kept, not checked",
    ]);
    let text = imported(&world);
    let kept = ["k_cache_hadamard = true", "cache_type_k = \"turbo4\"", "nonsense = \"1\""];
    assert!(kept.iter().all(|line| text.contains(line)), "{text}");
}

#[test]
fn an_import_runs_no_program_that_the_policy_does_not_allow_and_waits_for_none_for_ever() {
    let world = World::new();
    let silent = Silent::new(&world, "silent");
    llama_swap(&world, &silent.path);
    fs::write(world.path().join("policy.toml"), "").unwrap();
    let policy = [&["--policy", "policy.toml"], IMPORT].concat();
    world.run(&policy).exits(0).says(&["--k-cache-hadamard: kept, not checked", "policy.toml"]);
    assert_eq!(silent.times_asked(), 0);
    fs::remove_dir_all(world.path().join("out")).unwrap();
    world.run(IMPORT).exits(0).says(&["kept, not checked", "did not answer --help within 10 s"]);
    assert_eq!((silent.times_asked(), silent.is_running()), (1, false));
}

#[test]
fn a_running_server_is_judged_by_the_program_it_was_called_as() {
    let world = World::new();
    let weights = world.weights("m", "m ");
    let program = Silent::doing(&world, "fork", "exec \"$real\" \"$@\"");
    let port = free_port();
    let server = Command::new(llama_server())
        .arg0(&program.path)
        .arg("-m")
        .arg(&weights)
        .args(["-c", "512", "--alias", "m", "--port", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    eventually("it answers", PATIENCE, || matches!(get(port, "/health"), Ok((200, _))));
    let pid = server.child().id().to_string();
    world.run(&["import", "process", &pid, "--to", "out"]).exits(0).does_not_say("not checked");
    let text = imported(&world);
    assert!(text.contains(&format!("binary = \"{}\"", program.path.display())), "{text}");
    assert_eq!(program.times_asked(), 1);
}
