//! What stories begin with, and what happens in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::recorded;
use crate::seen;
use crate::support::{PortBlock, Process, World, eventually, llama_server};

/// A tiny model with a context of so many tokens; `more` comes first.
pub fn define(world: &World, name: &str, ctx: u32, more: &str) {
    // Weights that are written again count as changed, after 10 s.
    if !world.path().join(format!("weights/{name}.gguf")).exists() {
        world.weights(name, &format!("{name} "));
    }
    world.write_definition(name, &format!("{more}\n{}", World::tiny_toml(name).replace("512", &ctx.to_string())));
}

/// These run, and what else is defined.
pub fn run(world: &World, names: &[&str]) {
    names.iter().for_each(|name| define(world, name, 512, ""));
    world.converges();
}

/// A port of the world's own, from 0.
pub fn port(world: &World, number: u16) -> u16 {
    *world.ports().range().start() + PortBlock::SIZE / 2 + number
}

/// Sends a signal to the instance of `model`.
pub fn signal(world: &World, model: &str, signal: Signal) {
    let server = server(world, model);
    kill_process(Pid::from_raw(server.pid).unwrap(), signal).unwrap();
}

/// Kills the instance of `model`, and waits until it is gone.
pub fn kill(world: &World, model: &str) {
    let server = server(world, model);
    signal(world, model, Signal::KILL);
    eventually("a killed server is gone", Duration::from_secs(10), || !server.is_alive());
}

fn server(world: &World, model: &str) -> Process {
    let servers = world.servers();
    let is_it = |process: &Process| process.session == process.pid && process.variable("HERDSMAN_MODEL") == Some(model);
    servers.into_iter().find(is_it).unwrap()
}

/// Waits until a server that was started before this may be started again
/// without delay: the first delay after a crash is 1 s.
pub fn let_the_delay_pass() {
    std::thread::sleep(Duration::from_secs(1));
}

/// Deletes the database.
pub fn lose_database(world: &World) {
    for file in recorded::files(world) {
        // There is no -wal after the last connection closed.
        let _ = fs::remove_file(file);
    }
}

/// Starts a second instance of `model`, as a herdsman whose database was lost
/// may have: it carries the markers of the first one, but an id and a port of
/// its own.
pub fn stray(world: &World, model: &str, port: u16) {
    let first = server(world, model);
    let mut command = Command::new("setsid");
    let mut arguments = first.arguments.clone();
    let at = arguments.iter().position(|argument| argument == "--port").unwrap();
    arguments[at + 1] = port.to_string();
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(first.environment.iter().filter_map(|variable| variable.split_once('=')));
    command.env("HERDSMAN_INSTANCE", format!("stray-{port}"));
    let mut child = command.spawn().unwrap();
    // It is this process that has to reap it.
    std::thread::spawn(move || child.wait());
    let is_there = || seen::instances(world).iter().any(|instance| instance.id == format!("stray-{port}"));
    eventually("the stray is there", Duration::from_secs(10), is_there);
}

/// A model whose llama-server is a wrapper that does not `exec` it, and has it
/// listen elsewhere: it is never ready, and when the wrapper is stopped, the
/// server stays.
pub fn run_in_wrapper(world: &World, name: &str) {
    define(world, name, 512, &format!("binary = \"{}\"", wrapper(world, "\"$LLAMA\" \"$@\" --port 0")));
    world.run(&["reconcile", "--no-wait"]).exits(0);
    let is_there = || world.servers().iter().any(|process| process.session != process.pid);
    eventually("the wrapped server is there", Duration::from_secs(10), is_there);
}

/// A model whose llama-server is a wrapper that leaves it in the background.
pub fn run_behind_wrapper(world: &World, name: &str) {
    let script = "case \" $* \" in *\" --help \"*|*\" --version \"*) exec \"$LLAMA\" \"$@\";; esac\n\
        nohup \"$LLAMA\" \"$@\" >/dev/null 2>&1 &";
    define(world, name, 512, &format!("binary = \"{}\"", wrapper(world, script)));
    world.converges();
}

fn wrapper(world: &World, script: &str) -> String {
    let path = world.path().join("wrapper");
    fs::write(&path, format!("#!/bin/sh\nLLAMA='{}'\n{script}\n", llama_server().display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}
