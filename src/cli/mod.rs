//! The command line: one file per command, with its arguments and its output and no decisions.

mod by_hand;
mod completions;
mod down;
mod exit;
mod ground;
mod help;
mod history;
mod import;
mod json;
mod limits;
mod logs;
mod man;
mod markdown;
mod models;
mod named;
mod open;
mod output;
mod places;
mod progress;
mod reconcile;
mod render;
mod review;
mod schema;
mod serving;
mod status;
mod validate;
mod wait;
mod watch;
mod why;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, StyledStr, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::plan;
pub use exit::Exit;
use exit::Refused;
pub use output::complain;
pub use places::diagnostics_of;

/// What `herdsman --help` says before the commands; the first line is the summary.
const ABOUT: &str = "\
Keeps llama-server processes in sync with a directory of TOML files.

Each *.toml file defines one model. herdsman compares the files with its SQLite records and with the \
processes that are running, and creates, updates, starts, stops or deletes models until all three \
agree. Servers keep running when herdsman exits.";

/// The table of exit codes below `herdsman --help`.
const EXIT_CODES: &str = "\
Exit codes:
   0  everything matches its definition
   1  something failed, or a model does not match its definition
   2  changes are pending or were made (--detailed-exitcode)
   3  refused: by the mass-delete guard, or because the saved plan is out of date
  64  wrong usage
  65  invalid definition, policy or settings
  66  models.d, policy, settings or saved plan not found
  69  no usable llama-server
  75  another pass holds the lock";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "herdsman", version = env!("HERDSMAN_VERSION"), about = ABOUT, max_term_width = 100)]
// One help, the short one: every option on a line or two.
#[command(disable_help_subcommand = true, disable_help_flag = true)]
#[command(after_help = EXIT_CODES)]
pub struct Cli {
    /// Files, directories and ports.
    #[command(flatten)]
    pub places: Places,
    /// Print help.
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help_heading = "Global options")]
    help: Option<bool>,
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

/// Parses a path, which may be empty: an empty variable counts as not set.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Parses the directory of definitions, likewise.
fn models_dir() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|dir| PathBuf::from(if dir.is_empty() { MODELS_DIR.into() } else { dir }))
}

/// The default directory of definitions.
const MODELS_DIR: &str = "models.d";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct Places {
    /// Directory with the definitions.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "HERDSMAN_MODELS_DIR",
        hide_env_values = true,
        default_value = MODELS_DIR,
        value_parser = models_dir()
    )]
    pub models_dir: PathBuf,
    /// Read the definitions from this commit, branch or tag, such as origin/main, instead of the work tree.
    #[arg(long, global = true, value_name = "REV", env = "HERDSMAN_FROM_GIT", hide_env_values = true)]
    pub from_git: Option<String>,
    /// Directory for the database, logs and locks [default: $XDG_STATE_HOME/herdsman].
    #[arg(long, global = true, value_name = "DIR", env = "HERDSMAN_STATE_DIR", hide_env_values = true, value_parser = path_or_nothing())]
    pub state_dir: Option<PathBuf>,
    /// SQLite database, which other programs may share [default: herdsman.db in the state directory].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_DATABASE", hide_env_values = true, value_parser = path_or_nothing())]
    pub database: Option<PathBuf>,
    /// llama-server for definitions without `binary` [default: the one in PATH].
    #[arg(long, global = true, value_name = "PATH", env = "HERDSMAN_LLAMA_SERVER", hide_env_values = true)]
    pub llama_server: Option<String>,
    /// Settings of this host, such as notifications
    /// [default: /etc/herdsman/herdsman.toml for root, else $XDG_CONFIG_HOME/herdsman/herdsman.toml].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_SETTINGS", hide_env_values = true, value_parser = path_or_nothing())]
    pub settings: Option<PathBuf>,
    /// Policy of this host: what definitions may use [default: /etc/herdsman/policy.toml, if it exists].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_POLICY", hide_env_values = true, value_parser = path_or_nothing())]
    pub policy: Option<PathBuf>,
    /// Ports to assign to definitions without `port`.
    #[arg(long, global = true, value_name = "A-B", default_value = "8100-8999", value_parser = port_range)]
    pub port_range: (u16, u16),
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring this machine in sync with the definitions.
    Reconcile(reconcile::ReconcileArgs),
    /// Check definitions; needs no database and no llama-server.
    Validate(validate::ValidateArgs),
    /// Keep this machine in sync with the definitions until Ctrl-C.
    Watch(watch::WatchArgs),
    /// Show every model: what its definition wants, what runs, and why they differ.
    Status(status::StatusArgs),
    /// Explain the state of a model: definition, generation, action, process.
    Why(why::WhyArgs),
    /// Show what happened to models, newest first: actions, generations, commits.
    History(history::HistoryArgs),
    /// Print the address of the page that a watcher serves, and open it on a desktop.
    Open(open::OpenArgs),
    /// Print the logs of a model's servers.
    Logs(logs::LogsArgs),
    /// Wait until a commit is deployed on this machine and stays healthy.
    Wait(wait::WaitArgs),
    /// Leave a model alone for a while: herdsman does not even restart it after a crash.
    Suspend(by_hand::SuspendArgs),
    /// End the suspension of a model.
    Resume(by_hand::ResumeArgs),
    /// Start a model now, even if its definition says stopped (until the definition changes).
    Start(by_hand::HandArgs),
    /// Stop a model until `start` or until its definition changes.
    Stop(by_hand::HandArgs),
    /// Restart the server of a model.
    Restart(by_hand::HandArgs),
    /// Stop every managed server; keep records and definitions.
    Down(down::DownArgs),
    /// Write definitions for the models of llama-swap, a preset, a database, a process or GGUF files.
    Import(import::ImportArgs),
    /// Read the `models` table that other programs share.
    Models(models::ModelsArgs),
    /// Print the JSON Schema of a definition, for editors.
    Schema(schema::SchemaArgs),
    /// Print a completion script for a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one page per command.
    Man(man::ManArgs),
    /// Show help for a command or a topic, such as `definitions`; without a name, list them all.
    Help(help::HelpArgs),
}

impl Cli {
    /// Parses the command line of this process.
    ///
    /// # Errors
    /// What is wrong with it, in words; also `--help` and `--version`.
    pub fn of_process() -> Result<Self, clap::Error> {
        Self::try_parse().map_err(|mut error| {
            // clap takes an option from the environment for a given one, and would show it as required.
            if error.get(ContextKind::Usage).is_some() {
                let usage = usage(std::env::args_os().skip(1));
                error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            }
            error
        })
    }
}

/// Returns the usage of the command that `arguments` name.
fn usage(arguments: impl Iterator<Item = OsString>) -> StyledStr {
    let mut command = Cli::command();
    command.build();
    for word in arguments {
        if let Some(named) = command.find_subcommand(&word) {
            command = named.clone();
        }
    }
    command.render_usage()
}

/// Runs the command.
///
/// # Errors
/// What stopped the command, in words; [`Exit::of`] gives its exit code.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Reconcile(args) => reconcile::run(&cli.places, args),
        Command::Validate(args) => validate::run(&cli.places, args),
        Command::Watch(args) => watch::run(&cli.places, args),
        Command::Status(args) => status::run(&cli.places, args),
        Command::Why(args) => why::run(&cli.places, args),
        Command::History(args) => history::run(&cli.places, args),
        Command::Open(args) => open::run(&cli.places, args),
        Command::Logs(args) => logs::run(&cli.places, args),
        Command::Wait(args) => wait::run(&cli.places, args),
        Command::Suspend(args) => by_hand::suspend(&cli.places, args),
        Command::Resume(args) => by_hand::resume(&cli.places, args),
        Command::Start(args) => by_hand::act(&cli.places, plan::Command::Start, args),
        Command::Stop(args) => by_hand::act(&cli.places, plan::Command::Stop, args),
        Command::Restart(args) => by_hand::act(&cli.places, plan::Command::Restart, args),
        Command::Down(args) => down::run(&cli.places, args),
        Command::Import(args) => import::run(&cli.places, args),
        Command::Models(args) => models::run(&cli.places, args),
        Command::Schema(args) => schema::run(&cli.places, args),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
        Command::Help(args) => help::run(args),
    }
}

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people; may change.
    #[default]
    Text,
    /// For programs; versioned.
    Json,
}

fn port_range(text: &str) -> Result<(u16, u16), String> {
    let parse = |part: &str| part.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-').map(|(a, b)| (parse(a), parse(b))) {
        Some((Some(from), Some(to))) if from <= to => Ok((from, to)),
        _ => Err("expected two ports from 1 to 65535, such as 8100-8999".to_owned()),
    }
}

/// Parses `30s`, `10m`, `500ms`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    crate::definition::parse_duration(text)
        .map_err(|problem| format!("{problem}; use a duration such as 30s, 10m or 1h30m"))
}
