//! The API of a watcher that serves: what it says, what it does, who may.

mod beside;
pub mod client;
mod commands;
mod database;
mod edit;
mod edit_page;
mod events;
mod forms;
mod injected;
mod killed;
mod models;
mod page;
mod reconcile;
mod rights;
mod routes;
