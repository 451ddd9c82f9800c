//! `herdsman completions SHELL`.

use clap::Args;
use clap_complete::Shell;

use super::{Exit, help, output};

/// `herdsman completions`
#[derive(Debug, Args)]
#[command(after_help = "For bash: herdsman completions bash > \
~/.local/share/bash-completion/completions/herdsman")]
pub struct CompletionsArgs {
    /// Shell to complete for.
    shell: Shell,
}

/// Prints the completions.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command_to_complete(), "herdsman", &mut script);
    output::print(String::from_utf8_lossy(&script))?;
    Ok(Exit::Converged)
}
