//! Hostile definitions, weights and helps.

use std::time::Duration;

use super::*;
use crate::hostile::{Target, cpu_time, peak_of, survives};

/// Words that definitions are made of, and some that readers choke on.
const WORDS: &[&[u8]] = &[
    b"name = ",
    b"model = \"a.gguf\"\n",
    b"hf_repo = ",
    b"model_url = ",
    b"port = ",
    b"state = ",
    b"[parameters]\n",
    b"[env]\n",
    b"[secrets]\n",
    b"[ready]\n",
    b"[update]\n",
    b"[labels]\n",
    b"parameters.",
    b"aliases = [",
    b"\"\"\"",
    b"'''",
    b"\\u0000",
    b"\\U0010FFFF",
    b"\\x1b",
    b"0x",
    b"inf",
    b"nan",
    b"1979-05-27T07:32:00Z",
    b"-00001-of-99999.gguf",
    b"api_key = ",
    b"no_",
    b"true",
    b"{ file = \"a.toml\" }",
    b"{ env = \"PATH\" }",
    b"/dev/zero",
    b"../",
    b"binary = ",
    b"host = \"/run/x.sock\"\n",
    b"timeout = \"",
    b"10m",
    b"drain = ",
    b"= ",
    b"# ",
    b"\r",
    b"lora = [",
    b"[chat]\n",
    b"group = \"chat\"\n",
    b"max_running = ",
    b"priority = ",
    b"[serve]\n",
    b"[idle]\n",
    b"stop_after = ",
];

/// Loads `models.d` repeatedly, and uses the result as a pass would.
struct Directory {
    dir: Dir,
    input: &'static str,
}

impl Directory {
    /// `input` names the file that is hostile; `b.toml` beside it is good.
    fn new(input: &'static str) -> Self {
        let dir = Dir::new(&[("b.toml", "model = \"w.gguf\"\nport = 8101\naliases = [\"c\"]\n")]);
        std::fs::write(dir.path().join("w.gguf"), crate::hostile::corpus("gguf")[0].1.as_slice()).unwrap();
        std::fs::write(dir.path().join("key"), "secret\n").unwrap();
        if input == GROUPS_FILE {
            dir.write("b.toml", "model = \"w.gguf\"\ngroup = [\"chat\", \"big\"]\n");
        }
        Self { dir, input }
    }

    fn read(&self, bytes: &[u8]) {
        std::fs::write(self.dir.path().join(self.input), bytes).unwrap();
        let mut desired = self.dir.load();
        host_checks(&mut desired, ReadFrom::Itself);
        let rendered = [true, false].map(|color| render(&desired.diagnostics, color));
        assert!(!rendered[1].contains('\u{1b}'), "a terminal would obey: {:?}", rendered[1]);
        for definition in desired.definitions.values() {
            let _ = definition.hash();
        }
        let seen = desired.definitions.len() + desired.unresolved.len();
        let files = if self.input.starts_with('_') { 1 } else { 2 };
        assert_eq!(seen, files, "every file is resolved or unresolved");
    }
}

fn target(name: &'static str) -> Target {
    Target { name, words: WORDS, cases: 300, memory: 8 << 20, memory_per_byte: 256, ..Target::default() }
}

#[test]
fn no_definition_does_harm() {
    let directory = Directory::new("a.toml");
    survives(target("definition"), move |bytes| directory.read(bytes));
}

#[test]
fn no_defaults_file_does_harm() {
    let directory = Directory::new("_defaults.toml");
    survives(target("defaults"), move |bytes| directory.read(bytes));
}

#[test]
fn no_file_of_groups_does_harm() {
    let directory = Directory::new(GROUPS_FILE);
    survives(target("groups"), move |bytes| directory.read(bytes));
}

/// The largest file that is read, of the worst of each kind. The times are those
/// of a debug build: what is quadratic takes minutes.
#[test]
fn reads_the_largest_files_quickly_in_little_memory() {
    const SOON: Duration = Duration::from_secs(10);
    const LITTLE: usize = 100 << 20;
    const SIZE: usize = super::super::text::LARGEST as usize;
    let fill = |head: &str, line: &str, tail: &str| {
        [head, &line.repeat((SIZE - head.len() - tail.len()) / line.len()), tail].concat()
    };
    let numbered = |head: &str, line: fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        for line in (0..).map(line) {
            if text.len() + line.len() + tail.len() > SIZE {
                return text + tail;
            }
            text.push_str(&line);
        }
        text
    };
    let cases = [
        ("unknown keys", numbered("", |n| format!("a{n}=1\n"), "")),
        ("unknown options", numbered("[parameters]\n", |n| format!("ctx_si{n}=1\n"), "")),
        ("wrong variables", numbered("[env]\n", |n| format!("A{n}=1\n"), "")),
        ("wrong labels", numbered("[labels]\n", |n| format!("a{n}=1\n"), "")),
        ("wrong aliases", fill("aliases = [", "1,", "]")),
        ("signs of equality", fill("x = 1\ndescription = \"", "=", "\"")),
        ("a key of many words", fill("", "a.", "b = 1")),
        ("tables in tables", numbered("", |n| format!("[a{n}.b.c.d.e.f]\n"), "")),
        ("open brackets", fill("a = ", "[", "")),
        ("errors", fill("", "=\n", "")),
        ("a long path of shards", fill("model = \"", "a/", "-00001-of-99999.gguf\"")),
        (
            "many sets of shards",
            numbered("model = \"m\"\n[parameters]\nlora = [", |n| format!("\"{n}-00001-of-99999.gguf\","), "]"),
        ),
        ("many files", numbered("model = \"m\"\n[parameters]\nlora = [", |n| format!("\"{n}\","), "]")),
        ("escapes", fill("description = \"", "\\u001b", "\"\nx = 1\n")),
        ("carriage returns", fill("x = \"", "\r", "\"")),
    ];
    let directory = Directory::new("a.toml");
    for (what, text) in cases {
        let begun = cpu_time();
        let ((), peak) = peak_of(|| directory.read(text.as_bytes()));
        let took = cpu_time().saturating_sub(begun);
        println!("{what}: {took:?}, {} MiB", peak >> 20);
        assert!(took < SOON && peak < LITTLE, "{what}: {took:?}, {} MiB", peak >> 20);
    }
}

#[test]
fn no_weights_file_does_harm() {
    let words: &[&[u8]] = &[b"GGUF", b"general.alignment", b"\x09\0\0\0", b"\x08\0\0\0", b"\0\0\0\0\0\0\0\x80"];
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.gguf");
    // A header is streamed: whatever it announces, it takes one buffer.
    let target = Target { name: "gguf", words, memory: 256 << 10, memory_per_byte: 0, ..Target::default() };
    survives(target, move |bytes| {
        std::fs::write(&path, bytes).unwrap();
        if let Err(problem) = check_gguf(&path) {
            assert!(problem.to_string().len() < 1000);
        }
    });
}

#[test]
fn no_help_does_harm() {
    let words: &[&[u8]] = &[
        b"\n-",
        b"\n--no-",
        b"--",
        b", ",
        b"{a,b}",
        b"<0...100>",
        b"[on|off]",
        b"<0|1>",
        b"N0,N1,..",
        b"START END",
        b"allowed values: ",
        b"(default: ",
        b"(env: LLAMA_ARG_X)",
        b"exact number, 'auto'",
        b"comma-separated",
        b"                                        ",
        b"-----",
        b"\n- ",
        b"--port",
        b"--model",
        b"--ctx-size",
    ];
    let target = Target { name: "help", words, cases: 150, memory: 4 << 20, memory_per_byte: 256, ..Target::default() };
    survives(target, |bytes| {
        let help = String::from_utf8_lossy(bytes);
        let Ok(catalogue) = Catalogue::from_help(&help) else { return };
        let values = ["1", "-1", "0x10", "1e400", "true", "\"auto\"", "\"\"", "[1, \"a\"]", "{ a = 1 }", "1979-05-27"];
        for option in catalogue.options() {
            for value in values {
                let value = toml::de::DeValue::parse(value).unwrap();
                let _ = option.setting(value.get_ref(), false, &str::to_owned);
            }
            let _ = catalogue.find(&option.key);
        }
        let _ = catalogue.find("ctx_sze");
    });
}
