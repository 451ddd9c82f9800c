//! Programs that are almost llama-server: a fork with options of its own, and
//! one that never answers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{World, llama_server};

/// Writes an executable shell script, `DIR/llama-server` in the world.
fn script(world: &World, dir: &str, body: &str) -> PathBuf {
    let dir = world.path().join(dir);
    fs::create_dir_all(&dir).unwrap();
    let (path, partial) = (dir.join("llama-server"), dir.join("partial"));
    fs::write(&partial, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&partial, &path).unwrap();
    path
}

/// The real llama-server with two things more, as forks have them: the flag
/// `--k-cache-hadamard`, and the cache type `turbo4`.
pub fn fork(world: &World) -> PathBuf {
    let real = llama_server();
    let body = format!(
        r#"real='{}'
case "$*" in *--help*)
  "$real" --help | awk '/^-c, / {{ print "--k-cache-hadamard                      rotate the K cache" }} {{ print }}' |
    sed 's/^\( *allowed values: f32.*\)$/\1, turbo4/'
  exit;;
esac
left=$#
while [ $left -gt 0 ]; do
  word=$1; shift; left=$((left - 1))
  case "$word" in --k-cache-hadamard) continue;; turbo4) word=f16;; esac
  set -- "$@" "$word"
done
exec "$real" "$@""#,
        real.display()
    );
    script(world, "fork", &body)
}

/// Programs named `NAME/llama-server`.
pub struct Silent {
    /// The program.
    pub path: PathBuf,
    asked: PathBuf,
}

impl Silent {
    /// One that runs `then` (sh) instead of answering; `$asked` counts.
    pub fn doing(world: &World, name: &str, then: &str) -> Self {
        let asked = world.path().join(format!("{name}.asked"));
        let body = format!("real='{}'\necho \"$$\" >> '{}'\n{then}", llama_server().display(), asked.display());
        Self { path: script(world, name, &body), asked }
    }

    /// One that never answers, whatever it is asked.
    pub fn new(world: &World, name: &str) -> Self {
        Self::doing(world, name, "exec sleep 1000")
    }

    /// How often it was run.
    pub fn times_asked(&self) -> usize {
        self.pids().len()
    }

    /// The processes it was, oldest first.
    pub fn pids(&self) -> Vec<i32> {
        let text = fs::read_to_string(&self.asked).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Whether one of its processes is still there.
    pub fn is_running(&self) -> bool {
        self.pids().iter().any(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        })
    }
}
