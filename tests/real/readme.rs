//! The README's transcript is run, and must come out as it is printed there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Repository, Terminal, World, eventually, llama_server, picture};
use rustix::process::Signal;

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

/// What differs from run to run: pids, ports, times, memory and commits, and
/// which server is ready first.
fn normalised(output: &str) -> Vec<String> {
    let mut lines: Vec<String> = output
        .lines()
        .map(|line| {
            let hidden = line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>();
            let line = match line {
                line if line.starts_with("Changes since ") => line.split(" (").next().unwrap_or_default(),
                line if line.contains(" is in sync ") => &line[10..],
                line => line,
            };
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

/// A shell in which the README's commands are run.
fn shell(world: &World, bin: &Path, script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .current_dir(world.path())
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .env("HOME", world.path().join("home"))
        .env("HERDSMAN_STATE_DIR", world.state_dir())
        .env("HERDSMAN_LLAMA_SERVER", llama_server())
        .env_remove("HERDSMAN_MODELS_DIR")
        .env_remove("HERDSMAN_DATABASE");
    shell
}

/// What is typed for the picture.
const SHOWN: [&str; 6] = [
    "herdsman reconcile --dry-run",
    "herdsman reconcile",
    "sed -i 's/^ctx_size .*/ctx_size = 2048/' models.d/tiny-chat.toml",
    "herdsman reconcile",
    "sed -i 's/^ctx_size .*/ctx_sizes = 4096/' models.d/tiny-chat.toml",
    "herdsman reconcile",
];

/// `HERDSMAN_RENEW_PICTURE=1` makes it anew, from what is there to be seen now.
#[test]
fn the_picture_in_the_readme_is_what_a_terminal_shows() {
    let world = models_of_the_readme();
    let bin = world.path().join("bin");
    install(&world, &bin);
    let typed = SHOWN.map(|command| format!("printf '\\033[2m$\\033[0m %s\\n' \"{command}\"; {command}; echo\n"));
    let mut shell = shell(&world, &bin, &typed.concat());
    shell.env("TERM", "xterm-256color").env_remove("NO_COLOR");
    let mut terminal = Terminal::run(&mut shell, 60, 104);
    assert_eq!(terminal.exit_code(), Some(0));
    terminal.shows("the last line", |lines| lines.iter().any(|line| line.contains("1 does not (yet)")));

    let file = format!("{ROOT}/examples/terminal.svg");
    let now = terminal.picture();
    if std::env::var_os("HERDSMAN_RENEW_PICTURE").is_some() {
        fs::write(&file, &now).unwrap();
    }
    let [shown, now] =
        [fs::read_to_string(&file).unwrap(), now].map(|svg| normalised(&picture::lines(&svg).join("\n")));
    assert_eq!(shown, now);
}

#[test]
fn the_transcript_in_the_readme_is_what_happens() {
    let commands = transcript(&fs::read_to_string(format!("{ROOT}/README.md")).unwrap());
    assert!(commands.len() >= 5, "{commands:?}");
    let world = models_of_the_readme();
    let bin = world.path().join("bin");
    install(&world, &bin);
    for (command, expected) in commands {
        let output = shell(&world, &bin, &format!("{{ {command}\n}} 2>&1")).stdin(Stdio::null()).output().unwrap();
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
    let text = fs::read_to_string(world.models_dir().join("tiny-chat.toml")).unwrap();
    world.write_definition("tiny-chat", &text.replace("1024 ", "2048 "));
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
    let help_of = |command: &[&str]| {
        let help = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(command).arg("--help").output().unwrap();
        String::from_utf8(help.stdout).unwrap()
    };
    let help = help_of(&[]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let helps: Vec<_> = commands.map(|line| help_of(&[line.split_whitespace().next().unwrap()])).collect();
    assert!(helps.len() > 5, "{help}");
    let import = help_of(&["import", "preset"]);
    for help in helps.iter().chain([&help, &import]) {
        let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        for option in options.map(|word| word.trim_end_matches([',', ')', ':', '.', ']'])) {
            assert!(["--help", "--version"].contains(&option) || readme.contains(option), "README lacks {option}");
        }
    }
    for code in [0, 1, 2, 3, 64, 65, 66, 69, 75] {
        assert!(readme.contains(&format!("| {code} |")), "README lacks exit code {code}");
    }
}
