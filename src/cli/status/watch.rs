//! `status --watch`: look, draw, wait, until a signal ends it.
//!
//! ```text
//!   looks, in a thread ──┐
//!                        ├── Event ──> Known ── frame ──> Screen
//!   signals, in another ─┘
//! ```
//!
//! Where a watcher serves, a look follows each change that it sees; without one, and for
//! what only time changes, there is one in each interval.
//!
//! A look may wait for a busy database or a checkout under way; the terminal
//! obeys meanwhile.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::super::{Exit, Places};
use super::frame::{Known, frame};
use super::report::Look;
use super::screen::Screen;
use crate::host::gateway;
use crate::model::ModelName;
use crate::state::StateDir;

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

/// How long a watcher is asked to wait for a change.
const ASKED: Duration = Duration::from_secs(30);

/// How often to look for a watcher that serves.
const AGAIN: Duration = Duration::from_secs(1);

/// What there is to react to.
enum Event {
    Looked(anyhow::Result<Box<Look>>),
    Signal(i32),
}

/// Draws until a signal ends it.
pub(super) fn run(places: &Places, name: Option<&ModelName>, interval: Duration) -> anyhow::Result<Exit> {
    // A name that nothing has is reported before the screen is taken.
    let mut known = Known { look: Look::take(places, name)?.with_requests(places), error: None, one: name.is_some() };
    let (sender, events) = channel();
    // Neither thread is waited for: they end with the process.
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH])?;
    let signalled = sender.clone();
    thread::spawn(move || signals.forever().try_for_each(|signal| signalled.send(Event::Signal(signal))));
    let (places, name) = (places.clone(), name.cloned());
    thread::spawn(move || look_again_and_again(&places, name.as_ref(), interval.max(SHORTEST), &sender));
    draw(&mut known, &events).map_err(|error| anyhow::anyhow!("cannot draw on the terminal: {error}"))?;
    Ok(Exit::Converged)
}

fn look_again_and_again(places: &Places, name: Option<&ModelName>, interval: Duration, events: &Sender<Event>) {
    let (state, mut number) = (places.state(), 0);
    loop {
        number = wait(&state, number, interval);
        let look = Look::take(places, name).map(|look| Box::new(look.with_requests(places)));
        if events.send(Event::Looked(look)).is_err() {
            return;
        }
    }
}

/// Waits until the watcher shows something else than what has this number, at most
/// `interval`; returns the number of what it shows.
fn wait(state: &StateDir, number: u64, interval: Duration) -> u64 {
    let begun = Instant::now();
    loop {
        let left = interval.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return number;
        }
        match gateway::changed(state, number, left.min(ASKED)) {
            Ok(Some(now)) if now != number => {
                // Looks are not to follow each other faster, whatever happens.
                thread::sleep(SHORTEST.saturating_sub(begun.elapsed()));
                return now;
            }
            Ok(Some(_)) => {}
            // None serves, or not now.
            Ok(None) | Err(_) => thread::sleep(left.min(AGAIN)),
        }
    }
}

fn draw(known: &mut Known, events: &Receiver<Event>) -> io::Result<()> {
    let screen = Screen::enter()?;
    loop {
        let size = Screen::size();
        let lines = frame(known, size);
        screen.draw(&lines, size)?;
        match events.recv() {
            Ok(Event::Looked(Ok(look))) => {
                known.look = *look;
                known.error = None;
            }
            Ok(Event::Looked(Err(error))) => known.error = Some(error.to_string()),
            Ok(Event::Signal(SIGWINCH)) => {}
            Ok(Event::Signal(SIGTSTP)) => screen.leave_during(|| emulate_default_handler(SIGTSTP))?,
            Ok(Event::Signal(_)) | Err(_) => return screen.leave_with(&lines),
        }
    }
}
