//! `herdsman open`.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use clap::Args;

use super::output::{complain, print};
use super::{Exit, Places, Refused};
use crate::host::gateway;
use crate::state::StateDir;

/// Arguments of `open`.
#[derive(Debug, Args)]
pub struct OpenArgs {
    /// Print the address; start no browser.
    #[arg(long)]
    print: bool,
}

/// The program that opens an address in the browser of a desktop.
const OPENER: &str = "xdg-open";

/// Runs the command.
pub(super) fn run(places: &Places, args: &OpenArgs) -> anyhow::Result<Exit> {
    let page = address(&places.state())?;
    print(format_args!("{page}\n"))?;
    if !args.print
        && io::stdout().is_terminal()
        && is_desktop()
        && let Err(error) = open(&page)
    {
        complain(format_args!("cannot start {OPENER}: {error}; open the address in a browser yourself"));
    }
    Ok(Exit::Converged)
}

/// Returns the address of the page that a browser on this machine can open.
fn address(state: &StateDir) -> anyhow::Result<String> {
    let place = state.path().display();
    let addresses = gateway::addresses(state)?;
    let message = match addresses.as_deref() {
        Some(addresses) => match addresses.iter().find(|address| !address.starts_with("unix:")) {
            Some(page) => return Ok(page.clone()),
            None => format!(
                "the watcher on {place} serves only at {}, which no browser opens\n\
                 help: add a TCP address, such as `--listen 127.0.0.1:8080`",
                addresses.join(", ")
            ),
        },
        None if state.has_watcher()? => format!(
            "the watcher on {place} serves no page\n\
             help: start it with `--listen 127.0.0.1:8080`, or set `listen` in `[serve]` of the settings"
        ),
        None => {
            format!("no watcher is running on {place}\nhelp: start one with `herdsman watch --listen 127.0.0.1:8080`")
        }
    };
    Err(Refused { exit: Exit::Failed, message }.into())
}

fn is_desktop() -> bool {
    ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// Starts the browser, and does not wait for it: some openers end with it. In a process
/// group of its own it outlives a terminal that was opened only for this command.
fn open(page: &str) -> io::Result<()> {
    let mut opener = Command::new(OPENER);
    opener.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    opener.spawn().map(drop)
}
