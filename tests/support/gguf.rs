//! Writes a GGUF small enough to understand, real enough for llama-server.
//!
//! The model has one thing to say: every token it generates is its whole text,
//! at any temperature, for any prompt. So **an answer tells which model, and
//! which version of its weights, gave it**. The same file serves embeddings
//! (`--embedding --pooling mean`); different prompts give different vectors.
//!
//! ```text
//! GGUF  version  tensors  key-values | key-values | tensor infos | pad | data …
//! ```
//!
//! How it works: every token's embedding is 16 numbers, the first of them 1.
//! The transformer blocks are all zeros and pass it on unchanged. The output
//! matrix looks at that first number only and gives the text's token +20 and
//! every other token -8.
//!
//! [`TinyGguf::zero_layers`] adds big blocks, still all zeros and written as
//! holes, so a file of gigabytes takes two megabytes of disk: it loads and
//! answers slowly, which is what tests of loading and draining need.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Tensors begin at multiples of this many bytes (`general.alignment`'s default).
const ALIGNMENT: u64 = 32;

/// A model that says one text for ever.
#[derive(Clone, Debug)]
pub struct TinyGguf {
    text: String,
    name: String,
    context: u32,
    chat_template: Option<String>,
    zero_layers: u32,
}

/// Why a GGUF was not written.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The text cannot be a token of its own.
    #[error("{0:?} cannot be the text of a tiny model: take one that is not empty and not a token already")]
    Text(String),
    /// The file could not be written.
    #[error("cannot write {path}: {source}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

impl TinyGguf {
    /// A model that says `text` for ever, such as `"hello "` (the space keeps
    /// the repetitions apart). About 25 KB; ready within 60 ms.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), name: "tiny".into(), context: 4096, chat_template: None, zero_layers: 0 }
    }

    /// `general.name`.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The context it claims to be trained for, in tokens (default 4096):
    /// llama-server caps `n_ctx` at it.
    #[must_use]
    pub fn context(mut self, tokens: u32) -> Self {
        self.context = tokens;
        self
    }

    /// A Jinja chat template; llama-server uses `ChatML` where there is none.
    #[must_use]
    pub fn chat_template(mut self, jinja: impl Into<String>) -> Self {
        self.chat_template = Some(jinja.into());
        self
    }

    /// Makes it slow: `layers` blocks of 103 MB of zeros each, read while
    /// loading and computed with for every token. On two cores, 5 load in one
    /// or two seconds and give 15 to 90 tokens a second; 0 is the tiny model.
    #[must_use]
    pub fn zero_layers(mut self, layers: u32) -> Self {
        self.zero_layers = layers;
        self
    }

    /// Writes the model to `path` and returns its apparent size in bytes.
    ///
    /// The file appears whole, by rename: a server that has the old file
    /// mapped keeps it, instead of changing its mind or dying of SIGBUS.
    ///
    /// # Errors
    /// [`GgufError`]; nothing is left behind then.
    pub fn write(&self, path: &Path) -> Result<u64, GgufError> {
        let tokens = vocabulary(&self.text)?;
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let partial = PathBuf::from(partial);
        let written = self.write_file(&partial, &tokens).and_then(|size| {
            std::fs::rename(&partial, path)?;
            Ok(size)
        });
        written.map_err(|source| {
            // Best effort: the error to report is the one above.
            let _ = std::fs::remove_file(&partial);
            GgufError::Write { path: path.to_owned(), source }
        })
    }

    fn write_file(&self, path: &Path, tokens: &[(String, TokenType)]) -> io::Result<u64> {
        let shape = Shape::of(self.zero_layers);
        let tensors = tensors(&shape, tokens.len());
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&self.header(&shape, tokens, &tensors))?;
        pad(&mut file)?;
        for tensor in &tensors {
            match &tensor.data {
                Data::Bytes(bytes) => file.write_all(bytes)?,
                Data::Zeros(size) => {
                    let end = file.stream_position()? + size;
                    file.seek(SeekFrom::Start(end))?;
                }
            }
            pad(&mut file)?;
        }
        let size = file.stream_position()?;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.set_len(size)?;
        Ok(size)
    }

    /// Everything before the data: magic, counts, key-values, tensor infos.
    fn header(&self, shape: &Shape, tokens: &[(String, TokenType)], tensors: &[Tensor]) -> Vec<u8> {
        let mut keys = KeyValues::default();
        keys.text("general.architecture", "llama");
        keys.text("general.name", &self.name);
        keys.number("llama.context_length", self.context);
        keys.number("llama.embedding_length", shape.width);
        keys.number("llama.block_count", shape.layers);
        keys.number("llama.feed_forward_length", shape.feed_forward);
        keys.number("llama.attention.head_count", shape.heads);
        keys.float("llama.attention.layer_norm_rms_epsilon", 1e-5);
        keys.text("tokenizer.ggml.model", "llama");
        keys.array("tokenizer.ggml.tokens", STRING, tokens, |(piece, _)| text(piece));
        keys.array("tokenizer.ggml.token_type", I32, tokens, |(_, kind)| (*kind as i32).to_le_bytes().to_vec());
        keys.array("tokenizer.ggml.scores", F32, tokens, |_| 0f32.to_le_bytes().to_vec());
        keys.number("tokenizer.ggml.bos_token_id", 1);
        keys.number("tokenizer.ggml.eos_token_id", 2);
        if let Some(template) = &self.chat_template {
            keys.text("tokenizer.chat_template", template);
        }

        let mut header = b"GGUF".to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend(keys.count.to_le_bytes());
        header.extend(keys.bytes);
        let mut offset = 0;
        for tensor in tensors {
            header.extend(tensor.info(offset));
            offset += tensor.data.size().next_multiple_of(ALIGNMENT);
        }
        header
    }
}

/// `tokenizer.ggml.token_type`, by llama.cpp's `llama_token_type`.
#[derive(Clone, Copy)]
enum TokenType {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    Byte = 6,
}

/// The tokens: three specials, one for each byte, the space, and the text as
/// the last one.
fn vocabulary(text: &str) -> Result<Vec<(String, TokenType)>, GgufError> {
    // SentencePiece writes a space as U+2581.
    let piece = text.replace(' ', "\u{2581}");
    let mut tokens = vec![
        ("<unk>".to_owned(), TokenType::Unknown),
        ("<s>".to_owned(), TokenType::Control),
        ("</s>".to_owned(), TokenType::Control),
    ];
    tokens.extend((0..=255u8).map(|byte| (format!("<0x{byte:02X}>"), TokenType::Byte)));
    tokens.push(("\u{2581}".to_owned(), TokenType::Normal));
    if piece.is_empty() || tokens.iter().any(|(token, _)| *token == piece) {
        return Err(GgufError::Text(text.to_owned()));
    }
    tokens.push((piece, TokenType::Normal));
    Ok(tokens)
}

/// The sizes of the network.
struct Shape {
    layers: u32,
    width: u32,
    feed_forward: u32,
    heads: u32,
}

impl Shape {
    fn of(zero_layers: u32) -> Self {
        match zero_layers {
            0 => Self { layers: 1, width: SIGNAL, feed_forward: SIGNAL, heads: 1 },
            layers => Self { layers, width: 2048, feed_forward: 5632, heads: 16 },
        }
    }
}

/// How many of an embedding's numbers are not zero: the constant and 15 that
/// tell tokens apart.
const SIGNAL: u32 = 16;

/// One tensor and what it holds.
struct Tensor {
    name: String,
    dimensions: Vec<u64>,
    kind: ElementType,
    data: Data,
}

/// `ggml_type`.
#[derive(Clone, Copy)]
enum ElementType {
    F32 = 0,
    F16 = 1,
}

/// The elements of a tensor, as bytes or as a hole of so many bytes.
enum Data {
    Bytes(Vec<u8>),
    Zeros(u64),
}

impl Data {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(size) => *size,
        }
    }
}

impl Tensor {
    fn zeros(name: String, dimensions: &[u32], kind: ElementType) -> Self {
        let element = match kind {
            ElementType::F32 => 4,
            ElementType::F16 => 2,
        };
        let dimensions: Vec<u64> = dimensions.iter().map(|&n| u64::from(n)).collect();
        let size = dimensions.iter().product::<u64>() * element;
        Self { name, dimensions, kind, data: Data::Zeros(size) }
    }

    fn info(&self, offset: u64) -> Vec<u8> {
        let mut info = text(&self.name);
        info.extend((self.dimensions.len() as u32).to_le_bytes());
        info.extend(self.dimensions.iter().flat_map(|n| n.to_le_bytes()));
        info.extend((self.kind as u32).to_le_bytes());
        info.extend(offset.to_le_bytes());
        info
    }
}

/// All tensors, in the order of the file.
fn tensors(shape: &Shape, tokens: usize) -> Vec<Tensor> {
    let matrix = |name: &str, elements: Vec<u8>| Tensor {
        name: name.to_owned(),
        dimensions: vec![u64::from(shape.width), tokens as u64],
        kind: ElementType::F16,
        data: Data::Bytes(elements),
    };
    let ones = (0..shape.width).flat_map(|_| 1f32.to_le_bytes()).collect();
    let mut tensors = vec![
        matrix("token_embd.weight", embeddings(shape.width, tokens)),
        Tensor {
            name: "output_norm.weight".to_owned(),
            dimensions: vec![u64::from(shape.width)],
            kind: ElementType::F32,
            data: Data::Bytes(ones),
        },
        matrix("output.weight", output(shape.width, tokens)),
    ];
    let (width, feed_forward) = (shape.width, shape.feed_forward);
    for layer in 0..shape.layers {
        let mut block = |part: &str, dimensions: &[u32], kind| {
            tensors.push(Tensor::zeros(format!("blk.{layer}.{part}.weight"), dimensions, kind));
        };
        block("attn_norm", &[width], ElementType::F32);
        block("attn_q", &[width, width], ElementType::F16);
        block("attn_k", &[width, width], ElementType::F16);
        block("attn_v", &[width, width], ElementType::F16);
        block("attn_output", &[width, width], ElementType::F16);
        block("ffn_norm", &[width], ElementType::F32);
        block("ffn_gate", &[width, feed_forward], ElementType::F16);
        block("ffn_up", &[width, feed_forward], ElementType::F16);
        block("ffn_down", &[feed_forward, width], ElementType::F16);
    }
    tensors
}

/// The half-precision numbers that occur.
mod half {
    pub const ZERO: u16 = 0x0000;
    pub const ONE: u16 = 0x3C00;
    pub const MINUS_ONE: u16 = 0xBC00;
    pub const TWENTY: u16 = 0x4D00;
    pub const MINUS_EIGHT: u16 = 0xC800;
}

/// One row a token: the constant 1, then ±1 by the bits of the token's id (so
/// that embeddings differ and all have the same length), then zeros.
fn embeddings(width: u32, tokens: usize) -> Vec<u8> {
    rows(width, tokens, |token, column| match column {
        0 => half::ONE,
        1..SIGNAL if token >> (column - 1) & 1 == 1 => half::MINUS_ONE,
        1..SIGNAL => half::ONE,
        _ => half::ZERO,
    })
}

/// One row a token: the text's, the last, is the likely one.
fn output(width: u32, tokens: usize) -> Vec<u8> {
    rows(width, tokens, |token, column| match column {
        0 if token + 1 == tokens => half::TWENTY,
        0 => half::MINUS_EIGHT,
        _ => half::ZERO,
    })
}

fn rows(width: u32, tokens: usize, element: impl Fn(usize, u32) -> u16) -> Vec<u8> {
    let element = &element;
    (0..tokens).flat_map(|token| (0..width).flat_map(move |column| element(token, column).to_le_bytes())).collect()
}

/// `gguf_metadata_value_type`.
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// The key-values, encoded.
#[derive(Default)]
struct KeyValues {
    bytes: Vec<u8>,
    count: u64,
}

impl KeyValues {
    fn key(&mut self, key: &str, kind: u32) {
        self.count += 1;
        self.bytes.extend(text(key));
        self.bytes.extend(kind.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, STRING);
        self.bytes.extend(text(value));
    }

    fn number(&mut self, key: &str, value: u32) {
        self.key(key, U32);
        self.bytes.extend(value.to_le_bytes());
    }

    fn float(&mut self, key: &str, value: f32) {
        self.key(key, F32);
        self.bytes.extend(value.to_le_bytes());
    }

    fn array<T>(&mut self, key: &str, kind: u32, values: &[T], encode: impl Fn(&T) -> Vec<u8>) {
        self.key(key, ARRAY);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend((values.len() as u64).to_le_bytes());
        self.bytes.extend(values.iter().flat_map(encode));
    }
}

/// A string: its length and its bytes.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

/// Zeros up to the next multiple of [`ALIGNMENT`].
fn pad(file: &mut BufWriter<File>) -> io::Result<()> {
    let position = file.stream_position()?;
    let gap = position.next_multiple_of(ALIGNMENT) - position;
    io::copy(&mut io::Read::take(io::repeat(0), gap), file)?;
    Ok(())
}
