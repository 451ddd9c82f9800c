//! A page on a terminal goes through a pager, as manual pages do.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{layout, output, render};

/// Shows `markdown`: paged and in bold on a terminal, as plain text anywhere
/// else or with `NO_COLOR`.
///
/// # Errors
/// Standard output cannot be written.
pub(super) fn show(markdown: &str) -> anyhow::Result<()> {
    let text = render::render(markdown, layout::width());
    match pager() {
        Some(pager) if paged(&pager, &text) => Ok(()),
        _ => output::print(text),
    }
}

/// The pager's command line, if there is to be one.
fn pager() -> Option<String> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let plain = set("NO_COLOR").is_some() || set("TERM").is_none_or(|terminal| terminal == "dumb");
    if plain || !std::io::stdout().is_terminal() {
        return None;
    }
    match std::env::var("PAGER") {
        Ok(pager) if pager.trim().is_empty() || pager.trim() == "cat" => None,
        Ok(pager) => Some(pager),
        Err(_) => Some("less".to_owned()),
    }
}

/// Whether the pager showed it.
fn paged(pager: &str, text: &str) -> bool {
    let mut shell = Command::new("sh");
    shell.args(["-c", pager]).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        // Ends at once if all fits on the screen, keeps bold text and the screen, as Git has it.
        shell.env("LESS", "FRX");
    }
    let Ok(mut child) = shell.spawn() else { return false };
    // Ctrl-C is the pager's: it goes on, so this process must. A pager that cannot be kept from it still works.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::new(AtomicBool::new(false)));
    if let Some(mut stdin) = child.stdin.take() {
        // Fails if the reader quits before the end.
        let _ = stdin.write_all(text.as_bytes());
    }
    // The shell's code for a program that is not there, or cannot be run.
    !matches!(child.wait().map(|status| status.code()), Err(_) | Ok(Some(126 | 127)))
}
