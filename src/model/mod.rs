//! The vocabulary: what every part of herdsman talks about, as plain data.
//!
//! ```text
//!   definition::load   -> Desired     what the files say
//!   database::records  -> Records     what SQLite remembers
//!   instance::observe  -> Observed    what really runs
//!                 \        |        /
//!                  plan::plan (pure) -> Plan
//! ```
//!
//! Nothing here reads a file, a clock or a process: the planner and its tests
//! depend only on this module.

mod address;
mod change;
mod commit;
mod definition;
mod demand;
mod diagnostic;
mod handle;
mod launch;
mod name;
mod news;
mod observation;
mod overrides;
mod record;
mod seen;
mod spec;
mod stated;
mod table;
pub mod text;
mod time;
mod uses;
mod words;

pub use address::Address;
pub use change::{Change, EventOutcome, EventRecord, ModelConfig, NewGeneration};
pub use commit::{Commit, InvalidCommit, Provenance};
pub use definition::{
    Definition, Desired, Evict, Group, IdlePolicy, Memo, OnFailure, Placement, ReadyPolicy, ServePolicy, Unresolved,
    Unusable, UpdatePolicy,
};
pub use demand::{Demand, Traffic};
pub use diagnostic::{Diagnostic, Origin, Severity};
pub use handle::{Handle, ProcessId};
pub use launch::{Launch, StopTarget, log_path, log_suffix};
pub use name::{ModelName, NameError};
pub use news::{Announced, Channel, Letter, NewsKind, Telling, Trouble};
pub use observation::{
    BinaryIdentity, Busy, Death, FailureCause, Health, Instance, Leftover, Listener, Observed, Progress, Served,
};
pub use overrides::{Given, Override, OverrideKind, Overrides, RestartByHand, StateByHand, Suspended, meaning};
pub use record::{
    ColumnDrift, Crashes, Generation, GenerationOutcome, GenerationRecord, InstanceId, InstanceRecord, InstanceState,
    ModelRecord, PortRecord, Records, Row, UnmanagedRow,
};
pub use spec::{FieldChange, FileIdentity, OptionSetting, OptionValue, SecretRef, SecretSource, Spec, SpecHash};
pub use table::Table;
pub use time::{Timestamp, backoff};
pub(crate) use uses::{ForRecord, ForService, ForSharing, Uses};
pub use words::{DesiredState, ModelType, Status};
