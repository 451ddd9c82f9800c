//! What a failed start means for its generation: it is given up, or tried again.

use super::Settled;
use crate::model::{Change, Crashes, Death, Definition, GenerationOutcome, InstanceRecord, OnFailure};
use crate::plan::{Found, Input, Question, backoff};

impl Settled<'_> {
    /// A start that came to nothing: the generation has failed if the fault
    /// is its own and there is something better to do than to try it again.
    pub(super) fn start_failed(
        &mut self,
        input: &Input<'_>,
        definition: Option<&Definition>,
        was: &InstanceRecord,
        death: Death,
    ) {
        self.found(was, Found::StartFailed(death.clone()));
        self.death = Some(death.clone());
        let record = &self.record;
        let own_fault = record.generation.number == was.generation
            && record.generation.outcome == GenerationOutcome::Pending
            && !death.cause.is_world();
        if own_fault && self.gives_way(input, definition, was) {
            self.changes.push(Change::SetGenerationOutcome {
                model: was.model.clone(),
                number: was.generation,
                outcome: GenerationOutcome::Failed(death.clone()),
            });
            self.record.to_mut().generation.outcome = GenerationOutcome::Failed(death);
            self.set_crashes(Crashes::default());
        } else {
            self.set_crashes(backoff::after_crash(self.record.crashes, was, input.now));
        }
    }

    /// Whether a failed generation is given up for good: to stop, or for an
    /// earlier one whose files are still what they were.
    fn gives_way(&mut self, input: &Input<'_>, definition: Option<&Definition>, was: &InstanceRecord) -> bool {
        match definition.map_or(OnFailure::Rollback, |d| d.update.on_failure) {
            OnFailure::Stop => true,
            OnFailure::Rollback => {
                let Some(Ok(spec)) = self.record.last_ready.as_ref().map(|g| g.spec()) else { return false };
                if spec.files.is_empty() {
                    return true;
                }
                let answer = input.answers.files_intact.get(&was.model).copied();
                if answer.is_none() {
                    self.questions.push(Question::FilesIntact { model: was.model.clone(), files: spec.files });
                }
                answer.unwrap_or(false)
            }
        }
    }
}
