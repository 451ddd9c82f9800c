//! `herdsman watch`: a real watcher, real llama-servers, a real Git.
//!
//! Every watcher here is told to look by itself once an hour, so whatever it
//! does it does because something told it to. That something did *not* happen
//! is shown by what comes after it: the effect of a later event.

mod database;
mod directories;
mod edits;
mod ends;
mod events_lost;
mod git;
mod last_good;
mod links;
mod scene;
mod supervision;
mod together;
