//! A real directory of definitions, of which some are mutated at a time.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use fastrand::Rng;
use herdsman::definition::{Catalogue, Catalogues, LoadOptions, Loader, ReadFrom};
use herdsman::model::Desired;
use tempfile::TempDir;

use crate::mutate::mutate;

/// What the definitions beside the defaults say, by stem.
const DEFINITIONS: [(&str, &str); 6] = [
    ("chat", "model = \"w/chat.gguf\"\naliases = [\"gpt\"]\ndescription = \"chat\"\n[parameters]\nctx_size = 512\n"),
    ("coder", "name = \"coder-14b\"\nmodel = \"w/coder.gguf\"\nport = 9001\n[env]\nA = \"1\"\n"),
    ("phi", "model = 'w/phi.gguf'\nlabels = { team = \"a\" }\n[ready]\ntimeout = \"1m\"\n"),
    ("remote", "hf_repo = \"org/repo:Q4_K_M\"\n[parameters]\ngpu_layers = \"all\"\nno_mmap = true\n"),
    ("key", "model = \"w/key.gguf\"\n[secrets]\napi_key = { file = \"w/secret\" }\n[update]\ndrain = \"0s\"\n"),
    ("lora", "type = \"mistral\"\nmodel = \"w/big-00001-of-00002.gguf\"\n[parameters]\nlora = [\"w/lora.gguf\"]\n"),
];

const DEFAULTS: (&str, &str) =
    ("_defaults", "[parameters]\nbatch_size = 256\n[labels]\nsite = \"x\"\n[ready]\ntimeout = \"2m\"\n");

/// Lines that mean something at the top of a definition.
const TOP_LINES: [&str; 10] = [
    "name = \"new\"",
    "name = \"phi\"",
    "state = \"stopped\"",
    "port = 9001",
    "port = 9002",
    "aliases = [\"phi\"]",
    "aliases = [\"more\"]",
    "description = \"new\"",
    "host = \"0.0.0.0\"",
    "binary = \"/opt/llama-server\"",
];

/// … and at its end, where a table may be open.
const PARAMETERS: [&str; 6] = [
    "ctx_size = 1024",
    "[env]\nB = \"2\"",
    "[parameters]",
    "[update]",
    "[labels]\nx = \"y\"",
    "[env]\nB = \"\\u001b[2J\"",
];

/// Words to mutate with.
const WORDS: &[&[u8]] = &[
    b"name = ",
    b"state = \"stopped\"\n",
    b"port = ",
    b"model = ",
    b"[parameters]\n",
    b"\"\"\"",
    b"# ",
    b"= ",
    b"\"",
    b"no_",
    b"[[",
    b"\\u0000",
];

/// `models.d` in a temporary directory, and the loader that reads it.
pub struct Directory {
    dir: TempDir,
    loader: Loader,
}

/// Every llama-server is the pinned one.
struct Pinned;

impl Catalogues for Pinned {
    fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
        Catalogue::embedded()
    }
}

impl Directory {
    /// All files as they should be.
    pub fn new() -> Self {
        let directory = Self { dir: tempfile::tempdir().unwrap(), loader: Loader::default() };
        fs::create_dir(directory.dir.path().join("w")).unwrap();
        for file in ["chat", "embed", "coder", "phi", "key", "big-00001-of-00002", "big-00002-of-00002", "lora", "tiny"]
        {
            fs::write(directory.dir.path().join(format!("w/{file}.gguf")), file).unwrap();
        }
        fs::write(directory.dir.path().join("w/secret"), "s\n").unwrap();
        for (stem, text) in DEFINITIONS.into_iter().chain([DEFAULTS]) {
            fs::write(directory.path(stem), text).unwrap();
        }
        directory
    }

    /// How many definitions there are.
    pub fn len(&self) -> usize {
        DEFINITIONS.len()
    }

    /// The path of a file, as a model is recorded under.
    pub fn path(&self, stem: &str) -> PathBuf {
        self.dir.path().join(format!("{stem}.toml"))
    }

    /// What the files say now.
    pub fn load(&mut self) -> Desired {
        let options = LoadOptions {
            dir: self.dir.path(),
            from: ReadFrom::Itself,
            cwd: self.dir.path(),
            state_key: [7; 32],
            catalogues: &Pinned,
        };
        Desired::clone(&self.loader.load(&options).unwrap())
    }

    /// Mutates one file, at times two; their stems. Half of the mutations break
    /// nearly any file, the other half leave most of them valid.
    pub fn mutate(&self, seed: u64) -> Vec<&'static str> {
        let mut rng = Rng::with_seed(seed);
        let mut stems = Vec::new();
        for _ in 0..if rng.u8(0..8) == 0 { 2 } else { 1 } {
            // The defaults reach every model; most cases are about one.
            let (stem, text) = if rng.u8(0..12) == 0 { DEFAULTS } else { DEFINITIONS[rng.usize(0..DEFINITIONS.len())] };
            let bytes = if rng.bool() {
                let other = DEFINITIONS[rng.usize(0..DEFINITIONS.len())].1;
                mutate(&mut rng, text.as_bytes(), other.as_bytes(), WORDS, 4096)
            } else {
                edit(&mut rng, text).into_bytes()
            };
            fs::write(self.path(stem), bytes).unwrap();
            stems.push(stem);
        }
        stems
    }

    /// What those files hold now, for people.
    pub fn texts(&self, stems: &[&str]) -> String {
        let text =
            |stem: &&str| format!("--- {stem}.toml\n{}", String::from_utf8_lossy(&fs::read(self.path(stem)).unwrap()));
        stems.iter().map(text).collect()
    }

    /// Puts those files back.
    pub fn restore(&self, stems: &[&str]) {
        for (stem, text) in DEFINITIONS.into_iter().chain([DEFAULTS]).filter(|(stem, _)| stems.contains(stem)) {
            fs::write(self.path(stem), text).unwrap();
        }
    }
}

/// What a person might do to a file: a line more, a line less, another digit or
/// letter.
fn edit(rng: &mut Rng, text: &str) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = rng.usize(0..lines.len());
    match rng.u8(0..5) {
        0 => drop(lines.remove(at)),
        1 => lines[at] = lines[at].replace(['1', '5', 'a'], "2"),
        2 => lines.insert(0, TOP_LINES[rng.usize(0..TOP_LINES.len())].to_owned()),
        3 => lines.push(PARAMETERS[rng.usize(0..PARAMETERS.len())].to_owned()),
        _ => {
            let offset = rng.usize(0..=lines[at].len());
            lines[at].insert(offset, rng.alphanumeric());
        }
    }
    lines.join("\n") + "\n"
}
