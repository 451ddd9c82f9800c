//! Text of other programs.

/// What another program wrote, in one line: short, and safe to print.
#[must_use]
pub(crate) fn printable(text: &str) -> String {
    /// In characters.
    const LONGEST: usize = 300;
    let mut printable: String = text.chars().take(LONGEST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(LONGEST).is_some() {
        printable.push('…');
    }
    printable
}
