//! What people ask for by hand, as the command line records it.

use herdsman::model::{Given, InstanceRecord};
use herdsman::plan::{Command, Known, Refusal, request};

use super::{World, name};

impl World {
    /// A command by hand; what it refuses is recorded nowhere.
    pub fn by_hand(&mut self, model: &str, command: Command) -> Result<(), Refusal> {
        self.by_hand_because(model, command, None)
    }

    /// A command by hand, with a reason or without.
    pub fn by_hand_because(&mut self, model: &str, command: Command, because: Option<&str>) -> Result<(), Refusal> {
        let records = self.store.records();
        let recorded: Vec<&InstanceRecord> = records.models.values().flat_map(|m| &m.instances).collect();
        let observed = self.machine.observe(&recorded, self.now);
        let known = Known { desired: &self.desired, records: &records, observed: &observed };
        let given = Given { by: "ann".to_owned(), at: self.now, because: because.map(str::to_owned) };
        let changes = request(command, &name(model), &given, known)?;
        self.store.commit(&changes);
        Ok(())
    }
}
