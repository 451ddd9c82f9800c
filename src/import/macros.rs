//! llama-swap's macros: `${name}` stands for a text, which may contain others.
//!
//! `${PORT}` and `${env.NAME}` stay as they are: a definition has its own port, and
//! a variable may be a secret.

use super::names_a_secret;
use super::remark::Reason;

/// The longest expansion: macros in macros grow fast.
const LONGEST: usize = 1 << 20;

/// The most replacements: llama-swap's macros contain only macros defined before
/// them, so real texts need far fewer.
const MOST: usize = 10_000;

/// Stands for the port that herdsman picks.
pub(super) const PORT: &str = "${PORT}";

/// Macros by name; the last one of a name wins.
#[derive(Clone, Debug, Default)]
pub(super) struct Macros(Vec<(String, String)>);

impl Macros {
    /// Defines a macro.
    pub fn define(&mut self, name: &str, text: &str) {
        self.0.push((name.to_owned(), text.to_owned()));
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// Expands every macro in `text`.
    pub fn expand(&self, text: &str) -> Result<String, Reason> {
        let mut done = String::new();
        let mut rest = text.to_owned();
        let mut replaced = 0;
        while let Some((start, name)) = next(&rest) {
            let end = start + name.len() + "${}".len();
            if name == "PORT" || name.starts_with("env.") || name == "PID" {
                done.push_str(&rest[..end]);
                rest.drain(..end);
                continue;
            }
            let Some(text) = self.get(&name) else { return Err(Reason::UnknownMacro(name)) };
            done.push_str(&rest[..start]);
            rest.replace_range(..end, text);
            replaced += 1;
            if replaced > MOST || done.len() + rest.len() > LONGEST {
                return Err(Reason::EndlessMacro);
            }
        }
        Ok(done + &rest)
    }
}

/// Replaces each `${env.NAME}` in `text` by what `variable` returns; never one that
/// may be a secret.
pub(super) fn variables(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, Reason> {
    let mut done = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${env.") {
        let (before, from) = rest.split_at(start);
        let Some((name, after)) = from["${env.".len()..].split_once('}') else { break };
        if names_a_secret(name) {
            return Err(Reason::SecretVariable(name.to_owned()));
        }
        done.push_str(before);
        done.push_str(&variable(name).ok_or_else(|| Reason::UnsetVariable(name.to_owned()))?);
        rest = after;
    }
    Ok(done + rest)
}

/// Returns the first `${env.NAME}` whose name suggests a secret.
pub(super) fn secret_variable(text: &str) -> Option<&str> {
    let mut names = text.split("${env.").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    names.find(|name| names_a_secret(name))
}

/// Finds the next macro: its start and its name. Anything of another form is plain
/// text, as for llama-swap.
fn next(text: &str) -> Option<(usize, String)> {
    text.match_indices("${").find_map(|(start, _)| {
        let name = text[start + 2..].split_once('}')?.0;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        is_name.then(|| (start, name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn macros_nest_and_the_last_of_a_name_wins() {
        let mut macros = Macros::default();
        macros.define("ctx", "4096");
        macros.define("args", "-c ${ctx} --port ${PORT}");
        macros.define("ctx", "512");
        assert_eq!(macros.expand("x ${args} ${env.A} $HOME ${").unwrap(), "x -c 512 --port ${PORT} ${env.A} $HOME ${");
        assert_eq!(macros.expand("${no}"), Err(Reason::UnknownMacro("no".to_owned())));
        macros.define("a", "${a}${a}");
        assert_eq!(macros.expand("${a}"), Err(Reason::EndlessMacro));
    }

    #[test]
    fn variables_are_replaced_once() {
        let variable = |name: &str| (name == "A").then(|| "${env.B}".to_owned());
        assert_eq!(variables("x${env.A}y", &variable).unwrap(), "x${env.B}y");
        assert_eq!(variables("${env.B}", &variable), Err(Reason::UnsetVariable("B".to_owned())));
    }

    #[test]
    fn never_reads_a_variable_that_may_be_a_secret() {
        let variable = |name: &str| panic!("asked for {name}");
        assert_eq!(variables("x${env.MY_KEY}", &variable), Err(Reason::SecretVariable("MY_KEY".to_owned())));
        assert_eq!(secret_variable("${env.A}/${env.MY_KEY}"), Some("MY_KEY"));
        assert_eq!(secret_variable("${env.A}/MY_KEY}"), None);
    }
}
