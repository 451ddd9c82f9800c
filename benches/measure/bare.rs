//! A server with herdsman's command line, started without herdsman.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::support::{Process, get};

/// A command line and its environment.
#[derive(Clone, Serialize, Deserialize)]
pub struct Server {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where it will listen.
    pub port: u16,
}

impl Server {
    /// That of a running server.
    pub fn of(process: &Process) -> Self {
        let port = process.arguments.iter().skip_while(|argument| *argument != "--port").nth(1);
        let environment = process.environment.iter().filter_map(|entry| entry.split_once('='));
        Self {
            port: port.expect("--port in its command line").parse().expect("a port"),
            arguments: process.arguments.clone(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// The same on another port and without markers: herdsman must not adopt it.
    pub fn stranger(mut self, port: u16) -> Self {
        let (from, to) = (self.port.to_string(), port.to_string());
        self.arguments.iter_mut().filter(|argument| **argument == from).for_each(|argument| argument.clone_from(&to));
        self.environment.retain(|(name, _)| !name.starts_with("HERDSMAN_"));
        self.port = port;
        self
    }

    /// Returns the command that starts it as herdsman does, but without its log.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.arguments[0]);
        command.args(&self.arguments[1..]).env_clear().envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

/// Asks the server on `port` every so often until it is ready.
///
/// # Panics
/// It is not ready within a minute.
pub fn until_ready(port: u16, pause: Duration) {
    let start = Instant::now();
    while !get(port, "/health").is_ok_and(|(status, _)| status == 200) {
        assert!(start.elapsed() < Duration::from_secs(60), "the server on port {port} did not become ready");
        std::thread::sleep(pause);
    }
}
