//! An example of each variant, or several where its words differ.

use herdsman::model::{ColumnDrift, Death, DesiredState, FailureCause, FieldChange, Given, Origin, Timestamp};
use herdsman::plan::{Impact, Reason, Refusal, WaitFor};

use crate::simulated::name;

/// Seconds after the simulated world began.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp(1_000_000_000 + seconds * 1000)
}

fn origin() -> Origin {
    Origin::new("models.d/chat.toml", 7)
}

fn given() -> Given {
    Given { by: "ann".to_owned(), at: at(0), because: None }
}

fn because() -> Given {
    Given { because: Some("new driver".to_owned()), ..given() }
}

fn death() -> Death {
    Death { cause: FailureCause::NoMemory, message: "out of memory".to_owned() }
}

fn changed(field: &str, old: Option<&str>, new: Option<&str>, impact: Impact) -> Reason {
    let change = FieldChange { field: field.to_owned(), old: old.map(str::to_owned), new: new.map(str::to_owned) };
    Reason::FieldChanged { change, impact, origin: origin() }
}

/// Every reason of an action.
pub fn reasons() -> Vec<Reason> {
    use DesiredState::{Running, Stopped};
    vec![
        Reason::DefinitionAdded { origin: Origin::new("models.d/chat.toml", 0), state: Running },
        Reason::DefinitionAdded { origin: Origin::new("models.d/chat.toml", 0), state: Stopped },
        Reason::TakesOverRow { id: 3 },
        changed("ctx_size", Some("8192"), Some("16384"), Impact::Restart),
        changed("mmap", None, Some("false"), Impact::Restart),
        changed("mmap", Some("false"), None, Impact::Restart),
        changed("secrets.LLAMA_API_KEY", None, None, Impact::Restart),
        changed("description", Some("old"), Some("new"), Impact::Record),
        changed("drain", Some("30s"), Some("60s"), Impact::Record),
        Reason::OtherSpec { found: "v1:00".to_owned(), wanted: "v1:11".to_owned() },
        Reason::StateWanted { state: Running, origin: origin() },
        Reason::StateWanted { state: Stopped, origin: origin() },
        Reason::DefinitionRemoved { file: "models.d/chat.toml".to_owned() },
        Reason::NotRunning,
        Reason::AskedFor { waiting: 3 },
        Reason::Idle { for_ms: 612_000 },
        Reason::Unloaded,
        Reason::MakesRoom { model: name("coder"), group: "chat".to_owned() },
        Reason::ProcessGone { death: Some(death()), crashes: 1 },
        Reason::ProcessGone { death: None, crashes: 2 },
        Reason::Rebooted,
        Reason::RolledBack { failed: 2, to: 1 },
        Reason::TriedAgain,
        Reason::RowDrift {
            drift: ColumnDrift { column: "ctx_size".into(), recorded: "8192".into(), found: "NULL".into() },
        },
        Reason::RowDeleted { id: 3 },
        Reason::Unrecorded { pid: 101 },
        Reason::Duplicate { pid: 102, kept: 101 },
        Reason::Leftover { pid: 102 },
        Reason::NotReadyInTime,
        Reason::Wrapped { pid: 101, child: 1101 },
        Reason::FailedToStart { message: "llama-server runs as a router".to_owned() },
        Reason::Unhealthy { for_ms: 31_000 },
        Reason::BinaryChanged,
        Reason::StopUnfinished,
        Reason::Down,
        Reason::ByHand { given: given() },
        Reason::ByHand { given: because() },
    ]
}

/// Every wait.
pub fn waits() -> Vec<WaitFor> {
    let suspended =
        |until, removed, missing, edited| WaitFor::Suspended { given: because(), until, removed, missing, edited };
    let backoff = |crashes, was_ready| WaitFor::Backoff {
        until: at(60),
        crashes,
        was_ready,
        message: "out of memory".to_owned(),
    };
    let edit = |serving| WaitFor::Edit { generation: 2, message: "invalid magic characters".to_owned(), serving };
    vec![
        WaitFor::Ready { pid: 101, deadline: at(600) },
        WaitFor::Drain { busy: Some(1), deadline: at(30) },
        WaitFor::Drain { busy: Some(2), deadline: at(30) },
        WaitFor::Drain { busy: None, deadline: at(30) },
        WaitFor::Answer { pid: 101, deadline: None },
        WaitFor::Answer { pid: 101, deadline: Some(at(30)) },
        WaitFor::StartSlot,
        WaitFor::Weights { file: "/weights/chat.gguf".to_owned(), until: at(10) },
        WaitFor::RestartSlot { model: name("coder") },
        WaitFor::PortOf { port: 8100, model: name("coder") },
        backoff(1, true),
        backoff(3, true),
        backoff(3, false),
        edit(None),
        edit(Some(1)),
        WaitFor::Sibling { model: name("coder"), origin: origin() },
        WaitFor::Port { port: 8100, holder: "nginx (pid 7)".to_owned() },
        WaitFor::FreePort { range: (8100, 8999) },
        WaitFor::Definition { file: "models.d/chat.toml".to_owned(), problem: "expected `=`".to_owned() },
        WaitFor::DeletionBlocked { file: "models.d/chat.toml".to_owned() },
        WaitFor::Guard,
        WaitFor::Binary { problem: "no llama-server in PATH".to_owned(), pending: false },
        WaitFor::Policy { problem: "the policy does not allow `ctx_size`".to_owned() },
        WaitFor::Accepted { message: "error: invalid argument: --x".to_owned(), origin: origin() },
        WaitFor::UnknownProcess { pid: Some(101) },
        WaitFor::UnknownProcess { pid: None },
        WaitFor::ForeignInstance { pid: 4711 },
        WaitFor::OneRow { ids: vec![1, 2] },
        room(&["qwen"], Some(at(30))),
        room(&["qwen"], None),
        room(&["phi", "qwen"], None),
        WaitFor::NoRoom { group: "chat".to_owned(), holders: vec![name("phi"), name("qwen")] },
        WaitFor::IdleStop { until: at(600), after_ms: 600_000 },
        WaitFor::BinaryUpgrade,
        suspended(None, false, false, false),
        suspended(Some(at(7200)), false, false, false),
        suspended(None, true, false, false),
        suspended(None, false, true, false),
        suspended(None, false, false, true),
        WaitFor::StateByHand { given: given(), state: DesiredState::Stopped },
        WaitFor::StateByHand { given: given(), state: DesiredState::Running },
    ]
}

fn room(busy: &[&str], deadline: Option<Timestamp>) -> WaitFor {
    WaitFor::Room { group: "chat".to_owned(), busy: busy.iter().copied().map(name).collect(), deadline }
}

/// Every refusal of a command by hand.
pub fn refusals() -> Vec<Refusal> {
    vec![
        Refusal::Unknown,
        Refusal::Unmanaged,
        Refusal::Unresolved { file: "models.d/chat.toml".to_owned(), problem: "expected `=`".to_owned() },
        Refusal::Removed,
        Refusal::Suspended { by: "ann: new driver".to_owned() },
        Refusal::NotToRun,
    ]
}
