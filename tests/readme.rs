//! The README's transcript is run, and must come out as it is printed there.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "edits/repository.rs"]
#[allow(dead_code, reason = "shared with the tests of edits")]
mod repository;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use repository::Repository;
use rustix::process::Signal;
use support::{World, eventually, llama_server};

const PATIENCE: Duration = Duration::from_secs(60);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The commands of the README's `console` blocks, each with what it prints.
fn transcript(readme: &str) -> Vec<(String, String)> {
    let mut commands: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => inside = language == "console",
            None if inside => match (line.strip_prefix("$ "), commands.last_mut()) {
                (Some(command), _) => commands.push((command.to_owned(), String::new())),
                (None, Some((_, output))) => *output += &format!("{line}\n"),
                (None, None) => panic!("output before the first command: {line}"),
            },
            None => {}
        }
    }
    commands
}

/// What differs from run to run: pids, ports, times and memory, and which
/// server is ready first.
fn normalised(output: &str) -> Vec<String> {
    let mut lines: Vec<String> = output
        .lines()
        .map(|line| {
            let hidden = line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>();
            let varies = ["(pid ", "MiB", "UPTIME"].iter().any(|word| line.contains(word));
            let line = if told_by_why(line) {
                without_times(line)
            } else if varies {
                hidden
            } else {
                line.to_owned()
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut line = words.join(" ");
            while line.contains("##") {
                line = line.replace("##", "#");
            }
            line
        })
        .filter(|line| !line.is_empty() && !line.contains(": loading"))
        .collect();
    let mut start = 0;
    while start < lines.len() {
        let length = lines[start..].iter().take_while(|line| line.contains(": ready after")).count();
        lines[start..start + length].sort();
        start += length.max(1);
    }
    lines
}

/// Whether this is a line of `herdsman why` with something that differs.
fn told_by_why(line: &str) -> bool {
    ["generation  ", "action  ", "process  "].iter().any(|head| line.starts_with(head))
        || line.trim_start().starts_with("ready after ")
}

/// That line without commit, times, ports and memory.
fn without_times(line: &str) -> String {
    let parts = line.split(", ").map(|part| match part.split_once("of commit ") {
        Some((_, rest)) => format!("of commit #{}", &rest[10..]),
        None if part == "just now" || part.ends_with(" ago") => "# ago".to_owned(),
        None => part.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>(),
    });
    let line = parts.collect::<Vec<_>>().join(", ");
    ["####", "###", "##", "#.#"].iter().fold(line, |line, digits| line.replace(digits, "#")).replace("# ms", "# s")
}

/// `herdsman` on a `PATH`, with this world's ports.
fn install(world: &World, bin: &Path) {
    fs::create_dir(bin).unwrap();
    let ports = world.ports().range();
    let script = format!(
        "#!/bin/sh\nexec '{}' --port-range {}-{} \"$@\"\n",
        env!("CARGO_BIN_EXE_herdsman"),
        ports.start(),
        ports.end()
    );
    fs::write(bin.join("herdsman"), script).unwrap();
    fs::set_permissions(bin.join("herdsman"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// The models the README speaks of, in this world.
fn models_of_the_readme() -> World {
    let world = World::new();
    for entry in fs::read_dir(format!("{ROOT}/models.d")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, world.models_dir().join(path.file_name().unwrap())).unwrap();
    }
    for (name, text) in [("tiny-chat", "hello "), ("tiny-embed", "embed "), ("tiny-spare", "spare ")] {
        world.weights(name, text);
    }
    Repository::init(world.path()).commit();
    world
}

#[test]
fn the_transcript_in_the_readme_is_what_happens() {
    let commands = transcript(&fs::read_to_string(format!("{ROOT}/README.md")).unwrap());
    assert!(commands.len() >= 5, "{commands:?}");
    let world = models_of_the_readme();
    let bin = world.path().join("bin");
    install(&world, &bin);
    for (command, expected) in commands {
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .current_dir(world.path())
            .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
            .env("HOME", world.path().join("home"))
            .env("HERDSMAN_STATE_DIR", world.state_dir())
            .env("HERDSMAN_LLAMA_SERVER", llama_server())
            .env_remove("HERDSMAN_MODELS_DIR")
            .env_remove("HERDSMAN_DATABASE")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(normalised(&printed), normalised(&expected), "$ {command}\n{printed}");
    }
}

/// A line of a log, without what differs from run to run; what stands for any
/// text (`…`) ends it.
fn log_line(line: &str) -> Vec<String> {
    let (_, line) = line.split_once("Z ").unwrap();
    let hidden: String = line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    hidden.split_whitespace().map(|word| word.trim_matches('#').to_owned()).collect()
}

#[test]
fn the_log_in_the_readme_is_what_watch_writes() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    let (_, block) = readme.split_once("$ herdsman watch\n").unwrap();
    let expected: Vec<&str> = block.lines().take_while(|line| *line != "```").collect();
    let world = models_of_the_readme();
    world.converges();
    let log = world.path().join("stderr.log");
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let written = |count: usize| eventually("the next lines", PATIENCE, || lines().len() >= count);
    let _watch = world.start(&["watch"]);
    written(2);
    let definition = world.models_dir().join("tiny-chat.toml");
    let text = fs::read_to_string(&definition).unwrap();
    fs::write(&definition, text.replace("1024 ", "2048 ")).unwrap();
    written(4);
    // A server that crashes sooner than this after its start waits for its next try.
    let ready = Instant::now();
    eventually("it has run for longer than the first delay", PATIENCE, || ready.elapsed() > Duration::from_secs(1));
    world.signal("tiny-chat", Signal::SEGV);
    written(expected.len());
    for (line, expected) in lines().iter().zip(&expected) {
        let (line, expected) = (log_line(line), log_line(expected));
        let mut parts = expected.split(|word| word == "…");
        let (first, last) = (parts.next().unwrap(), parts.next_back().unwrap_or_default());
        assert!(line.starts_with(first) && line.ends_with(last), "{line:?}\n{expected:?}");
    }
}

#[test]
fn the_readme_names_every_option_and_every_exit_code() {
    let readme = fs::read_to_string(format!("{ROOT}/README.md")).unwrap();
    for command in ["reconcile", "watch", "status", "why", "history", "logs", "down"]
        .iter()
        .map(|command| vec![*command, "--help"])
        .chain([vec!["--help"]])
    {
        let help = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(command).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        for option in options.map(|word| word.trim_end_matches([',', ')', ':', '.'])) {
            assert!(["--help", "--version"].contains(&option) || readme.contains(option), "README lacks {option}");
        }
    }
    for code in [0, 1, 2, 3, 64, 65, 66, 69, 75] {
        assert!(readme.contains(&format!("| {code} |")), "README lacks exit code {code}");
    }
}
