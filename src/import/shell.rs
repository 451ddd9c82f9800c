//! Parses the simple commands of a shell text without running it: quotes, variables
//! that the text itself sets, arrays, arguments.
//!
//! Invariant: nothing is run, and nothing is guessed. What only the running shell
//! knows (`$(…)`, a variable set elsewhere) stays as it is written, with
//! [`UNKNOWN`] in place of its `$`.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Stands for the `$` of something only the running shell knows.
pub(super) const UNKNOWN: char = '\u{e000}';

/// The most bytes that variables may add to a text.
const LONGEST: usize = 1 << 20;

/// One simple command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    /// Its words.
    pub words: Vec<String>,
    /// What is exported before it.
    pub env: BTreeMap<String, String>,
}

/// Parses the commands of `text`, run with `arguments`; the first one is `$1`.
pub(super) fn commands(text: &str, arguments: &[String], home: Option<&str>) -> Vec<Command> {
    let mut shell = Shell {
        rest: text.chars().peekable(),
        arguments,
        variables: home.iter().map(|home| ("HOME".to_owned(), vec![(*home).to_owned()])).collect(),
        env: BTreeMap::new(),
        words: Vec::new(),
        word: None,
        skips: false,
        grown: 0,
        commands: Vec::new(),
    };
    shell.read();
    shell.commands
}

struct Shell<'t> {
    rest: Peekable<Chars<'t>>,
    arguments: &'t [String],
    variables: BTreeMap<String, Vec<String>>,
    env: BTreeMap<String, String>,
    words: Vec<String>,
    /// The word being read.
    word: Option<String>,
    /// The next word is the file of a redirection.
    skips: bool,
    /// How many bytes variables have added.
    grown: usize,
    commands: Vec<Command>,
}

impl Shell<'_> {
    fn read(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escaped(),
                '\'' => self.single_quoted(),
                '"' => self.quoted(),
                '$' => self.variable(false),
                '`' => {
                    self.push(UNKNOWN);
                    while let Some(c) = self.rest.next().filter(|c| *c != '`') {
                        self.push(c);
                    }
                }
                '~' if self.word.as_ref().is_none_or(|word| word.ends_with('='))
                    && self.rest.peek().is_none_or(|c| *c == '/' || c.is_whitespace()) =>
                {
                    match self.variables.get("HOME").cloned() {
                        Some(home) => self.add(&home.concat()),
                        None => self.push('~'),
                    }
                }
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                '\n' | ';' | '|' | ')' => self.end_command(),
                '&' if self.rest.peek() == Some(&'>') => self.end_word(),
                '&' => self.end_command(),
                '(' => self.open(),
                '<' | '>' => self.redirect(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    /// Appends the value of a variable.
    fn add(&mut self, text: &str) {
        self.grown += text.len();
        let word = self.word.get_or_insert_default();
        if self.grown <= LONGEST {
            word.push_str(text);
        }
    }

    fn quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(c) = self.rest.next() {
            match c {
                '"' => return,
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(c @ ('$' | '`' | '"' | '\\')) => self.push(c),
                    Some(c) => ['\\', c].into_iter().for_each(|c| self.push(c)),
                },
                '$' => self.variable(true),
                c => self.push(c),
            }
        }
    }

    /// Reads what follows a `$`. Without quotes its value is split into words.
    fn variable(&mut self, is_quoted: bool) {
        let name: String = match self.rest.peek() {
            Some('{') => {
                self.rest.next();
                let mut inner = String::new();
                while let Some(c) = self.rest.next().filter(|c| *c != '}') {
                    inner.push(c);
                }
                inner
            }
            Some('(') => return self.substitution(),
            Some(c) if c.is_ascii_digit() || "@*#?$!".contains(*c) => self.rest.next().into_iter().collect(),
            _ => {
                let mut name = String::new();
                while let Some(c) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                name
            }
        };
        if name.is_empty() {
            return self.push('$');
        }
        let Some(values) = self.value(&name) else {
            // llama-swap's own: a script that has a port in a variable gets it from
            // llama-swap, too.
            let is_macro = name == "PORT" || name.starts_with("env.");
            self.push(if is_macro { '$' } else { UNKNOWN });
            return self.add(&format!("{{{name}}}"));
        };
        let is_list = name == "@" || name.ends_with("[@]");
        let words: Vec<&str> = match (is_quoted, is_list) {
            (true, true) => values.iter().map(String::as_str).collect(),
            (true, false) => return self.add(&values.join(" ")),
            (false, _) => values.iter().flat_map(|value| value.split_whitespace()).collect(),
        };
        for (number, word) in words.into_iter().enumerate() {
            if number > 0 {
                self.end_word();
            }
            self.add(word);
        }
    }

    /// Expands `${inner}`.
    fn value(&self, inner: &str) -> Option<Vec<String>> {
        if matches!(inner, "@" | "*") {
            return Some(self.arguments.to_vec());
        }
        let (name, default) = match inner.split_once('-') {
            Some((name, default)) => (name.trim_end_matches(':'), Some(default)),
            None => (inner, None),
        };
        let name = name.trim_end_matches("[@]").trim_end_matches("[*]");
        let known = match name.parse::<usize>() {
            Ok(number) => {
                number.checked_sub(1).and_then(|index| self.arguments.get(index)).map(|text| vec![text.clone()])
            }
            Err(_) => self.variables.get(name).cloned(),
        };
        let is_plain = |text: &&str| !text.contains(['$', '`', '"', '\'']);
        known.or_else(|| default.filter(is_plain).map(|text| vec![text.to_owned()]))
    }

    /// `NAME=(` starts a list; anything else in parentheses is a command.
    fn open(&mut self) {
        let is_list = self.word.as_ref().is_some_and(|word| word.ends_with('='));
        let Some(mut name) = self.word.take_if(|_| is_list) else { return self.end_command() };
        let outer = std::mem::take(&mut self.words);
        let before = self.commands.len();
        // The items are words up to the `)`, which ends a command.
        self.items();
        let items = std::mem::replace(&mut self.words, outer);
        self.commands.truncate(before);
        name.pop();
        let is_more = name.ends_with('+');
        let known = self.variables.entry(name.trim_end_matches('+').to_owned()).or_default();
        if !is_more {
            known.clear();
        }
        known.extend(items);
    }

    /// Reads what follows a `\`: itself, or nothing at the end of a line.
    fn escaped(&mut self) {
        if let Some(escaped) = self.rest.next().filter(|c| *c != '\n') {
            self.push(escaped);
        }
    }

    /// Reads text between `'`, which is literal.
    fn single_quoted(&mut self) {
        self.word.get_or_insert_default();
        while let Some(c) = self.rest.next().filter(|c| *c != '\'') {
            self.push(c);
        }
    }

    fn items(&mut self) {
        while let Some(c) = self.rest.next() {
            match c {
                ')' => break,
                '\\' => self.escaped(),
                '\'' => self.single_quoted(),
                '"' => self.quoted(),
                '$' => self.variable(false),
                '#' if self.word.is_none() => while self.rest.next_if(|c| *c != '\n').is_some() {},
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_word();
    }

    /// A redirection is not part of the command's words.
    fn redirect(&mut self) {
        self.word.take_if(|word| word.chars().all(|c| c.is_ascii_digit()));
        self.end_word();
        while self.rest.next_if(|c| "<>&".contains(*c)).is_some() {}
        self.skips = true;
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if !std::mem::take(&mut self.skips) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.skips = false;
        let words = std::mem::take(&mut self.words);
        let is_keyword =
            |word: &String| matches!(word.as_str(), "if" | "then" | "else" | "elif" | "do" | "while" | "{" | "!");
        let mut words = words.into_iter().skip_while(is_keyword).peekable();
        if words.next_if(|word| word == "export").is_some() {
            return words.for_each(|word| self.export(&word));
        }
        let mut own = Vec::new();
        while let Some((name, value)) = words.next_if(|word| assignment(word).is_some()).as_deref().and_then(assignment)
        {
            own.push((name.to_owned(), value.to_owned()));
        }
        let words: Vec<String> = words.collect();
        if words.is_empty() {
            for (name, value) in own {
                // Exports stay in effect.
                if let Some(exported) = self.env.get_mut(&name) {
                    exported.clone_from(&value);
                }
                self.variables.insert(name, vec![value]);
            }
            return;
        }
        let mut env = self.env.clone();
        env.extend(own);
        self.commands.push(Command { words, env });
    }
}

impl Shell<'_> {
    /// Reads `NAME=value` or `NAME` after `export`.
    fn export(&mut self, word: &str) {
        if let Some((name, value)) = assignment(word) {
            self.env.insert(name.to_owned(), value.to_owned());
            self.variables.insert(name.to_owned(), vec![value.to_owned()]);
        } else if let Some(value) = self.variables.get(word) {
            self.env.insert(word.to_owned(), value.join(" "));
        }
    }

    /// Reads `$(…)` as it is written.
    fn substitution(&mut self) {
        self.push(UNKNOWN);
        let mut depth = 0_u32;
        while let Some(c) = self.rest.next() {
            self.push(c);
            match c {
                '(' => depth += 1,
                ')' if depth <= 1 => return,
                ')' => depth -= 1,
                _ => {}
            }
        }
    }
}

/// Splits `NAME=value` into name and value.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.split_once('=')?;
    let is_name = !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// The words of the last command.
    fn last(text: &str, arguments: &[&str]) -> Vec<String> {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        commands(text, &arguments, Some("/home/me")).pop().unwrap().words
    }

    #[test]
    fn splits_words_like_a_shell() {
        for (text, words) in [
            ("a 'b c' \"d e\" f\\ g # h", &["a", "b c", "d e", "f g"][..]),
            ("M=/w/x.gguf\na -m \"$M\" -c ${C:-512} \\\n  -t 1", &["a", "-m", "/w/x.gguf", "-c", "512", "-t", "1"]),
            ("O=\"-c 1 -t 2\"; exec a $O \"$O\"", &["exec", "a", "-c", "1", "-t", "2", "-c 1 -t 2"]),
            ("O=(-c 1 # x\n -m \"b c\")\nO+=(-t 2)\na \"${O[@]}\"", &["a", "-c", "1", "-m", "b c", "-t", "2"]),
            ("a \"$@\" $1 $2 >>log 2>&1 < /dev/null", &["a", "p", "q r", "p", "q", "r"]),
            ("M=~/m; a $M", &["a", "/home/me/m"]),
            ("a ~/m ${PORT} ${env.X} $", &["a", "/home/me/m", "${PORT}", "${env.X}", "$"]),
            ("if true; then a &> /dev/null; fi", &["fi"]),
        ] {
            assert_eq!(last(text, &["p", "q r"]), words, "{text}");
        }
        assert_eq!(last("a $NO-b $(date)", &[])[1], format!("{UNKNOWN}{{NO}}-b"));
    }

    #[test]
    fn exports_become_environment_variables() {
        let found = commands("A=1\nB=2\nexport B C=3\nA=4 a\n", &[], None);
        let env: Vec<_> = found[0].env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(env, ["A=4", "B=2", "C=3"]);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab=$\\{\\}()@\\[\\]\"'\\\\<>&;#~\n -]{0,60}") {
            let _ = commands(&text, &[], None);
        }
    }
}
