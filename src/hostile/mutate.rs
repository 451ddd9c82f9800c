//! Hostile bytes, made from harmless ones: the same for the same seed.
//!
//! `HERDSMAN_FUZZ_CASES` says how many seeds are used, `HERDSMAN_FUZZ_SEED`
//! which is the first.
#![allow(clippy::panic, reason = "tests")]

use fastrand::Rng;

/// Numbers at which readers break.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "255",
    "65536",
    "99999",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551616",
    "1e999",
    "-0.0",
    "99999999999999999999999999999999999999",
];

/// What opens and closes something, for nesting.
const NESTS: [(&str, &str); 6] = [("[", "]"), ("{", "}"), ("(", ")"), ("\"", "\""), ("[[", "]]"), ("{a=", "}")];

/// What any format may choke on, besides a target's own words.
const ODD: [&[u8]; 10] = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1b[2J",
    "\u{202e}é\u{1f468}".as_bytes(),
    b"%s",
];

/// The seeds to use: `cases` of them, unless the environment says otherwise.
pub fn seeds(cases: u64) -> impl Iterator<Item = u64> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    };
    let first = number("HERDSMAN_FUZZ_SEED").unwrap_or(0);
    (0..number("HERDSMAN_FUZZ_CASES").unwrap_or(cases)).map(move |case| first.wrapping_add(case))
}

/// `base` after one to six mutations, cut to `most` bytes. `other` is what is
/// spliced in; `words` are those the format knows.
pub fn mutate(rng: &mut Rng, base: &[u8], other: &[u8], words: &[&[u8]], most: usize) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..rng.usize(1..=6) {
        once(rng, &mut bytes, other, words, most);
        bytes.truncate(most);
    }
    bytes
}

fn once(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8], words: &[&[u8]], most: usize) {
    let at = rng.usize(0..=bytes.len());
    match rng.u8(0..14) {
        0 | 1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << rng.u8(0..8);
            }
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = rng.choice([0, b' ', b'\n', b'"', b'=', b'[', 0x7f, 0x80, 0xff]).unwrap_or(0);
            }
        }
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(part(rng, bytes.len()))),
        5 => {
            let piece = bytes[part(rng, bytes.len())].to_vec();
            insert(bytes, at, &piece);
        }
        6 => {
            // Many times over: what is linear once may be quadratic.
            let piece = bytes[part(rng, bytes.len().min(200))].to_vec();
            let times = rng.choice([2, 10, 200, 100_000]).unwrap_or(2).min(most / piece.len().max(1));
            insert(bytes, at, &piece.repeat(times));
        }
        7 => insert(bytes, at, &other[part(rng, other.len())]),
        8 | 9 => insert(bytes, at, rng.choice(words.iter().copied().chain(ODD).collect::<Vec<_>>()).unwrap_or(b"")),
        10 => number(rng, bytes),
        11 => {
            let extreme =
                rng.choice([0, 1, 0x7f, 1 << 20, 1 << 31, u64::from(u32::MAX), 1 << 40, u64::MAX]).unwrap_or(0);
            let width = rng.choice([1, 2, 4, 8]).unwrap_or(4);
            let end = bytes.len().min(at + width);
            bytes[at..end].copy_from_slice(&extreme.to_le_bytes()[..end - at]);
        }
        12 => {
            let (open, close) = rng.choice(NESTS).unwrap_or(("[", "]"));
            let depth = rng.choice([1, 30, 200, 60_000]).unwrap_or(1).min(most / (open.len() + close.len()));
            insert(bytes, at, close.repeat(depth).as_bytes());
            insert(bytes, at, open.repeat(depth).as_bytes());
        }
        _ => {
            // A line, or what lies between two NULs, elsewhere again.
            let separator = if bytes.contains(&0) { 0 } else { b'\n' };
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == separator).collect();
            let line = [rng.choice(lines).unwrap_or_default(), &[separator]].concat();
            insert(bytes, at, &line);
        }
    }
}

/// Some part of `length` bytes; mostly a small one.
fn part(rng: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let start = rng.usize(0..=length);
    let longest = if rng.bool() { 16 } else { length };
    start..rng.usize(start..=length.min(start + longest))
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Puts another number in the place of one of those written in digits.
fn number(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let starts =
        (0..bytes.len()).filter(|at| bytes[*at].is_ascii_digit() && (*at == 0 || !bytes[at - 1].is_ascii_digit()));
    let Some(start) = rng.choice(starts.collect::<Vec<_>>()) else { return };
    let length = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = rng.choice(NUMBERS).unwrap_or("0");
    bytes.splice(start..start + length, number.bytes());
}
