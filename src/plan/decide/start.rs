//! Checks what a start needs: a port, a llama-server, no rival, and a command line
//! that llama-server accepts.

use std::path::PathBuf;
use std::sync::Arc;

use super::super::input::{Binary, Objection, Question};
use super::super::launch::launch;
use super::super::port_choice::PortChoice;
use super::super::waiting::WaitFor;
use super::super::wanted::Wanted;
use super::Decider;
use super::wish::{Lease, StartWish};
use crate::model::{Change, Generation, ModelRecord, Origin, Spec, SpecHash, Unusable};

impl<'s> Decider<'s, '_> {
    pub(super) fn start_wanted(
        &mut self,
        wanted: &Wanted<'_>,
        number: u32,
        record: Option<&ModelRecord>,
    ) -> Option<Box<StartWish>> {
        match &self.s.port {
            Some(PortChoice::TakenBy(port, model)) => {
                let holder = format!("model {model}");
                self.d.waits.push(WaitFor::Port { port: *port, holder });
                return None;
            }
            Some(PortChoice::Exhausted) => {
                self.d.waits.push(WaitFor::FreePort { range: self.input.site.port_range });
                return None;
            }
            Some(PortChoice::On(_)) | None => {}
        }
        let generation = record.map(|r| &r.generation).filter(|g| g.hash == wanted.hash);
        // What stands in for a file that cannot be read has no choice of its own.
        let port = if self.s.unresolved.is_some() { Lease::On(wanted.port) } else { Lease::Own };
        self.start_spec(wanted, &wanted.definition.spec, &wanted.hash, port, number, generation)
    }

    /// Everything a start needs: a llama-server, no rival, and a command line
    /// it accepts.
    pub(super) fn start_spec(
        &mut self,
        wanted: &Wanted<'_>,
        spec: &Spec,
        hash: &SpecHash,
        port: Lease,
        number: u32,
        generation: Option<&Generation>,
    ) -> Option<Box<StartWish>> {
        if self.is_served_elsewhere(wanted) {
            return None;
        }
        let on = match port {
            Lease::Own => wanted.port,
            Lease::On(port) => port,
        };
        let (allowed, binary) = (self.is_allowed(spec, hash, on), self.binary(spec));
        if !allowed? {
            return None;
        }
        let binary = match binary? {
            Ok(binary) => binary,
            Err(unusable) => {
                self.wait_for_binary(unusable);
                return None;
            }
        };
        let start = StartWish {
            spec: spec.clone(),
            hash: hash.clone(),
            generation: number,
            port,
            aliases: wanted.definition.aliases.clone(),
            definition: Arc::clone(&wanted.definition.path),
            tells_layers: wanted.definition.ready.require_gpu,
            binary: binary.clone(),
            crashes: self.record().map(|r| r.crashes).unwrap_or_default(),
        };
        let known = generation.and_then(|g| g.accepted_by.as_ref()) == Some(&binary.identity);
        (known || self.accepted(wanted, &start)).then(|| Box::new(start))
    }

    /// Whether a herdsman of another state directory serves this definition.
    pub(super) fn is_served_elsewhere(&mut self, wanted: &Wanted<'_>) -> bool {
        let foreign = self.input.observed.foreign.get(&*wanted.definition.path);
        self.d.waits.extend(foreign.map(|(_, pid)| WaitFor::ForeignInstance { pid: *pid }));
        foreign.is_some()
    }

    /// Whether the host's policy allows a start: of whatever is wanted, and of
    /// what was recorded before the policy was what it is. `None`: asked for.
    fn is_allowed(&mut self, spec: &Spec, hash: &SpecHash, port: Option<u16>) -> Option<bool> {
        let model = self.s.name;
        match self.input.answers.allowed.get(&(model.clone(), hash.clone())) {
            Some(Ok(())) => Some(true),
            Some(Err(problem)) => {
                self.d.waits.push(WaitFor::Policy { problem: problem.clone() });
                Some(false)
            }
            None => {
                let (from, to) = self.input.site.port_range;
                let port = port.filter(|port| !(from..=to).contains(port));
                let spec = Box::new(Spec { port, ..spec.clone() });
                self.d.questions.push(Question::Allowed { model: model.clone(), spec, hash: hash.clone() });
                None
            }
        }
    }

    /// The llama-server a spec runs on; asked for if it is not known yet.
    pub(super) fn binary(&mut self, spec: &Spec) -> Option<&'s Result<Binary, Unusable>> {
        let answer = self.input.answers.binaries.get(&spec.binary);
        if answer.is_none() {
            self.d.questions.push(Question::Binary(spec.binary.clone()));
        }
        answer
    }

    /// Waits for a llama-server, which a definition may wait for already.
    fn wait_for_binary(&mut self, unusable: &Unusable) {
        let wait = WaitFor::binary(unusable);
        if !self.d.waits.contains(&wait) {
            self.d.waits.push(wait);
        }
    }

    /// Whether llama-server's own dry run takes the command line; asked once
    /// per spec and llama-server, before anything stops for it.
    fn accepted(&mut self, wanted: &Wanted<'_>, start: &StartWish) -> bool {
        let StartWish { spec, hash, generation, binary, .. } = start;
        let key = (self.s.name.clone(), hash.clone());
        match self.input.answers.checks.get(&key) {
            Some(Ok(())) => {
                let (model, binary) = (self.s.name.clone(), binary.identity.clone());
                self.d.accepted = Some(Change::SetAccepted { model, number: *generation, binary });
                true
            }
            Some(Err(Objection::Unanswered(unusable))) => {
                self.wait_for_binary(unusable);
                false
            }
            Some(Err(Objection::Refused(message))) => {
                let origin = blamed(wanted, spec, message);
                self.d.waits.push(WaitFor::Accepted { message: message.clone(), origin });
                false
            }
            None => {
                let weights = spec.gguf_files().map(PathBuf::from).collect();
                // Which port is assigned makes no difference to what is accepted.
                let launch = launch(self.input, self.s.name, start, spec.port);
                self.d.questions.push(Question::Check(Box::new(launch), weights));
                false
            }
        }
    }
}

/// The line that most likely is the cause: that of an option the message names.
fn blamed(wanted: &Wanted<'_>, spec: &Spec, message: &str) -> Origin {
    let named =
        spec.options.iter().find(|(_, o)| o.args.iter().any(|word| word.len() > 2 && message.contains(&**word)));
    wanted.definition.origin(named.map_or("model", |(key, _)| key))
}
