//! `status --watch`: look, draw, wait, until a signal ends it.
//!
//! ```text
//!   looks, in a thread ──┐
//!                        ├── Event ──> Known ── frame ──> Screen
//!   signals, in another ─┘
//! ```
//!
//! A look may wait for a busy database or a checkout under way; the terminal
//! obeys meanwhile.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::super::{Exit, Places};
use super::frame::{Known, frame};
use super::report::Look;
use super::screen::Screen;
use crate::model::ModelName;

/// The shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);

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
    loop {
        thread::sleep(interval);
        let look = Look::take(places, name).map(|look| Box::new(look.with_requests(places)));
        if events.send(Event::Looked(look)).is_err() {
            return;
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
