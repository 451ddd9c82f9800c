//! The layout of `src/`: which module may use which, and what the pure ones may
//! touch.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `src/` from the top down: each uses only those below it.
const FLOORS: [&str; 19] = [
    "cli",
    "serve",
    "watch",
    "host",
    "notify",
    "import",
    "view",
    "pass",
    "owner",
    "instance",
    "definition",
    "llama",
    "database",
    "git",
    "state",
    "plan",
    "model",
    "sys",
    "hostile",
];

/// Same input, same output: they depend on no clock, file, process or database.
const PURE: [&str; 4] = ["view", "pass", "plan", "model"];

/// What none of those says.
const IMPURE: [&str; 14] = [
    "std::fs",
    "std::io",
    "std::net",
    "std::process",
    "std::env",
    "Instant::",
    "SystemTime",
    "Timestamp::now",
    "tokio",
    "hyper",
    "reqwest",
    "rusqlite",
    "rustix",
    "libc",
];

/// A file of the program: where it is, and its code without tests and comments.
struct Source {
    path: PathBuf,
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut open, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines();
                let code = code.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
                sources.push(Source { path: path.strip_prefix(&root).unwrap().to_owned(), code });
            }
        }
    }
    // Unit tests and what they share may use anything.
    sources.retain(|source| {
        let mut parts = source.path.iter().map(|part| part.to_str().unwrap());
        parts.all(|part| !["tests", "tests.rs", "hostile", "hostile.rs"].contains(&part))
    });
    sources
}

/// The module of `src/` that a file belongs to; `None`: the root itself.
fn module(path: &Path) -> Option<&str> {
    (path.iter().count() > 1).then(|| path.iter().next()?.to_str())?
}

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| *floor == module);
    found.unwrap_or_else(|| panic!("which floor is src/{module} on? Add it to FLOORS"))
}

/// The modules that some code names: `crate::a::…` and `crate::{a::…, b}`.
fn used(code: &str) -> Vec<&str> {
    let names = |rest: &str| rest.len() - rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').len();
    let mut used = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        let rest = &code[at + word.len()..];
        match rest.strip_prefix('{') {
            None => used.push(&rest[..names(rest)]),
            Some(group) => {
                panic!("one `use crate::…` for each module, not `crate::{{{}`", &group[..20.min(group.len())])
            }
        }
    }
    used
}

#[test]
fn no_module_uses_one_above_it() {
    let mut wrong = BTreeMap::new();
    for Source { path, code } in sources() {
        let Some(module) = module(&path) else { continue };
        for used in used(&code).into_iter().filter(|used| floor(used) < floor(module)) {
            wrong.insert(path.display().to_string(), used.to_owned());
        }
    }
    assert_eq!(wrong, BTreeMap::new(), "src/FILE uses a module above its own (design: floors, top to bottom)");
}

#[test]
fn the_pure_modules_touch_nothing_outside() {
    let mut wrong = Vec::new();
    for Source { path, code } in sources() {
        if module(&path).is_some_and(|module| PURE.contains(&module)) {
            let said = IMPURE.iter().filter(|word| code.contains(*word));
            wrong.extend(said.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}
