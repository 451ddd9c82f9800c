//! Whether a llama-server accepts a command line: with `--version` it parses
//! everything, binds and loads nothing, and names the first bad argument.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::BinaryProblem;
use super::process::{self, Leash};
use crate::model::text::printable;
use crate::sys::program::End;

/// llama-server's verdict on a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would start.
    Accepted,
    /// It would not start, or would not do what is meant.
    Refused {
        /// Its own message, one line.
        message: String,
    },
}

/// Asks the llama-server at `path` whether it accepts `args`, in an environment of
/// `env` and a few inherited variables.
///
/// # Errors
/// It does not run, does not end, crashes or lacks a library: nothing is known
/// about the command line.
pub fn dry_run(path: &Path, args: &[String], env: &BTreeMap<String, String>) -> Result<Verdict, BinaryProblem> {
    dry_run_on(path, args, env, None)
}

/// [`dry_run`], ended by `leash`.
///
/// # Errors
/// As [`dry_run`].
pub fn dry_run_on(
    path: &Path,
    args: &[String],
    env: &BTreeMap<String, String>,
    leash: Option<&Leash>,
) -> Result<Verdict, BinaryProblem> {
    let mut command = Command::new(path);
    command
        .args(harmless(args))
        .arg("--version")
        .envs(env.iter().filter(|(name, _)| !WRITERS.iter().any(|(_, v)| v == name)));
    let output = process::run(path, command, "--version", leash)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    match (output.end, complaint(&stderr)) {
        (End::Code(0), None) => Ok(Verdict::Accepted),
        (End::Code(0 | 1), Some(message)) => Ok(Verdict::Refused { message }),
        // 127: a shared library is missing. A signal: it crashed.
        _ => Err(process::failed(path, &output)),
    }
}

/// Options, and the variables that stand for them, which llama-server obeys while
/// it parses its command line: it creates what they name. A check leaves them out,
/// for it must write nothing.
const WRITERS: [(&str, &str); 2] =
    [("--log-file", "LLAMA_ARG_LOG_FILE"), ("--log-prompts-dir", "LLAMA_ARG_LOG_PROMPTS_DIR")];

/// The arguments without those that write.
fn harmless(args: &[String]) -> impl Iterator<Item = &String> {
    let mut is_value = false;
    args.iter().filter(move |arg| {
        let is_left_out = is_value || WRITERS.iter().any(|(option, _)| option == arg);
        is_value = is_left_out && !is_value;
        !is_left_out
    })
}

/// How its parser's complaints start. One may be in the middle of a log line,
/// because another thread writes the log at the same time, in three parts.
const ERRORS: [&str; 2] = ["error while handling argument ", "error: invalid argument"];

/// The complaint in the first line that has one.
fn complaint(stderr: &str) -> Option<String> {
    let behind = |line: &str| ERRORS.iter().find_map(|begin| line.find(begin));
    let error = |line: &str| if line.starts_with("error") { Some(0) } else { behind(line) };
    let said = stderr.lines().map(str::trim).find_map(|line| error(line).map(|at| &line[at..]))?;
    Some(printable(said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hostile::{Target, survives};

    #[test]
    fn a_complaint_is_found_in_the_middle_of_a_line_of_the_log() {
        let said = |stderr: &str| complaint(stderr).unwrap_or_default();
        let error = "error while handling argument \"-Cbd\": invalid cpumask";
        let log = "cmn  parse_cpu_ma: Invalid hex character 'z' at position 0";
        assert_eq!(said(&format!("0.00.005.859 E {log}\n{error}\n\nusage:\n")), error);
        assert_eq!(said(&format!("0.00.005.859 E {error}\n\nusage:\n{log}\n")), error);
        assert_eq!(said("error: invalid argument: --x\n"), "error: invalid argument: --x");
        assert_eq!(said("0.00.1 W gpu: error: none found\nversion: 1\n"), "", "which is not a complaint of the parser");
    }

    #[test]
    fn leaves_out_the_options_that_write() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let args = words("--ctx-size 1 --log-file --log-file --log-prompts-dir /d --mmap");
        assert_eq!(harmless(&args).collect::<Vec<_>>(), ["--ctx-size", "1", "--mmap"]);
    }

    #[test]
    fn no_complaint_does_harm() {
        let words: &[&[u8]] = &[b"error", b"error: ", b": ", b"\x1b]0;title\x07"];
        survives(Target { name: "complaint", words, ..Target::default() }, |bytes| {
            let said = complaint(&String::from_utf8_lossy(bytes)).unwrap_or_default();
            assert!(said.chars().count() <= 301 && !said.chars().any(char::is_control), "{said:?}");
        });
    }
}
