//! The API of a watcher that serves: what it says, what it does, who may.

mod beside;
mod client;
mod commands;
mod edit;
mod edit_page;
mod events;
mod models;
mod page;
mod reconcile;
mod rights;
