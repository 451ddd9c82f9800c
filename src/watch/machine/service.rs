//! Notifies the service manager (`sd_notify`), if there is one.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager.
#[derive(Debug)]
pub(super) struct Service {
    /// How often it expects a sign of life.
    watchdog: Option<Duration>,
    last_sign: Instant,
    ready: bool,
    reloading: bool,
    status: String,
}

impl Service {
    pub fn new() -> Self {
        // Twice as often as asked, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|interval| interval / 2);
        Self { watchdog, last_sign: Instant::now(), ready: false, reloading: false, status: String::new() }
    }

    /// How long may pass until the next sign of life.
    pub fn patience(&self) -> Option<Duration> {
        Some(self.watchdog?.saturating_sub(self.last_sign.elapsed()))
    }

    /// Gives a sign of life when it is time for one.
    pub fn live(&mut self) {
        if self.patience().is_some_and(|left| left.is_zero()) {
            self.last_sign = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// Reports that a reload after SIGHUP begins.
    pub fn reloading(&mut self) {
        self.reloading = true;
        let now = NotifyState::monotonic_usec_now().ok();
        tell(&[NotifyState::Reloading].into_iter().chain(now).collect::<Vec<_>>());
    }

    /// Reports that a pass is over; `status` is for `systemctl status`.
    pub fn passed(&mut self, status: String) {
        let mut states = Vec::new();
        if !self.ready || self.reloading {
            (self.ready, self.reloading) = (true, false);
            states.push(NotifyState::Ready);
        }
        if self.status != status {
            self.status = status;
            states.push(NotifyState::Status(&self.status));
        }
        if !states.is_empty() {
            tell(&states);
        }
    }

    /// Reports that another process is the service from now on.
    pub fn succeeded_by(&self, pid: u32) {
        tell(&[NotifyState::MainPid(pid)]);
    }

    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("the watcher stops; servers keep running")]);
    }
}

/// Sends to the service manager. A failure can only be logged.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}; is NOTIFY_SOCKET correct?");
    }
}
