//! What goes wrong, and how often.

use fastrand::Rng;

/// Something that the runner does to the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    EditDefinition,
    EditDefaults,
    ReplaceWeights,
    EditRows,
    DeleteDatabase,
    FillDisk,
    StealPort,
    KillServer,
    ReusePid,
    FreezeServer,
    KillWatcher,
    KillReconcile,
    FreezeHerdsman,
}

impl Fault {
    /// Each, what it is called, and its share.
    pub const ALL: [(Self, &'static str, u32); 13] = [
        (Self::EditDefinition, "definitions edited, broken, removed, renamed, checked out", 40),
        (Self::EditDefaults, "_defaults.toml edited, broken, removed", 3),
        (Self::ReplaceWeights, "weights replaced", 1),
        (Self::EditRows, "rows edited, added, deleted by another program", 8),
        (Self::DeleteDatabase, "databases deleted", 3),
        (Self::FillDisk, "disks filled", 3),
        (Self::StealPort, "ports stolen", 5),
        (Self::KillServer, "servers killed (SIGKILL)", 8),
        (Self::ReusePid, "servers killed whose pid another process got", 3),
        (Self::FreezeServer, "servers frozen (SIGSTOP)", 5),
        (Self::KillWatcher, "watchers killed (SIGKILL)", 6),
        (Self::KillReconcile, "runs of reconcile killed (SIGKILL)", 9),
        (Self::FreezeHerdsman, "herdsmen frozen (SIGSTOP)", 4),
    ];

    /// One of them.
    pub fn random(rng: &mut Rng) -> Self {
        let mut left = rng.u32(..Self::ALL.iter().map(|(_, _, share)| share).sum::<u32>());
        for (fault, _, share) in Self::ALL {
            match left.checked_sub(share) {
                Some(rest) => left = rest,
                None => return fault,
            }
        }
        unreachable!("the shares add up")
    }
}
