//! A herdsman that tests may replace on disk while it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use super::World;

/// A copy of herdsman in a world.
pub struct Program(PathBuf);

impl Program {
    /// Copies it there.
    pub fn new(world: &World) -> Self {
        let program = Self(world.path().join("herdsman"));
        program.restore();
        program
    }

    /// Returns what runs it as [`World::command`] runs the original.
    pub fn command(&self, world: &World) -> Command {
        let ordinary = world.command();
        let mut command = Command::new(&self.0);
        command.args(ordinary.get_args()).current_dir(world.path()).env_clear();
        command.envs(ordinary.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    /// Puts a shell script in its place.
    pub fn replace(&self, script: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }

    /// Puts herdsman back.
    pub fn restore(&self) {
        let new = self.0.with_extension("new");
        fs::copy(env!("CARGO_BIN_EXE_herdsman"), &new).unwrap();
        fs::rename(&new, &self.0).unwrap();
    }
}
