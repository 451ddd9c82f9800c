//! `herdsman schema`.

use clap::Args;

use super::{Exit, Places, json};
use crate::definition::{Catalogue, FileKind, schema};

/// `herdsman schema`
#[derive(Debug, Args)]
#[command(after_help = "The options are those of llama-server b10434, or of the one that --llama-server names.")]
pub struct SchemaArgs {
    /// The schema of _defaults.toml instead.
    #[arg(long)]
    defaults: bool,
}

/// Prints the schema.
///
/// # Errors
/// The llama-server that was named is not usable, or standard output cannot be
/// written.
pub(super) fn run(places: &Places, args: &SchemaArgs) -> anyhow::Result<Exit> {
    let catalogue = places.stated_catalogue()?.unwrap_or_else(Catalogue::embedded);
    let kind = if args.defaults { FileKind::Defaults } else { FileKind::Definition };
    json::print(&schema(&catalogue, kind))?;
    Ok(Exit::Converged)
}
