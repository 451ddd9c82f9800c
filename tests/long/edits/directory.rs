//! `models.d`, what it says, and how people change it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;

use super::definition::Definition;
use crate::support::{Repository, World};

/// The file that applies to all definitions.
const DEFAULTS: &str = "_defaults.toml";

/// How many names there are for models.
const NAMES: usize = 14;

/// A definition file.
#[derive(Clone)]
pub struct Defined {
    text: String,
    /// What it says; `None` where that cannot be had.
    pub says: Option<Definition>,
    /// What it said when that could last be had; what it says, where it can.
    last_good: Definition,
    /// Whether its server is stopped for one that fails, and started again.
    disturbs: bool,
}

impl Defined {
    /// The port that it declares, or did when it could last be read.
    pub fn port(&self) -> Option<u16> {
        self.last_good.port
    }
}

/// Every definition file, by the name of its model.
pub type Files = BTreeMap<String, Defined>;

/// `_defaults.toml`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// The `batch_size` that it says, or said when it could last be read;
    /// `None`: there is no such file.
    pub batch_size: Option<u32>,
    is_broken: bool,
}

/// What there was at a commit.
#[derive(Clone)]
struct Commit {
    id: String,
    files: Files,
    defaults: Defaults,
}

/// The directory.
pub struct Directory {
    path: PathBuf,
    /// Where files are written before they are renamed.
    aside: PathBuf,
    repository: Repository,
    commits: Vec<Commit>,
    pub files: Files,
    pub defaults: Defaults,
    /// Which definitions declare; none: no definition does.
    ports: Vec<u16>,
    rng: Rng,
}

/// What an edit is called in messages, and whose files it changed.
pub struct Edit {
    pub what: String,
    pub names: Vec<String>,
}

impl Directory {
    pub fn new(world: &World, rng: Rng) -> Self {
        let repository = Repository::init(world.path());
        let (path, aside) = (world.models_dir(), world.path().join("new"));
        let (commits, files, defaults, ports) = (Vec::new(), Files::new(), Defaults::default(), Vec::new());
        Self { path, aside, repository, commits, files, defaults, ports, rng }
    }

    /// Every other name declares one of `ports`, and always: who leaves the
    /// port out keeps the one that is recorded, and who declares that next
    /// waits for a person to decide. There is one more than names that do.
    pub fn declaring(self, free_port: impl Fn() -> u16) -> Self {
        Self { ports: (0..=NAMES.div_ceil(2)).map(|_| free_port()).collect(), ..self }
    }

    /// Whether everything can be as the files say.
    pub fn is_good(&self) -> bool {
        !self.defaults.is_broken && self.files.values().all(|file| file.says.is_some())
    }

    /// Whether a server of `was`, which `name` said before, has no reason to end:
    /// a broken file changes nothing, unless its server is tried.
    pub fn still_says(&self, name: &str, was: &Definition) -> bool {
        let says = |file: &Defined| file.says.as_ref().map_or(!file.disturbs, |now| now.serves(was));
        self.files.get(name).is_some_and(says)
    }

    /// A random edit.
    pub fn edit(&mut self) -> Edit {
        match self.rng.u8(..100) {
            0..18 => self.add(),
            18..50 => self.change(),
            50..62 => self.break_one(),
            62..76 => self.fix(),
            76..85 => self.remove(),
            85..92 => self.rename(),
            _ => self.check_out(),
        }
    }

    /// Makes every file a good one again.
    pub fn fix_all(&mut self) -> Vec<Edit> {
        let broken = self.files.values().filter(|file| file.says.is_none()).count();
        let mut edits: Vec<_> = (0..broken).map(|_| self.fix()).collect();
        if self.defaults.is_broken {
            edits.push(self.put_defaults(self.defaults.batch_size));
        }
        edits
    }

    /// A random edit of what all definitions have in common.
    pub fn edit_defaults(&mut self) -> Edit {
        let was = self.defaults.batch_size;
        match self.rng.u8(..6) {
            0..3 => {
                let texts =
                    ["[parameters", "[parameters]\nbatch_sise = 512\n", "[parameters]\nbatch_size = \"many\"\n"];
                let text = texts[self.rng.usize(..texts.len())];
                self.replace(DEFAULTS, text);
                self.defaults.is_broken = true;
                // No file is a good one as well.
                Edit { what: format!("break {DEFAULTS}: {text:?}"), names: Vec::new() }
            }
            3 if self.defaults.is_broken => self.put_defaults(was),
            4 => self.put_defaults(None),
            _ => {
                let batch_size = 32 * self.rng.u32(1..20);
                self.put_defaults(Some(batch_size))
            }
        }
    }

    fn put_defaults(&mut self, batch_size: Option<u32>) -> Edit {
        match batch_size {
            Some(number) => {
                // A frozen server is not waited for: it cannot say that it is idle.
                let text = format!("[parameters]\nbatch_size = {number}\n\n[update]\ndrain = \"1s\"\n");
                self.replace(DEFAULTS, &text);
            }
            // There may be none.
            None => drop(fs::remove_file(self.path.join(DEFAULTS))),
        }
        self.defaults = Defaults { batch_size, is_broken: false };
        Edit { what: format!("{DEFAULTS} says {batch_size:?}"), names: Vec::new() }
    }

    /// A random edit of good files that leaves good files.
    pub fn good_edit(&mut self) -> Edit {
        match self.rng.u8(..4) {
            0 => self.add(),
            1 => self.change(),
            2 => self.remove(),
            _ => self.rename(),
        }
    }

    /// Another definition, or another one in its place.
    pub fn add(&mut self) -> Edit {
        let name = format!("m-{:02}", self.rng.usize(..NAMES));
        let port = self.undeclared_port(&name);
        let definition = Definition { port, ..Definition::random(&mut self.rng) };
        self.write("add", name, definition)
    }

    /// For the definition of `name`, if it declares one.
    fn undeclared_port(&mut self, name: &str) -> Option<u16> {
        let others = self.files.iter().filter(|(other, _)| *other != name);
        let declared: BTreeSet<u16> = others.filter_map(|(_, file)| file.last_good.port).collect();
        let free = self.ports.iter().copied().filter(|port| declares_port(name) && !declared.contains(port));
        self.rng.choice(free.collect::<Vec<_>>())
    }

    /// Sometimes into what it was: the same file, written again.
    fn change(&mut self) -> Edit {
        let Some((name, file)) = self.any(|file| file.says.is_some()) else { return self.add() };
        let same = self.rng.u8(..8) == 0;
        let definition = if same { file.last_good } else { file.last_good.changed(&mut self.rng) };
        self.write("change", name, definition)
    }

    fn break_one(&mut self) -> Edit {
        let Some((name, file)) = self.any(|file| file.says.is_some()) else { return self.add() };
        let disturbs = self.rng.u8(..6) == 0;
        let text = if disturbs { file.last_good.failing() } else { file.last_good.invalid(&mut self.rng) };
        let how = self.put(&name, &text);
        let what = format!("break {name} {how}: {text:?}");
        self.files.insert(name.clone(), Defined { text, says: None, disturbs, ..file });
        Edit { what, names: vec![name] }
    }

    /// Mostly into what it was before, so that nothing is to be done.
    fn fix(&mut self) -> Edit {
        let Some((name, file)) = self.any(|file| file.says.is_none()) else { return self.change() };
        let same = self.rng.u8(..3) > 0;
        let definition = if same { file.last_good } else { file.last_good.changed(&mut self.rng) };
        self.write("fix", name, definition)
    }

    fn remove(&mut self) -> Edit {
        let Some((name, _)) = self.any(|_| true) else { return self.add() };
        fs::remove_file(self.file(&name)).unwrap();
        self.files.remove(&name);
        Edit { what: format!("remove {name}"), names: vec![name] }
    }

    /// To a free name or over another one.
    fn rename(&mut self) -> Edit {
        let Some((from, file)) = self.any(|_| true) else { return self.add() };
        let to = format!("m-{:02}", self.rng.usize(..NAMES));
        if to == from || !self.ports.is_empty() && declares_port(&to) != declares_port(&from) {
            return self.add();
        }
        fs::rename(self.file(&from), self.file(&to)).unwrap();
        self.files.remove(&from);
        self.files.insert(to.clone(), file);
        Edit { what: format!("rename {from} to {to}"), names: vec![from, to] }
    }

    /// Commits what there is, and goes to one of the last commits.
    fn check_out(&mut self) -> Edit {
        const KEPT: usize = 6;
        let id = self.repository.commit();
        self.commits.push(Commit { id, files: self.files.clone(), defaults: self.defaults });
        let newest = self.commits.len().saturating_sub(KEPT);
        self.commits.drain(..newest);
        let Commit { id, files, defaults } = self.commits[self.rng.usize(..self.commits.len())].clone();
        self.repository.check_out(&id);
        self.defaults = defaults;
        let before = std::mem::replace(&mut self.files, files);
        let differ = |name: &&String| before.get(*name).map(|f| &f.text) != self.files.get(*name).map(|f| &f.text);
        let names: BTreeSet<_> = before.keys().chain(self.files.keys()).filter(differ).cloned().collect();
        Edit { what: format!("git checkout, which changes {names:?}"), names: names.into_iter().collect() }
    }

    fn write(&mut self, verb: &str, name: String, definition: Definition) -> Edit {
        let text = definition.toml(self.rng.u32(..100));
        let how = self.put(&name, &text);
        let what = format!("{verb} {name} {how}: {definition:?}");
        self.files.insert(
            name.clone(),
            Defined { text, says: Some(definition.clone()), last_good: definition, disturbs: false },
        );
        Edit { what, names: vec![name] }
    }

    /// Writes a file in one of the ways editors do; how.
    fn put(&mut self, name: &str, text: &str) -> &'static str {
        let path = self.file(name);
        match self.rng.u8(..4) {
            0 => {
                fs::write(path, text).unwrap();
                "in place"
            }
            1 => {
                let mut file = File::create(path).unwrap();
                // Within the first line: no half is a definition.
                let (head, tail) = text.split_at(text.len().min(self.rng.usize(..20)));
                file.write_all(head.as_bytes()).unwrap();
                file.flush().unwrap();
                std::thread::sleep(Duration::from_millis(self.rng.u64(..20)));
                file.write_all(tail.as_bytes()).unwrap();
                "in two halves"
            }
            _ => {
                self.replace(&format!("{name}.toml"), text);
                "by rename"
            }
        }
    }

    /// Never seen half-written.
    fn replace(&self, file: &str, text: &str) {
        fs::write(&self.aside, text).unwrap();
        fs::rename(&self.aside, self.path.join(file)).unwrap();
    }

    fn any(&mut self, wanted: impl Fn(&Defined) -> bool) -> Option<(String, Defined)> {
        let found: Vec<_> = self.files.iter().filter(|(_, file)| wanted(file)).collect();
        let (name, file) = self.rng.choice(found)?;
        Some((name.clone(), file.clone()))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.toml"))
    }
}

fn declares_port(name: &str) -> bool {
    name.ends_with(['0', '2', '4', '6', '8'])
}
