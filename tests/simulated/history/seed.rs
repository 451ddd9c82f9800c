//! The history a seed stands for.

use std::time::Duration;

use fastrand::Rng;
use herdsman::plan::Command;

use super::deed::{Deed, MODELS, Try, Written};
use super::watched::Watched;
use crate::simulated::Interference;

/// Calls a pass makes of the world, about: interferences fall among them.
const CALLS: usize = 24;

/// The deeds of a seed: the same for the same seed, whatever machine.
pub fn deeds(seed: u64) -> Vec<Deed> {
    let mut dice = Dice { rng: Rng::with_seed(seed), models: 1, serves: false };
    dice.models = dice.rng.usize(1..=MODELS.len());
    dice.serves = dice.rng.bool();
    let length = dice.rng.usize(4..24);
    let mut deeds = Vec::with_capacity(length + 2 * dice.models);
    if dice.serves {
        deeds.push(Deed::Serve(dice.rng.usize(1..=2)));
    }
    // Something to lose, mostly.
    if dice.one_in(4) {
        deeds.extend((0..length).map(|_| dice.deed()));
        return deeds;
    }
    deeds.extend((0..dice.models).map(|model| Deed::Define(dice.written(model))));
    deeds.extend([Deed::Pass(Try::default()), Deed::Advance(1_000), Deed::Pass(Try::default())]);
    deeds.extend((0..length).map(|_| dice.deed()));
    deeds
}

struct Dice {
    rng: Rng,
    models: usize,
    /// A gateway serves from the beginning.
    serves: bool,
}

impl Dice {
    fn one_in(&mut self, n: u32) -> bool {
        self.rng.u32(..n) == 0
    }

    fn model(&mut self) -> usize {
        self.rng.usize(..self.models)
    }

    fn deed(&mut self) -> Deed {
        if self.serves && self.one_in(4) {
            return self.request();
        }
        match self.rng.u8(..100) {
            0..2 => Deed::Watch(self.watched()),
            2..30 => Deed::Pass(self.attempt()),
            30..48 => Deed::Advance(self.time()),
            48..57 => {
                let model = self.model();
                Deed::Define(self.written(model))
            }
            57..62 => self.by_hand(),
            _ => self.incident(),
        }
    }

    /// Something that is neither a pass nor time.
    fn incident(&mut self) -> Deed {
        if self.serves && self.one_in(3) {
            return self.request();
        }
        let (model, on) = (self.model(), self.rng.bool());
        match self.rng.u8(..35) {
            34 => Deed::Former,
            32 | 33 => self.by_hand(),
            0..4 => Deed::Define(self.written(model)),
            4 | 5 => Deed::Remove(model),
            6 | 7 => Deed::Spoil(model, on),
            8 => Deed::SpoilUnknown,
            9 => Deed::HideDirectory(on && self.rng.bool()),
            10 => Deed::ReplaceWeights(model, on),
            11..14 => Deed::Crash(model),
            14 => Deed::Fails(model, self.rng.u8(..4)),
            15 | 16 => Deed::Busy(model, on),
            17 => Deed::Silent(model, on),
            18 | 19 => Deed::Unreadable(model, on),
            20 => Deed::Stray(model, self.rng.u8(..3)),
            21 | 22 => Deed::Stranger(self.rng.u16(8100..8105), on),
            23 => Deed::Foreign(model, on),
            24 => Deed::ReusePid,
            25 => Deed::Reboot,
            26 => Deed::LoseDatabase,
            27 => Deed::DeleteRow(model),
            28 => Deed::Drift(model),
            29 => Deed::ForeignRow(on.then_some(model)),
            30 => Deed::Install(on),
            _ if self.one_in(4) => Deed::SetClock(self.rng.i64(-4_000_000..4_000_000)),
            _ => Deed::Missing(on),
        }
    }

    /// Something that a client does.
    fn request(&mut self) -> Deed {
        let model = self.model();
        match self.rng.u8(..12) {
            0 => Deed::Leave(model),
            1 => Deed::Poll(model),
            2 => Deed::Unload(model),
            _ => {
                let leaves = self.one_in(3).then(|| self.time());
                Deed::Ask(model, self.rng.u64(..8_000), leaves)
            }
        }
    }

    fn by_hand(&mut self) -> Deed {
        let model = self.model();
        let command = match self.rng.u8(..8) {
            0 => Command::Suspend(None),
            1 => Command::Suspend(Some(Duration::from_millis(self.time() + 1))),
            2 | 3 => Command::Resume,
            4 => Command::Start,
            5 => Command::Stop,
            _ => Command::Restart,
        };
        Deed::ByHand(model, command)
    }

    fn written(&mut self, model: usize) -> Written {
        const FATES: [&str; 12] = [
            "dies",
            "crashes",
            "hangs",
            "deaf",
            "crawls",
            "slow",
            "router",
            "secretive",
            "ready",
            "wraps",
            "leaves",
            "leaves-helper",
        ];
        Written {
            model,
            spec: self.rng.u8(..3),
            port: self.one_in(3).then(|| self.rng.u16(8100..8104)),
            socket: self.one_in(10),
            stopped: self.one_in(6),
            on_demand: self.one_in(if self.serves { 2 } else { 8 }),
            groups: [self.one_in(2), self.one_in(4)].map(|is_member| is_member && self.serves),
            never_evicted: self.one_in(10),
            fate: if self.one_in(4) { self.rng.choice(FATES) } else { None },
            stops: self.one_in(5),
            description: self.rng.u8(..2),
        }
    }

    fn attempt(&mut self) -> Try {
        let mut interferences: Vec<_> = if self.rng.bool() {
            Vec::new()
        } else {
            (0..self.rng.usize(1..=3)).map(|_| (self.rng.usize(..CALLS), self.interference())).collect()
        };
        interferences.sort_by_key(|(call, _)| *call);
        Try {
            down: self.one_in(25),
            retry: self.one_in(15),
            upgrade: self.one_in(15),
            target: if self.one_in(15) { Some(self.model()) } else { None },
            interferences,
        }
    }

    fn watched(&mut self) -> Watched {
        let seconds = self.rng.u64(1..120);
        let mut deeds = Vec::new();
        for _ in 0..self.rng.usize(..6) {
            let at = self.rng.u64(..seconds * 1000);
            // A script goes by the clock.
            let deed = Some(self.incident()).filter(|deed| !matches!(deed, Deed::SetClock(_)));
            deeds.extend(deed.map(|deed| (at, deed)));
        }
        deeds.sort_by_key(|(at, _)| *at);
        let interferences = (0..self.rng.usize(..3))
            .map(|_| (self.rng.u64(..seconds * 1000), self.rng.usize(..CALLS), self.interference()))
            .filter(
                |(_, _, what)| !matches!(what, Interference::Meanwhile(deed) if matches!(**deed, Deed::SetClock(_))),
            )
            .collect();
        Watched { seconds, deeds, interferences }
    }

    fn interference(&mut self) -> Interference {
        match self.rng.u8(..16) {
            0..3 => Interference::KilledBefore,
            3 | 4 => Interference::KilledAfter,
            5 | 6 => Interference::Fails,
            7 => Interference::FailsToTell,
            8 => Interference::Stale,
            9 | 10 => Interference::Meanwhile(Box::new(Deed::Advance(self.time()))),
            _ => Interference::Meanwhile(Box::new(self.incident())),
        }
    }

    /// Mostly the times on which something depends, in milliseconds.
    fn time(&mut self) -> u64 {
        match self.rng.u8(..8) {
            0 => self.rng.u64(..100),
            1..5 => self.rng.u64(..3_000),
            5 | 6 => self.rng.u64(..40_000),
            _ => self.rng.u64(..1_000_000),
        }
    }
}
