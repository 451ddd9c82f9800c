//! What somebody was notified of.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use crate::support::World;

/// Tells by a command that keeps the id and the event of what it hears.
pub fn by_command(world: &World) {
    let (path, heard) = (world.path().join("tell"), world.path().join("heard"));
    let script = format!("#!/bin/sh\necho \"$HERDSMAN_NOTIFICATION $HERDSMAN_EVENT\" >> '{}'\n", heard.display());
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(world.settings(), format!("[notify]\ncommand = [\"{}\"]\n", path.display())).unwrap();
}

/// From now on the command fails.
pub fn nobody_listens(world: &World) {
    fs::write(world.path().join("tell"), "#!/bin/sh\nexit 1\n").unwrap();
}

/// Notified of one rollback, at least once, always with the same id; and nothing
/// is left to deliver.
pub fn once(world: &World) -> Result<(), String> {
    let heard =
        fs::read_to_string(world.path().join("heard")).map_err(|error| format!("nobody was notified: {error}"))?;
    let different: BTreeSet<&str> = heard.lines().collect();
    let connection = Connection::open(world.state_dir().join("herdsman.db")).map_err(|error| error.to_string())?;
    let left: i64 = connection
        .query_row("SELECT count(*) FROM herdsman_notifications", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    match different.len() == 1 && heard.contains("rolled_back") && left == 0 {
        true => Ok(()),
        false => Err(format!("heard {heard:?}, {left} left")),
    }
}
