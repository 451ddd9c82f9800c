//! Signals, in a thread of their own: SIGTERM and SIGINT end the watcher,
//! SIGHUP makes it look, SIGUSR2 makes it hand over, SIGCHLD makes process 1
//! reap.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

use super::bell::{Bell, Ring};

/// How long a pass may go on after the signal. A pass may be abandoned at any
/// point, because the next one continues it; this grace keeps the watcher within
/// its promise to stop in five seconds.
const GRACE: Duration = Duration::from_secs(4);

/// Begins to listen.
pub(super) fn listen(bell: &Bell) -> io::Result<()> {
    let mut wanted = vec![SIGTERM, SIGINT, SIGHUP, SIGUSR2];
    if std::process::id() == 1 {
        wanted.push(SIGCHLD);
    }
    let mut signals = Signals::new(wanted)?;
    let bell = bell.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut stopping = false;
        for signal in signals.forever() {
            match signal {
                SIGHUP => bell.ring(Ring::Hangup),
                SIGUSR2 => bell.ring(Ring::HandOver),
                SIGCHLD => bell.ring(Ring::Child),
                // A second signal means: at once.
                _ if stopping => end(),
                _ => {
                    stopping = true;
                    bell.ring(Ring::Stop);
                    thread::spawn(|| {
                        thread::sleep(GRACE);
                        end();
                    });
                }
            }
        }
    })?;
    Ok(())
}

fn end() {
    tracing::warn!("abandoned the running pass; the next one continues it");
    std::process::exit(0);
}
