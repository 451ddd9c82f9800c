//! The API of a watcher that serves: what it says, what it does, who may.

mod client;
mod commands;
mod database;
mod events;
mod forms;
mod injected;
mod killed;
mod models;
mod page;
mod rights;
mod routes;
