//! llama-swap's configuration and llama-server's presets.

use std::fs;

use super::{all_valid, sample, whole};
use crate::support::{Ran, World};

/// Imports a sample into `out`.
fn import(world: &World, kind: &str, name: &str) -> Ran {
    sample(world, name);
    let mut command = world.command();
    command.env("IMPORT_TEST_HOME", "/home/x").env("IMPORT_TEST_API_KEY", "sk-verysecret");
    command.env("HOME", "/home/x");
    command.args(["import", kind, name, "--to", "out"]);
    Ran::of(&mut command)
}

#[test]
fn the_example_of_llama_swap_becomes_definitions() {
    let world = World::new();
    let ran = import(&world, "llama-swap", "example.yaml").exits(1).does_not_say("hunter2");
    insta::assert_snapshot!(whole(&world, &ran, "out"));
    all_valid(&world.path().join("out"), 3);
}

#[test]
fn an_odd_configuration_of_llama_swap_becomes_what_it_can() {
    let world = World::new();
    let ran = import(&world, "llama-swap", "odd.yaml").exits(1);
    let text = whole(&world, &ran, "out");
    assert!(!text.contains("verysecret"), "{text}");
    insta::assert_snapshot!(text);
    all_valid(&world.path().join("out"), 4);
}

#[test]
fn finds_a_wrapped_command_and_notes_its_wrappers() {
    let world = World::new();
    sample(&world, "serve.sh");
    let ran = import(&world, "llama-swap", "wrapped.yaml").exits(1);
    let text = whole(&world, &ran, "out");
    assert!(!text.contains("verysecret"), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn a_model_of_a_script_runs_once_it_is_looked_at() {
    let world = World::new();
    world.weights("m", "from a script ");
    let script =
        "cd weights\nM=m.gguf\nexport OMP_WAIT_POLICY=passive\nexec llama-server -m $M -c 512 -t 1 --port $1\n";
    fs::write(world.path().join("serve.sh"), script).unwrap();
    fs::write(world.path().join("config.yaml"), "models:\n  m:\n    cmd: sh serve.sh ${PORT}\n").unwrap();
    let ran = world.run(&["import", "llama-swap", "config.yaml", "--to", "models.d"]).exits(1);
    ran.says(&["/serve.sh: herdsman took only llama-server's command from this script", "1 to check"]);
    let file = world.models_dir().join("m.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("state = \"on_demand\"", "state = \"running\"")).unwrap();
    world.converges();
    assert_eq!(world.answer("m"), "from a script from a script from a script ");
}

#[test]
fn a_configuration_of_several_files_is_one() {
    let world = World::new();
    let conf = world.path().join("conf.d");
    fs::create_dir(&conf).unwrap();
    fs::write(world.path().join("main.yaml"), "macros:\n  s: llama-server -c 512\nhealthCheckTimeout: 90\n").unwrap();
    fs::write(conf.join("b.yml"), "models:\n  b:\n    cmd: ${s} -m /b.gguf\n").unwrap();
    fs::write(
        conf.join("a.yaml"),
        "models:\n  a:\n    cmd: ${s} -m /a.gguf\nhooks:\n  on_startup:\n    preload: [b]\n",
    )
    .unwrap();
    fs::write(conf.join("notes.txt"), "not read").unwrap();
    world
        .run(&["import", "llama-swap", "main.yaml", "conf.d", "--to", "out"])
        .exits(0)
        .says(&["out/a.toml         conf.d/a.yaml:2 (on demand)", "out/b.toml         conf.d/b.yml:2 (on demand)"]);
    let text = fs::read_to_string(world.path().join("out/b.toml")).unwrap();
    assert!(text.contains("timeout = \"90s\"") && text.contains("ctx_size = 512"), "{text}");

    fs::write(conf.join("c.yaml"), "models:\n  b:\n    cmd: ${s} -m /c.gguf\n").unwrap();
    world
        .run(&["import", "llama-swap", "main.yaml", "conf.d", "--to", "other"])
        .exits(65)
        .says(&["the model `b` is also defined in conf.d/b.yml:2", "conf.d/c.yaml:2:3"]);
}

#[test]
fn a_renamed_model_keeps_its_name_and_an_open_host_is_for_a_person_to_check() {
    let world = World::new();
    let config = "\
macros:
  server: llama-server --host 0.0.0.0 --port ${PORT}
models:
  \"qwen:7b\":
    cmd: ${server} -m /m.gguf
  pinned:
    cmd: taskset -c 0-1 ${env.HOME}/bin/llama-server --host 127.0.0.1 -m /n.gguf
";
    fs::write(world.path().join("config.yaml"), config).unwrap();
    world.run(&["import", "llama-swap", "config.yaml", "--to", "out"]).exits(1).says(&[
        "config.yaml:4: qwen-7b: --host 0.0.0.0: other machines reach this server past the gateway",
        "config.yaml:4 (on demand), also answers as qwen:7b",
        "2 to check",
    ]);
    let text = |name: &str| fs::read_to_string(world.path().join("out").join(name)).unwrap();
    assert!(text("qwen-7b.toml").contains("aliases = [\"qwen:7b\"]"), "{}", text("qwen-7b.toml"));
    assert!(!text("pinned.toml").contains("${env") && !text("pinned.toml").contains("past the gateway"));
    all_valid(&world.path().join("out"), 2);
}

#[test]
fn prints_and_writes_no_secret_of_a_configuration() {
    let world = World::new();
    let ran = import(&world, "llama-swap", "secrets.yaml").exits(1);
    let text = whole(&world, &ran, "out");
    assert!(!text.contains("verysecret"), "{text}");
    insta::assert_snapshot!(text);
    all_valid(&world.path().join("out"), 2);
}

#[test]
fn what_llama_swap_runs_together_becomes_groups() {
    let world = World::new();
    let ran = import(&world, "llama-swap", "groups.yaml").exits(0);
    insta::assert_snapshot!(whole(&world, &ran, "out"));
    all_valid(&world.path().join("out"), 5);
    // What is there belongs to somebody.
    for name in ["chat", "coder", "embed", "rerank", "image"] {
        fs::remove_file(world.path().join(format!("out/{name}.toml"))).unwrap();
    }
    import(&world, "llama-swap", "groups.yaml")
        .exits(1)
        .says(&["out/_groups.toml already exists", "nothing was written"]);
}

#[test]
fn a_router_runs_as_many_models_as_it_is_allowed() {
    let world = World::new();
    let section = |name: &str| format!("[{name}]\nmodel = /{name}.gguf\n");
    let preset = ["a", "b", "c", "d", "e"].map(section).concat() + "load-on-startup = true\n";
    fs::write(world.path().join("p.ini"), &preset).unwrap();
    let import = |to: &str, most: &[&str]| {
        world.run(&[&["import", "preset", "p.ini", "--to", to], most].concat()).exits(0);
        let read = |file: &str| fs::read_to_string(world.path().join(to).join(file)).unwrap_or_default();
        (read("_groups.toml"), read("a.toml"), read("e.toml"))
    };
    let (groups, a, e) = import("default", &[]);
    assert!(groups.ends_with("[router]\nmax_running = 4\n"), "{groups}");
    assert!(
        a.contains("state = \"on_demand\"") && a.contains("group = \"router\"") && a.contains("stop_after = \"off\""),
        "{a}"
    );
    assert!(!e.contains("state =") && e.contains("group = \"router\""), "it is loaded on startup: {e}");
    let (groups, _, e) = import("one", &["--models-max", "1"]);
    assert!(
        groups.ends_with("max_running = 1\n") && e.contains("load-on-startup: starts with its first request"),
        "{e}"
    );
    let (groups, a, _) = import("any", &["--models-max", "0"]);
    assert!(groups.is_empty() && !a.contains("group ="), "{a}");
    assert!(import("enough", &["--models-max", "5"]).0.is_empty());
}

#[test]
fn reports_unsupported_hooks_and_models_left_out() {
    let world = World::new();
    let ran = import(&world, "llama-swap", "hooks.yaml").exits(1);
    insta::assert_snapshot!(whole(&world, &ran, "out"));
}

#[test]
fn a_preset_becomes_definitions_with_what_it_says_of_all() {
    let world = World::new();
    let ran = import(&world, "preset", "preset.ini").exits(1);
    let text = whole(&world, &ran, "out");
    assert!(!text.contains("verysecret"), "{text}");
    insta::assert_snapshot!(text);
    all_valid(&world.path().join("out"), 2);
}

#[test]
fn a_dry_run_prints_what_would_be_written_and_writes_nothing() {
    let world = World::new();
    sample(&world, "preset.ini");
    let dry = world.run(&["import", "preset", "preset.ini", "--to", "out", "--dry-run"]).exits(1);
    assert!(!world.path().join("out").exists());
    import(&world, "preset", "preset.ini");
    for entry in fs::read_dir(world.path().join("out")).unwrap() {
        assert!(dry.stdout.contains(&fs::read_to_string(entry.unwrap().path()).unwrap()), "{dry}");
    }
}

#[test]
fn a_file_that_is_there_stops_all_and_stays_as_it_is() {
    let world = World::new();
    fs::create_dir(world.path().join("out")).unwrap();
    let mine = world.path().join("out/Gr-e-M.toml");
    fs::write(&mine, "mine").unwrap();
    let ran = import(&world, "preset", "preset.ini")
        .exits(1)
        .says(&["out/Gr-e-M.toml already exists", "nothing was written"]);
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine", "{ran}");
    assert_eq!(fs::read_dir(world.path().join("out")).unwrap().count(), 1, "nor is a hidden file left");
}

#[test]
fn a_dry_run_shows_the_definitions_also_if_a_file_is_there() {
    let world = World::new();
    sample(&world, "preset.ini");
    fs::create_dir(world.path().join("out")).unwrap();
    fs::write(world.path().join("out/Gr-e-M.toml"), "mine").unwrap();
    world.run(&["import", "preset", "preset.ini", "--to", "out", "--dry-run"]).exits(1).says(&[
        "==> out/Gr-e-M.toml <==",
        "already exists",
        "nothing was written",
    ]);
}

#[test]
fn definitions_that_clash_with_those_that_are_there_are_not_written() {
    let world = World::new();
    fs::create_dir(world.path().join("out")).unwrap();
    fs::write(world.path().join("out/other.toml"), "model = \"/m.gguf\"\nport = 9000\n").unwrap();
    import(&world, "preset", "preset.ini").exits(1).says(&["9000", "out/Gr-e-M.toml:", "nothing was written"]);
    assert_eq!(fs::read_dir(world.path().join("out")).unwrap().count(), 1);
}

#[test]
fn reports_an_invalid_source_with_its_places() {
    let world = World::new();
    let mut said = String::new();
    for (kind, text) in [
        ("llama-swap", "models:\n  a: [x\n  api_key: sk-1\n"),
        ("llama-swap", "models:\n  a:\n    ttl: soon\n    env: A=b\n    cmd: x\n  b: [1]\n"),
        ("llama-swap", "- x\n"),
        ("llama-swap", "models: {}\n"),
        ("llama-swap", ""),
        ("preset", "[a]\nhello\n[b\n"),
        ("preset", "version = 1\n[*]\nc = 512\n"),
        ("database", "no database"),
    ] {
        fs::write(world.path().join("source"), text).unwrap();
        let ran = world.run(&["import", kind, "source", "--to", "out"]).exits(65).does_not_say("sk-1");
        said += &format!("--- {kind}\n{}", ran.stderr.replace(world.path().to_str().unwrap(), "[world]"));
    }
    insta::assert_snapshot!(said);
    assert!(!world.path().join("out").exists());
}

#[test]
fn a_source_that_cannot_be_read_is_66_and_wrong_usage_64() {
    let world = World::new();
    for source in [
        &["llama-swap", "none"][..],
        &["preset", "."],
        &["database", "none"],
        &["ggufs", "none"],
        &["process", "2147483646"],
    ] {
        world.run(&[&["import"], source, &["--to", "out"]].concat()).exits(66).says(&["cannot read"]);
    }
    world.run(&["import", "process", "self", "--to", "out"]).exits(64);
    world.run(&["import", "preset", "x"]).exits(64);
}
