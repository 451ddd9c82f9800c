//! Random edits of the definitions, and the outside eye that says whether the
//! machine is as they say: what the soak and the chaos have in common.
//!
//! Nothing here uses herdsman's own code, so that the two can disagree.
#![allow(dead_code, reason = "each test program uses a part of it")]

mod definition;
mod directory;
mod seen;

#[allow(unused_imports, reason = "each test program uses a part of it")]
pub use self::{
    definition::{Definition, ROTTEN, WEIGHTS},
    directory::{Directory, Edit},
    seen::{BY_HAND, Seen, option},
};
