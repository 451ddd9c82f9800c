//! What texts may be, as regular expressions. Each matches at least what its parser
//! accepts.

/// A name ([`ModelName`](crate::model::ModelName)).
pub(super) const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

/// More than blanks.
pub(super) const NOT_BLANK: &str = r"\S";

/// `org/repo`, optionally with `:quant`.
pub(super) const REPOSITORY: &str = "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(:[A-Za-z0-9._-]+)?$";

/// What llama-server downloads from.
pub(super) const URL: &str = "^https?://";

/// An address, or a socket.
pub(super) const HOST: &str = r"^(localhost|[0-9A-Fa-f.:\[\]]+|/.*\.sock)$";

/// Not blank, no comma, no control character.
pub(super) const ALIAS: &str = r"^[^,\x00-\x1f\x7f-\x9f]*[^,\s\x00-\x1f\x7f-\x9f][^,\x00-\x1f\x7f-\x9f]*$";

/// The name of a variable.
pub(super) const VARIABLE: &str = "^[^=]+$";

/// A whole number.
pub(super) const INTEGER: &str = "[+-]?[0-9]+";

/// A number.
pub(super) const FLOAT: &str = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([Ee][+-]?[0-9]+)?";

/// `text` as a regular expression that matches only it.
pub(super) fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        // No others: strict engines refuse unnecessary escapes.
        if r"\^$.|?*+()[]{}".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
