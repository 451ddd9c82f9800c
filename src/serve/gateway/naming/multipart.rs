//! Finds the fields `model` and `stream` in a `multipart/form-data` body, before or
//! after its files. As in JSON, the first field of a name counts.

use memchr::memmem;

use super::{LONGEST_NAME, NamingError};

/// The longest headers of a part, bytes; a part with longer ones is skipped.
const LONGEST_HEAD: usize = 8 << 10;

/// A scanner that is given the body in chunks.
#[derive(Debug)]
pub(super) struct Multipart {
    /// `model`, once it has been seen.
    pub model: Option<String>,
    /// `stream`, once it has been seen.
    pub streams: Option<bool>,
    /// `\r\n--` and the boundary: what ends a part.
    delimiter: Vec<u8>,
    /// The last bytes that may begin a delimiter.
    held: Vec<u8>,
    state: State,
    /// The headers or the field that are being read.
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the headers of a part, from the end of the delimiter on.
    Head,
    /// In a field to keep.
    Field(Field),
    /// In a part that does not matter.
    Skipped,
    /// Behind the last part.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Stream,
}

impl Multipart {
    /// Returns a scanner for a body of this content type; `None`: it is no
    /// `multipart/form-data`.
    ///
    /// # Errors
    /// The boundary is missing or longer than RFC 2046 allows.
    pub fn of(content_type: &str) -> Result<Option<Self>, NamingError> {
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Ok(None);
        }
        let boundary = parameter(parameters, "boundary").unwrap_or_default();
        if boundary.is_empty() || boundary.len() > 70 {
            return Err(NamingError::NoBoundary);
        }
        Ok(Some(Self {
            model: None,
            streams: None,
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            // The first delimiter needs no line before it.
            held: b"\r\n".to_vec(),
            state: State::Skipped,
            text: Vec::new(),
        }))
    }

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
            let read = if self.state == State::Head { self.head(rest) } else { self.content(rest)? };
            rest = &rest[read..];
        }
        Ok(())
    }

    /// Reads on in the headers of a part. Returns how many bytes it has read.
    fn head(&mut self, bytes: &[u8]) -> usize {
        let known = self.text.len();
        let taken = bytes.len().min(LONGEST_HEAD + 1 - known);
        self.text.extend_from_slice(&bytes[..taken]);
        if self.text.starts_with(b"--") {
            self.state = State::Over;
            return taken;
        }
        // The blank line may have begun before these bytes.
        let from = known.saturating_sub(3);
        let Some(found) = memmem::find(&self.text[from..], b"\r\n\r\n") else {
            if self.text.len() > LONGEST_HEAD {
                self.begin(State::Skipped);
            }
            return taken;
        };
        let end = from + found + 4;
        let state = field(&self.text[..end]).map_or(State::Skipped, State::Field);
        self.begin(state);
        end - known
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.text.clear();
        self.held.clear();
    }

    /// Reads on in the content of a part. Returns how many bytes it has read.
    fn content(&mut self, bytes: &[u8]) -> Result<usize, NamingError> {
        let held = self.held.len();
        // A delimiter that began before these bytes ends within its length.
        let lap = [self.held.as_slice(), &bytes[..bytes.len().min(self.delimiter.len())]].concat();
        let crossing = memmem::find(&lap, &self.delimiter).filter(|start| *start < held);
        let found = match crossing {
            Some(start) => Some((start, start + self.delimiter.len() - held)),
            None => memmem::find(bytes, &self.delimiter).map(|start| (held + start, start + self.delimiter.len())),
        };
        let Some((start, end)) = found else {
            self.hold(bytes);
            return Ok(bytes.len());
        };
        self.held.truncate(start);
        let before = std::mem::take(&mut self.held);
        self.keep(&before);
        self.keep(&bytes[..start.saturating_sub(held)]);
        self.field_ends()?;
        self.begin(State::Head);
        Ok(end)
    }

    /// Keeps back what may begin a delimiter, and takes the rest as content.
    fn hold(&mut self, bytes: &[u8]) {
        let most = self.delimiter.len() - 1;
        if bytes.len() >= most {
            let (content, tail) = bytes.split_at(bytes.len() - most);
            let held = std::mem::replace(&mut self.held, tail.to_vec());
            self.keep(&held);
            self.keep(content);
        } else {
            self.held.extend_from_slice(bytes);
            let content: Vec<u8> = self.held.drain(..self.held.len().saturating_sub(most)).collect();
            self.keep(&content);
        }
    }

    fn keep(&mut self, content: &[u8]) {
        if matches!(self.state, State::Field(_)) {
            let room = (LONGEST_NAME + 1).saturating_sub(self.text.len());
            self.text.extend_from_slice(&content[..content.len().min(room)]);
        }
    }

    fn field_ends(&mut self) -> Result<(), NamingError> {
        let State::Field(field) = self.state else { return Ok(()) };
        let text = self.text.as_slice();
        match field {
            Field::Model if self.model.is_none() => {
                if text.len() > LONGEST_NAME {
                    return Err(NamingError::LongName);
                }
                self.model = Some(std::str::from_utf8(text).map_err(|_| NamingError::NotAName)?.to_owned());
            }
            Field::Stream if self.streams.is_none() => self.streams = Some(matches!(text, b"true" | b"1")),
            Field::Model | Field::Stream => {}
        }
        Ok(())
    }
}

/// Returns which field the headers of a part announce; a file is none.
fn field(head: &[u8]) -> Option<Field> {
    // Behind the delimiter, the rest of its line.
    let head = &head[memmem::find(head, b"\r\n")? + 2..];
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(head, &mut headers) else { return None };
    let disposition = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-disposition"))?;
    let value = std::str::from_utf8(disposition.value).ok()?;
    let (_, parameters) = value.split_once(';')?;
    if parameter(parameters, "filename").is_some() || parameter(parameters, "filename*").is_some() {
        return None;
    }
    match parameter(parameters, "name")?.as_str() {
        "model" => Some(Field::Model),
        "stream" => Some(Field::Stream),
        _ => None,
    }
}

/// Returns the parameter `wanted` of a header's value, `a=b; c="d"`.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start());
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// Reads a token or a quoted string, and returns it with what follows.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        return (token.trim_end().to_owned(), rest);
    };
    let (mut value, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, escaped)| escaped)),
            _ => value.push(letter),
        }
    }
    (value, "")
}
