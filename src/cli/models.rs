//! `herdsman models`: the shared table, in either vocabulary.

use std::fmt::Write as _;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::json::{self, FORMAT_VERSION};
use super::output::print;
use super::status::table::one_line;
use super::{Exit, Format, Places, Refused};
use crate::database::{Database, ModelFilter, ModelRow, convert};
use crate::model::{ModelType, Status};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// List all rows, newest first.
    List {
        /// Only rows with this status, in the words of --view.
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
        /// Only rows of this type, in the words of --view.
        #[arg(long = "type", value_name = "TYPE")]
        model_type: Option<String>,
        /// Only rows whose name contains SUBSTRING, ignoring case.
        #[arg(long, value_name = "SUBSTRING")]
        name: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show one row with all its columns.
    Get {
        /// Name or ID of the row.
        key: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Output {
    /// Vocabulary: `store` uses the words of definitions, `database` those of the columns.
    #[arg(long, value_enum, default_value_t)]
    view: View,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum View {
    /// `idle`, `mistral`, `createdAt`.
    #[default]
    Store,
    /// `stopped`, `mistrall`, `created_at`.
    Database,
}

/// Runs the command.
pub(super) fn run(places: &Places, args: &ModelsArgs) -> anyhow::Result<Exit> {
    let places = places.resolve();
    let (path, place) = (&places.database, places.place());
    let Some(database) = Database::open_read_only(path).map_err(|error| error.at(place))? else {
        let message = format!("there is no database {}\nhelp: `herdsman reconcile` creates it", path.display());
        return Err(Refused { exit: Exit::Failed, message }.into());
    };
    match &args.command {
        ModelsCommand::List { status, model_type, name, output } => {
            let filter = ModelFilter {
                status: status.as_deref().map(|word| status_word(word, output.view)).transpose()?,
                model_type: model_type.as_deref().map(|word| type_word(word, output.view)).transpose()?,
                name: name.clone(),
            };
            list(&database.get_models(&filter)?, output)
        }
        ModelsCommand::Get { key, output } => {
            let mut row = database.get_model_by_name(key)?;
            if row.is_none()
                && let Ok(id) = convert::parse_id(key)
            {
                row = database.get_model_by_id(id)?;
            }
            let Some(row) = row else {
                let message = format!("no row has the name or id {key:?}\nhelp: `herdsman models list` lists all rows");
                return Err(Refused { exit: Exit::Failed, message }.into());
            };
            get(&row, output)
        }
    }
}

fn list(rows: &[ModelRow], output: &Output) -> anyhow::Result<Exit> {
    match output.format {
        Format::Json => {
            let models: Vec<_> = rows.iter().map(|row| view(row, output.view)).collect();
            json::print(&json!({ "format_version": FORMAT_VERSION, "models": models }))?;
        }
        Format::Text => {
            let width = rows.iter().map(|row| row.name().chars().count()).max().unwrap_or(0).max(4);
            let mut out = format!("{:>6}  {:width$}  {:8}  {:8}  CREATED\n", "ID", "NAME", "TYPE", "STATUS");
            for row in rows {
                let (model_type, status) = match output.view {
                    View::Store => (row.model_type().as_str().to_owned(), row.status().as_str().to_owned()),
                    View::Database => (column(row, "type"), column(row, "status")),
                };
                let created = row.created_at().and_then(|at| jiff::Timestamp::from_millisecond(at.0).ok());
                let created = created.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
                let [name, model_type, status] = [row.name(), &model_type, &status].map(one_line);
                let _ = writeln!(out, "{:>6}  {name:width$}  {model_type:8}  {status:8}  {created}", row.id());
            }
            print(out)?;
        }
    }
    Ok(Exit::Converged)
}

fn get(row: &ModelRow, output: &Output) -> anyhow::Result<Exit> {
    let fields = view(row, output.view);
    match output.format {
        Format::Json => json::print(&json!({ "format_version": FORMAT_VERSION, "model": fields }))?,
        Format::Text => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let shown = value.as_str().map_or_else(|| value.to_string(), |text| format!("{text:?}"));
                print(format_args!("{name:width$}  {shown}\n"))?;
            }
        }
    }
    Ok(Exit::Converged)
}

fn view(row: &ModelRow, view: View) -> Map<String, Value> {
    match view {
        View::Database => row.to_json(),
        View::Store => match serde_json::to_value(convert::to_store(row)) {
            Ok(Value::Object(fields)) => fields,
            // A struct of texts and JSON serialises to an object.
            _ => Map::new(),
        },
    }
}

fn column(row: &ModelRow, name: &str) -> String {
    row.text(name).unwrap_or("-").to_owned()
}

/// Returns the column's word for a filter; a word that the view does not have is
/// a typing error, not "no rows".
fn status_word(word: &str, view: View) -> Result<String, Refused> {
    let known = Status::ALL.map(|s| match view {
        View::Store => (s.as_str(), convert::word_of_status(s)),
        View::Database => (convert::word_of_status(s), convert::word_of_status(s)),
    });
    lookup("--status", word, &known)
}

fn type_word(word: &str, view: View) -> Result<String, Refused> {
    match view {
        View::Store => lookup("--type", word, &ModelType::ALL.map(|t| (t.as_str(), convert::word_of_type(t)))),
        View::Database => lookup("--type", word, &convert::TYPE_WORDS.map(|word| (word, word))),
    }
}

fn lookup(option: &str, word: &str, known: &[(&str, &str)]) -> Result<String, Refused> {
    let found = known.iter().find(|(shown, _)| *shown == word).map(|(_, column)| (*column).to_owned());
    found.ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(shown, _)| *shown).collect();
        Refused { exit: Exit::Usage, message: format!("{option} {word:?}: expected one of {}", words.join(", ")) }
    })
}
