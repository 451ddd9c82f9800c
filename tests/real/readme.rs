//! README and the topics of `herdsman help`: their transcripts are run, and
//! must come out as they are printed there.
//!
//! `HERDSMAN_RENEW_DOCS=1 cargo test --lib --test real -- help:: readme::`
//! writes what is really printed into the pages, and the picture.

mod help;
mod normal;
mod page;

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Repository, Terminal, World, eventually, free_port, llama_server, picture};
use normal::normalised;
use page::Page;
use rustix::process::Signal;

const PATIENCE: Duration = Duration::from_secs(60);
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Where the pages have the gateway listen; tests take a free port.
const GATEWAY: &str = "127.0.0.1:8080";

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

/// The models that the pages speak of, in this world.
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

/// A shell in which the commands of a page are run.
fn shell(world: &World, bin: &Path, script: &str) -> Command {
    // The world's: a watcher in the background ends with it.
    let mut shell = world.own(Command::new("sh"));
    shell
        .args(["-c", script])
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .env("HERDSMAN_STATE_DIR", world.state_dir())
        .env("HERDSMAN_LLAMA_SERVER", llama_server());
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
    // What it wrote last may not be drawn yet: by its words it would have to be
    // known, which change.
    let (before, looks) = (RefCell::new(Vec::new()), Cell::new(0));
    terminal.shows("the same for a while", |lines| {
        let same = *before.borrow() == lines;
        looks.set(if same { looks.get() + 1 } else { 0 });
        *before.borrow_mut() = lines.to_vec();
        looks.get() > 20
    });

    let file = format!("{ROOT}/examples/terminal.svg");
    let now = page::with_usual_ports(&terminal.picture(), *world.ports().range().start());
    let shown = fs::read_to_string(&file).unwrap();
    let said = |svg: &str| normalised(&picture::lines(svg).join("\n"));
    if page::renewing() && said(&shown) != said(&now) {
        return fs::write(&file, &now).unwrap();
    }
    assert_eq!(said(&shown), said(&now), "{} rewrites the picture", page::RENEW);
}

#[test]
fn the_transcripts_in_readme_and_topics_are_what_happens() {
    let mut wrong = Vec::new();
    let mut commands = 0;
    for path in page::pages() {
        let mut page = Page::read(&fs::read_to_string(&path).unwrap());
        if page.commands.is_empty() {
            continue;
        }
        commands += page.commands.len();
        let differs = run(&mut page);
        if page::renewing() && !differs.is_empty() {
            let _writing = page::writing();
            fs::write(&path, page.text()).unwrap();
        } else {
            let page = path.strip_prefix(ROOT).unwrap().display();
            wrong.extend(differs.into_iter().map(|differs| format!("{page}: {differs}")));
        }
    }
    assert!(commands > 15, "{commands}");
    assert!(
        wrong.is_empty(),
        "{}\nhelp: {}=1 cargo test --test real readme:: writes into the pages what herdsman prints now",
        wrong.join("\n"),
        page::RENEW
    );
}

/// Runs the commands of a page in order, in a world of their own. What prints
/// something else is returned, and put into the page.
fn run(page: &mut Page) -> Vec<String> {
    let world = models_of_the_readme();
    let bin = world.path().join("bin");
    install(&world, &bin);
    // Who did something by hand: who runs the tests, on the page ann.
    let user = Command::new("id").arg("-un").output().unwrap().stdout;
    let by_user = format!("({}", String::from_utf8(user).unwrap().trim());
    let here = format!("{}/", world.path().display());
    let gateway = format!("127.0.0.1:{}", free_port());
    let (mut wrong, mut is_watched) = (Vec::new(), false);
    for command in &mut page.commands {
        if is_watched {
            // A reader takes longer to type than the watcher to act.
            eventually("the watcher has applied everything", PATIENCE, || {
                let mut status = shell(&world, &bin, "herdsman status --exit-code");
                status.output().unwrap().status.success()
            });
        }
        is_watched |= command.typed.ends_with('&');
        let script = format!("{{ {}\n}} 2>&1", command.typed.replace(GATEWAY, &gateway));
        let output = shell(&world, &bin, &script).stdin(Stdio::null()).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let printed = printed.replace(&by_user, "(ann").replace(&here, "").replace(&gateway, GATEWAY);
        if normalised(&printed) != normalised(&command.output) {
            wrong.push(format!("$ {}\nexpected\n{}printed\n{printed}", command.typed, command.output));
            command.output = page::renewed(&command.output, &printed, *world.ports().range().start());
        }
    }
    wrong
}

/// A line of a log, without what differs from run to run; what stands for any
/// text (`…`) ends it.
fn log_line(line: &str) -> Vec<String> {
    let (_, line) = line.split_once("Z ").unwrap();
    let hidden: String = line.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    hidden.split_whitespace().map(|word| word.trim_matches('#').to_owned()).collect()
}

/// Whether a line of the log is the one that the page has.
fn is_the_line(line: &str, expected: &str) -> bool {
    let (line, expected) = (log_line(line), log_line(expected));
    let mut parts = expected.split(|word| word == "…");
    let (first, last) = (parts.next().unwrap(), parts.next_back().unwrap_or_default());
    line.starts_with(first) && line.ends_with(last)
}

#[test]
fn the_log_in_the_topic_is_what_watch_writes() {
    let path = format!("{ROOT}/src/cli/help/topics/service.md");
    let text = fs::read_to_string(&path).unwrap();
    let (_, block) = text.split_once("$ herdsman watch\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let expected: Vec<&str> = block.lines().collect();
    let world = models_of_the_readme();
    world.converges();
    let log = world.path().join("stderr.log");
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let written = |count: usize| eventually("the next lines", PATIENCE, || lines().len() >= count);
    let _watch = world.start(&["watch"]);
    written(2);
    let definition = fs::read_to_string(world.models_dir().join("tiny-chat.toml")).unwrap();
    world.write_definition("tiny-chat", &definition.replace("1024 ", "2048 "));
    written(4);
    // A server that crashes sooner than this after its start waits for its next try.
    let ready = Instant::now();
    eventually("it has run for longer than the first delay", PATIENCE, || ready.elapsed() > Duration::from_secs(1));
    world.signal("tiny-chat", Signal::SEGV);
    written(expected.len());
    let lines = lines();
    let differs = lines.iter().zip(&expected).any(|(line, expected)| !is_the_line(line, expected));
    if differs && page::renewing() {
        let _writing = page::writing();
        let port = *world.ports().range().start();
        let renewed = lines.iter().zip(&expected).map(|(line, had)| renewed_line(line, had, port));
        return fs::write(&path, text.replace(block, &renewed.collect::<String>())).unwrap();
    }
    assert!(!differs, "{lines:#?}\n{expected:#?}\nhelp: {}=1 writes what watch logs into {path}", page::RENEW);
}

/// The page's line if it says the same, else the new one at the page's time.
fn renewed_line(line: &str, had: &str, first_port: u16) -> String {
    if is_the_line(line, had) {
        return format!("{had}\n");
    }
    let (time, _) = had.split_once("Z ").unwrap();
    let (_, said) = line.split_once("Z ").unwrap();
    format!("{time}Z {}\n", page::with_usual_ports(said, first_port))
}

#[test]
fn readme_and_topics_name_every_option() {
    let all: String = page::pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    let help_of = |command: &[&str]| {
        let help = Command::new(env!("CARGO_BIN_EXE_herdsman")).args(command).arg("--help").output().unwrap();
        String::from_utf8(help.stdout).unwrap()
    };
    let help = help_of(&[]);
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let commands = commands.lines().take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let helps: Vec<_> = commands.map(|line| help_of(&[line.split_whitespace().next().unwrap()])).collect();
    assert!(helps.len() > 5, "{help}");
    let more = [&["import", "preset"][..], &["models", "list"], &["models", "get"]].map(help_of);
    for help in helps.iter().chain([&help]).chain(&more) {
        let options = help.split_whitespace().filter(|word| word.starts_with("--") && word.len() > 2);
        for option in options.map(|word| word.trim_end_matches([',', ')', ':', '.', ']'])) {
            assert!(["--help", "--version"].contains(&option) || all.contains(option), "no page names {option}");
        }
    }
}
