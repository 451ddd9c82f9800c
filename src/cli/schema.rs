//! `herdsman schema`.

use clap::Args;

use super::open::Refused;
use super::{Exit, Places, json};
use crate::definition::catalogue::binary;
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
    let catalogue = match places.resolve().llama_server {
        None => Catalogue::embedded(),
        Some(name) => {
            let path = std::env::var_os("PATH");
            let found = binary::locate(Some(&name), path.as_deref())
                .and_then(|path| binary::catalogue(&path, &binary::identify(&path)?, None, false));
            found.map_err(|problem| Refused { exit: Exit::NoLlamaServer, message: problem.to_string() })?
        }
    };
    let kind = if args.defaults { FileKind::Defaults } else { FileKind::Definition };
    json::print(&schema(&catalogue, kind))?;
    Ok(Exit::Converged)
}
