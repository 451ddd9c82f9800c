//! What the owner of the host decides, outside the repository of definitions.
//!
//! | module | decides |
//! |---|---|
//! | [`settings`] | whom to notify |
//! | [`policy`] | what definitions may ask of this host |

pub(crate) mod host_file;
pub mod policy;
pub mod settings;
