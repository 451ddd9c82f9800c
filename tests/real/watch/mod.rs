//! `herdsman watch`: a real watcher, real llama-servers, a real Git.
//!
//! Every watcher here resyncs only once an hour, so an event triggers everything
//! that it does. That something did *not* happen
//! is shown by what comes after it: the effect of a later event.

mod database;
mod directories;
mod edits;
mod ends;
mod events_lost;
mod git;
mod handover;
mod last_good;
mod links;
mod scene;
mod supervision;
mod together;
