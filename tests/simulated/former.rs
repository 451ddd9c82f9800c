//! A world as a herdsman left it whose spec hashes are of the first recipe:
//! with the port that is served on in hash and spec, declared or not.

use std::collections::BTreeMap;

use herdsman::model::{ModelName, Spec, SpecHash};

use super::World;

impl World {
    /// Makes everything recorded and running look as if such a herdsman had
    /// done it, and this one is its upgrade.
    pub fn by_a_former_herdsman(&mut self) {
        // Nobody upgrades in the midst of a pass.
        if self.in_pass {
            return;
        }
        let hashes = self.former_records();
        let former = |model: &ModelName, spec: &mut SpecHash| {
            hashes.get(&(model.clone(), spec.clone())).into_iter().for_each(|hash| *spec = hash.clone());
        };
        self.store.instances.iter_mut().for_each(|instance| former(&instance.model, &mut instance.spec));
        self.machine.servers.iter_mut().for_each(|server| former(&server.model, &mut server.spec));
        self.store.read.take();
        self.promises.forget_starts();
    }

    /// Hashes the generations as the first recipe did; the hashes they had.
    fn former_records(&mut self) -> BTreeMap<(ModelName, SpecHash), SpecHash> {
        let mut hashes = BTreeMap::new();
        let instances = &self.store.instances;
        for (name, managed) in &mut self.store.models {
            let own = managed.port.map(|port| port.port);
            for generation in managed.generations.values_mut().filter(|generation| !generation.hash.is_v1()) {
                let mut spec: Spec = generation.spec().unwrap();
                let leased = instances.iter().find(|i| i.model == *name && i.spec == generation.hash);
                let own = leased.map_or(own, |instance| instance.port).filter(|_| !spec.is_unix_socket());
                spec.port = spec.port.or(own);
                let hash = spec.hash_v1(spec.port);
                hashes.insert((name.clone(), generation.hash.clone()), hash.clone());
                generation.spec_json = serde_json::to_string(&spec).unwrap().into();
                generation.hash = hash;
            }
        }
        hashes
    }
}
