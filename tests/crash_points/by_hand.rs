//! What was asked for by hand, as it is recorded.

use rusqlite::Connection;

use crate::support::World;

/// What of a kind is recorded for `a`, and whether the history tells of it.
fn asked(world: &World, kind: &str, event: &str) -> rusqlite::Result<(i64, bool)> {
    let connection = Connection::open(world.state_dir().join("herdsman.db"))?;
    let count = |sql, word: &str| connection.query_row(sql, [word], |row| row.get(0));
    let recorded = count("SELECT count(*) FROM herdsman_overrides WHERE name = 'a' AND kind = ?1", kind)?;
    let announced: i64 = count("SELECT count(*) FROM herdsman_events WHERE name = 'a' AND action = ?1", event)?;
    Ok((recorded, announced > 0))
}

/// It is in force, and announced.
pub fn holds(world: &World, kind: &str, event: &str) -> Result<(), String> {
    is(world, kind, event, 1)
}

/// It was announced, and is over.
pub fn is_over(world: &World, kind: &str, event: &str) -> Result<(), String> {
    is(world, kind, event, 0)
}

fn is(world: &World, kind: &str, event: &str, times: i64) -> Result<(), String> {
    match asked(world, kind, event) {
        Ok(is) if is == (times, true) => Ok(()),
        other => Err(format!("{kind}: recorded so often, and announced: {other:?}")),
    }
}
