//! The markers in a process's environment that say whose instance it is.
//!
//! `/proc/PID/environ` never changes after exec, so what was given at the
//! start identifies the process for its whole life.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::process::{self, Stat};

/// The id of the state directory that owns the instance.
pub(super) const STATE: &str = "HERDSMAN_STATE";
/// The instance's uuid.
pub(super) const INSTANCE: &str = "HERDSMAN_INSTANCE";
/// The model's name.
pub(super) const MODEL: &str = "HERDSMAN_MODEL";
/// The hash of the spec it runs.
pub(super) const SPEC: &str = "HERDSMAN_SPEC";
/// The path of the definition it was started for.
pub(super) const DEFINITION: &str = "HERDSMAN_DEFINITION";

/// A process's environment, as the kernel shows it.
#[derive(Clone, Debug)]
pub(super) struct Environment(Vec<u8>);

impl Environment {
    /// Reads the environment of `pid`.
    ///
    /// Around an exec it reads as empty: the old one is gone, the new one not
    /// there yet, for as long as the kernel loads the program. The process has not lost its
    /// markers, so that moment is waited out. What still has a command line and
    /// no environment after a few looks was started without one.
    pub fn of(pid: i32) -> io::Result<Self> {
        const PAUSE: Duration = Duration::from_micros(100);
        const LOOKS: u32 = 1000;
        const LOOKS_WITH_COMMAND_LINE: u32 = 20;
        let mut with_command_line = 0;
        for _ in 0..LOOKS {
            let environment = Self(process::environment(pid)?);
            let is_staying =
                || io::Result::Ok(Stat::of(pid)?.is_some_and(|stat| !stat.is_dead() && !stat.is_exiting()));
            if !environment.is_empty() || !is_staying()? {
                return Ok(environment);
            }
            if !process::command_line(pid)?.is_empty() {
                with_command_line += 1;
                if with_command_line == LOOKS_WITH_COMMAND_LINE {
                    break;
                }
            }
            std::thread::sleep(PAUSE);
        }
        Ok(Self(Vec::new()))
    }

    /// From the NUL-separated bytes of `/proc/PID/environ`.
    #[cfg(test)]
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Empty while a process is going away: it had markers, and they are no
    /// longer to be read.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `name`: the first one, as getenv(3) has it.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .split(|&b| b == 0)
            .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .map(OsStr::from_bytes)
    }

    /// Every variable, lossily where it is not text.
    pub fn entries(&self) -> BTreeMap<String, String> {
        let mut entries = BTreeMap::new();
        for entry in self.0.split(|&b| b == 0) {
            let entry = String::from_utf8_lossy(entry);
            if let Some((name, value)) = entry.split_once('=') {
                entries.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        entries
    }

    /// The same, where it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.to_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_of_two_equal_names_counts_and_a_prefix_is_another_name() {
        let environment = Environment::new(
            b"HERDSMAN_STATES=no\0HERDSMAN_STATE=a=b\0HERDSMAN_STATE=c\0EMPTY=\0bad\xff=\xff".to_vec(),
        );
        assert_eq!(environment.text(STATE), Some("a=b"));
        assert_eq!(environment.text("EMPTY"), Some(""));
        assert_eq!(environment.text("HERDSMAN"), None);
        assert_eq!(environment.text(MODEL), None);
    }

    #[test]
    fn a_value_that_is_not_text_is_not_read_as_text() {
        let environment = Environment::new(b"HERDSMAN_MODEL=\xff\xfe\0".to_vec());
        assert_eq!(environment.text(MODEL), None);
        assert!(environment.get(MODEL).is_some());
    }

    proptest! {
        #[test]
        fn no_environment_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Environment::new(bytes).get("A");
        }
    }
}
