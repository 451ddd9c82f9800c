//! The llama-server that a source names: its own options are the ones that count.
//!
//! Of a program that the source names by its path, an import runs only `PROGRAM
//! --help`: its owner runs that program anyway. It runs no program that the host's
//! policy does not allow, and as root none that others could change. If it cannot
//! ask the program, the pinned llama-server stands in.

use std::sync::Arc;

use crate::definition::{Catalogue, Catalogues, Embedded, Knowledge, Programs};

/// The llama-servers that sources name.
pub struct Servers(Box<dyn Programs>);

impl Servers {
    /// Wraps the llama-servers that `servers` can ask.
    #[must_use]
    pub fn new(servers: impl Programs + 'static) -> Self {
        Self(Box::new(servers))
    }

    /// Returns the options of the llama-server at `path`, or why it gives none.
    pub(super) fn ask(&self, path: &str) -> Result<Arc<Catalogue>, String> {
        for _ in 0..2 {
            match self.0.knowledge(Some(path)) {
                Knowledge::Its(catalogue) => return Ok(catalogue),
                Knowledge::Awaited(_) => self.0.wait_for_answers(),
                Knowledge::StandIn { .. } => break,
            }
        }
        Err(self.0.unusable(Some(path)).unwrap_or_default())
    }
}

impl Catalogues for Servers {
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        self.knowledge(binary).catalogue()
    }

    fn knowledge(&self, binary: Option<&str>) -> Knowledge {
        let asked = binary.filter(|binary| binary.starts_with('/')).map(|path| self.ask(path));
        match (asked, binary) {
            (Some(Ok(catalogue)), _) => Knowledge::Its(catalogue),
            // A remark already names each option that is kept unchecked, so the
            // file is still written.
            (None | Some(Err(_)), binary) => Embedded.knowledge(binary),
        }
    }
}
