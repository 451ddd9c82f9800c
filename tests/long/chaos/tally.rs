//! What a run of chaos amounted to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;

#[derive(Default)]
pub struct Tally {
    faults: BTreeMap<Fault, u32>,
    pub by_hand: u32,
    pub quiet_points: u32,
    pub longest: Duration,
    pub took: Duration,
    pub herdsmen_killed: u32,
    pub starts: u64,
    pub scans: u64,
    /// Live servers at a look, on average.
    pub alive: f64,
}

impl Tally {
    pub fn count(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }
}

/// Violations are no variable: the first one ends the run.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |what: &str, number: String| writeln!(f, "{number:>10}  {what}");
        line("seconds", format!("{:.0}", self.took.as_secs_f64()))?;
        for (fault, name, _) in Fault::ALL {
            line(name, self.faults.get(&fault).unwrap_or(&0).to_string())?;
        }
        line("faults in all", self.faults.values().sum::<u32>().to_string())?;
        line("passes by hand beside the watcher", self.by_hand.to_string())?;
        line("herdsmen killed", self.herdsmen_killed.to_string())?;
        line("servers started", self.starts.to_string())?;
        line("servers alive at a time, on average", format!("{:.1}", self.alive))?;
        line("looks through /proc", self.scans.to_string())?;
        line("quiet points", self.quiet_points.to_string())?;
        line("longest convergence, seconds", format!("{:.1}", self.longest.as_secs_f64()))?;
        line("violations", "0".to_owned())
    }
}
