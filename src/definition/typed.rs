//! Paths typed for a shell or for Windows: `~/a.gguf`, `$HOME/a.gguf`,
//! `C:\models\a.gguf`. Read literally, they would be odd names beside the
//! definition, so messages show them as they were typed, and say what to write
//! instead.

use std::ops::Range;

/// What makes a path one that nobody means literally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd<'t> {
    /// It starts with `~/`.
    Tilde {
        /// What follows.
        rest: &'t str,
    },
    /// It names a variable.
    Variable {
        /// Where in the path it stands.
        at: (usize, usize),
        /// The variable.
        name: &'t str,
    },
    /// It is a Windows path.
    Windows,
}

impl<'t> Odd<'t> {
    /// Recognises what is odd about the path `typed`.
    pub fn of(typed: &'t str) -> Option<Self> {
        if let Some(rest) = typed.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Some(Self::Tilde { rest });
        }
        if is_windows(typed) {
            return Some(Self::Windows);
        }
        let (at, name) = variable(typed)?;
        Some(Self::Variable { at: (at.start, at.end), name })
    }

    /// What is wrong with it, as the end of a sentence.
    pub fn problem(self) -> String {
        match self {
            Self::Tilde { .. } => "only a shell expands `~`".to_owned(),
            Self::Variable { name, .. } => format!("only a shell expands `${name}`"),
            Self::Windows => "this is a Windows path".to_owned(),
        }
    }

    /// What to write instead. `home` is the reader's, if it is known.
    pub fn help(self, typed: &str, home: Option<&str>) -> String {
        match (self.expanded(typed, home), self) {
            (Some(path), Self::Windows) => format!("write its path on this machine (in WSL it may be `{path}`)"),
            (Some(path), _) => format!("write the absolute path: `{path}`"),
            (None, Self::Windows) => "write its path on this machine".to_owned(),
            (None, _) => "write the absolute path".to_owned(),
        }
    }

    /// The path that was probably meant, if there is one.
    pub fn expanded(self, typed: &str, home: Option<&str>) -> Option<String> {
        let home = home.filter(|home| home.starts_with('/')).map(|home| home.trim_end_matches('/'));
        match self {
            Self::Tilde { rest } => Some(format!("{}{rest}", home?)),
            Self::Variable { at: (0, end), name: "HOME" } => Some(format!("{}{}", home?, typed.get(end..)?)),
            Self::Variable { .. } => None,
            Self::Windows => in_wsl(typed),
        }
    }
}

/// The reader's home, if it is known.
pub(crate) fn home() -> Option<String> {
    std::env::var("HOME").ok().filter(|home| home.starts_with('/'))
}

/// Whether it has a drive, a server, or only `\` between its parts.
fn is_windows(typed: &str) -> bool {
    drive(typed).is_some() || (typed.contains('\\') && !typed.contains('/'))
}

/// The drive of `C:\…`, and what follows it.
fn drive(typed: &str) -> Option<(char, &str)> {
    let mut letters = typed.chars();
    let drive = letters.next().filter(char::is_ascii_alphabetic)?;
    let rest = letters.as_str().strip_prefix(':')?;
    rest.starts_with(['\\', '/']).then_some((drive.to_ascii_lowercase(), rest))
}

/// The path of a Windows path in WSL.
fn in_wsl(typed: &str) -> Option<String> {
    let path = typed.replace('\\', "/");
    if let Some((drive, rest)) = drive(&path) {
        return Some(format!("/mnt/{drive}{rest}"));
    }
    let share = path.strip_prefix("//wsl$/").or_else(|| path.strip_prefix("//wsl.localhost/"));
    match share {
        Some(share) => share.split_once('/').map(|(_distribution, rest)| format!("/{rest}")),
        // A path on a server, or one with other separators.
        None => (!path.starts_with("//")).then_some(path),
    }
}

/// The first `$NAME` or `${NAME}` at the start of a part of the path, and its name.
fn variable(typed: &str) -> Option<(Range<usize>, &str)> {
    typed.match_indices('$').filter(|(at, _)| *at == 0 || typed[..*at].ends_with('/')).find_map(|(at, _)| {
        let rest = &typed[at + 1..];
        let (name, length) = match rest.strip_prefix('{') {
            Some(inner) => {
                let (name, _) = inner.split_once('}')?;
                (name, name.len() + "${}".len())
            }
            None => {
                let end = rest.find(|c: char| !is_part(c)).unwrap_or(rest.len());
                (&rest[..end], end + 1)
            }
        };
        let is_name = !name.is_empty() && name.chars().all(is_part) && !name.starts_with(|c: char| c.is_ascii_digit());
        is_name.then_some((at..at + length, name))
    })
}

fn is_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn explains_paths_written_for_a_shell_or_windows() {
        for (typed, help) in [
            ("~/a.gguf", "`/home/me/a.gguf`"),
            ("$HOME/a.gguf", "`/home/me/a.gguf`"),
            ("${HOME}/a.gguf", "`/home/me/a.gguf`"),
            ("$MODELS/a.gguf", "write the absolute path"),
            ("/srv/${WHICH}/a.gguf", "write the absolute path"),
            (r"C:\models\a.gguf", "`/mnt/c/models/a.gguf`"),
            ("D:/models/a.gguf", "`/mnt/d/models/a.gguf`"),
            (r"\\wsl$\Ubuntu\home\me\a.gguf", "`/home/me/a.gguf`"),
            (r"\\wsl.localhost\Debian\srv\a.gguf", "`/srv/a.gguf`"),
            (r"\\nas\models\a.gguf", "its path on this machine"),
            (r"..\models\a.gguf", "`../models/a.gguf`"),
        ] {
            let odd = Odd::of(typed).unwrap_or_else(|| panic!("{typed}"));
            assert!(odd.help(typed, Some("/home/me/")).contains(help), "{typed}");
        }
        assert_eq!(Odd::of("~/a").unwrap().help("~/a", None), "write the absolute path");
    }

    #[test]
    fn accepts_possible_names_of_this_machine() {
        for typed in
            ["a.gguf", "../w/a.gguf", "/srv/~/a.gguf", "~a.gguf", "a$b.gguf", "$", "c:a.gguf", "./~/a", "/a\\ b"]
        {
            assert_eq!(Odd::of(typed), None, "{typed}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_makes_it_panic(typed in "[~$\\{\\}/\\\\a-c:é]{0,12}") {
            if let Some(odd) = Odd::of(&typed) {
                let _ = (odd.problem(), odd.help(&typed, Some("/h")));
            }
        }
    }
}
