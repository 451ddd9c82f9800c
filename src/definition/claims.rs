//! What only one model of a directory can have: a name to be called by, a
//! port, a unix socket. Two files that claim the same are both in error: which
//! of them is meant, only a person knows.

use std::fmt;
use std::sync::Arc;

use super::assemble::Outcome;
use super::source::Source;
use super::text;
use crate::model::{Definition, Diagnostic, Unresolved};

/// Something one model alone can have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A name or an alias: both are what the server answers to.
    Served(Arc<str>),
    Port(u16),
    Socket(Arc<str>),
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served(text) | Self::Socket(text) => f.write_str(text),
            Self::Port(port) => write!(f, "{port}"),
        }
    }
}

/// The claims of one file, each with its line (0: the file as a whole).
#[derive(Clone, Debug, Default)]
pub(super) struct Claims(Vec<(Claim, u32)>);

impl Claims {
    pub fn add(&mut self, claims: impl Iterator<Item = (Claim, u32)>) {
        self.0.extend(claims);
    }

    fn of(definition: &Definition) -> Self {
        let line = |field: &str| definition.origin(field).line;
        let mut claims = Self(vec![(Claim::Served(definition.name.shared()), line("name"))]);
        claims.add(definition.spec.port.iter().map(|port| (Claim::Port(*port), line("port"))));
        claims.add(definition.aliases.iter().map(|alias| (Claim::Served(alias.as_str().into()), line("aliases"))));
        if definition.spec.is_unix_socket() {
            claims.0.push((Claim::Socket(definition.spec.host.as_str().into()), line("host")));
        }
        claims
    }
}

/// Finds what more than one file claims; each such file becomes unresolved.
pub(super) fn check(outcomes: &mut [Outcome]) -> Vec<Diagnostic> {
    let mut claimed: Vec<(Claim, usize, u32)> = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.iter().enumerate() {
        let Claims(claims) = match outcome {
            Outcome::Good(definition) => Claims::of(definition),
            Outcome::Bad(_, claims) => claims.clone(),
        };
        claimed.extend(claims.into_iter().map(|(claim, line)| (claim, index, line)));
    }
    // Stable: what claims the same stays in the order of the files.
    claimed.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut problems = Vec::new();
    for places in claimed.chunk_by(|(a, ..), (b, ..)| a == b) {
        for (at, (claim, index, line)) in places.iter().enumerate() {
            let Some((_, other, other_line)) = places.iter().find(|(_, other, _)| other != index) else { break };
            // An alias that repeats the file's own name is told once.
            if places[..at].iter().all(|(_, earlier, _)| earlier != index) {
                problems.push((*index, problem(claim, &outcomes[*index], *line, &outcomes[*other], *other_line)));
            }
        }
    }
    for (index, problem) in &problems {
        if let Outcome::Good(definition) = &outcomes[*index] {
            outcomes[*index] = Outcome::Bad(unresolved(definition, problem), Claims::default());
        }
    }
    problems.into_iter().map(|(_, problem)| problem).collect()
}

fn problem(claim: &Claim, outcome: &Outcome, line: u32, other: &Outcome, other_line: u32) -> Diagnostic {
    let (path, file) = match outcome {
        Outcome::Good(definition) => (&definition.path, &definition.file),
        Outcome::Bad(unresolved, _) => (&unresolved.path, &unresolved.file),
    };
    let other = match other {
        Outcome::Good(definition) => &definition.file,
        Outcome::Bad(unresolved, _) => &unresolved.file,
    };
    let other = crate::model::Origin::new(other.clone(), other_line);
    let (message, help) = match claim {
        Claim::Served(name) => (
            format!("`{name}` is the name or an alias of another model, too: {other}"),
            "give one of them another `name`, or remove the alias",
        ),
        Claim::Port(port) => (
            format!("port {port} is declared by another model, too: {other}"),
            "give one of them another `port`, or leave it out to be allotted one",
        ),
        Claim::Socket(path) => (
            format!("the unix socket {path} belongs to another model, too: {other}"),
            "give each model a `host` of its own",
        ),
    };
    // Read again: the texts of good files are not kept.
    let text = text::read(path).unwrap_or_default();
    let source = Source::new(path.clone(), file.clone(), &text);
    let problem = source.error_at_line(line, &claim.to_string(), message);
    problem.label(format!("also {other}")).help(help)
}

fn unresolved(definition: &Definition, problem: &Diagnostic) -> Unresolved {
    Unresolved {
        path: definition.path.clone(),
        file: definition.file.clone(),
        name: Some(definition.name.clone()),
        problem: problem.message.clone(),
    }
}
