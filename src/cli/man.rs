//! `herdsman man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::{ABOUT, Cli, Exit, help, output};

/// `herdsman man`
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Write one page per command to DIR: herdsman-reconcile.1 and so on.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Prints the main page, or writes all pages.
///
/// # Errors
/// Standard output, or the directory, cannot be written.
pub(super) fn run(args: &ManArgs) -> anyhow::Result<Exit> {
    // One line names it; the rest describes it.
    let name = ABOUT.lines().next().unwrap_or_default();
    let command = Cli::command().about(name).long_about(ABOUT);
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let command = command.after_long_help(format!("{after}\n\n{}", help::for_the_manual()));
    match &args.to {
        Some(dir) => {
            clap_mangen::generate_to(command, dir).map_err(|error| {
                let dir = dir.display();
                anyhow::anyhow!("cannot write to {dir}: {error}; --to needs an existing directory")
            })?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            output::print(String::from_utf8_lossy(&page))?;
        }
    }
    Ok(Exit::Converged)
}
