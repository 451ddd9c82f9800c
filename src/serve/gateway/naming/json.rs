//! Finds `model` and `stream` at the top of a JSON object, without building it.
//!
//! The scanner reads the object once, whatever the chunks are cut like, and keeps
//! only keys and values that may be these two. It does not check the rest: llama-server
//! does, and says what is wrong in its own words. Where a key is repeated the first
//! counts, so that a body is forwarded before its end; llama-server itself ignores
//! `model`, so the two cannot disagree about it.

use std::io::{BufReader, Read};

use serde::de::IgnoredAny;

use super::{LONGEST_NAME, NamingError};

/// `stream`, each letter written as `\u0073`: the longest key that matters, bytes.
const LONGEST_KEY: usize = 36;

/// `false`: the longest literal that matters, bytes, and one to tell a longer one.
const LONGEST_WORD: usize = 6;

/// A scanner that is given the body in chunks.
#[derive(Debug, Default)]
pub(super) struct Json {
    /// `model`, once it has been seen.
    pub model: Option<String>,
    /// `stream`, once it has been seen.
    pub streams: Option<bool>,
    /// Whether the body begins as an object.
    pub is_object: bool,
    state: State,
    key: Key,
    /// The raw text of the key or the value that is being read.
    text: Vec<u8>,
    /// Whether the byte before was an escaping backslash.
    escaped: bool,
    /// How many bytes of a byte order mark have been seen.
    mark: usize,
}

/// Where in the object the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the `{`.
    #[default]
    Start,
    /// Before a key.
    Members,
    /// In a key.
    Key,
    /// Between a key and its `:`.
    Colon,
    /// Before a value.
    Value,
    /// In a string that is a value.
    Text,
    /// In a number, `true`, `false` or `null`.
    Word,
    /// In an object or an array, this deep.
    Nested(u64),
    /// In a string there.
    NestedText(u64),
    /// Behind a value.
    Behind,
    /// Nothing more can be found: the object is over, or this is none.
    Over,
}

/// Which member is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    Model,
    Stream,
    #[default]
    Other,
}

impl Json {
    /// Whether no byte that follows can add anything.
    pub fn is_done(&self) -> bool {
        self.state == State::Over || (self.model.is_some() && self.streams.is_some())
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// `model` is not a name.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), NamingError> {
        let mut rest = chunk;
        while !rest.is_empty() && !self.is_done() {
            let read = match self.state {
                State::Key | State::Text | State::NestedText(_) => self.text(rest)?,
                State::Nested(depth) => self.nested(rest, depth),
                _ => {
                    self.byte(rest[0])?;
                    1
                }
            };
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Reads on in a string. Returns how many bytes it has read.
    fn text(&mut self, bytes: &[u8]) -> Result<usize, NamingError> {
        let end = self.end_of_text(bytes);
        let content = &bytes[..end.map_or(bytes.len(), |end| end - 1)];
        // One byte more than may matter tells what is too long.
        let room = (self.most() + 1).saturating_sub(self.text.len());
        let content = &content[..content.len().min(room)];
        match end {
            // As most do: it has arrived in one piece.
            Some(_) if self.text.is_empty() => self.text_ends(content)?,
            Some(_) => {
                self.text.extend_from_slice(content);
                let text = std::mem::take(&mut self.text);
                self.text_ends(&text)?;
            }
            None => self.text.extend_from_slice(content),
        }
        Ok(end.unwrap_or(bytes.len()))
    }

    /// Returns where the string ends, behind its quote.
    fn end_of_text(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        if self.escaped {
            self.escaped = false;
            at = 1;
        }
        loop {
            at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)? + 1;
            if bytes[at - 1] == b'"' {
                return Some(at);
            }
            if at == bytes.len() {
                self.escaped = true;
                return None;
            }
            at += 1;
        }
    }

    /// How much of the string that is being read matters, bytes.
    fn most(&self) -> usize {
        match self.state {
            State::Key => LONGEST_KEY,
            State::Text if self.key == Key::Model => 6 * LONGEST_NAME,
            _ => 0,
        }
    }

    /// Reads the inside of a string that is over.
    fn text_ends(&mut self, text: &[u8]) -> Result<(), NamingError> {
        self.state = match self.state {
            State::Key => {
                self.key = key(text);
                State::Colon
            }
            State::NestedText(depth) => State::Nested(depth),
            _ => State::Behind,
        };
        if self.state == State::Behind && self.key == Key::Model && self.model.is_none() {
            let name = unescaped(text).ok_or(NamingError::NotAName)?;
            if name.len() > LONGEST_NAME {
                return Err(NamingError::LongName);
            }
            self.model = Some(name);
        }
        Ok(())
    }

    /// Reads on in an object or array. Returns how many bytes it has read.
    fn nested(&mut self, bytes: &[u8], depth: u64) -> usize {
        let mut depth = depth;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.state = State::NestedText(depth);
                    return at + 1;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth == 1 => {
                    self.state = State::Behind;
                    return at + 1;
                }
                b'}' | b']' => depth -= 1,
                _ => {}
            }
        }
        self.state = State::Nested(depth);
        bytes.len()
    }

    fn byte(&mut self, byte: u8) -> Result<(), NamingError> {
        if matches!(self.state, State::Word) && !matches!(byte, b',' | b'}' | b' ' | b'\t' | b'\r' | b'\n') {
            if self.text.len() < LONGEST_WORD {
                self.text.push(byte);
            }
            return Ok(());
        }
        if matches!(self.state, State::Word) {
            self.word_ends()?;
        }
        if self.state == State::Value && self.key == Key::Stream && matches!(byte, b'"' | b'{' | b'[') {
            self.streams.get_or_insert(false);
        }
        self.is_object |= self.state == State::Start && byte == b'{';
        self.state = match (self.state, byte) {
            (state, b' ' | b'\t' | b'\r' | b'\n') => state,
            (State::Start, b'{') => State::Members,
            (State::Start, _) if b"\xef\xbb\xbf".get(self.mark) == Some(&byte) => {
                self.mark += 1;
                State::Start
            }
            (State::Members, b'"') => {
                self.text.clear();
                State::Key
            }
            (State::Colon, b':') => State::Value,
            (State::Behind, b',') => State::Members,
            (State::Value, b'"') => {
                self.text.clear();
                State::Text
            }
            (State::Value, b'{' | b'[') if self.key == Key::Model && self.model.is_none() => {
                return Err(NamingError::NotAName);
            }
            (State::Value, b'{' | b'[') => State::Nested(1),
            (State::Value, b',' | b'}' | b']' | b':') => State::Over,
            (State::Value, byte) => {
                self.text.clear();
                self.text.push(byte);
                State::Word
            }
            _ => State::Over,
        };
        Ok(())
    }

    fn word_ends(&mut self) -> Result<(), NamingError> {
        self.state = State::Behind;
        match self.key {
            Key::Model if self.model.is_none() && self.text != b"null" => return Err(NamingError::NotAName),
            Key::Stream if self.streams.is_none() => self.streams = Some(self.text == b"true"),
            _ => {}
        }
        Ok(())
    }
}

/// Says why a body is not JSON, and where; `None`: it is, or it cannot be read.
pub(super) fn flaw(body: impl Read) -> Option<String> {
    let mut body = BufReader::new(body);
    let mut start = Vec::new();
    body.by_ref().take(3).read_to_end(&mut start).ok()?;
    if start == b"\xef\xbb\xbf" {
        start.clear();
    }
    let checked: Result<IgnoredAny, _> = serde_json::from_reader(start.chain(body));
    checked.err().filter(|error| !error.is_io()).map(|error| error.to_string())
}

/// Returns which key this is, as it is written between its quotes.
fn key(inside: &[u8]) -> Key {
    match inside {
        b"model" => Key::Model,
        b"stream" => Key::Stream,
        _ if !inside.contains(&b'\\') => Key::Other,
        _ => match unescaped(inside).as_deref() {
            Some("model") => Key::Model,
            Some("stream") => Key::Stream,
            _ => Key::Other,
        },
    }
}

/// Returns the text that the inside of a JSON string stands for.
fn unescaped(inside: &[u8]) -> Option<String> {
    if !inside.contains(&b'\\') {
        let is_text = |text: &&str| !text.bytes().any(|byte| byte < b' ');
        return std::str::from_utf8(inside).ok().filter(is_text).map(str::to_owned);
    }
    serde_json::from_slice(&[b"\"", inside, b"\""].concat()).ok()
}
