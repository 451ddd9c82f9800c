//! Whether a llama-server accepts a command line: it parses everything before
//! `--version`, binds and loads nothing, and names the first bad argument.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::BinaryProblem;
use super::process;
use crate::program::End;
use crate::text::printable;

/// What llama-server says of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would start.
    Accepted,
    /// It would not, or not with what is meant.
    Refused {
        /// Its own words, one line.
        message: String,
    },
}

/// It uses only the last of them, and says so on stderr with exit code 0.
const REPEATED: &str = "specified multiple times";

/// Asks the llama-server at `path` whether it accepts `args`, in an environment
/// of `env` and a few inherited variables.
///
/// # Errors
/// It does not run, does not end, crashes or lacks a library: nothing is known
/// about the command line.
pub fn dry_run(path: &Path, args: &[String], env: &BTreeMap<String, String>) -> Result<Verdict, BinaryProblem> {
    let mut command = Command::new(path);
    command.args(args).arg("--version").envs(env);
    let output = process::run(path, command)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match (output.end, complaint(&stderr)) {
        (End::Code(0), None) => Ok(Verdict::Accepted),
        (End::Code(0 | 1), Some(message)) => Ok(Verdict::Refused { message }),
        // 127: a shared library is missing. A signal: it crashed.
        _ => Err(process::failed(path, &output)),
    }
}

/// The first line that says what is wrong.
fn complaint(stderr: &str) -> Option<String> {
    let line = stderr.lines().map(str::trim).find(|line| line.starts_with("error") || line.contains(REPEATED))?;
    // `0.00.005.119 W DEPRECATED: argument '--x' specified multiple times, …`
    let said = if line.contains(REPEATED) { line.split_once(": ").map_or(line, |(_, said)| said) } else { line };
    Some(printable(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{Target, survives};

    #[test]
    fn no_complaint_does_harm() {
        let words: &[&[u8]] = &[b"error", b"error: ", b": ", b"specified multiple times", b"\x1b]0;title\x07"];
        survives(Target { name: "complaint", words, ..Target::default() }, |bytes| {
            let said = complaint(&String::from_utf8_lossy(bytes)).unwrap_or_default();
            assert!(said.chars().count() <= 301 && !said.chars().any(char::is_control), "{said:?}");
        });
    }
}
