//! `herdsman import`: writes definitions from the configuration of other tools.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::output::{complain, print};
use super::{Exit, Places, Refused};
use crate::definition::{absolute, render};
use crate::host::HostError;
use crate::import::{self, File, Import, Kind, LeftOut, Named, Remark, Source, SourceError, WriteError};
use crate::model::DesiredState;
use crate::model::text::{count, printable};
use crate::owner::policy::Policy;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    #[command(subcommand)]
    source: SourceArgs,
}

#[derive(Debug, Subcommand)]
enum SourceArgs {
    /// Import the models of a llama-swap configuration.
    LlamaSwap {
        /// config.yaml of llama-swap, or a directory of such files (`-config-dir`).
        #[arg(required = true, value_name = "FILE")]
        files: Vec<String>,
        #[command(flatten)]
        into: Into,
    },
    /// Import the models of a llama-server that runs as a router.
    Preset {
        /// --models-preset of the router, an INI file.
        #[arg(required_unless_present_any = ["dir", "cache"])]
        file: Option<String>,
        /// --models-dir of the router: also import the models in it.
        #[arg(long, value_name = "DIR")]
        dir: Option<String>,
        /// Download cache of the router (LLAMA_CACHE or ~/.cache/huggingface/hub): also import its models.
        #[arg(long, value_name = "DIR")]
        cache: Option<String>,
        /// --models-max of the router: how many models run at once; 0: any number.
        #[arg(long, value_name = "N", default_value_t = 4)]
        models_max: usize,
        #[command(flatten)]
        into: Into,
    },
    /// Import the unmanaged rows of a models database.
    Database {
        /// SQLite file.
        file: String,
        #[command(flatten)]
        into: Into,
    },
    /// Import a running llama-server.
    Process {
        /// Process ID of the llama-server.
        #[arg(value_parser = clap::value_parser!(i32).range(1..))]
        pid: i32,
        #[command(flatten)]
        into: Into,
    },
    /// Import the GGUF files in a directory and its subdirectories.
    Ggufs {
        /// Directory to search.
        dir: String,
        #[command(flatten)]
        into: Into,
    },
}

#[derive(Debug, Args)]
struct Into {
    /// Directory to write the definitions to; existing files are not overwritten.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Print the definitions; write no files.
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &ImportArgs) -> anyhow::Result<Exit> {
    let (source, Into { to, dry_run }) = match &args.source {
        SourceArgs::LlamaSwap { files, into } => (Source::LlamaSwap(files.clone()), into),
        SourceArgs::Preset { file, dir, cache, models_max: most, into } => {
            (Source::Preset { file: file.clone(), dir: dir.clone(), cache: cache.clone(), most: *most }, into)
        }
        SourceArgs::Database { file, into } => (Source::Database(file.clone()), into),
        SourceArgs::Process { pid, into } => (Source::Process(*pid), into),
        SourceArgs::Ggufs { dir, into } => (Source::Ggufs(dir.clone()), into),
    };
    let cwd = std::env::current_dir()?;
    // As in `validate --host`: a program that the policy forbids does not even run for its help.
    let policy = match places.policy_for_validate(true, &cwd) {
        Err(HostError::Policy(unreadable)) => Some(Arc::new(Policy::unknown(&unreadable))),
        policy => policy?,
    };
    let servers = import::Servers::new(places.llama_servers(policy));
    let import = match import::import(&source, &cwd, &servers) {
        Ok(import) => import,
        Err(error) => return refuse(&error),
    };
    tell(&import);
    let files = import.files();
    // Before any refusal: a dry run shows the definitions even if they cannot be written.
    if *dry_run {
        for file in &files {
            print(format_args!("==> {} <==\n{}\n", to.join(&file.name).display(), file.text))?;
        }
    }
    if !files.is_empty() {
        let dir = absolute(&cwd, to);
        let done = import::none_is_there(&dir, &files)
            .and_then(|()| import::check(&dir, &files, &servers))
            .and_then(|()| if *dry_run { Ok(()) } else { import::write(&dir, &files) });
        if let Err(error) = done {
            if let WriteError::Invalid(problems) = &error {
                complain(render(problems, false));
            }
            return Err(Refused { exit: Exit::Failed, message: error.to_string() }.into());
        }
    }
    print(list(&import, to))?;
    print(summary(&import, *dry_run))?;
    if let (Source::Process(pid), false) = (&source, *dry_run || files.is_empty()) {
        print(next_steps(*pid, &import, to))?;
    }
    let failed = needing_you(&import) > 0 || import.left_out.iter().any(|left_out| left_out.why.is_failure());
    Ok(if failed { Exit::Failed } else { Exit::Converged })
}

/// Reports a source that cannot be imported.
fn refuse(error: &SourceError) -> anyhow::Result<Exit> {
    let exit = match error {
        SourceError::Unreadable { .. } | SourceError::UnreadableDatabase(_) => Exit::NoModelsDir,
        SourceError::Malformed { .. } | SourceError::Wrong(_) => Exit::InvalidDefinition,
    };
    if let SourceError::Malformed { diagnostics, .. } = error {
        complain(render(diagnostics, false));
        return Ok(exit);
    }
    Err(Refused { exit, message: error.to_string() }.into())
}

/// Prints to standard error what differs between source and definitions.
fn tell(import: &Import) {
    for LeftOut { called, place, why, remarks } in &import.left_out {
        let (called, sign) = (printable(called), if why.is_failure() { '!' } else { '.' });
        complain(format_args!("{sign} {place}: {called}: not imported: {}", printable(&why.to_string())));
        for remark in remarks {
            complain(format_args!("{} {}: {called}: {remark}", mark(remark.why.kind()), remark.place));
        }
    }
    for remark in &import.remarks {
        complain(format_args!("{} {}: {remark}", mark(remark.why.kind()), remark.place));
    }
    for (Named { name, model }, _) in &import.definitions {
        for remark in &model.remarks {
            complain(format_args!("{} {}: {name}: {remark}", mark(remark.why.kind()), remark.place));
        }
    }
}

const fn mark(kind: Kind) -> char {
    match kind {
        Kind::Dropped => '-',
        Kind::Lost | Kind::Secret | Kind::Check => '!',
        Kind::Changed => '~',
    }
}

/// Counts what a person has to do before the models run as they did.
fn needing_you(import: &Import) -> usize {
    remarks(import).filter(|remark| remark.why.kind().needs_you()).count()
}

/// Returns every remark on the import, in the order of printing.
fn remarks(import: &Import) -> impl Iterator<Item = &Remark> {
    let own = import.definitions.iter().flat_map(|(named, _)| &named.model.remarks);
    let left_out = import.left_out.iter().flat_map(|left_out| &left_out.remarks);
    import.remarks.iter().chain(left_out).chain(own)
}

/// Returns one line per definition.
fn list(import: &Import, to: &Path) -> String {
    let path = |file: &File| to.join(&file.name).display().to_string();
    let width = import.files().iter().map(|file| path(file).chars().count()).max().unwrap_or(0);
    let line = |(Named { name, model }, file): &(Named, File)| {
        let state = match model.state {
            DesiredState::Running => "",
            DesiredState::OnDemand => " (on demand)",
            DesiredState::Stopped => " (declared stopped)",
        };
        let called = model.called.trim();
        let is_renamed = name.as_str() != called && model.aliases.iter().any(|alias| alias == called);
        let also = if is_renamed { format!(", also answers as {}", printable(called)) } else { String::new() };
        format!("  + {:width$}   {}{state}{also}\n", path(file), model.place)
    };
    let groups = import.groups.iter().map(|file| format!("  + {:width$}   what may run together\n", path(file)));
    import.definitions.iter().map(line).chain(groups).collect()
}

/// Counts what was written, changed and left out.
fn summary(import: &Import, dry_run: bool) -> String {
    let of = |kind: Kind| remarks(import).filter(|remark| remark.why.kind() == kind).count();
    let verb = if dry_run { "Would write" } else { "Wrote" };
    let mut parts = vec![format!("{verb} {}", count(import.definitions.len(), "definition"))];
    let mut part = |number: usize, text: String| {
        if number > 0 {
            parts.push(text);
        }
    };
    let left_out = import.left_out.len();
    let (changed, dropped) = (of(Kind::Changed), of(Kind::Dropped));
    let (lost, secrets, check) = (of(Kind::Lost), of(Kind::Secret), of(Kind::Check));
    part(left_out, format!("{} left out", count(left_out, "model")));
    part(changed, format!("{changed} written differently"));
    part(dropped, format!("{dropped} dropped"));
    part(lost, format!("{lost} not imported"));
    part(secrets, format!("{} to fill in", count(secrets, "secret")));
    part(check, format!("{check} to check"));
    let mut summary = parts.join(", ") + ".\n";
    let stopped = import.definitions.iter().filter(|(named, _)| named.model.state == DesiredState::Stopped).count();
    if stopped > 0 {
        summary += &format!("{} declared stopped; remove `state = \"stopped\"` from those that should run.\n", {
            if stopped == 1 { "1 is".to_owned() } else { format!("{stopped} are") }
        });
    }
    let on_demand = import.definitions.iter().filter(|(named, _)| named.model.state == DesiredState::OnDemand).count();
    if on_demand > 0 {
        summary += &format!(
            "{on_demand} {} on demand: `herdsman watch --listen 127.0.0.1:8080` serves them all at one address.\n",
            if on_demand == 1 { "starts" } else { "start" }
        );
    }
    summary
}

/// Says how to let herdsman take over a process.
fn next_steps(pid: i32, import: &Import, to: &Path) -> String {
    let Some((Named { name, model }, _)) = import.definitions.first() else { return String::new() };
    let dir = to.display();
    let waits = if model.port.is_some() { ", waiting for the port" } else { "" };
    let edit = match needing_you(import) {
        0 => String::new(),
        _ => format!("resolve the lines marked `!` in {dir}/{name}.toml\n  "),
    };
    format!(
        "\nProcess {pid} keeps running: herdsman touches no server it did not start. To let it take over {name}:\n  {edit}\
         herdsman --models-dir {dir} reconcile --dry-run   # shows its start{waits}\n  \
         kill {pid}   # or stop its service, so that nothing starts it again\n  \
         herdsman --models-dir {dir} reconcile\n"
    )
}
