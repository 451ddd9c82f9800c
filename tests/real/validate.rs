//! `herdsman validate`, as a pull request is checked: with a real repository,
//! without a state directory, and without llama-server.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Ran, World, free_port, git, llama_server};
use insta::assert_snapshot;

/// A checkout: nothing but files.
struct Checkout {
    dir: tempfile::TempDir,
}

impl Checkout {
    fn new(files: &[(&str, &str)]) -> Self {
        let checkout = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(checkout.path().join("models.d")).unwrap();
        checkout.write(files);
        checkout
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, files: &[(&str, &str)]) {
        for (name, text) in files {
            fs::write(self.path().join("models.d").join(name), text).unwrap();
        }
    }

    fn git(&self, command: &str) {
        git(self.path(), &command.split(' ').collect::<Vec<_>>());
    }

    fn commit(&self) {
        self.git("add -A");
        self.git("commit -q -m change");
    }

    /// Runs `herdsman validate`, where there is nothing it could write to.
    fn validate(&self, args: &[&str]) -> Ran {
        let mut herdsman = Command::new(env!("CARGO_BIN_EXE_herdsman"));
        herdsman.arg("validate").args(args).current_dir(self.path());
        herdsman.env("HERDSMAN_STATE_DIR", "/nowhere").env("PATH", std::env::var_os("PATH").unwrap());
        for variable in ["HERDSMAN_MODELS_DIR", "HERDSMAN_DATABASE", "HERDSMAN_LLAMA_SERVER", "GITHUB_WORKSPACE"] {
            herdsman.env_remove(variable);
        }
        Ran::of(&mut herdsman)
    }
}

const CHAT: &str = "model = \"../weights/chat.gguf\"\n[parameters]\nctx_size = 1024\n";

/// Two models, in the only commit of a repository.
fn repository() -> Checkout {
    let checkout = Checkout::new(&[("chat.toml", CHAT), ("embed.toml", "model = \"../weights/embed.gguf\"\n")]);
    checkout.git("init -q -b main");
    checkout.commit();
    checkout
}

#[test]
fn good_definitions_are_counted_and_bad_ones_exit_65_with_their_lines() {
    let checkout = Checkout::new(&[("chat.toml", CHAT)]);
    let good = checkout.validate(&[]).exits(0);
    assert_eq!((good.stdout.as_str(), good.stderr.as_str()), ("1 definition is valid.\n", ""));

    checkout.write(&[("odd.toml", "model = \"x.gguf\"\nprot = 8100\n"), ("half.toml", "model = ")]);
    let bad = checkout.validate(&[]).exits(65);
    assert_snapshot!(bad.stdout, @"2 definitions invalid, 1 valid.");
    assert_snapshot!(bad.stderr, @r"
    error: not valid TOML: the value is missing
     --> models.d/half.toml:1:9
      |
    1 | model = 
      |         ^
      |
      = help: write a value after the `=`

    error: unknown key `prot`
     --> models.d/odd.toml:2:1
      |
    2 | prot = 8100
      | ^^^^
      |
      = help: did you mean `port`?
    ");
}

#[test]
fn validate_prints_only_what_was_asked_for() {
    let checkout = Checkout::new(&[("chat.toml", CHAT), ("odd.toml", "prot = 8100\n")]);
    assert_eq!(checkout.validate(&["models.d/chat.toml"]).exits(0).stdout, "1 definition is valid.\n");
    let odd = checkout.validate(&["models.d/odd.toml"]).exits(65);
    assert_eq!(odd.stdout, "1 definition invalid, 0 valid.\n");
    assert!(!odd.stderr.contains("chat.toml"), "{odd}");

    checkout.write(&[("_defaults.toml", "stat = \"running\"\n")]);
    let defaults = checkout.validate(&["models.d/chat.toml"]).exits(65);
    assert!(defaults.stderr.contains("models.d/_defaults.toml:1:1"), "{defaults}");
    let missing = checkout.validate(&["models.d/none.toml"]).exits(66);
    assert!(missing.stderr.starts_with("error: cannot read models.d/none.toml: No such file"), "{missing}");
    assert_eq!(Checkout::new(&[]).validate(&["elsewhere"]).code, 66);
    checkout.write(&[("notes.txt", "")]);
    checkout.validate(&["models.d/notes.txt"]).exits(64);
}

#[test]
fn uses_the_options_of_the_named_llama_server() {
    let checkout = Checkout::new(&[("chat.toml", CHAT)]);
    let real = llama_server().display().to_string();
    checkout.validate(&["--llama-server", &real]).exits(0);
    let none = checkout.validate(&["--llama-server", "/nowhere/llama-server"]).exits(69);
    assert!(none.stderr.starts_with("error: no llama-server at /nowhere/llama-server"), "{none}");
}

#[test]
fn the_host_is_looked_at_only_when_asked() {
    let definition = format!("{CHAT}[secrets]\napi_key = {{ file = \"/nowhere/key\" }}\n");
    let checkout = Checkout::new(&[("chat.toml", &format!("binary = \"/nowhere/llama\"\n{definition}"))]);
    checkout.validate(&[]).exits(0);
    let host = checkout.validate(&["--host"]).exits(65);
    for missing in ["chat.gguf does not exist", "/nowhere/key", "no llama-server at /nowhere/llama"] {
        assert!(host.stderr.contains(missing), "{missing}: {host}");
    }
    assert!(host.stderr.contains("models.d/chat.toml:1:"), "{host}");
}

#[test]
fn validate_reports_invalid_weights_as_a_start_would() {
    let checkout = Checkout::new(&[]);
    crate::support::gguf::TinyGguf::new("x ").write(&checkout.path().join("cut.gguf")).unwrap();
    fs::File::options().write(true).open(checkout.path().join("cut.gguf")).unwrap().set_len(20_000).unwrap();
    crate::support::gguf::TinyGguf::new("x ").write(&checkout.path().join("good.gguf")).unwrap();
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4920734272\n";
    for (name, text) in [("lfs", lfs), ("page", "<!doctype html><title>Sign in</title>"), ("empty", "")] {
        fs::write(checkout.path().join(format!("{name}.gguf")), text).unwrap();
    }
    for name in ["cut", "good", "lfs", "page", "empty"] {
        checkout.write(&[(&format!("{name}.toml"), &format!("model = \"../{name}.gguf\"\n"))]);
    }
    checkout.validate(&[]).exits(0);
    let server = llama_server().display().to_string();
    let ran = checkout.validate(&["--host", "--llama-server", &server]).exits(65);
    ran.says(&[
        "/cut.gguf is truncated: it has 20000 of at least 2",
        "/lfs.gguf is a Git LFS pointer, not the weights; run `git lfs pull`",
        "/page.gguf is an HTML page, not a GGUF file: the server sent a login or error page",
        "/empty.gguf is empty",
        "models.d/lfs.toml:1:13",
        "4 definitions invalid, 1 valid",
    ]);
}

#[test]
fn reports_lookalike_files_that_are_not_read() {
    let checkout = Checkout::new(&[("chat.toml", CHAT), ("A.TOML", CHAT), ("README.md", ""), ("_draft.TOML", "")]);
    for (dir, file) in [("team", "b.toml"), (".git", "c.toml"), ("_old", "d.toml"), ("docs", "e.md")] {
        fs::create_dir(checkout.path().join("models.d").join(dir)).unwrap();
        fs::write(checkout.path().join("models.d").join(dir).join(file), CHAT).unwrap();
    }
    let ran = checkout.validate(&[]).exits(0);
    assert_eq!(ran.stdout, "1 definition is valid.\n");
    assert_snapshot!(ran.stderr, @r"
    warning: not read: the name of a definition file must end in `.toml`, in lower case
    --> models.d/A.TOML
     = help: rename it to `A.toml`

    warning: not read: b.toml in a subdirectory
    --> models.d/team
     = help: move it up, or read that directory with `--models-dir models.d/team`; to silence this warning, start its name with `_`
    ");
    // A file that was asked for by name needs no such warning.
    assert_eq!(checkout.validate(&["models.d/chat.toml"]).exits(0).stderr, "");
}

#[test]
fn a_path_that_is_written_for_a_shell_or_for_windows_is_shown_as_typed() {
    let paths =
        ["'~/a.gguf'", "'$HOME/a.gguf'", r"'C:\models\a.gguf'", r#""C:\temp\new.gguf""#, r"'\\wsl$\Debian\srv\a.gguf'"];
    let checkout = Checkout::new(&[("bad.toml", "model = \"C:\\models\\a.gguf\"\n")]);
    for (number, path) in paths.iter().enumerate() {
        checkout.write(&[(&format!("m{number}.toml"), &format!("model = {path}\n"))]);
    }
    let ran = checkout.validate(&[]).exits(65);
    let home = std::env::var("HOME").unwrap();
    let shell = [
        &*format!("= help: write the absolute path: `{home}/a.gguf`"),
        "models.d/m0.toml:1:9",
        "only a shell expands `~`",
        "models.d/m1.toml:1:9",
        "only a shell expands `$HOME`",
    ];
    ran.says(&shell).says(&[
        "models.d/bad.toml:1:13",
        "`\\` in double quotes starts an escape, and this looks like a Windows path",
        "this is a Windows path",
        "(in WSL it may be `/mnt/c/models/a.gguf`)",
        "(in WSL it may be `/mnt/c/temp/new.gguf`)",
        "(in WSL it may be `/srv/a.gguf`)",
    ]);
    let server = llama_server().display().to_string();
    checkout.validate(&["--host", "--llama-server", &server]).exits(65).says(&[
        "the file ~/a.gguf does not exist: only a shell expands `~`",
        r"the file C:\models\a.gguf does not exist",
        r"the file C:\temp\new.gguf does not exist",
        r"the file \\wsl$\Debian\srv\a.gguf does not exist",
    ]);
}

#[test]
fn a_pull_request_shows_what_changes_from_the_branch_it_goes_to() {
    let checkout = repository();
    let unchanged = checkout.validate(&["--against", "main"]).exits(0);
    assert!(unchanged.stdout.ends_with("):\nNo changes.\n"), "{unchanged}");

    checkout.write(&[
        ("chat.toml", &CHAT.replace("1024", "2048")),
        ("new.toml", "state = \"stopped\"\nhf_repo = \"a/b\"\n"),
    ]);
    checkout.write(&[("embed.toml", "description = \"for search\"\nmodel = \"../weights/embed.gguf\"\n")]);
    let changed = checkout.validate(&["--against", "main"]).exits(0);
    let (first, rest) = changed.stdout.split_once("\n\n").unwrap();
    assert_eq!(first, "3 definitions are valid.");
    let (from, changes) = rest.split_once('\n').unwrap();
    assert!(from.starts_with("Changes since main (") && from.ends_with("):"), "{from}");
    assert_snapshot!(changes, @r"
    -/+ chat   restart  ctx_size 1024 -> 2048   models.d/chat.toml:3
      ~ embed  update   description (no restart)   models.d/embed.toml:1
      + new    create   models.d/new.toml (declared stopped)

    Plan: 1 to create, 1 to update, 1 to restart.
    ");

    let json = checkout.validate(&["--against", "HEAD", "--format", "json"]).exits(0).json();
    assert_eq!(json["against"]["actions"][0]["reasons"][0]["new"], "2048");
}

#[test]
fn reports_a_declared_port_in_use_but_not_by_our_own_server() {
    let world = World::new();
    world.weights("a", "a ");
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (own, taken) = (free_port(), stranger.local_addr().unwrap().port());
    world.write_definition("a", &format!("port = {own}\n{}", World::tiny_toml("a")));
    world.converges();
    world.write_definition("b", &format!("port = {taken}\n{}", World::tiny_toml("a")));
    world.write_definition("c", &format!("state = \"stopped\"\nport = 1\n{}", World::tiny_toml("a")));
    world.run(&["validate"]).exits(0);
    let ran = world.run(&["validate", "--host"]).exits(65);
    assert!(ran.stderr.contains(&format!("error: port {taken} is in use by pid {} (", std::process::id())), "{ran}");
    assert!(ran.stderr.contains("models.d/b.toml:1:8"), "{ran}");
    assert_eq!(ran.stderr.matches("error:").count(), 1, "{ran}");
    assert!(ran.stdout.contains("1 definition invalid, 2 valid."), "{ran}");
    // Of another file nobody asked.
    world.run(&["validate", "--host", "models.d/a.toml"]).exits(0).says(&["1 definition is valid."]);
}

#[test]
fn what_a_host_would_not_notice_is_no_change_and_another_secret_is_one() {
    let secret = |file: &str| format!("port = 8200\n{CHAT}[secrets]\napi_key = {{ file = \"/run/{file}\" }}\n");
    let checkout = repository();
    checkout.write(&[("chat.toml", &secret("a"))]);
    checkout.commit();
    // The port stays as it was recorded.
    checkout.write(&[("chat.toml", &secret("a").replace("port = 8200", "# no port"))]);
    let unchanged = checkout.validate(&["--against", "HEAD"]).exits(0);
    assert!(unchanged.stdout.ends_with("No changes.\n"), "{unchanged}");
    checkout.write(&[("chat.toml", &secret("b"))]);
    let changed = checkout.validate(&["--against", "HEAD"]).exits(0);
    assert!(
        changed.stdout.contains("restart  secrets.api_key file /run/a -> file /run/b   models.d/chat.toml:6"),
        "{changed}"
    );
}

#[test]
fn a_file_that_is_broken_deletes_nothing_and_one_that_was_is_not_compared() {
    let checkout = repository();
    checkout.write(&[("chat.toml", "model = ")]);
    let broken = checkout.validate(&["--against", "main"]).exits(65);
    assert!(broken.stdout.contains("! chat  wait     left unchanged: models.d/chat.toml"), "{broken}");
    checkout.commit();
    checkout.write(&[("chat.toml", CHAT)]);
    let fixed = checkout.validate(&["--against", "HEAD"]).exits(0);
    assert!(fixed.stdout.contains(". models.d/chat.toml was invalid there; its model counts as new"), "{fixed}");
}

#[test]
fn shows_a_rename_and_a_mass_deletion_before_the_merge() {
    let checkout = repository();
    fs::rename(checkout.path().join("models.d/chat.toml"), checkout.path().join("models.d/talk.toml")).unwrap();
    fs::remove_file(checkout.path().join("models.d/embed.toml")).unwrap();
    let refused = checkout.validate(&["--against", "main"]).exits(0);
    assert!(refused.stdout.contains("refused to delete 2 of 2 managed models"), "{refused}");
    assert!(refused.stdout.contains("talk uses the weights of chat: if you renamed it"), "{refused}");
}

#[test]
fn another_directory_may_be_compared_with_and_a_wrong_revision_is_named() {
    let checkout = repository();
    let other = checkout.path().join("other.d");
    fs::create_dir(&other).unwrap();
    fs::copy(checkout.path().join("models.d/chat.toml"), other.join("chat.toml")).unwrap();
    let changes = checkout.validate(&["--against", "other.d"]).exits(0);
    assert!(changes.stdout.contains("+ embed  create"), "{changes}");
    assert!(!changes.stdout.contains("chat  "), "{changes}");

    let wrong = checkout.validate(&["--against", "mian"]).exits(64);
    assert!(
        wrong.stderr.starts_with("error: --against mian: not a directory, and \"mian\" is not a commit"),
        "{wrong}"
    );
    checkout.validate(&["--against", "main", "models.d/chat.toml"]).exits(64);
    let bare = Checkout::new(&[]);
    let none = bare.validate(&["--against", "main"]).exits(64);
    assert!(none.stderr.contains("is not in a Git repository"), "{none}");
}

#[test]
fn a_commit_without_the_directory_has_nothing_to_compare() {
    let checkout = Checkout::new(&[]);
    fs::write(checkout.path().join("README"), "").unwrap();
    checkout.git("init -q -b main");
    checkout.commit();
    checkout.write(&[("chat.toml", CHAT)]);
    assert!(checkout.validate(&["--against", "main"]).exits(0).stdout.contains("+ chat  create"));
}

#[test]
fn github_shows_problems_and_changes_at_their_lines() {
    let checkout = repository();
    checkout.write(&[
        ("chat.toml", &format!("{CHAT}chat_template = \"100%\\n::error::\"\n")),
        ("odd, file.toml", "name = \"odd\"\nhf_repo = \"a/b\"\nctx_sizes = 1\n"),
    ]);
    let ran = checkout.validate(&["--against", "main", "--format", "github"]).exits(65);
    assert_snapshot!(ran.stdout, @r"
    ::error title=herdsman,file=models.d/odd%2C file.toml,line=3,col=1,endColumn=10::unknown key `ctx_sizes`%0Ahelp: did you mean the option `ctx_size`? It goes under `[parameters]`
    ::notice title=restart chat,file=models.d/chat.toml,line=4::chat_template set to 100%25 ::error::   models.d/chat.toml:4
    ");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_pull_request_shows_who_shares_room_and_that_nothing_restarts() {
    let groups = "[gpu]\nmax_running = 2\n";
    let checkout = repository();
    checkout.write(&[("_groups.toml", groups), ("chat.toml", &format!("group = \"gpu\"\n{CHAT}"))]);
    checkout.commit();
    let shared = "state = \"on_demand\"\ngroup = \"gpu\"\npriority = 5\nevict = \"never\"\n";
    let policies = "[idle]\nstop_after = \"off\"\n[serve]\nlisted = false\nmax_in_flight = 4\n";
    checkout.write(&[
        ("_groups.toml", &groups.replace('2', "1")),
        ("embed.toml", &format!("{shared}model = \"../weights/embed.gguf\"\n{policies}")),
    ]);
    let changed = checkout.validate(&["--against", "HEAD"]).exits(0);
    let (_, changes) = changed.stdout.split_once("):\n").unwrap();
    assert_snapshot!(changes, @r#"
      ~ chat   update   groups.gpu.max_running 2 -> 1 (no restart)   models.d/_groups.toml:2
      ~ embed  update   state = "on_demand"   models.d/embed.toml:1
                        group set to gpu (no restart)   models.d/embed.toml:2
                        idle.stop_after set to off (no restart)   models.d/embed.toml:7
                        priority set to 5 (no restart)   models.d/embed.toml:3
                        evict set to never (no restart)   models.d/embed.toml:4
                        serve.listed set to false (no restart)   models.d/embed.toml:9
                        serve.max_in_flight set to 4 (no restart)   models.d/embed.toml:10

    Plan: 2 to update.
    "#);
    let json = checkout.validate(&["--against", "HEAD", "--format", "json"]).exits(0).json();
    let reason = &json["against"]["actions"][0]["reasons"][0];
    assert_eq!((&reason["field"], &reason["impact"]), (&"groups.gpu.max_running".into(), &"none".into()));
}

#[test]
fn a_broken_file_of_groups_changes_nothing_and_is_reported_with_every_member() {
    let checkout = repository();
    checkout.write(&[("_groups.toml", "[gpu]\nmax_running = 1\n"), ("chat.toml", &format!("group = \"gpu\"\n{CHAT}"))]);
    checkout.commit();
    checkout.write(&[("_groups.toml", "[gpu]\nmax_runing = 1\n")]);
    let broken = checkout.validate(&["--against", "HEAD"]).exits(65);
    assert!(broken.stdout.contains("! chat  wait     left unchanged: models.d/chat.toml"), "{broken}");
    assert!(!broken.stdout.contains("embed"), "it is in no group: {broken}");
    for file in ["models.d/_groups.toml", "models.d/chat.toml", "models.d/embed.toml"] {
        let ran = checkout.validate(&[file]).exits(65);
        assert!(ran.stderr.contains("models.d/_groups.toml:2:1"), "{ran}");
    }
    let github = checkout.validate(&["--format", "github"]).exits(65);
    assert!(github.stdout.starts_with("::error title=herdsman,file=models.d/_groups.toml,line=2,col=1,"), "{github}");
    // Without the file there is no such group.
    fs::remove_file(checkout.path().join("models.d/_groups.toml")).unwrap();
    checkout.validate(&[]).exits(65).says(&["there is no group `gpu`", "models.d/chat.toml:1:9"]);
}

#[test]
fn a_validation_beside_a_running_herdsman_touches_nothing() {
    let world = World::new();
    world.tiny("a");
    world.converges();
    let before = world.instances();
    world.run(&["validate", "--host", "--format", "json"]).exits(0);
    assert_eq!(world.instances().len(), before.len());
}
