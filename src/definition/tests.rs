//! Tests of whole loads: files in, [`Desired`] or rendered problems out.
#![allow(clippy::unwrap_used, reason = "tests")]

mod defaults;
mod groups;
mod host;
mod hostile;
mod keys;
mod loading;
mod meaning;
mod rendered;
mod reuse;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::model::{Definition, Desired, ModelName};

/// A directory `models.d` with files, read with the embedded catalogue.
struct Dir(tempfile::TempDir);

/// Every binary is the pinned one.
struct Pinned;

impl Catalogues for Pinned {
    fn catalogue(&self, _binary: Option<&str>) -> Arc<Catalogue> {
        Catalogue::embedded()
    }
}

impl Dir {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path()).unwrap();
        for (name, text) in files {
            dir.write(name, text);
        }
        dir
    }

    /// One valid definition, `a.toml`, with more lines.
    fn one(more: &str) -> Self {
        Self::new(&[("a.toml", &format!("model = \"a.gguf\"\n{more}"))])
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("models.d")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The absolute path of a file in the directory.
    fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    fn options<'a>(&'a self, dir: &'a Path, catalogues: &'a dyn Catalogues) -> LoadOptions<'a> {
        LoadOptions { dir, from: ReadFrom::Itself, cwd: self.0.path(), state_key: [7; 32], catalogues }
    }

    fn load_as(&self, dir: &Path, catalogues: &dyn Catalogues) -> Result<Arc<Desired>, LoadError> {
        Loader::default().load(&self.options(dir, catalogues))
    }

    fn load(&self) -> Arc<Desired> {
        self.load_as(Path::new("models.d"), &Pinned).unwrap()
    }

    /// The one definition; shows what is wrong if there is none.
    fn definition(&self) -> Arc<Definition> {
        let desired = self.load();
        let first = desired.definitions.values().next().cloned();
        first.unwrap_or_else(|| panic!("{}", render(&desired.diagnostics, false)))
    }

    fn problems(&self) -> String {
        render(&self.load().diagnostics, false)
    }
}

/// The rendered problems of one file.
fn problems(text: &str) -> String {
    Dir::new(&[("a.toml", text)]).problems()
}

/// The rendered problems of one definition that is valid but for `more`.
fn problems_of(more: &str) -> String {
    Dir::one(more).problems()
}

fn names(desired: &Desired) -> Vec<&str> {
    desired.definitions.keys().map(ModelName::as_str).collect()
}
