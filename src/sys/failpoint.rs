//! Points at which herdsman can be made to die, so that a test sees what a death
//! there leaves behind (`tests/crash_points/`).
//!
//! In a debug build, and only there:
//!
//! | variable | effect |
//! |---|---|
//! | `HERDSMAN_FAILPOINT_LOG=FILE` | appends the name of each point that is reached to FILE, one per line |
//! | `HERDSMAN_FAILPOINT=POINT:N` | kills herdsman with SIGKILL when it reaches POINT for the N-th time, counted from 1 |
//!
//! In a release build every call is empty. No server inherits either variable.
//! Rules:
//! - Every effect on the outside world has a point before and one after it; the one
//!   after may be the one before the next effect.
//! - The set is closed: a test fails if herdsman was never killed at a point of it.

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident,)+) => {
        /// Where herdsman can die.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Point { $($(#[doc = $doc])+ $point,)+ }

        impl Point {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$point,)+];

            /// Its name in the log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$point => stringify!($point),)+ }
            }
        }
    };
}

points! {
    /// The state directory is there.
    StateDirMade,
    /// The file of a lock is there, and not locked.
    LockMade,
    /// A lock is held.
    LockTaken,
    /// A new state id: its file is there, and empty.
    IdBegun,
    /// The id is on the disk, and has another name.
    IdWritten,
    /// The id has its name.
    IdNamed,
    /// The file of the database is there; a new one is empty.
    DatabaseMade,
    /// The database is in WAL mode.
    DatabaseInWal,
    /// A migration's transaction is open.
    MigrationBegun,
    /// The shared table is complete, or a step is done; not committed.
    MigrationStep,
    /// Everything is done, and not committed.
    MigrationCommit,
    /// The migration is committed.
    Migrated,
    /// A transaction is about to begin.
    CommitBegin,
    /// All its statements are done, and not committed.
    CommitInside,
    /// It is committed.
    Committed,
    /// llama-server is about to be run for its help or for a dry run.
    ProgramStart,
    /// It runs.
    ProgramStarted,
    /// It has ended.
    ProgramEnded,
    /// A catalogue is on the disk, and has another name.
    CacheWritten,
    /// The catalogue has its name.
    CacheNamed,
    /// A saved plan is on the disk, and has another name.
    PlanWritten,
    /// It has its name.
    PlanNamed,
    /// The file of a unix socket is about to be removed.
    SocketRemove,
    /// It is removed.
    SocketRemoved,
    /// The log of a server is about to be opened.
    LogOpen,
    /// The log is there; a new one is empty.
    LogOpened,
    /// The line that heads what follows is in the log.
    LogHeaded,
    /// A server is about to be started.
    Fork,
    /// Its process is there and has not executed the server yet.
    Forked,
    /// It has.
    Execed,
    /// It is known by pid and start time; not recorded.
    Identified,
    /// SIGTERM is about to be sent.
    Terminate,
    /// It was sent.
    Terminated,
    /// SIGKILL is about to be sent.
    Kill,
    /// It was sent.
    Killed,
    /// A process that was to be stopped is gone, or was given up; not recorded.
    Gone,
    /// What a stopped instance left in its session is about to be killed.
    LeftoverKill,
    /// It was.
    LeftoverKilled,
    /// Servers are about to be asked for `/health`.
    HealthAsk,
    /// They have answered.
    HealthAsked,
    /// Servers are about to be asked for `/props`.
    PropsAsk,
    /// They have answered.
    PropsAsked,
    /// Servers are about to be asked for `/slots`.
    SlotsAsk,
    /// They have answered.
    SlotsAsked,
    /// When servers were asked for `/slots` is about to be written to a file.
    AskedWrite,
    /// It was.
    AskedWritten,
    /// The head of a log is about to be freed.
    LogFree,
    /// It is freed.
    LogFreed,
    /// A log that no server writes is deleted.
    LogDeleted,
    /// A notification is about to be sent.
    TellBegin,
    /// It was sent; not recorded.
    TellEnd,
}

pub use switched::{Ahead, ahead, reach};

#[cfg(not(debug_assertions))]
mod switched {
    use super::Point;

    /// Without effect in this build.
    #[inline(always)]
    pub const fn reach(_: Point) {}

    /// Without effect in this build.
    #[inline(always)]
    #[must_use]
    pub const fn ahead(_: Point) -> Ahead {
        Ahead
    }

    /// Nothing, in this build.
    #[derive(Clone, Copy, Debug)]
    pub struct Ahead;

    impl Ahead {
        /// Without effect in this build.
        #[inline(always)]
        pub const fn reached_in_child(self) {}
    }
}

#[cfg(debug_assertions)]
mod switched {
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

    use super::Point;

    /// What the environment says.
    struct Switch {
        log: Option<File>,
        die_at: Option<Fuse>,
    }

    /// A point, and how many more times it must be reached.
    struct Fuse {
        point: String,
        left: u64,
    }

    impl Fuse {
        fn parse(text: &str) -> Result<Self, String> {
            let fuse = || {
                let (point, count) = text.split_once(':')?;
                let is_one = Point::ALL.iter().any(|one| one.name() == point);
                Some(Self { point: point.to_owned(), left: count.parse().ok().filter(|count| is_one && *count > 0)? })
            };
            fuse().ok_or_else(|| format!("{text:?} is not POINT:N"))
        }
    }

    /// One lock for all threads: the log is in the order of the counts.
    static SWITCH: LazyLock<Mutex<Switch>> = LazyLock::new(|| {
        let open = |path| OpenOptions::new().append(true).create(true).open(path);
        let log = std::env::var_os("HERDSMAN_FAILPOINT_LOG").map(|path| open(path).unwrap_or_else(refuse));
        let die_at = std::env::var("HERDSMAN_FAILPOINT").ok().map(|text| Fuse::parse(&text).unwrap_or_else(refuse));
        Mutex::new(Switch { log, die_at })
    });

    /// Exits herdsman, because a test that kills nothing would pass.
    fn refuse<T>(why: impl std::fmt::Display) -> T {
        eprintln!("HERDSMAN_FAILPOINT or HERDSMAN_FAILPOINT_LOG: {why}");
        std::process::exit(64)
    }

    /// Marks that a point is reached, and dies here if the environment says so.
    pub fn reach(point: Point) {
        if ahead(point).dies {
            kill(Some(getpid()));
        }
    }

    /// Announces a point that a child will reach, which cannot log it itself.
    #[must_use]
    pub fn ahead(point: Point) -> Ahead {
        let mut switch = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = &mut switch.log {
            writeln!(log, "{}", point.name()).unwrap_or_else(refuse);
        }
        let Some(fuse) = switch.die_at.as_mut().filter(|fuse| fuse.point == point.name()) else {
            return Ahead { dies: false };
        };
        fuse.left = fuse.left.wrapping_sub(1);
        Ahead { dies: fuse.left == 0 }
    }

    /// Whether herdsman dies at the announced point.
    #[derive(Clone, Copy, Debug)]
    pub struct Ahead {
        dies: bool,
    }

    impl Ahead {
        /// Marks that the point is reached in a child of herdsman: herdsman dies,
        /// the child goes on. Async-signal-safe.
        pub fn reached_in_child(self) {
            if self.dies {
                kill(getppid());
            }
        }
    }

    /// SIGKILL: no destructor or handler runs after it.
    fn kill(process: Option<Pid>) {
        if let Some(pid) = process
            && kill_process(pid, Signal::KILL).is_err()
        {
            std::process::abort();
        }
    }
}
