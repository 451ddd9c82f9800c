//! A terminal drawn on in place: on its alternate screen, so that what was
//! there before is there again after.

use std::io::{self, Write as _};

use console::Term;

use super::frame::Size;

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[2K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The columns of standard output; `None`: it is no terminal.
pub(super) fn width() -> Option<usize> {
    let term = Term::stdout();
    if term.is_term() { term.size_checked().map(|(_, columns)| columns.into()) } else { None }
}

/// The terminal, until dropped.
pub(super) struct Screen {
    color: bool,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn enter() -> io::Result<Self> {
        let color = anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        write(ENTER)?;
        Ok(Self { color })
    }

    /// Its size now.
    pub(super) fn size() -> Size {
        let (rows, columns) = Term::stdout().size();
        Size { rows: rows.into(), columns: columns.into() }
    }

    /// Draws `lines` over what is there, in one write: nothing flickers.
    ///
    /// A line is cleared before it is written, not after: a full one leaves the
    /// cursor on its last column.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn draw(&self, lines: &[String], size: Size) -> io::Result<()> {
        let mut picture = String::from(HOME);
        for (row, line) in lines.iter().enumerate() {
            picture.push_str(if row == 0 { "" } else { "\r\n" });
            picture.push_str(CLEAR_LINE);
            picture.push_str(&self.shown(line));
        }
        if lines.len() < size.rows {
            picture.push_str("\r\n");
            picture.push_str(CLEAR_BELOW);
        }
        write(&picture)
    }

    /// Gives the terminal back while `pause` lasts.
    ///
    /// # Errors
    /// It cannot be written, or what `pause` returns.
    pub(super) fn leave_during(&self, pause: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        write(LEAVE)?;
        pause()?;
        write(ENTER)
    }

    /// Gives the terminal back, with `lines` as the last thing on it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn leave_with(self, lines: &[String]) -> io::Result<()> {
        let lines: String = lines.iter().map(|line| format!("{}\n", self.shown(line))).collect();
        drop(self);
        write(&lines)
    }

    fn shown(&self, line: &str) -> String {
        if self.color { line.to_owned() } else { anstream::adapter::strip_str(line).to_string() }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that cannot be written any more needs no mending.
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
