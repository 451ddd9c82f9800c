//! The `console` blocks of a page: read, run, and written anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::normal;

/// The variable that has the tests write what they see into the pages.
pub const RENEW: &str = "HERDSMAN_RENEW_DOCS";

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// README and every topic.
pub fn pages() -> Vec<PathBuf> {
    let topics = fs::read_dir(Path::new(ROOT).join("src/cli/help/topics")).unwrap();
    let mut pages: Vec<_> = topics.map(|entry| entry.unwrap().path()).collect();
    pages.push(Path::new(ROOT).join("README.md"));
    pages.sort();
    pages
}

/// Whether the pages are to be written anew.
pub fn renewing() -> bool {
    std::env::var_os(RENEW).is_some()
}

/// Held while a page is rewritten: two tests may see to parts of the same one.
pub fn writing() -> MutexGuard<'static, ()> {
    static WRITING: Mutex<()> = Mutex::new(());
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command of a `console` block, and what it prints as the page has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub typed: String,
    pub output: String,
}

/// A page as text between commands: `parts[0] command[0] parts[1] …`.
#[derive(Debug)]
pub struct Page {
    parts: Vec<String>,
    pub commands: Vec<Command>,
}

impl Page {
    pub fn read(text: &str) -> Self {
        let mut page = Self { parts: vec![String::new()], commands: Vec::new() };
        let (mut inside, mut in_output) = (false, false);
        for line in text.lines() {
            match (line.strip_prefix("```"), line.strip_prefix("$ ").filter(|_| inside)) {
                (Some(language), _) => {
                    (inside, in_output) = (language == "console", false);
                    page.between(line);
                }
                (_, Some(typed)) => {
                    page.commands.push(Command { typed: typed.to_owned(), output: String::new() });
                    page.parts.push(String::new());
                    in_output = true;
                }
                _ if in_output => page.commands.last_mut().unwrap().output += &format!("{line}\n"),
                _ if inside => panic!("output before the first command: {line}"),
                _ => page.between(line),
            }
        }
        page
    }

    fn between(&mut self, line: &str) {
        *self.parts.last_mut().unwrap() += &format!("{line}\n");
    }

    /// The page's text.
    pub fn text(&self) -> String {
        let mut text = self.parts[0].clone();
        for (command, after) in self.commands.iter().zip(&self.parts[1..]) {
            text += &format!("$ {}\n{}{after}", command.typed, command.output);
        }
        text
    }
}

/// `expected`, with what `printed` says otherwise: lines that say the same keep
/// the pids, ports and times that the page had; `ports` begin at 8100.
pub fn renewed(expected: &str, printed: &str, first_port: u16) -> String {
    let mut had: BTreeMap<String, String> = BTreeMap::new();
    had.extend(normal::lines(expected).into_iter().map(|line| (line.normal, line.printed)));
    let mut now = String::new();
    for line in printed.lines().filter(|line| !line.contains(": loading")) {
        let shown = normal::lines(line).pop().map_or_else(String::new, |new| {
            had.get(&new.normal).cloned().unwrap_or_else(|| with_usual_ports(&new.printed, first_port))
        });
        now += &format!("{shown}\n");
    }
    // An empty line before the next command is the page's.
    let gap = if expected.ends_with("\n\n") || expected == "\n" { "\n" } else { "" };
    format!("{}{gap}", now.trim_end_matches('\n').to_owned() + if now.trim().is_empty() { "" } else { "\n" })
}

/// `line`, with the ports of a page instead of those of a world.
pub fn with_usual_ports(line: &str, first_port: u16) -> String {
    (0..10).fold(line.to_owned(), |line, n| {
        let (here, usual) = ((first_port + n).to_string(), (8100 + n).to_string());
        // The columns of a table stay where they are.
        line.replace(&format!("{here}  "), &format!("{usual:0$}  ", here.len())).replace(&here, &usual)
    })
}

#[test]
fn a_page_is_read_and_written_as_it_was() {
    for path in pages() {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(Page::read(&text).text(), text, "{}", path.display());
    }
}

#[test]
fn a_renewed_transcript_keeps_what_says_the_same() {
    let had = "a: ready after 0.2 s (pid 31170, port 8100)\nold words\n\n";
    let now = "a: ready after 0.3 s (pid 77, port 20001)\nnew words on port 20002\n";
    let renewed = renewed(had, now, 20001);
    assert_eq!(renewed, "a: ready after 0.2 s (pid 31170, port 8100)\nnew words on port 8101\n\n");
}
