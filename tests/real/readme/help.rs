//! `herdsman help`, in a pipe and on a terminal.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::support::Terminal;
use tempfile::TempDir;

fn herdsman(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herdsman")).args(args).env("PAGER", "false").output().unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = herdsman(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_lists_commands_and_topics() {
    let help = printed(&["help"]);
    for line in ["Commands:\n", "  reconcile  ", "Topics:\n", "  definitions  ", "  by-hand  "] {
        assert!(help.contains(line), "{help}");
    }
}

#[test]
fn help_of_a_command_is_what_its_help_option_prints() {
    for command in [&["reconcile"][..], &["models", "list"], &["import", "preset"]] {
        let by_option = printed(&[command, &["--help"]].concat());
        assert_eq!(printed(&[&["help"], command].concat()), by_option);
    }
}

#[test]
fn a_topic_in_a_pipe_is_plain_text_without_a_pager() {
    let page = printed(&["help", "definitions"]);
    assert!(page.starts_with("DEFINITIONS\n\n  One TOML file"), "{page}");
    for raw in ["\u{1b}", "<!--", "**", "```", "\n#"] {
        assert!(!page.contains(raw), "{raw:?} in {page}");
    }
}

#[test]
fn help_suggests_the_command_or_topic_that_was_meant() {
    for (typed, meant) in [
        (&["help", "definition"][..], "error: no command or topic `definition`\nhelp: did you mean `definitions`?\n"),
        (&["help", "reconcil"], "error: no command or topic `reconcil`\nhelp: did you mean `reconcile`?\n"),
        (&["help", "models", "lst"], "error: no such subcommand: `lst`\nhelp: did you mean `list`?\n"),
        (&["help", "zzzzzzzz"], "error: no command or topic `zzzzzzzz`\nhelp: `herdsman help` lists all"),
    ] {
        let output = herdsman(typed);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.starts_with(meant), "{said}");
    }
}

#[test]
fn the_manual_and_the_completions_name_the_topics() {
    let manual = printed(&["man"]);
    assert!(manual.contains("Topics, shown by herdsman help TOPIC:") && manual.contains("by\\-hand"), "{manual}");
    let dir = TempDir::new().unwrap();
    let script = dir.path().join("herdsman.bash");
    fs::write(&script, printed(&["completions", "bash"])).unwrap();
    let complete = format!(
        "source '{}'; COMP_WORDS=(herdsman help ''); COMP_CWORD=2; _herdsman herdsman '' help; echo \"${{COMPREPLY[*]}}\"",
        script.display()
    );
    let output = Command::new("bash").args(["-c", &complete]).output().unwrap();
    let offered = String::from_utf8(output.stdout).unwrap();
    for name in ["definitions", "by-hand", "reconcile"] {
        assert!(offered.split_whitespace().any(|word| word == name), "{name} is not in {offered}");
    }
}

/// `herdsman help TOPIC` on a terminal: what the pager got, if it was run, and
/// what the screen shows.
fn on_a_terminal(pager: Option<&str>, variables: &[(&str, &str)]) -> (Option<String>, String) {
    let dir = TempDir::new().unwrap();
    let got = dir.path().join("got");
    let script = dir.path().join("less");
    fs::write(&script, format!("#!/bin/sh\n{{ echo \"$LESS $1\"; cat; }} > '{}'\n", got.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_herdsman"));
    command.args(["help", "exit-codes"]).env("PATH", path).env("TERM", "xterm-256color");
    for name in ["PAGER", "LESS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.envs(pager.map(|pager| ("PAGER", pager))).envs(variables.iter().copied());
    let mut terminal = Terminal::run(&mut command, 50, 80);
    assert_eq!(terminal.exit_code(), Some(0));
    let got = fs::read_to_string(got).ok();
    if got.is_none() {
        terminal.shows("the page", |lines| lines.iter().any(|line| line.contains("If several apply")));
    }
    (got, terminal.lines().join("\n"))
}

#[test]
fn a_topic_on_a_terminal_goes_through_the_pager_in_bold() {
    let (less, _) = on_a_terminal(None, &[]);
    let less = less.expect("less is run where PAGER is not set");
    assert!(less.starts_with("FRX \n\u{1b}[1mEXIT CODES\u{1b}[0m\n"), "{less}");
    let (own, _) = on_a_terminal(Some("less --own"), &[("LESS", "M")]);
    assert!(own.unwrap().starts_with("M --own\n\u{1b}[1m"), "PAGER is a command line, and LESS is left as it is");
}

#[test]
fn a_topic_is_printed_where_there_is_no_pager_or_no_colour() {
    for (pager, variables) in [
        (Some(""), &[][..]),
        (Some("cat"), &[]),
        (Some("herdsman-has-no-such-pager 2>/dev/null"), &[]),
        (None, &[("NO_COLOR", "1")]),
        (None, &[("TERM", "dumb")]),
    ] {
        let (paged, screen) = on_a_terminal(pager, variables);
        assert_eq!(paged, None, "{pager:?} {variables:?}");
        assert!(screen.contains("EXIT CODES"), "{screen}");
    }
}
