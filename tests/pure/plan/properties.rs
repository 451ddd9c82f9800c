//! What is true of every plan, in whatever world it is made: the worlds are
//! those of simulated histories.

use std::sync::Arc;

use herdsman::model::{Observed, Records};
use herdsman::pass::{Fleet as _, Ledger as _};
use herdsman::plan::{Answers, Input, Plan, Planner, plan};

use crate::simulated::World;
use crate::simulated::history::deeds;

/// A world in the midst of its history, and what the planner asked of it.
struct Asked {
    world: World,
    records: Arc<Records>,
    observed: Observed,
    answers: Answers,
}

impl Asked {
    fn of_seed(seed: u64) -> Self {
        let mut world = World::new([]);
        deeds(seed).iter().for_each(|deed| deed.act(&mut world));
        (world.dead, world.unreadable) = (false, false);
        let records = world.records().unwrap();
        let observed = world.observe(&records).unwrap();
        let (mut planner, desired, limits) = (Planner::default(), world.desired.clone(), world.limits.clone());
        let mut asked = Self { world, records, observed, answers: Answers::default() };
        for _ in 0..8 {
            let questions = asked.plan(&asked.records, &asked.observed).questions;
            let desired = Some(&desired);
            let input = Input { desired, limits: &limits, ..asked.input(&asked.records, &asked.observed) };
            assert_eq!(
                planner.plan(&input),
                plan(&asked.input(&asked.records, &asked.observed)),
                "round by round, or at once"
            );
            asked.world.answer(&questions, &asked.observed, &mut asked.answers).unwrap();
        }
        asked
    }

    fn plan(&self, records: &Records, observed: &Observed) -> Plan {
        plan(&self.input(records, observed))
    }

    fn input<'a>(&'a self, records: &'a Records, observed: &'a Observed) -> Input<'a> {
        Input {
            now: self.world.now,
            desired: Some(&self.world.desired),
            records,
            observed,
            demand: None,
            answers: &self.answers,
            limits: &self.world.limits,
            tried: &self.world.tried,
            site: &self.world.site,
            acts: true,
            id_seed: [7; 16],
        }
    }
}

#[test]
fn the_same_input_makes_the_same_plan_whatever_the_order_of_what_was_seen() {
    for seed in 0..200 {
        let asked = Asked::of_seed(seed);
        let plan = asked.plan(&asked.records, &asked.observed);
        assert_eq!(plan, asked.plan(&asked.records, &asked.observed), "seed {seed}");
        let (mut records, mut observed) = (Records::clone(&asked.records), asked.observed.clone());
        let turns = usize::try_from(seed).unwrap() % observed.instances.len().max(1);
        observed.instances.rotate_left(turns);
        observed.instances.reverse();
        observed.unknown.reverse();
        records.unmanaged.reverse();
        assert_eq!(plan, asked.plan(&records, &observed), "seed {seed}");
    }
}
