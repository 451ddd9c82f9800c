//! Tells `herdsman --version` which commit it is made from.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let version = env!("CARGO_PKG_VERSION");
    let version = match checked_out().or_else(packaged) {
        Some(commit) => format!("{version} ({})", &commit[..commit.len().min(10)]),
        // Neither a repository nor a package that Cargo made from one.
        None => version.to_owned(),
    };
    println!("cargo::rustc-env=HERDSMAN_VERSION={version}");
}

/// The commit of the work tree, if it is herdsman's own and not that of
/// somebody who vendors it.
fn checked_out() -> Option<String> {
    if !Path::new(".git").exists() {
        return None;
    }
    // A branch's own file may come to be only with its next commit; the log of HEAD grows with each.
    for name in ["HEAD", "logs/HEAD", &git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default(), "packed-refs"] {
        // Of one that is missing, Cargo would think that it changes all the time.
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists()) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "HEAD"])
}

/// What `cargo package` wrote down.
fn packaged() -> Option<String> {
    const FILE: &str = ".cargo_vcs_info.json";
    println!("cargo::rerun-if-changed={FILE}");
    let text = std::fs::read_to_string(FILE).ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(str::to_owned)
}

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned()).filter(|said| !said.is_empty())
}
