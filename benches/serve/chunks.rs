//! The chunks of a body, decoded as they arrive.

/// Where in a chunked body the next byte belongs.
#[derive(Default)]
pub struct Chunks {
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    /// In the line that gives the size, with its digits so far.
    Size(usize),
    /// In that line after the digits.
    RestOfSize(usize),
    /// In the payload, with this much left.
    Payload(usize),
    /// Between the payload and the next size.
    LineEnd,
    /// In the lines after the last chunk; whether the current one is empty so far.
    Trailers(bool),
    /// After everything.
    End,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(0)
    }
}

impl Chunks {
    /// Gives the payload in `bytes` to `sink`. Returns how many of `bytes` belong to
    /// this body; `None` if they are not chunks.
    pub fn decode(&mut self, bytes: &[u8], mut sink: impl FnMut(&[u8])) -> Option<usize> {
        let mut used = 0;
        while used < bytes.len() && !self.ended() {
            if let At::Payload(left) = self.at {
                let length = left.min(bytes.len() - used);
                sink(&bytes[used..used + length]);
                used += length;
                self.at = if length == left { At::LineEnd } else { At::Payload(left - length) };
            } else {
                self.at = self.at.after(bytes[used])?;
                used += 1;
            }
        }
        Some(used)
    }

    /// Whether the body is complete.
    pub fn ended(&self) -> bool {
        matches!(self.at, At::End)
    }
}

impl At {
    /// Where the byte after `byte`, which is not payload, belongs.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size(0) | Self::RestOfSize(0), b'\n') => Self::Trailers(true),
            (Self::Size(size) | Self::RestOfSize(size), b'\n') => Self::Payload(size),
            (Self::Size(size), b'\r' | b';' | b' ') | (Self::RestOfSize(size), _) => Self::RestOfSize(size),
            (Self::Size(size), digit) => {
                let digit = char::from(digit).to_digit(16)?;
                Self::Size(size.checked_mul(16)?.checked_add(digit as usize)?)
            }
            (Self::LineEnd, b'\r') => Self::LineEnd,
            (Self::LineEnd, b'\n') => Self::Size(0),
            (Self::Trailers(empty), b'\r') => Self::Trailers(empty),
            (Self::Trailers(true), b'\n') => Self::End,
            (Self::Trailers(_), byte) => Self::Trailers(byte == b'\n'),
            _ => return None,
        })
    }
}
