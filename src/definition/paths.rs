//! Paths, resolved lexically: `..` is removed from the text, and no link is
//! followed.
//!
//! A definition's paths are relative to the definition itself. Following links
//! would make a swapped symlink (`..data` of a mounted ConfigMap) look like other
//! files although the content is the same.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// `path` seen from `base` (absolute), without `.` and `..`.
pub fn lexical(base: &Path, path: &Path) -> PathBuf {
    follow(follow(PathBuf::new(), base), path)
}

/// Goes from `resolved` where `path` leads.
fn follow(mut resolved: PathBuf, path: &Path) -> PathBuf {
    for component in path.components() {
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

/// The same for the text of a definition; `base` is [`lexical`] already.
pub(super) fn resolve(base: &str, path: &str) -> String {
    let base = PathBuf::from(if path.starts_with('/') { "/" } else { base });
    follow(base, Path::new(path)).to_string_lossy().into_owned()
}

/// Formats `path` for people: relative to `cwd` if it is below it, and without
/// characters that would move a terminal's cursor.
pub(super) fn shown(cwd: &Path, path: &Path) -> String {
    printable(path.strip_prefix(cwd).unwrap_or(path).as_os_str()).into_owned()
}

/// Formats a directory for people, to be followed by a file name: with a final `/`,
/// or empty for the working directory.
pub(super) fn shown_dir(cwd: &Path, dir: &Path) -> String {
    let shown = shown(cwd, dir);
    if shown.is_empty() || shown.ends_with('/') { shown } else { shown + "/" }
}

/// Formats the file `name` in a directory shown as `shown_dir`.
pub(super) fn shown_in(shown_dir: &str, name: &OsStr) -> String {
    [shown_dir, &printable(name)].concat()
}

/// Escapes characters that would move a terminal's cursor.
fn printable(text: &OsStr) -> Cow<'_, str> {
    let text = text.to_string_lossy();
    if text.contains(char::is_control) { text.escape_default().to_string().into() } else { text }
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
    fn shows_a_file_like_its_whole_path() {
        for (cwd, dir, name) in [("/srv", "/srv/models.d", "a.toml"), ("/srv", "/srv", "a"), ("/", "/", "a\u{7}é")] {
            let (cwd, dir) = (Path::new(cwd), Path::new(dir));
            assert_eq!(shown_in(&shown_dir(cwd, dir), name.as_ref()), shown(cwd, &dir.join(name)));
        }
    }

    #[test]
    fn a_path_below_the_working_directory_is_shown_relative_to_it() {
        assert_eq!(shown(Path::new("/srv"), Path::new("/srv/models.d/a.toml")), "models.d/a.toml");
        assert_eq!(shown(Path::new("/srv"), Path::new("/etc/a.toml")), "/etc/a.toml");
        assert_eq!(shown(Path::new("/"), Path::new("/a\u{1b}[2J.toml")), "a\\u{1b}[2J.toml");
    }
}
