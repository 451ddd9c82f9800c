//! The command line.

use std::time::Duration;

use crate::rows::ROWS;

/// What to measure, and for how long.
pub struct Options {
    rows: Vec<String>,
    /// How many samples of each proxy a row has.
    pub rounds: usize,
    /// How long a sample takes.
    pub time: Duration,
}

impl Options {
    /// Reads the command line; cargo adds `--bench`.
    ///
    /// # Panics
    /// Something there is not an option, a number or the name of a row.
    pub fn of_command_line() -> Self {
        let mut options = Self { rows: Vec::new(), rounds: 5, time: Duration::from_secs(2) };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--rounds" => options.rounds = number(&argument, arguments.next()),
                "--seconds" => options.time = Duration::from_secs_f64(number(&argument, arguments.next())),
                row if ROWS.iter().any(|known| known.name == row) => options.rows.push(argument),
                other => {
                    let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                    panic!("{other} is not a row; rows: {}; options: --rounds N, --seconds S", names.join(", "))
                }
            }
        }
        options
    }

    /// Whether this row is to be measured: all of them if none is named.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }
}

fn number<T: std::str::FromStr>(option: &str, value: Option<String>) -> T {
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{option} wants a number"))
}
