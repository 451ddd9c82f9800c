//! Paths, lexically: `..` is taken away from the text, no link is followed.
//!
//! A definition's paths are relative to the definition itself. Following
//! links would make a swapped symlink (`..data` of a mounted ConfigMap) look
//! like other files although the content is the same.

use std::path::{Component, Path, PathBuf};

/// `path` seen from `base` (absolute), without `.` and `..`.
pub(super) fn lexical(base: &Path, path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for component in base.components().chain(path.components()) {
        match component {
            // An absolute `path` starts over.
            Component::RootDir | Component::Prefix(_) => {
                resolved.clear();
                resolved.push(component);
            }
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
        }
    }
    resolved
}

/// The same for the text of a definition; `base` is absolute.
pub(super) fn resolve(base: &str, path: &str) -> String {
    lexical(Path::new(base), Path::new(path)).to_string_lossy().into_owned()
}

/// How people see `path`: below `cwd` relative to it, and never with a
/// character that would move a terminal's cursor.
pub(super) fn shown(cwd: &Path, path: &Path) -> String {
    let text = path.strip_prefix(cwd).unwrap_or(path).to_string_lossy();
    if text.contains(char::is_control) { text.escape_default().to_string() } else { text.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_resolved_in_the_text_alone() {
        assert_eq!(resolve("/etc/models.d", "../weights/./a.gguf"), "/etc/weights/a.gguf");
        assert_eq!(resolve("/etc/models.d", "/srv//a.gguf"), "/srv/a.gguf");
        assert_eq!(resolve("/a", "../../../b"), "/b");
    }

    #[test]
    fn a_path_below_the_working_directory_is_shown_relative_to_it() {
        assert_eq!(shown(Path::new("/srv"), Path::new("/srv/models.d/a.toml")), "models.d/a.toml");
        assert_eq!(shown(Path::new("/srv"), Path::new("/etc/a.toml")), "/etc/a.toml");
        assert_eq!(shown(Path::new("/"), Path::new("/a\u{1b}[2J.toml")), "a\\u{1b}[2J.toml");
    }
}
