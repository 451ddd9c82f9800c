//! Finds llama-server's command inside another command: a container, a shell, a
//! script, `env`, `nice`, `numactl`.
//!
//! It looks only inside programs that are known to run what follows them; the words
//! of any other program could mean anything.

use std::path::{Path, PathBuf};

use super::command_line::{is_llama_server, program};
use super::container::{self, Container};
use super::shell;

/// Programs that run a command given among their words.
const RUNNERS: [&str; 26] = [
    "chrt",
    "conda",
    "doas",
    "env",
    "exec",
    "gamemoderun",
    "guix",
    "ionice",
    "mamba",
    "micromamba",
    "nice",
    "nix",
    "nohup",
    "numactl",
    "pixi",
    "prime-run",
    "prlimit",
    "runuser",
    "setpriv",
    "setsid",
    "stdbuf",
    "sudo",
    "systemd-run",
    "taskset",
    "time",
    "timeout",
];

/// Those that make no difference to a server that herdsman runs.
const PLAIN: [&str; 4] = ["exec", "nohup", "setsid", "time"];

/// Programs that run it with other files and ports.
const AWAY: [&str; 9] = ["chroot", "distrobox", "flatpak", "lxc", "nsenter", "ssh", "toolbox", "wsl", "proot-distro"];

const SHELLS: [&str; 6] = ["ash", "bash", "dash", "ksh", "sh", "zsh"];

/// The deepest nesting of commands that is followed.
const DEEPEST: usize = 8;

/// The longest script that is read, bytes.
const LONGEST_SCRIPT: u64 = 256 << 10;

/// A llama-server command, and what wraps it.
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// The arguments of llama-server.
    pub arguments: Vec<String>,
    /// The program as it is called; empty: the image's own program.
    pub program: Option<String>,
    /// Variables it is given, in order.
    pub env: Vec<(String, String)>,
    /// The wrappers from the outside in, for people.
    pub around: Vec<Layer>,
    /// The container it runs in.
    pub container: Option<Container>,
    /// It runs with other files and ports.
    pub is_away: bool,
    /// The directory that a shell changes to before running it.
    pub directory: Option<String>,
}

/// One wrapper.
#[derive(Debug)]
pub(super) enum Layer {
    /// Programs and their options.
    Runner(String),
    /// A container, or another machine.
    Away(String),
    /// A shell text.
    Shell,
    /// A script.
    Script(PathBuf),
}

/// Why no llama-server command was found.
#[derive(Debug)]
pub(super) enum NotFound {
    /// It runs this program.
    Program(String),
    /// The script cannot be read.
    Script(PathBuf, std::io::Error),
}

/// Searches `words` for llama-server's command; scripts are relative to `base`.
pub(super) fn find(words: &[String], base: &Path) -> Result<Inner, NotFound> {
    let mut inner = Inner::default();
    let home = crate::definition::typed::home();
    Search { base, home: home.as_deref() }.look(words, &mut inner, 0)?;
    Ok(inner)
}

struct Search<'a> {
    base: &'a Path,
    home: Option<&'a str>,
}

impl Search<'_> {
    fn look(&self, words: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        let assignments = words.iter().map_while(|word| shell::assignment(word));
        let given: Vec<(String, String)> = assignments.map(|(name, value)| (name.into(), value.into())).collect();
        let words = &words[given.len()..];
        inner.env.extend(given);
        let Some((first, rest)) = words.split_first().filter(|_| depth < DEEPEST) else {
            return Err(NotFound::Program(String::new()));
        };
        let name = program(first);
        let name = name.strip_suffix(".exe").unwrap_or(name);
        if is_llama_server(first) {
            (inner.program, inner.arguments) = (Some(first.clone()), rest.to_vec());
            return Ok(());
        }
        if container::PROGRAMS.contains(&name) {
            return self.container(words, inner, depth);
        }
        if SHELLS.contains(&name) {
            return self.shell(first, rest, inner, depth);
        }
        if RUNNERS.contains(&name) || AWAY.contains(&name) {
            return self.runner(name, words, inner, depth);
        }
        if first.contains('/') || Path::new(first).extension().is_some_and(|end| end == "sh") {
            return self.script(first, rest, inner, depth);
        }
        Err(NotFound::Program(first.clone()))
    }

    /// The runner's options are not known one by one: the first word that is a
    /// command ends them.
    fn runner(&self, name: &str, words: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        let is_away = AWAY.contains(&name);
        let is_command = |word: &String| {
            let name = program(word);
            is_llama_server(word)
                || [&RUNNERS[..], &SHELLS, &container::PROGRAMS].iter().any(|known| known.contains(&name))
                || Path::new(word).extension().is_some_and(|end| end == "sh")
        };
        let start = words.iter().skip(1).position(is_command).map(|at| at + 1);
        let not_found = || NotFound::Program(words.first().cloned().unwrap_or_default());
        // The words of `ssh HOST 'COMMAND'` are a text.
        let text = words.last().filter(|text| start.is_none() && is_away && text.contains("llama-server"));
        let end = start.or(text.map(|_| words.len() - 1)).ok_or_else(not_found)?;
        let assigned = || words[1..end].iter().filter_map(|word| shell::assignment(word));
        inner.env.extend(assigned().map(|(name, value)| (name.to_owned(), value.to_owned())));
        let is_plain = (name == "env" || PLAIN.contains(&name)) && assigned().count() + 1 == end;
        let shown = words[..end].join(" ");
        match (is_away, inner.around.last_mut()) {
            (true, _) => inner.around.push(Layer::Away(shown)),
            // A definition says the same.
            _ if is_plain => {}
            (_, Some(Layer::Runner(before))) => *before = format!("{before} {shown}"),
            _ => inner.around.push(Layer::Runner(shown)),
        }
        inner.is_away |= is_away;
        match text {
            Some(text) => self.text(text, &[], inner, depth),
            None => self.look(&words[end..], inner, depth + 1),
        }
    }

    fn container(&self, words: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        let not_found = || NotFound::Program(words.first().cloned().unwrap_or_default());
        let mut found = container::read(&words[1..]).ok_or_else(not_found)?;
        let command = std::mem::take(&mut found.command);
        inner.around.push(Layer::Away(words[..=found.own_words].join(" ")));
        inner.env.append(&mut found.env);
        inner.is_away = true;
        inner.directory.clone_from(&found.directory);
        let is_entrypoint = found.is_entrypoint;
        inner.container = Some(found);
        match is_entrypoint {
            true if command.first().is_none_or(|word| word.starts_with('-')) => {
                inner.arguments = command;
                Ok(())
            }
            _ => self.look(&command, inner, depth + 1).map_err(|_| not_found()),
        }
    }

    fn shell(&self, shell: &str, words: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                Some(options) if options.contains('c') && !options.starts_with('-') => {
                    let Some(text) = words.next() else { break };
                    // The first argument is the name, `$0`.
                    let arguments: Vec<String> = words.skip(1).cloned().collect();
                    inner.around.push(Layer::Shell);
                    return self.text(text, &arguments, inner, depth);
                }
                Some(options) if options.ends_with('o') => drop(words.next()),
                Some(_) => {}
                None => return self.script(word, words.as_slice(), inner, depth),
            }
        }
        Err(NotFound::Program(shell.to_owned()))
    }

    fn script(&self, path: &str, arguments: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        // Scripts in a container or on another machine cannot be read here.
        if inner.is_away {
            return Err(NotFound::Program(path.to_owned()));
        }
        let full = crate::definition::absolute(self.base, Path::new(path));
        let bytes = match crate::sys::regular::read(&full, LONGEST_SCRIPT) {
            Ok(bytes) => bytes,
            Err(error) => return Err(NotFound::Script(full, error)),
        };
        let text = String::from_utf8(bytes).ok().filter(|text| is_shell_script(path, text));
        let text = text.ok_or_else(|| NotFound::Program(path.to_owned()))?;
        inner.around.push(Layer::Script(full));
        self.text(&text, arguments, inner, depth)
    }

    /// Returns the first command of a shell text that runs llama-server.
    fn text(&self, text: &str, arguments: &[String], inner: &mut Inner, depth: usize) -> Result<(), NotFound> {
        let mut directory = None;
        let mut why = NotFound::Program("sh".to_owned());
        for shell::Command { words, env } in shell::commands(text, arguments, self.home) {
            if let [cd, to] = &words[..]
                && cd == "cd"
            {
                directory = Some(to.clone());
                continue;
            }
            let mut below = Inner { env: env.into_iter().collect(), is_away: inner.is_away, ..Inner::default() };
            match self.look(&words, &mut below, depth + 1) {
                Ok(()) => {
                    inner.env.append(&mut below.env);
                    inner.around.append(&mut below.around);
                    inner.directory = below.directory.or(directory).or(inner.directory.take());
                    inner.container = below.container.or(inner.container.take());
                    (inner.program, inner.arguments) = (below.program, below.arguments);
                    inner.is_away |= below.is_away;
                    return Ok(());
                }
                Err(error @ NotFound::Script(..)) => why = error,
                Err(_) => {}
            }
        }
        Err(why)
    }
}

/// Whether a text is a shell script, judging by its first line or its name.
fn is_shell_script(path: &str, text: &str) -> bool {
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("#!")) else {
        return path.ends_with(".sh");
    };
    line.split_whitespace().any(|word| SHELLS.contains(&program(word)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn found(line: &str, base: &Path) -> Result<Inner, NotFound> {
        find(&shlex::split(line).unwrap(), base)
    }

    #[test]
    fn finds_a_wrapped_command() {
        for line in [
            "env -u X A=b llama-server -m x",
            "sudo -u llm -E nice -n 5 numactl --cpunodebind=0 -m 0 /opt/llama-server -m x",
            "bash -lc 'cd /opt && A=b exec ./llama-server -m x 2>&1 | tee log'",
            "bash -c 'llama-server \"$@\"' name -m x",
            "A=b llama-server -m x",
            "podman run --rm quay.io/ramalama/llama-server:latest -m x",
            "podman run --rm some/image bash -c 'exec llama-server -m x'",
            "ssh gpu 'A=b llama-server -m x'",
            "distrobox enter box -- /usr/bin/llama-server -m x",
        ] {
            let inner = found(line, Path::new("/")).unwrap_or_else(|why| panic!("{line}: {why:?}"));
            assert_eq!(inner.arguments, ["-m", "x"], "{line}");
            assert!(inner.env.iter().all(|(name, value)| name == "A" && value == "b"), "{line}: {inner:?}");
        }
    }

    #[test]
    fn recognises_only_known_launchers() {
        for line in [
            "python serve.py llama-server",
            "docker run vllm/vllm-openai --model x",
            "docker start llama-server",
            "sudo -u x",
            "bash",
            "bash -c",
            "",
        ] {
            assert!(found(line, Path::new("/")).is_err(), "{line}");
        }
        assert!(
            matches!(found("bash no.sh", Path::new("/")), Err(NotFound::Script(path, _)) if path == Path::new("/no.sh"))
        );
    }
}
