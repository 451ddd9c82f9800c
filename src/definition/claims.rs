//! Finds clashes: a name, a port or a unix socket that two files claim. Both files
//! are in error, because only a person knows which one is right.

use super::directory::Directory;
use super::outcome::{Claim, Claims, Outcome};
use super::source::Source;
use crate::model::{Definition, Diagnostic, Unresolved};

/// Lists what a file claims. It looks up no lines, because it runs for thousands of
/// files.
fn claims_of(outcome: &Outcome) -> Vec<Claim> {
    match outcome {
        Outcome::Good(definition) => {
            let Definition { name, spec, aliases, .. } = &**definition;
            let mut claims = vec![Claim::Served(name.shared())];
            claims.extend(spec.port.map(Claim::Port));
            claims.extend(aliases.iter().map(|alias| Claim::Served(alias.as_str().into())));
            claims.extend(spec.is_unix_socket().then(|| Claim::Socket(spec.host.as_str().into())));
            claims
        }
        Outcome::Bad(_, Claims(claims)) => claims.iter().map(|(claim, _)| claim.clone()).collect(),
    }
}

/// The line on which a file claims `claim`.
fn line_of(outcome: &Outcome, claim: &Claim) -> u32 {
    match outcome {
        Outcome::Good(definition) => {
            let field = match claim {
                Claim::Served(text) if text.as_ref() == definition.name.as_str() => "name",
                Claim::Served(_) => "aliases",
                Claim::Port(_) => "port",
                Claim::Socket(_) => "host",
            };
            definition.origin(field).line
        }
        Outcome::Bad(_, Claims(claims)) => claims.iter().find(|(known, _)| known == claim).map_or(0, |(_, line)| *line),
    }
}

/// Reports everything that several files claim, and marks those files as
/// unresolved. A file that claims something twice, as name and alias, reports it
/// twice.
pub(super) fn check(outcomes: &mut [Outcome], directory: Directory<'_>) -> Vec<Diagnostic> {
    let mut claimed: Vec<(Claim, usize)> = Vec::with_capacity(outcomes.len());
    for (index, outcome) in outcomes.iter().enumerate() {
        claimed.extend(claims_of(outcome).into_iter().map(|claim| (claim, index)));
    }
    claimed.sort();
    let mut problems = Vec::new();
    for claimants in claimed.chunk_by(|(a, _), (b, _)| a == b) {
        for (claim, index) in claimants {
            let Some((_, other)) = claimants.iter().find(|(_, other)| other != index) else { break };
            problems.push((*index, problem(claim, &outcomes[*index], &outcomes[*other], directory)));
        }
    }
    for (index, problem) in &problems {
        if let Outcome::Good(definition) = &outcomes[*index] {
            outcomes[*index] = Outcome::Bad(unresolved(definition, problem), Claims::default());
        }
    }
    problems.into_iter().map(|(_, problem)| problem).collect()
}

fn problem(claim: &Claim, outcome: &Outcome, other: &Outcome, directory: Directory<'_>) -> Diagnostic {
    let (line, other_line) = (line_of(outcome, claim), line_of(other, claim));
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
            format!("`{name}` is also the name or an alias of another model: {other}"),
            "give one of them a different `name`, or remove the alias",
        ),
        Claim::Port(port) => (
            format!("port {port} is also declared by another model: {other}"),
            "give one of them a different `port`, or leave it out and herdsman picks one",
        ),
        Claim::Socket(path) => {
            (format!("the unix socket {path} also belongs to another model: {other}"), "give each model its own `host`")
        }
    };
    // Read again, because the texts of good files are not kept.
    let text = directory.text_again(path);
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
        llama_server: None,
    }
}
