//! The rows of the table: what each measures, and what herdsman aims at.

use std::time::Duration;

use crate::driver::Driver;
use crate::front;
use crate::on_demand::{self, OnDemand};
use crate::proxies::Proxy;

/// What one measurement found, a number for each figure of its row; `None` where
/// there is nothing to measure. An error says how it failed.
pub type Sample = Result<Vec<Option<f64>>, String>;

/// What is measured at once.
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// The lines of the table that it fills.
    pub figures: &'static [Figure],
    /// How.
    pub measure: Measure,
}

/// A line of the table.
pub struct Figure {
    /// What, with its unit.
    pub title: &'static str,
    /// What herdsman's is to be.
    pub aim: Aim,
}

/// How a row is measured.
pub enum Measure {
    /// In front of the stub.
    Front(fn(&Driver, &Proxy, Duration) -> Sample),
    /// With servers that start when they are asked for.
    OnDemand(fn(&mut OnDemand) -> Sample),
    /// All proxies at once, while nobody asks them anything.
    Idle,
}

/// What herdsman's figure is to be.
pub enum Aim {
    /// At most this times that of another column.
    AtMost(f64, &'static str),
    /// At least this times that of another column.
    AtLeast(f64, &'static str),
    /// At most that of another column and this.
    AtMostPlus(f64, &'static str),
    /// At most this.
    Within(f64),
    /// An answer, whatever time it takes.
    Succeeds,
    /// Nothing is promised.
    Open,
}

/// All rows, in the order in which they are measured: idle before any load, and open
/// after the other rows with a stub, because HAProxy answers more slowly after it.
pub const ROWS: &[Row] = &[
    Row {
        name: "idle",
        figures: &[
            Figure { title: "idle: CPU in 60 s, ms", aim: Aim::Within(15.0) },
            Figure { title: "… memory, MB", aim: Aim::Within(20.0) },
        ],
        measure: Measure::Idle,
    },
    Row {
        name: "one",
        figures: &[Figure { title: "one connection, small answer: p50, µs", aim: Aim::AtMost(1.0, "nginx") }],
        measure: Measure::Front(front::one_connection),
    },
    Row {
        name: "many",
        figures: &[
            Figure { title: "32 connections: answers/s", aim: Aim::AtLeast(1.0, "nginx") },
            Figure { title: "… CPU of the proxy for 10⁴ answers, s", aim: Aim::AtMost(1.2, "nginx") },
        ],
        measure: Measure::Front(front::answers),
    },
    Row {
        name: "stream",
        figures: &[
            Figure { title: "32 streams at full speed: events/s", aim: Aim::AtLeast(1.2, "nginx") },
            Figure { title: "… CPU of the proxy for 10³ events, ms", aim: Aim::AtMost(1.0, "nginx") },
        ],
        measure: Measure::Front(front::streams),
    },
    Row {
        name: "paced",
        figures: &[
            Figure { title: "32 streams, an event each 10 ms: delay, p50, µs", aim: Aim::AtMost(1.0, "nginx") },
            Figure { title: "… p99, µs", aim: Aim::Open },
        ],
        measure: Measure::Front(front::delays),
    },
    Row {
        name: "upload",
        figures: &[
            Figure { title: "25 MB body, `model` last: p50, ms", aim: Aim::AtMost(2.0, "nginx") },
            Figure { title: "… peak memory of the proxy, four at once, MB", aim: Aim::Within(140.0) },
        ],
        measure: Measure::Front(front::large_body),
    },
    Row {
        name: "body",
        figures: &[Figure { title: "100 kB body: p50, µs", aim: Aim::AtMost(1.0, "HAProxy") }],
        measure: Measure::Front(front::small_body),
    },
    Row {
        name: "open",
        figures: &[Figure { title: "1,000 idle event streams: memory, MB", aim: Aim::Open }],
        measure: Measure::Front(front::idle_streams),
    },
    Row {
        name: "cold",
        figures: &[Figure {
            title: "first answer of a model that was not running, ms",
            aim: Aim::AtMostPlus(20.0, "direct"),
        }],
        measure: Measure::OnDemand(on_demand::first_answer),
    },
    Row {
        name: "swap",
        figures: &[Figure { title: "swap to the other model of a group, ms", aim: Aim::AtMostPlus(20.0, "direct") }],
        measure: Measure::OnDemand(on_demand::swap),
    },
    Row {
        name: "killed",
        figures: &[Figure { title: "a server killed: next request, ms", aim: Aim::Succeeds }],
        measure: Measure::OnDemand(on_demand::killed),
    },
];
