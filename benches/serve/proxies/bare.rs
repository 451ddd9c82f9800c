//! Servers without a proxy, started when they are asked for by the benchmark itself:
//! the least that any program with that task needs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{completion, temporary};
use crate::measure::bare::until_ready;
use crate::on_demand::weights;
use crate::process::Running;
use crate::support::{free_port, llama_server};

/// The models `a` and `b`, of which one runs at a time.
pub struct Bare {
    running: Option<(String, u16, Running)>,
    dir: TempDir,
}

impl Bare {
    /// None runs.
    pub fn new() -> Self {
        let dir = temporary().expect("a temporary directory");
        ["a", "b"].iter().for_each(|name| drop(weights(dir.path(), name)));
        Self { running: None, dir }
    }

    /// Asks `model`, which is started for it if it does not run; the other one is
    /// stopped before. Returns how long that took.
    ///
    /// # Errors
    /// There was no answer.
    pub fn ask(&mut self, model: &str) -> Result<Duration, String> {
        let start = Instant::now();
        if self.running.as_ref().is_none_or(|(name, ..)| name != model) {
            self.stop();
            let port = free_port();
            let server = Running::start(&mut command(self.dir.path(), model, port))?;
            until_ready(port, Duration::from_millis(1));
            self.running = Some((model.to_owned(), port, server));
        }
        let (_, port, _) = self.running.as_ref().expect("it runs");
        completion(*port, model)?;
        Ok(start.elapsed())
    }

    /// Stops the one that runs and waits until it is gone.
    pub fn stop(&mut self) {
        self.running = None;
    }
}

fn command(dir: &Path, model: &str, port: u16) -> Command {
    let mut command = Command::new(llama_server());
    command.arg("--model").arg(dir.join(format!("{model}.gguf"))).args(["--alias", model]);
    command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--ctx-size", "512", "--threads", "1"]);
    command
}
