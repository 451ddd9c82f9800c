//! Arguments in, exit code out.

use std::process::ExitCode;

use herdsman::cli::{Cli, Exit, complain, run};

fn main() -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = !error.use_stderr();
            // Nothing can be done about a closed standard output.
            let _ = error.print();
            return if asked { ExitCode::SUCCESS } else { Exit::Usage.into() };
        }
    };
    match run(&cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let code = herdsman::cli::Exit::of(&error);
            let problems = herdsman::cli::diagnostics_of(&error);
            if !problems.is_empty() {
                // Colours are stripped where standard error is no terminal.
                complain(herdsman::definition::render(problems, true));
            }
            complain(format_args!("error: {error}"));
            code.into()
        }
    }
}
