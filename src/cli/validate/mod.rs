//! `herdsman validate`: checks the definitions alone, without a database, and
//! without llama-server unless `--host` asks for it.

mod against;
mod github;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::json::{self, FORMAT_VERSION};
use super::output::{complain, print};
use super::{Exit, Places, Refused, render};
use crate::definition::{
    Catalogue, Catalogues, DEFAULTS_FILE, GROUPS_FILE, Knowledge, LoadError, LoadOptions, Loader, Programs as _,
    ReadFrom, absolute, binary_checks, host_checks, is_part, port_checks, weights_checks,
};
use crate::host::{FromGit, HostError, LlamaServers};
use crate::instance::stranger_on;
use crate::model::text::count;
use crate::model::{Desired, Diagnostic, ModelName, Severity, Timestamp, Unresolved};
use crate::owner::policy::Policy;
use crate::plan::{ActionKind, GuardRefusal, Plan, Reason, Waiting};
use crate::serve::api::diagnostic::DiagnosticDocument;
use crate::sys::trust;

/// Arguments of `validate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsman validate                         check every definition
  herdsman validate --against origin/main   show what a pull request changes
  herdsman validate --host                  check this machine, too")]
pub struct ValidateArgs {
    /// Definition files or directories [default: --models-dir].
    paths: Vec<PathBuf>,
    /// Also check this machine: weights, secret files, ports, llama-server binaries and the policy.
    #[arg(long)]
    host: bool,
    /// Also show what changes compared with a Git revision, or with another directory.
    #[arg(long, value_name = "REV|DIR")]
    against: Option<String>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The output format of problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people; may change.
    #[default]
    Text,
    /// For programs; versioned.
    Json,
    /// Annotations on the lines of a pull request, for GitHub Actions.
    Github,
}

/// What validation found.
struct Validation {
    /// The directories that were read, each with the files that were asked for;
    /// none: all of them.
    read: Vec<(Arc<Desired>, Vec<Arc<str>>)>,
    diagnostics: Vec<Diagnostic>,
    comparison: Option<against::Comparison>,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &ValidateArgs) -> anyhow::Result<Exit> {
    let stated = places.stated_catalogue()?;
    let cwd = std::env::current_dir()?;
    let policy = places.policy_for_validate(args.host, &cwd)?;
    let catalogues = match args.host {
        true => Chosen::Host(places.llama_servers(policy.clone())),
        false => Chosen::Stated(stated.unwrap_or_else(Catalogue::embedded)),
    };
    let owners = policy.as_deref().map_or(&[][..], Policy::owners);
    let mut validation = Validation { read: Vec::new(), diagnostics: Vec::new(), comparison: None };
    for (dir, files) in directories(places, args)? {
        let absolute_dir = absolute(&cwd, &dir);
        // The check runs the llama-server that a definition names, for its options.
        let trusted = args.host.then_some(owners);
        if let Some(owners) = trusted {
            trust::require(&absolute_dir, owners).map_err(HostError::from)?;
        }
        let mut revision = places.revision().map(str::to_owned).map(FromGit::new);
        let from = match &mut revision {
            Some(revision) => ReadFrom::Commit(revision.read(&absolute_dir, trusted)?),
            None => ReadFrom::Itself,
        };
        let options = LoadOptions { dir: &dir, from, cwd: &cwd, state_key: [0; 32], catalogues: &catalogues };
        let mut loader = Loader::default();
        let mut desired = load(&mut loader, &options, &catalogues)?;
        if let Some(against) = &args.against {
            validation.comparison = Some(against::compare(against, &desired, &options)?);
        }
        if let Some(policy) = &policy {
            policy.enforce(&mut desired, from);
        }
        let mut problems = Vec::new();
        if args.host {
            loader.require_trusted(&absolute_dir, owners).map_err(HostError::from)?;
            problems.extend(binary_checks(&desired, from, |binary| catalogues.unusable(binary)));
            problems.extend(port_checks(&desired, from, |port| stranger_on(port, &desired.dir)));
            problems.extend(weights_checks(&desired, from));
            host_checks(&mut desired, from);
        }
        problems.extend(desired.diagnostics.iter().cloned());
        let files: Vec<Arc<str>> =
            files.iter().map(|name| absolute(&cwd, &dir.join(name)).to_string_lossy().into()).collect();
        validation.diagnostics.extend(problems.into_iter().filter(|problem| is_about(problem, &files, &cwd)));
        validation.read.push((desired, files));
    }
    let is_invalid = validation.diagnostics.iter().any(|problem| problem.severity == Severity::Error);
    let exit = if is_invalid { Exit::InvalidDefinition } else { Exit::Converged };
    match args.format {
        Format::Text => {
            if !validation.diagnostics.is_empty() {
                complain(crate::definition::render(&validation.diagnostics, true));
            }
            print(text(&validation))?;
        }
        Format::Json => json::print(&Document::of(&validation, exit))?,
        Format::Github => {
            print(github::annotations(&validation.diagnostics, validation.comparison.as_ref().map(|c| &c.plan)))?
        }
    }
    Ok(exit)
}

/// The directories to read, and of each the files that were asked for.
fn directories(places: &Places, args: &ValidateArgs) -> anyhow::Result<BTreeMap<PathBuf, Vec<PathBuf>>> {
    let refused = |exit, message| Err(Refused { exit, message }.into());
    let mut directories: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for path in &args.paths {
        match std::fs::metadata(path) {
            Err(error) => {
                let message =
                    format!("cannot read {}: {error}\nhelp: pass a definition file or a directory", path.display());
                return refused(Exit::NoModelsDir, message);
            }
            Ok(metadata) if metadata.is_dir() => {
                directories.insert(path.clone(), Vec::new());
            }
            Ok(_) => {
                let name = path.file_name().unwrap_or_default();
                if !is_part(name) {
                    let message = format!(
                        "not a definition file: {}\nhelp: the name must end in `.toml` and not begin with `_` or `.`",
                        path.display()
                    );
                    return refused(Exit::Usage, message);
                }
                let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
                match directories.get_mut(parent) {
                    // All of it already.
                    Some(files) if files.is_empty() => {}
                    Some(files) => files.push(name.into()),
                    None => {
                        directories.insert(parent.to_owned(), vec![name.into()]);
                    }
                }
            }
        }
    }
    if directories.is_empty() {
        directories.insert(places.models_dir.clone(), Vec::new());
    }
    if args.against.is_some() && (directories.len() > 1 || directories.values().any(|files| !files.is_empty())) {
        return refused(
            Exit::Usage,
            "--against compares one whole directory; pass at most one directory and no files".to_owned(),
        );
    }
    Ok(directories)
}

/// Whether a problem is about one of `files` (absolute paths); without files, all
/// problems are.
fn is_about(problem: &Diagnostic, files: &[Arc<str>], cwd: &Path) -> bool {
    let path = absolute(cwd, Path::new(&*problem.file));
    let is_shared = path.file_name().is_some_and(|name| [DEFAULTS_FILE, GROUPS_FILE].map(OsStr::new).contains(&name));
    // What is wrong with a shared file is wrong with every file beside it.
    files.is_empty() || is_shared || files.iter().any(|file| path == Path::new(&**file))
}

/// Reads the directory, and again once every llama-server that was asked has answered.
fn load(loader: &mut Loader, options: &LoadOptions<'_>, catalogues: &Chosen) -> Result<Arc<Desired>, LoadError> {
    let desired = loader.load(options)?;
    let awaits = |file: &Unresolved| file.llama_server.as_ref().is_some_and(|unusable| unusable.is_pending);
    match catalogues {
        Chosen::Host(servers) if desired.unresolved.iter().any(awaits) => {
            servers.wait_for_answers();
            loader.load(options)
        }
        _ => Ok(desired),
    }
}

/// Whose options the definitions are checked with.
enum Chosen {
    /// Those of `--llama-server`, or of the pinned version. They stand in for those
    /// of a `binary` that a definition names.
    Stated(Arc<Catalogue>),
    /// Those of the llama-servers on this machine.
    Host(LlamaServers),
}

impl Chosen {
    /// What is wrong with a llama-server of this host.
    fn unusable(&self, binary: Option<&str>) -> Option<String> {
        match self {
            Self::Stated(_) => None,
            Self::Host(servers) => servers.unusable(binary),
        }
    }
}

impl Catalogues for Chosen {
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.knowledge(binary).catalogue()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        match (self, binary) {
            (Self::Stated(catalogue), None) => Knowledge::Its(Arc::clone(catalogue)),
            (Self::Stated(catalogue), Some(_)) => {
                Knowledge::StandIn { catalogue: Arc::clone(catalogue), because: None }
            }
            (Self::Host(servers), binary) => servers.knowledge(binary),
        }
    }
}

impl Validation {
    /// How many definitions are valid, and how many are not.
    fn counts(&self) -> (usize, usize) {
        let errors = self.diagnostics.iter().filter(|problem| problem.severity == Severity::Error);
        let faulty: BTreeSet<&Arc<str>> = errors.map(|problem| &problem.file).collect();
        let (mut valid, mut invalid) = (0, 0);
        for (desired, files) in &self.read {
            let asked = |path: &Arc<str>| files.is_empty() || files.contains(path);
            invalid += desired.unresolved.iter().filter(|file| asked(&file.path)).count();
            for definition in desired.definitions.values().filter(|definition| asked(&definition.path)) {
                // One that only this host cannot serve.
                *(if faulty.contains(&definition.file) { &mut invalid } else { &mut valid }) += 1;
            }
        }
        (valid, invalid)
    }
}

fn text(validation: &Validation) -> String {
    let (valid, invalid) = validation.counts();
    let mut text = match (valid, invalid) {
        (1, 0) => "1 definition is valid.\n".to_owned(),
        (_, 0) => format!("{valid} definitions are valid.\n"),
        _ => format!("{} invalid, {valid} valid.\n", count(invalid, "definition")),
    };
    if let Some(comparison) = &validation.comparison {
        text += &format!("\nChanges since {}:\n", comparison.with);
        text += &comparison
            .not_compared
            .iter()
            .map(|file| format!("  . {file} was invalid there; its model counts as new\n"))
            .collect::<String>();
        text += &if comparison.plan.actions.is_empty() && comparison.plan.waiting.is_empty() {
            "No changes.\n".to_owned()
        } else {
            render::plan(&comparison.plan, Timestamp(0))
        };
    }
    text
}

/// The document of `validate --format json`.
#[derive(Debug, Serialize)]
struct Document {
    format_version: u32,
    exit_code: u8,
    valid: usize,
    invalid: usize,
    diagnostics: Vec<DiagnosticDocument>,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Against>,
}

/// What changes.
#[derive(Debug, Serialize)]
struct Against {
    with: String,
    not_compared: Vec<String>,
    actions: Vec<Change>,
    waiting: Vec<Waiting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<GuardRefusal>,
}

#[derive(Debug, Serialize)]
struct Change {
    model: ModelName,
    action: ActionKind,
    reasons: Vec<Reason>,
}

impl Document {
    fn of(validation: &Validation, exit: Exit) -> Self {
        let (valid, invalid) = validation.counts();
        Self {
            format_version: FORMAT_VERSION,
            exit_code: exit.code(),
            valid,
            invalid,
            diagnostics: validation.diagnostics.iter().map(DiagnosticDocument::of).collect(),
            against: validation.comparison.as_ref().map(Against::of),
        }
    }
}

impl Against {
    fn of(comparison: &against::Comparison) -> Self {
        let Plan { actions, waiting, guard, .. } = &comparison.plan;
        let change = |action: &crate::plan::Action| Change {
            model: action.model.clone(),
            action: action.kind,
            reasons: action.reasons.clone(),
        };
        Self {
            with: comparison.with.clone(),
            not_compared: comparison.not_compared.clone(),
            actions: actions.iter().map(change).collect(),
            waiting: waiting.clone(),
            guard: guard.clone(),
        }
    }
}
