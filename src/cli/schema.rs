//! `herdsman schema`.

use clap::Args;

use super::{Exit, Places, json};
use crate::definition::{Catalogue, FileKind, groups_schema, schema};

/// `herdsman schema`
#[derive(Debug, Args)]
#[command(
    after_help = "The options in the schema are those of llama-server b10434, or of the binary given with --llama-server."
)]
pub struct SchemaArgs {
    /// Print the schema of _defaults.toml instead.
    #[arg(long)]
    defaults: bool,
    /// Print the schema of _groups.toml instead.
    #[arg(long, conflicts_with = "defaults")]
    groups: bool,
}

/// Prints the schema.
///
/// # Errors
/// The given llama-server is not usable, or standard output cannot be written.
pub(super) fn run(places: &Places, args: &SchemaArgs) -> anyhow::Result<Exit> {
    if args.groups {
        json::print(&groups_schema())?;
        return Ok(Exit::Converged);
    }
    let catalogue = places.stated_catalogue()?.unwrap_or_else(Catalogue::embedded);
    let kind = if args.defaults { FileKind::Defaults } else { FileKind::Definition };
    json::print(&schema(&catalogue, kind))?;
    Ok(Exit::Converged)
}
