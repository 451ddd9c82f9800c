//! llama-server's router in the gateway's place.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{Background, World, eventually, free_port, get, llama_server, processes};

/// A router of the models that are defined in a world.
pub struct StandIn {
    _process: Background,
    pub url: String,
}

impl StandIn {
    pub fn new(world: &World, arguments: &[&str]) -> Self {
        let mut preset = String::from("version = 1\n");
        for entry in fs::read_dir(world.models_dir()).unwrap() {
            let path = entry.unwrap().path();
            let toml: toml::Table = fs::read_to_string(&path).unwrap().parse().unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let weights = world.path().join("weights").join(format!("{name}.gguf"));
            preset += &format!("\n[{name}]\nmodel = {}\n", weights.display());
            for (key, value) in toml["parameters"].as_table().unwrap() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                preset += &format!("{} = {value}\n", key.replace('_', "-"));
            }
        }
        fs::write(world.path().join("preset.ini"), preset).unwrap();
        let port = free_port();
        let mut command = world.own(Command::new(llama_server()));
        command.args(["--models-preset", "preset.ini", "--port", &port.to_string()]).args(arguments);
        let log = fs::File::create(world.path().join("router.log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let process = Background::from(command.spawn().unwrap());
        eventually("the router answers", std::time::Duration::from_secs(30), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() && get(port, "/health").is_ok()
        });
        Self { _process: process, url: format!("http://127.0.0.1:{port}") }
    }

    pub fn kill(&self, world: &World, model: &str) {
        let here = world.path().to_str().unwrap().to_owned();
        let found = processes(|process| {
            process.arguments.windows(2).any(|pair| pair == ["--alias", model])
                && process.arguments.iter().any(|argument| argument.contains(&here))
        });
        assert_eq!(found.len(), 1, "{found:?}");
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(found[0].pid).unwrap(),
            rustix::process::Signal::KILL,
        )
        .unwrap();
    }
}
