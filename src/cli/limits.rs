//! The limits of a pass: options of every command that makes one.

use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;

use super::duration;
use crate::instance::LogLimits;
use crate::plan::{Limits, MaxDeletes};

/// Limits of a pass.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(super) struct LimitArgs {
    /// Allow this many deletions, or this share of the managed models, despite the mass-delete guard.
    #[arg(long, value_name = "N|N%", value_parser = max_deletes)]
    max_deletes: Option<MaxDeletes>,
    /// Start at most N models at a time.
    #[arg(long, value_name = "N", default_value_t = PARALLEL, value_parser = positive)]
    parallel: usize,
    /// Restart at most N models at a time.
    #[arg(long, value_name = "N", default_value_t = MAX_RESTARTING, value_parser = positive)]
    max_restarting: usize,
    /// Restart servers whose llama-server binary changed on disk.
    #[arg(long)]
    upgrade_binary: bool,
    /// Wait this long for another pass to finish.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(super) lock_timeout: Duration,
    /// Size of log to keep per model for the running server.
    #[arg(long, value_name = "SIZE", default_value = LOG_MAX_SIZE, value_parser = log_size)]
    log_max_size: ByteSize,
    /// Keep this many times --log-max-size of older lines per model.
    #[arg(long, value_name = "N", default_value_t = LOG_KEEP)]
    log_keep: u32,
}

const PARALLEL: usize = 4;
const MAX_RESTARTING: usize = 1;
const LOG_MAX_SIZE: &str = "10MB";
const LOG_KEEP: u32 = 3;

impl LimitArgs {
    /// Returns the limits of a command that has no options for them.
    pub(super) fn usual(lock_timeout: Duration) -> Self {
        Self {
            max_deletes: None,
            parallel: PARALLEL,
            max_restarting: MAX_RESTARTING,
            upgrade_binary: false,
            lock_timeout,
            log_max_size: log_size(LOG_MAX_SIZE).unwrap_or(ByteSize(LogLimits::LEAST_BYTES)),
            log_keep: LOG_KEEP,
        }
    }

    pub(super) fn logs(&self) -> LogLimits {
        LogLimits { max_bytes: self.log_max_size.as_u64(), keep: self.log_keep }
    }

    pub(super) fn limits(&self) -> Limits {
        Limits {
            parallel: self.parallel,
            max_restarting: self.max_restarting,
            max_deletes: self.max_deletes,
            upgrade_binary: self.upgrade_binary,
            ..Limits::default()
        }
    }
}

fn log_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|_| "expected a size such as 10MB or 512KiB".to_owned())?;
    let least = LogLimits::LEAST_BYTES;
    if size.as_u64() < least { Err(format!("must be at least {}", ByteSize(least))) } else { Ok(size) }
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number of at least 1".to_owned())
}

fn max_deletes(text: &str) -> Result<MaxDeletes, String> {
    let wrong = || "expected a number of models such as 3, or a share such as 20%".to_owned();
    match text.strip_suffix('%') {
        Some(share) => share.parse().ok().filter(|p| *p <= 100).map(MaxDeletes::Percent).ok_or_else(wrong),
        None => text.parse().map(MaxDeletes::Count).map_err(|_| wrong()),
    }
}
