//! The `cmd` of a llama-swap model: llama-server's command, or one that wraps it.

use std::path::{Path, PathBuf};

use super::macros::{self, PORT};
use super::model::Model;
use super::options::Options;
use super::remark::{Reason, SourceLocation, Why};
use super::secret::{may_begin, names_a_secret};
use super::shell::UNKNOWN;
use super::wrapped::{self, Inner, Layer, NotFound};
use super::{command_line, environment};
use crate::definition::absolute;
use crate::definition::typed::Odd;
use crate::llama::catalogue::{OptionSpec, ValueKind};
use crate::model::DesiredState;
use crate::model::text::printable;

/// The port llama-server listens on by default.
pub(super) const DEFAULT_PORT: u16 = 8080;

/// Where llama.cpp's images have their llama-server.
const IMAGE_DIRECTORY: &str = "/app";

/// The context for reading a command.
pub(super) struct Reading<'a> {
    pub options: &'a Options<'a>,
    /// Returns the environment's variables.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    pub place: &'a SourceLocation,
}

impl Reading<'_> {
    /// Adds to `model` what its command sets.
    pub fn read(&self, model: &mut Model, command: &str) -> Result<(), Reason> {
        if command.contains('\0') {
            return Err(Reason::Nul);
        }
        // A private-use character, which stands for something else here.
        let command = without_comments(command).replace(UNKNOWN, "\u{fffd}");
        let mut words = split(&command).ok_or(Reason::OpenQuote)?;
        let program = words.first_mut().ok_or(Reason::NoCommand)?;
        *program = macros::variables(program, self.variable)?;
        let inner = wrapped::find(&words, self.options.base).map_err(|why| match why {
            NotFound::Program(program) => Reason::OtherProgram(printable(command_line::program(&program))),
            NotFound::Script(path, cause) => Reason::Script(printable(&path.to_string_lossy()), cause.to_string()),
        })?;
        let directory = self.directory(&inner);
        let mut options = Options { base: &directory, ..self.options.clone() };
        self.layers(model, &inner);
        match inner.program.as_deref().filter(|program| program.contains(['/', '\\'])) {
            // A wrapper comes first on its command line, and the variable only here.
            Some(program) if !inner.is_away => {
                self.binary(model, &directory, &macros::variables(program, self.variable)?);
            }
            _ => {}
        }
        if let Some(binary) = &model.binary {
            options = options.of(binary);
        }
        for (name, value) in &inner.env {
            self.variable(&options, model, name, value, self.place)?;
        }
        let arguments = self.arguments(&options, model, &inner.arguments)?;
        command_line::read(&options, model, &arguments, self.place);
        if is_last_port_ours(&options, &inner.arguments)
            && let Some(port) = model.port.take()
        {
            let why = Why::set_again();
            model.remark(self.place, format!("--port {port}"), why);
        }
        self.away(model, &inner);
        Ok(())
    }

    /// What relative paths of the command are relative to.
    fn directory(&self, inner: &Inner) -> PathBuf {
        let script = inner.around.iter().find_map(|layer| match layer {
            Layer::Script(path) => path.parent(),
            _ => None,
        });
        match (&inner.directory, script) {
            _ if inner.is_away => {
                let image = if inner.container.is_some() { IMAGE_DIRECTORY } else { "/" };
                let inside = inner.directory.as_deref().unwrap_or(image);
                absolute(Path::new("/"), Path::new(&inside.replace(UNKNOWN, "$")))
            }
            // `cd "$(dirname "$0")"`, as scripts do.
            (Some(to), Some(script)) if to.contains(UNKNOWN) && to.contains("dirname") => script.to_owned(),
            (Some(to), _) if !to.contains(UNKNOWN) => absolute(self.options.base, Path::new(to)),
            _ => self.options.base.to_owned(),
        }
    }

    /// Notes what wraps llama-server's command, and herdsman leaves out.
    fn layers(&self, model: &mut Model, inner: &Inner) {
        for layer in &inner.around {
            let (what, why) = match layer {
                Layer::Runner(shown) => (
                    shown.clone(),
                    "herdsman starts llama-server itself, as its own user and without this: is it needed? A systemd unit has `Nice=`, `CPUAffinity=` and the like, and llama-server has `numa`",
                ),
                Layer::Away(shown) => (
                    shown.clone(),
                    "herdsman runs llama-server directly on this machine: install llama-server, then check every path and which GPUs to use",
                ),
                Layer::Shell => (
                    "a shell's command".to_owned(),
                    "herdsman took only llama-server's command from it, and nothing else the shell does",
                ),
                Layer::Script(path) => (
                    path.display().to_string(),
                    "herdsman took only llama-server's command from this script, and nothing else it does",
                ),
            };
            let shown = what.replace(UNKNOWN, "$");
            let shown = match may_begin(&shown) {
                Some(at) => format!("{}…", &shown[..at]),
                None => shown,
            };
            model.remark(self.place, shown, Why::Check(why.to_owned()));
        }
    }

    /// Adds a variable that the command or `env` gives llama-server.
    pub fn variable(
        &self,
        options: &Options<'_>,
        model: &mut Model,
        name: &str,
        value: &str,
        place: &SourceLocation,
    ) -> Result<(), Reason> {
        if value.contains(UNKNOWN) {
            model.remark(place, unknown(&format!("{name}="), value), Why::Check(only_the_shell()));
            return Ok(());
        }
        let value = if names_a_secret(name) {
            value.to_owned()
        } else if let Some(secret) = macros::secret_variable(value) {
            model.remark(place, format!("{name}=…"), Why::SecretReference(secret.to_owned()));
            return Ok(());
        } else {
            macros::variables(value, self.variable)?
        };
        environment::read(options, model, name, &value, place);
        Ok(())
    }

    /// The words after llama-server, with llama-swap's variables replaced.
    fn arguments(&self, options: &Options<'_>, model: &mut Model, words: &[String]) -> Result<Vec<String>, Reason> {
        let mut ready: Vec<String> = Vec::with_capacity(words.len());
        let mut before: Option<&OptionSpec> = None;
        for word in words {
            match before {
                // A port that herdsman chooses.
                Some(option) if option.key == "port" && word == PORT => drop(ready.pop()),
                Some(option) if word.contains(UNKNOWN) && is_path(option) => {
                    let typed = word.replace(UNKNOWN, "$");
                    if Odd::of(&typed).is_none() || !options.is_guess {
                        model.remark(
                            self.place,
                            unknown(&format!("{} ", option.argument), word),
                            Why::Check(only_the_shell()),
                        );
                    }
                    ready.push(typed);
                }
                Some(option) if names_a_secret(&option.key) => ready.push(word.clone()),
                _ if word.contains(UNKNOWN) => {
                    let option = before.filter(|option| option.kind != ValueKind::Flag).and_then(|_| ready.pop());
                    let what = unknown(&option.map_or_else(String::new, |option| option + " "), word);
                    model.remark(self.place, what, Why::Check(only_the_shell()));
                }
                _ => match macros::secret_variable(word) {
                    Some(secret) => {
                        // An option without its value means nothing.
                        let option = before.filter(|option| option.kind != ValueKind::Flag).and_then(|_| ready.pop());
                        let what = option.unwrap_or_else(|| format!("${{env.{secret}}}"));
                        model.remark(self.place, what, Why::SecretReference(secret.to_owned()));
                    }
                    None => ready.push(macros::variables(word, self.variable)?),
                },
            }
            before = options.catalogue.argument(word).map(|(option, _)| option);
        }
        Ok(ready)
    }

    fn binary(&self, model: &mut Model, directory: &Path, program: &str) {
        let typed = program.replace(UNKNOWN, "$");
        if let Some(odd) = Odd::of(&typed) {
            let why = format!("{}: herdsman runs its own llama-server unless you set `binary`", odd.problem());
            return model.remark(self.place, typed, Why::Check(why));
        }
        model.binary = Some(absolute(directory, Path::new(&typed)).to_string_lossy().into_owned());
    }

    /// Corrects what a container's command says about addresses, and notes its
    /// paths.
    fn away(&self, model: &mut Model, inner: &Inner) {
        if !inner.is_away {
            return;
        }
        model.state = DesiredState::Stopped;
        for path in model.paths.clone() {
            let here = inner.container.as_ref().and_then(|container| container.here(&path));
            let why = match here {
                Some(here) => format!("a path inside the container: its volumes map it to {here} here"),
                None => "a path inside the container: set the file's path on this machine".to_owned(),
            };
            model.remark(self.place, path, Why::Check(why));
        }
        let Some(container) = inner.container.as_ref().filter(|container| !container.is_on_host) else { return };
        let (port, _) = (model.port.take().unwrap_or(DEFAULT_PORT), model.host.take());
        let Some((address, here, _)) = container.ports.iter().find(|(_, _, inside)| *inside == port.to_string()) else {
            return;
        };
        model.port = here.parse().ok().filter(|port| *port > 0);
        if here != PORT
            && !address.as_deref().is_some_and(|address| address.starts_with("127.") || address == "localhost")
        {
            let why = "other machines can reach it, but here it is 127.0.0.1: set `host = \"0.0.0.0\"` if they should";
            model.remark(self.place, format!("port {here}"), Why::Check(why.to_owned()));
        }
    }
}

/// Whether llama-swap chooses the port: the last of several wins.
fn is_last_port_ours(options: &Options<'_>, words: &[String]) -> bool {
    let is_port = |word: &str| options.catalogue.argument(word).is_some_and(|(option, _)| option.key == "port");
    words.windows(2).rev().find(|pair| is_port(&pair[0])).is_some_and(|pair| pair[1] == PORT)
}

/// An option or a variable with a value that only the shell knows.
fn unknown(name: &str, value: &str) -> String {
    let value =
        if names_a_secret(name) || may_begin(value).is_some() { "…".into() } else { value.replace(UNKNOWN, "$") };
    format!("{name}{value}")
}

fn only_the_shell() -> String {
    "only its shell knows the value: set it yourself".to_owned()
}

fn is_path(option: &OptionSpec) -> bool {
    option.path.is_some() || option.key == "model"
}

/// Splits a command into words. One with Windows paths is split as on Windows,
/// where `\` is not an escape.
fn split(command: &str) -> Option<Vec<String>> {
    let is_windows =
        command.match_indices(":\\").any(|(at, _)| command[..at].ends_with(|c: char| c.is_ascii_alphabetic()))
            || command.contains(" \\\\")
            || command.contains("\"\\\\");
    if is_windows { split_as_windows(command) } else { shlex::split(command) }
}

fn split_as_windows(command: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.peek() == Some(&'"') => {
                word.get_or_insert_default().push('"');
                rest.next();
            }
            '"' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            c if c.is_whitespace() && !is_quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    (!is_quoted).then_some(words)
}

/// Reads the command as llama-swap does: lines that start with `#` are comments,
/// and a `\` at the end of a line is ignored.
fn without_comments(command: &str) -> String {
    let lines = command.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.map(|line| line.strip_suffix('\\').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}
