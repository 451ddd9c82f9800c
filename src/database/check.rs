//! Whether the file is sound, and when to check it.
//!
//! `PRAGMA quick_check` reads every page: about 2 ms per MB, which for 10,000
//! models would be a tenth of a pass that has nothing to do. So it runs only when
//! the file may have been damaged since the last check, which `herdsman_meta`
//! records:
//!
//! | since then | what may have happened |
//! |---|---|
//! | the machine was booted | a power loss: writes that never reached the disk |
//! | another file is at the path | a copy that was torn, an old backup |
//! | a day has passed | anything else |
//!
//! The death of a process is not among them: the kernel has what it wrote. Damage
//! found only later, by any read or write of a pass, ends the same way (`damage`).

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::Problem;
use super::file::file_at;

/// How long a sound file is trusted.
const TRUSTED: Duration = Duration::from_secs(24 * 60 * 60);

/// In `herdsman_meta`.
const KEY: &str = "found_sound";

/// Which file was found sound, in which boot, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundSound {
    boot_id: String,
    file: (u64, u64),
    at: SystemTime,
}

impl FoundSound {
    /// The file at `path`, now. `None`: it cannot be identified, so it is never
    /// trusted.
    fn now(path: &Path) -> Option<Self> {
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        Some(Self { boot_id, file: file_at(path)?, at: SystemTime::now() })
    }

    /// Whether the file is still trusted.
    fn holds(&self, now: &Self) -> bool {
        let age = now.at.duration_since(self.at);
        self.boot_id == now.boot_id && self.file == now.file && age.is_ok_and(|age| age < TRUSTED)
    }

    fn to_text(&self) -> String {
        let at = self.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        format!("{} {} {} {at}", self.boot_id, self.file.0, self.file.1)
    }

    /// `None`: somebody edited it.
    fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let boot_id = words.next()?.to_owned();
        let file = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(words.next()?.parse().ok()?))?;
        Some(Self { boot_id, file, at })
    }

    /// Records the result. If that is not possible right now (another program is
    /// writing, the disk is full), the next opening checks again.
    pub(super) fn remember(&self, connection: &Connection, timeout: Duration) -> Result<(), Problem> {
        connection.busy_timeout(Duration::ZERO)?;
        let written = connection.execute(
            "INSERT INTO herdsman_meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [KEY, &self.to_text()],
        );
        connection.busy_timeout(timeout)?;
        match written {
            Err(error) if is_damage(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Checks the file if a check is due; returns what to record then.
///
/// # Errors
/// [`Problem::Damaged`] with the first fault.
pub(super) fn if_due(connection: &Connection, path: &Path) -> Result<Option<FoundSound>, Problem> {
    let now = FoundSound::now(path);
    if let (Some(now), Some(before)) = (&now, remembered(connection)?)
        && before.holds(now)
    {
        return Ok(None);
    }
    match first_fault(connection, "quick_check")? {
        Some(fault) => Err(Problem::Damaged(fault)),
        None => Ok(now),
    }
}

fn remembered(connection: &Connection) -> Result<Option<FoundSound>, Problem> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'herdsman_meta')";
    if !connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(None);
    }
    let sql = "SELECT value FROM herdsman_meta WHERE key = ?1";
    let text: Option<String> = connection.query_row(sql, [KEY], |row| row.get(0)).optional()?;
    Ok(text.and_then(|text| FoundSound::from_text(&text)))
}

/// Returns the first fault that `check` (`quick_check`, `integrity_check`) finds;
/// `None`: the file is sound.
///
/// # Errors
/// The check itself failed: the file is locked, or the disk fails.
pub(super) fn first_fault(connection: &Connection, check: &str) -> Result<Option<String>, Problem> {
    let look = || {
        let mut statement = connection.prepare(&format!("PRAGMA {check}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let line: String = row.get(0)?;
            if line != "ok" && !is_about_values(&line) {
                return Ok(Some(line.replace('\n', " ").trim_start_matches("*** in database main *** ").to_owned()));
            }
        }
        Ok(None)
    };
    match look() {
        Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
        result => Ok(result?),
    }
}

/// Values that violate the table's own constraints are another client's doing
/// (`PRAGMA ignore_check_constraints`), not damage. The wording is that of SQLite's
/// pragma.c.
fn is_about_values(line: &str) -> bool {
    line.starts_with("CHECK constraint failed in ") || line.contains(" value in ")
}

/// Whether SQLite reports damage, rather than a temporary problem: a full disk and
/// a failed read are not damage.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_trusted_for_a_day_of_one_boot() {
        let second = Duration::from_secs(1);
        let found = FoundSound { boot_id: "b".into(), file: (1, 2), at: SystemTime::UNIX_EPOCH + TRUSTED };
        assert_eq!(FoundSound::from_text(&found.to_text()), Some(found.clone()));
        let later = |by| FoundSound { at: found.at + by, ..found.clone() };
        assert!(found.holds(&later(Duration::ZERO)) && found.holds(&later(TRUSTED - second)));
        assert!(!found.holds(&later(TRUSTED)));
        assert!(!later(second).holds(&found), "the clock went back");
        assert!(!found.holds(&FoundSound { boot_id: "c".into(), ..found.clone() }));
        assert!(!found.holds(&FoundSound { file: (1, 3), ..found.clone() }));
        assert_eq!(FoundSound::from_text("b 1 x 3"), None);
    }
}
