//! The command line: one file per command, arguments and rendering only.

mod by_hand;
mod completions;
mod down;
mod exit;
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
mod progress;
mod reconcile;
mod render;
mod review;
mod schema;
mod status;
mod validate;
mod wait;
mod watch;
mod why;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::plan;
pub use exit::Exit;
pub use open::diagnostics_of;
pub use output::complain;

/// What is said of the program as a whole.
const ABOUT: &str = "\
Keeps llama-server processes as a directory of TOML files says.

Definitions are *.toml files, one per model. herdsman compares them with its SQLite records and with \
what really runs, and creates, updates, starts, stops and deletes models until all three agree. \
Servers outlive herdsman.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "herdsman", version = env!("HERDSMAN_VERSION"), about = ABOUT, max_term_width = 100)]
// One help, the short one: every option on a line or two.
#[command(disable_help_subcommand = true, disable_help_flag = true)]
#[command(after_help = "Exit codes: 0 converged, 1 something failed or is not as declared, 2 changes \
(with --detailed-exitcode), 3 refused by the mass-delete guard or a saved plan that does not hold, 64 usage, 65 invalid definition, \
policy or settings, 66 no models.d, policy, settings or saved plan, 69 no usable llama-server, 75 locked by another pass.")]
pub struct Cli {
    /// Where things are.
    #[command(flatten)]
    pub places: Places,
    /// Print help.
    #[arg(short, long, global = true, action = clap::ArgAction::HelpShort, help_heading = "Options")]
    help: Option<bool>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A path, which may be empty: a variable that is empty counts as not set.
fn path_or_nothing() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The directory of definitions, likewise.
fn models_dir() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(|dir| PathBuf::from(if dir.is_empty() { MODELS_DIR.into() } else { dir }))
}

/// Where definitions are, unless it is said.
const MODELS_DIR: &str = "models.d";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Where things are")]
pub struct Places {
    /// Directory of the definitions.
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
    /// Read the definitions of this commit, branch or tag (such as origin/main) instead of the files in the directory.
    #[arg(long, global = true, value_name = "REV", env = "HERDSMAN_FROM_GIT", hide_env_values = true)]
    pub from_git: Option<String>,
    /// Directory for records, logs and locks [default: $XDG_STATE_HOME/herdsman].
    #[arg(long, global = true, value_name = "DIR", env = "HERDSMAN_STATE_DIR", hide_env_values = true, value_parser = path_or_nothing())]
    pub state_dir: Option<PathBuf>,
    /// SQLite file shared with other programs [default: herdsman.db in the state directory].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_DATABASE", hide_env_values = true, value_parser = path_or_nothing())]
    pub database: Option<PathBuf>,
    /// llama-server for definitions that name none [default: from PATH].
    #[arg(long, global = true, value_name = "PATH", env = "HERDSMAN_LLAMA_SERVER", hide_env_values = true)]
    pub llama_server: Option<String>,
    /// What this host's owner decides, such as whom to tell
    /// [default: /etc/herdsman/herdsman.toml for root, else $XDG_CONFIG_HOME/herdsman/herdsman.toml].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_SETTINGS", hide_env_values = true, value_parser = path_or_nothing())]
    pub settings: Option<PathBuf>,
    /// What definitions may ask of this host [default: /etc/herdsman/policy.toml, if it is there].
    #[arg(long, global = true, value_name = "FILE", env = "HERDSMAN_POLICY", hide_env_values = true, value_parser = path_or_nothing())]
    pub policy: Option<PathBuf>,
    /// Ports to allot to definitions that name none.
    #[arg(long, global = true, value_name = "A-B", default_value = "8100-8999", value_parser = port_range)]
    pub port_range: (u16, u16),
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the machine match the definitions.
    Reconcile(reconcile::ReconcileArgs),
    /// Check definitions, without a database or llama-server.
    Validate(validate::ValidateArgs),
    /// Keep the machine matching the definitions, until a signal ends it.
    Watch(watch::WatchArgs),
    /// Show every model: what is wanted, what runs, and why they differ.
    Status(status::StatusArgs),
    /// Tell why a model is as it is: definition, generation, action, process, state.
    Why(why::WhyArgs),
    /// Tell what was done to models: generations, actions, commits, newest first.
    History(history::HistoryArgs),
    /// Print the logs of a model's servers.
    Logs(logs::LogsArgs),
    /// Wait until a commit is what runs here, and has stayed healthy.
    Wait(wait::WaitArgs),
    /// Do nothing to a model for a while, not even restart it when it crashes.
    Suspend(by_hand::SuspendArgs),
    /// End a suspension.
    Resume(by_hand::ResumeArgs),
    /// Start a model now, until its definition changes if it is declared stopped.
    Start(by_hand::HandArgs),
    /// Stop a model until its definition changes, or `start`.
    Stop(by_hand::HandArgs),
    /// Restart a model's server.
    Restart(by_hand::HandArgs),
    /// Stop every managed server; records and definitions stay.
    Down(down::DownArgs),
    /// Write definitions of models that are kept elsewhere: llama-swap, a preset, a database, …
    Import(import::ImportArgs),
    /// Read the models table, as the programs that share it see it.
    Models(models::ModelsArgs),
    /// Print the JSON Schema of a definition, for editors.
    Schema(schema::SchemaArgs),
    /// Print what makes a shell complete herdsman's commands.
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write the pages of all commands.
    Man(man::ManArgs),
}

/// Runs the command.
///
/// # Errors
/// What stopped it, for a person, with the exit code in the error chain.
pub fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Reconcile(args) => reconcile::run(&cli.places, args),
        Command::Validate(args) => validate::run(&cli.places, args),
        Command::Watch(args) => watch::run(&cli.places, args),
        Command::Status(args) => status::run(&cli.places, args),
        Command::Why(args) => why::run(&cli.places, args),
        Command::History(args) => history::run(&cli.places, args),
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
    }
}

/// How results are written.
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
        _ => Err("a range of ports is two numbers from 1 to 65535, such as 8100-8999".to_owned()),
    }
}

/// `30s`, `10m`, `500ms`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    crate::definition::parse_duration(text).map_err(|problem| format!("{problem}: write it like 30s, 10m or 1h30m"))
}
