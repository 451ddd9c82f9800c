//! Checks of a definition against this machine. `reconcile` makes them, not a load,
//! so that the same files load alike on a machine without weights.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::directory::Directory;
use super::secret::{SecretError, read_secret};
use super::source::Source;
use super::typed::{self, Odd};
use super::{ReadFrom, defaults};
use crate::llama::gguf::check_gguf;
use crate::model::text::printable;
use crate::model::{Definition, Desired, DesiredState, Diagnostic, ModelName, Origin, Unresolved};
use crate::sys::regular;

/// The problem found with each file, by path; `None`: it is fine.
type Checked = BTreeMap<String, Option<String>>;

/// Marks every definition that should or may run as unresolved if its weights or secrets
/// cannot be read, with a diagnostic at the line that names the file. `from` is
/// where the definitions were read. Stopped definitions are left alone.
pub fn host_checks(desired: &mut Arc<Desired>, from: ReadFrom<'_>) {
    let mut checked = Checked::new();
    let mut refused = Refused::default();
    for definition in desired.definitions.values() {
        if definition.state != DesiredState::Stopped {
            refused.add(definition, problems(definition, desired, from, &mut checked));
        }
    }
    refuse(desired, refused);
}

/// Definitions that were refused after they were loaded.
#[derive(Default)]
pub(crate) struct Refused {
    /// Each with its first problem.
    models: BTreeMap<ModelName, String>,
    pub found: Vec<Diagnostic>,
}

impl Refused {
    /// Refuses `definition` if it has problems.
    pub fn add(&mut self, definition: &Definition, mut problems: Vec<Diagnostic>) {
        if let [first, ..] = &problems[..] {
            self.models.entry(definition.name.clone()).or_insert_with(|| first.message.clone());
            self.found.append(&mut problems);
        }
    }

    /// Refuses every definition, for one problem that they share.
    pub fn everything(&mut self, desired: &Desired, problem: Diagnostic) {
        self.models.extend(desired.definitions.keys().map(|name| (name.clone(), problem.message.clone())));
        self.found.push(problem);
    }
}

/// Marks the refused definitions as unresolved.
pub(crate) fn refuse(desired: &mut Arc<Desired>, refused: Refused) {
    let Refused { models, mut found } = refused;
    if found.is_empty() {
        return;
    }
    let desired = Arc::make_mut(desired);
    desired.diagnostics.append(&mut found);
    for (name, problem) in models {
        if let Some(definition) = desired.definitions.remove(&name) {
            let (path, file) = (Arc::clone(&definition.path), Arc::clone(&definition.file));
            desired.unresolved.push(Unresolved { path, file, name: Some(name), problem, llama_server: None });
        }
    }
    desired.unresolved.sort_by(|a, b| a.path.cmp(&b.path));
    desired.diagnostics = super::in_order(std::mem::take(&mut desired.diagnostics));
}

/// Reports what is wrong with each definition's llama-server. `unusable` returns
/// the problem of a `binary`: missing, another program, or not responding.
#[must_use]
pub fn binary_checks(
    desired: &Desired,
    from: ReadFrom<'_>,
    unusable: impl Fn(Option<&str>) -> Option<String>,
) -> Vec<Diagnostic> {
    let mut found: BTreeMap<Option<&str>, Option<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    for definition in desired.definitions.values() {
        let named = definition.spec.binary.as_deref();
        let problem = found.entry(named).or_insert_with(|| unusable(named));
        if let Some(message) = problem {
            problems.push(problem_at(definition, desired, from, &definition.origin("binary"), "", message));
        }
    }
    let waiting = desired.unresolved.iter().filter_map(|file| Some((file, file.llama_server.as_ref()?)));
    problems.extend(waiting.map(|(file, unusable)| Diagnostic::error(Arc::clone(&file.file), &unusable.problem)));
    super::in_order(problems)
}

/// Reports weights that llama-server could not load: not GGUF files, or incomplete.
/// `reconcile` finds the same before a start; reading them in every pass would take
/// too long.
#[must_use]
pub fn weights_checks(desired: &Desired, from: ReadFrom<'_>) -> Vec<Diagnostic> {
    let mut checked = Checked::new();
    let mut problems = Vec::new();
    let running = desired.definitions.values().filter(|definition| definition.state != DesiredState::Stopped);
    for definition in running {
        for path in definition.spec.gguf_files() {
            let found = checked.entry(path.to_owned());
            let found = found.or_insert_with(|| check_gguf(Path::new(path)).err().map(|problem| problem.to_string()));
            if let Some(message) = found {
                let origin = definition.origin(&format!("file {path}"));
                problems.push(problem_at(definition, desired, from, &origin, file_name(path), message));
            }
        }
    }
    super::in_order(problems)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Reports declared ports that another program uses; `stranger` names it.
#[must_use]
pub fn port_checks(desired: &Desired, from: ReadFrom<'_>, stranger: impl Fn(u16) -> Option<String>) -> Vec<Diagnostic> {
    let running = desired.definitions.values().filter(|definition| definition.state != DesiredState::Stopped);
    let problem = |definition: &Arc<Definition>| {
        let port = definition.spec.port?;
        let message = format!("port {port} is in use by {}", stranger(port)?);
        let problem = problem_at(definition, desired, from, &definition.origin("port"), &port.to_string(), &message);
        Some(problem.help("stop it, or choose another port"))
    };
    super::in_order(running.filter_map(problem).collect())
}

fn problems(definition: &Definition, desired: &Desired, from: ReadFrom<'_>, checked: &mut Checked) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (field, origin) in &definition.origins {
        let Some(path) = field.strip_prefix("file ") else { continue };
        let found = checked.entry(path.to_owned()).or_insert_with(|| unreadable(path));
        if let Some(message) = found {
            let typed = typed(desired, path);
            let (message, help) = match typed.as_deref().and_then(Odd::of) {
                Some(odd) => {
                    let typed = typed.as_deref().unwrap_or_default();
                    let message = format!("the file {typed} does not exist: {}", odd.problem());
                    (message, odd.help(typed, typed::home().as_deref()))
                }
                None => {
                    let help = "put the file there, correct the path, or set `state = \"stopped\"`";
                    (message.clone(), help.to_owned())
                }
            };
            problems.push(problem_at(definition, desired, from, origin, file_name(path), &message).help(help));
        }
    }
    for (variable, secret) in definition.spec.secrets.iter().filter(|(_, secret)| secret.digest.is_empty()) {
        // It has become readable: the next load uses it.
        let Err(error) = read_secret(&secret.source) else { continue };
        let origin = definition.origin(&format!("secrets.{variable}"));
        let fix = match &error {
            SecretError::Unset(_) => "set it in herdsman's environment",
            SecretError::Unreadable { .. } => "make the file readable for herdsman's user",
            SecretError::Empty(_) | SecretError::TooLong(_) | SecretError::NotText(_) => "put one line of text in it",
        };
        let help = format!("{fix}, or set `state = \"stopped\"`");
        problems.push(problem_at(definition, desired, from, &origin, "", &error.to_string()).help(help));
    }
    problems
}

/// A path as it was typed in a definition: TOML turned the `\t` of `"C:\temp"` into
/// a tab, which is turned back.
fn typed(desired: &Desired, path: &str) -> Option<String> {
    let typed = path.strip_prefix(&*desired.dir.to_string_lossy())?.trim_start_matches('/');
    Some(if typed.contains(char::is_control) { typed.escape_default().to_string() } else { typed.to_owned() })
}

fn unreadable(path: &str) -> Option<String> {
    let error = regular::open(Path::new(path)).err()?;
    Some(match error.kind() {
        std::io::ErrorKind::NotFound => format!("the file {} does not exist", printable(path)),
        _ => format!("cannot read the file {}: {error}", printable(path)),
    })
}

/// Returns a problem at a line of the definition or of its defaults; the caret
/// points at the value `needle` if the line has it.
pub(crate) fn problem_at(
    definition: &Definition,
    desired: &Desired,
    from: ReadFrom<'_>,
    origin: &Origin,
    needle: &str,
    message: &str,
) -> Diagnostic {
    let directory = Directory::of(from, &desired.dir);
    let path: Arc<str> = if origin.file == definition.file {
        Arc::clone(&definition.path)
    } else {
        desired.dir.join(defaults::FILE_NAME).to_string_lossy().into()
    };
    let text = directory.text_again(&path);
    Source::new(path, Arc::clone(&origin.file), &text).error_at_line(origin.line, needle, message)
}
