//! One address for all models, as clients see it.

mod browser;
mod clients;
mod definitions;
