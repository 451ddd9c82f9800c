//! The expressions of llama-swap's `matrix`, such as `(a | b) & c`: which models may
//! run together.

use std::collections::{BTreeMap, BTreeSet};

/// The most sets that an expression may stand for.
const MOST: usize = 2048;

/// The deepest nesting of parentheses and references.
const DEEPEST: usize = 64;

/// A set of models, by their names in the source.
pub(super) type Set = BTreeSet<String>;

/// Named expressions, and short names of models.
pub(super) struct Expressions<'a> {
    pub named: &'a [(String, String)],
    pub vars: &'a BTreeMap<String, String>,
}

impl Expressions<'_> {
    /// Every set that one of the expressions stands for.
    ///
    /// # Errors
    /// Which expression cannot be read, and why.
    pub fn sets(&self) -> Result<Vec<Set>, String> {
        let mut all = Vec::new();
        for (name, text) in self.named {
            all.extend(self.of(text, 0).map_err(|why| format!("the set `{name}` {why}"))?);
            all.sort_unstable();
            all.dedup();
            if all.len() > MOST {
                return Err(TOO_MANY.to_owned());
            }
        }
        Ok(all)
    }

    fn of(&self, text: &str, depth: usize) -> Result<Vec<Set>, String> {
        let mut parser = Parser { expressions: self, rest: text.trim() };
        let sets = parser.either(depth)?;
        if parser.rest.is_empty() { Ok(sets) } else { Err(format!("cannot be read from `{}` on", parser.rest)) }
    }
}

const TOO_MANY: &str = "stands for too many combinations";

struct Parser<'a> {
    expressions: &'a Expressions<'a>,
    rest: &'a str,
}

impl Parser<'_> {
    fn takes(&mut self, sign: char) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.unwrap_or(self.rest).trim_start();
        rest.is_some()
    }

    fn either(&mut self, depth: usize) -> Result<Vec<Set>, String> {
        let mut sets = self.together(depth)?;
        while self.takes('|') {
            sets.extend(self.together(depth)?);
            sets.sort_unstable();
            sets.dedup();
            if sets.len() > MOST {
                return Err(TOO_MANY.to_owned());
            }
        }
        Ok(sets)
    }

    fn together(&mut self, depth: usize) -> Result<Vec<Set>, String> {
        let mut sets = self.atom(depth)?;
        while self.takes('&') {
            let with = self.atom(depth)?;
            if sets.len() * with.len() > MOST {
                return Err(TOO_MANY.to_owned());
            }
            sets = sets.iter().flat_map(|set| with.iter().map(move |other| set | other)).collect();
        }
        Ok(sets)
    }

    fn atom(&mut self, depth: usize) -> Result<Vec<Set>, String> {
        if depth > DEEPEST {
            return Err("refers to itself, or nests too deeply".to_owned());
        }
        if self.takes('(') {
            let sets = self.either(depth + 1)?;
            return if self.takes(')') { Ok(sets) } else { Err("has an unclosed `(`".to_owned()) };
        }
        let is_reference = self.takes('+');
        let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        let Expressions { named, vars } = self.expressions;
        match named.iter().find(|(known, _)| known == name) {
            _ if name.is_empty() => Err("ends where a model is expected".to_owned()),
            Some((_, text)) if is_reference => self.expressions.of(text, depth + 1),
            None if is_reference => Err(format!("refers to the set `{name}`, which does not exist")),
            _ => Ok(vec![Set::from([vars.get(name).map_or(name, String::as_str).to_owned()])]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn sets(named: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let named: Vec<_> = named.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let vars = BTreeMap::from([("g".to_owned(), "gemma".to_owned())]);
        let sets = Expressions { named: &named, vars: &vars }.sets()?;
        Ok(sets.into_iter().map(|set| set.into_iter().collect::<Vec<_>>().join("+")).collect())
    }

    #[test]
    fn expands_expressions_as_llama_swap_does() {
        for (text, expected) in [
            ("a", &["a"][..]),
            ("a & b", &["a+b"]),
            ("a | b", &["a", "b"]),
            ("(a | g) & c", &["a+c", "c+gemma"]),
            ("(a | b) & (c | d)", &["a+c", "a+d", "b+c", "b+d"]),
            ("a|b&c", &["a", "b+c"]),
            ("+llms & v", &["qwen-3.5_x+v", "v+w"]),
        ] {
            let all = sets(&[("s", text), ("llms", "qwen-3.5_x | w")]).unwrap();
            assert!(expected.iter().all(|set| all.iter().any(|found| found == set)), "{text}: {all:?}");
        }
    }

    #[test]
    fn refuses_what_llama_swap_refuses_and_what_nobody_can_expand() {
        let doubles: Vec<String> = (0..12).map(|n| format!("(a{n} | b{n})")).collect();
        for (text, why) in [
            ("", "ends where a model is expected"),
            ("a &", "ends where"),
            ("(a", "unclosed"),
            ("a b", "cannot be read from `b` on"),
            ("+nope", "does not exist"),
            ("+s & a", "refers to itself"),
            (&doubles.join(" & "), "too many"),
            (&"(".repeat(100_000), "too deeply"),
        ] {
            let error = sets(&[("s", text)]).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
