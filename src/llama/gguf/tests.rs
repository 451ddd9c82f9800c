#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

/// Writes the parts of a GGUF file.
#[derive(Clone, Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn header(tensors: u64, key_values: u64) -> Self {
        Self::default().raw(b"GGUF").u32(3).u64(tensors).u64(key_values)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u32(self, number: u32) -> Self {
        self.raw(&number.to_le_bytes())
    }

    fn u64(self, number: u64) -> Self {
        self.raw(&number.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.u64(text.len() as u64).raw(text.as_bytes())
    }

    fn tensor(self, dimensions: &[u64], kind: u32, offset: u64) -> Self {
        let start = self.text("t").u32(u32::try_from(dimensions.len()).unwrap());
        dimensions.iter().fold(start, |writer, size| writer.u64(*size)).u32(kind).u64(offset)
    }

    fn pad(mut self, alignment: usize, data: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(alignment) + data, 0);
        self
    }

    fn check(&self) -> Result<(), Flaw> {
        check(&self.0[..], self.0.len() as u64)
    }
}

/// A file with one of everything; its data are 64 + 36 bytes.
fn whole() -> Writer {
    Writer::header(2, 5)
        .text("general.architecture")
        .u32(8)
        .text("llama")
        .text("general.alignment")
        .u32(4)
        .u32(64)
        .text("x.numbers")
        .u32(9)
        .u32(5)
        .u64(3)
        .raw(&[0; 12])
        .text("x.words")
        .u32(9)
        .u32(8)
        .u64(2)
        .text("a")
        .text("bc")
        .text("x.flag")
        .u32(7)
        .raw(&[1])
        .tensor(&[8, 2], 0, 0)
        .tensor(&[64], 2, 64)
        .pad(64, 64 + 36)
}

#[test]
fn a_complete_file_passes_and_one_byte_less_is_truncated() {
    whole().check().unwrap();
    let mut cut = whole();
    cut.0.pop();
    let needed = whole().0.len() as u64;
    assert!(matches!(cut.check(), Err(Flaw::Short { needed: n }) if n == needed));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = whole().0;
    for length in 0..whole.len() {
        assert!(check(&whole[..length], length as u64).is_err(), "{length}");
    }
}

#[test]
fn says_what_a_file_that_is_not_gguf_looks_like() {
    for (bytes, looks) in [
        (&b""[..], "is empty"),
        (b"hi", "text"),
        (b"hello world", "text"),
        (b"\n<!DOCTYPE html>", "is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"FUGG....", "big-endian"),
        (b"ggjt....", "before GGUF"),
        (b"\x7fELF", "other bytes"),
        (&[0; 100], "the download reserved the space"),
    ] {
        match check(bytes, bytes.len() as u64) {
            Err(Flaw::NotGguf(found)) => assert!(found.to_string().contains(looks), "{found}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
    }
}

#[test]
fn another_version_is_refused() {
    assert!(matches!(Writer::default().raw(b"GGUF").u32(1).u64(0).check(), Err(Flaw::Version(1))));
    assert!(matches!(Writer::default().raw(b"GGUF").u32(4).u64(0).check(), Err(Flaw::Version(4))));
}

#[test]
fn assumes_that_a_tensor_of_unknown_type_fits() {
    Writer::header(1, 0).tensor(&[1 << 40], 9999, 0).pad(32, 0).check().unwrap();
}

#[test]
fn huge_counts_are_refused_before_anything_is_read() {
    for hostile in [
        Writer::header(u64::MAX, 0),
        Writer::header(0, u64::MAX),
        Writer::header(0, 1 << 40),
        Writer::header(0, 1).u64(u64::MAX),
        Writer::header(0, 1).text("k").u32(8).u64(1 << 50),
        Writer::header(0, 1).text("k").u32(9).u32(8).u64(1 << 60),
        Writer::header(0, 1).text("k").u32(9).u32(10).u64(u64::MAX),
        Writer::header(0, 1).text("k").u32(9).u32(9).u64(1),
        Writer::header(0, 1).text("general.alignment").u32(4).u32(0),
        Writer::header(1, 0).tensor(&[u64::MAX, u64::MAX], 0, 0),
        Writer::header(1, 0).tensor(&[1], 0, u64::MAX),
        Writer::header(1, 0).tensor(&[1; 5], 0, 0),
    ] {
        assert!(matches!(hostile.check(), Err(Flaw::Short { .. } | Flaw::Damaged(_))));
    }
}

#[test]
fn a_gguf_problem_names_the_file_and_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gguf");
    let message = || check_gguf(&path).unwrap_err().to_string();
    assert!(message().contains("cannot read the weights") && message().contains("a.gguf"));
    std::fs::write(&path, "hello").unwrap();
    assert!(message().contains("it starts with text; use the path"), "{}", message());
    let whole = whole().0;
    std::fs::write(&path, &whole).unwrap();
    check_gguf(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 50]).unwrap();
    assert!(message().contains("is truncated") && message().contains("download or copy it again"));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(bytes in proptest::collection::vec(0_u8..=255, 0..200)) {
        let _ = check(&bytes[..], bytes.len() as u64);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0_usize..400, value in 0_u8..=255, cut in 0_usize..600) {
        let mut bytes = whole().0;
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        bytes.truncate(cut);
        let _ = check(&bytes[..], bytes.len() as u64);
    }
}
