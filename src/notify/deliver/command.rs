//! By a command: the payload on its standard input, exit code 0 for "arrived".

use std::os::unix::process::CommandExt;
use std::process;
use std::time::Duration;

use rustix::process::{Signal, set_parent_process_death_signal};

use super::Failure;
use crate::database::Delivery;
use crate::sys::program::{End, Limits, run};

/// How much of its output to keep, in bytes: enough for the last line of an error.
const OUTPUT: usize = 16 * 1024;

/// A program and its arguments.
#[derive(Debug)]
pub(super) struct Command(Vec<String>);

impl Command {
    pub fn new(words: &[String]) -> Self {
        Self(words.to_vec())
    }

    pub fn run(&self, delivery: &Delivery, body: &str, timeout: Duration) -> Result<(), Failure> {
        let Some((program, arguments)) = self.0.split_first() else { return Ok(()) };
        let mut command = process::Command::new(program);
        command
            .args(arguments)
            .current_dir("/")
            .env("HERDSMAN_NOTIFICATION", &delivery.id)
            .env("HERDSMAN_EVENT", delivery.kind.as_str())
            .env("HERDSMAN_MODEL", &delivery.model);
        // SAFETY: prctl(2) is all the closure calls, and it is async-signal-safe.
        unsafe {
            // It must not outlive a herdsman that is killed: the next one runs it again.
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let failed = |why: String| Failure::Now(format!("{program} {why}"));
        let output =
            run(&mut command, body.as_bytes(), Limits { time: timeout, grace: Duration::ZERO, output: OUTPUT })
                .map_err(|error| failed(error.to_string()))?;
        match output.end {
            End::Code(0) => Ok(()),
            _ => Err(failed(output.complaint())),
        }
    }
}
