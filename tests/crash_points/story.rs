//! What a story is: how it begins, what happens, how it has to end.

use crate::support::World;

/// Something that makes herdsman act.
pub struct Story {
    /// For people.
    pub name: &'static str,
    /// Brings an empty world to where the story begins.
    pub begin: fn(&World),
    /// What happens then: an edit, a crash, a lost file.
    pub event: fn(&World),
    /// The herdsman that is killed, and the one that goes on.
    pub command: &'static [&'static str],
    /// How every model has to end.
    pub end: fn(&World) -> Vec<End>,
    /// What else has to hold at the end; `Err` says what does not.
    pub also: fn(&World) -> Result<(), String>,
    /// The exit code of the last herdsman.
    pub exit: i32,
    /// How often a server crashed in it, as recorded.
    pub crashes: i64,
    /// Seconds that herdsman may take to go on: more than a moment where a
    /// server hangs, or a next try is waited for.
    pub patience: u64,
}

impl Story {
    /// Whether herdsman goes on for ever, and has to be asked to end.
    pub fn is_watched(&self) -> bool {
        self.command.first() == Some(&"watch")
    }
}

/// What one that names only what is special about it is made from.
pub const PLAIN: Story = Story {
    name: "",
    begin: |_| {},
    event: |_| {},
    command: &["reconcile"],
    end: |_| Vec::new(),
    also: |_| Ok(()),
    exit: 0,
    crashes: 0,
    patience: 5,
};

/// How a model has to end.
#[derive(Debug)]
pub enum End {
    /// Runs, as the very process that ran before; nothing ever stopped it.
    Untouched(&'static str),
    /// Runs, with this in its command line.
    Runs(&'static str, String),
    /// Does not run, and is recorded.
    Stopped(&'static str),
    /// Does not run, and is not recorded.
    Gone(&'static str),
}

impl End {
    /// The model.
    pub fn model(&self) -> &'static str {
        match self {
            Self::Untouched(model) | Self::Runs(model, _) | Self::Stopped(model) | Self::Gone(model) => model,
        }
    }
}

/// Ends as [`End::Runs`] with an option and its value.
pub fn runs(model: &'static str, option: &str) -> End {
    End::Runs(model, option.to_owned())
}
