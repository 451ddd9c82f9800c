//! Real llama-servers that are started when they are asked for: two models, `a` and
//! `b`, of which one runs at a time.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::{PATIENCE, signal};
use crate::proxies::bare::Bare;
use crate::proxies::{Proxy, Started, completion, herdsman, llama_swap, router};
use crate::rows::Sample;
use crate::support::gguf::TinyGguf;
use crate::support::{Stat, processes};

/// Writes the weights of model `name` into `dir`: they say its name for ever.
pub fn weights(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(format!("{name}.gguf"));
    TinyGguf::new(format!("{name} ")).name(name).write(&path).expect("the weights");
    path
}

/// What starts and stops the servers.
pub enum OnDemand {
    /// The benchmark itself.
    Bare(Bare),
    /// A proxy, with its way to stop the server of a model.
    Proxy(Proxy, fn(u16, &str) -> Result<(), String>),
}

/// Starts everything that can start servers on demand.
pub fn start_all() -> Vec<(&'static str, Result<OnDemand, String>)> {
    let proxy = |started: Started, unload| started.map(|proxy| OnDemand::Proxy(proxy, unload));
    vec![
        ("direct", Ok(OnDemand::Bare(Bare::new()))),
        ("router", proxy(router::on_demand(), router::unload)),
        ("llama-swap", proxy(llama_swap::on_demand(), llama_swap::unload)),
        // It speaks the router's protocol.
        ("herdsman", proxy(herdsman::on_demand(), router::unload)),
    ]
}

/// The first answer of a model that is not running, ms.
pub fn first_answer(servers: &mut OnDemand) -> Sample {
    servers.ready("a")?;
    servers.unload("a")?;
    Ok(vec![Some(milliseconds(servers.ask("a")?))])
}

/// The first answer of the other model, ms.
pub fn swap(servers: &mut OnDemand) -> Sample {
    servers.ready("a")?;
    Ok(vec![Some(milliseconds(servers.ask("b")?))])
}

/// The next answer after the server was killed, ms. It is asked for at once: before the
/// proxy can know.
pub fn killed(servers: &mut OnDemand) -> Sample {
    if matches!(servers, OnDemand::Bare(_)) {
        return Ok(vec![None]);
    }
    servers.ready("a")?;
    servers.kill("a")?;
    let answered = servers.ask("a");
    if answered.is_err() {
        // Where that fails, too, the next round says so.
        let _ = servers.unload("a");
    }
    Ok(vec![Some(milliseconds(answered?))])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl OnDemand {
    /// The proxy, if there is one.
    pub fn proxy(&self) -> Option<&Proxy> {
        if let Self::Proxy(proxy, _) = self { Some(proxy) } else { None }
    }

    fn ask(&mut self, model: &str) -> Result<Duration, String> {
        match self {
            Self::Bare(bare) => bare.ask(model),
            Self::Proxy(proxy, _) => {
                let start = Instant::now();
                completion(proxy.port(), model)?;
                Ok(start.elapsed())
            }
        }
    }

    /// Asks `model` until it answers.
    ///
    /// # Errors
    /// It does not answer at all.
    pub fn ready(&mut self, model: &str) -> Result<(), String> {
        let start = Instant::now();
        while let Err(problem) = self.ask(model) {
            if start.elapsed() > PATIENCE {
                return Err(format!("{model} does not answer: {problem}"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn unload(&mut self, model: &str) -> Result<(), String> {
        match self {
            Self::Bare(bare) => bare.stop(),
            Self::Proxy(proxy, unload) => unload(proxy.port(), model)?,
        }
        Ok(())
    }

    /// Kills the server of `model`, a child of the proxy.
    fn kill(&self, model: &str) -> Result<(), String> {
        let proxy = self.proxy().and_then(|proxy| proxy.pids.first()).ok_or("nothing to kill a server of")?;
        let file = format!("/{model}.gguf");
        let servers = processes(|process| {
            let is_child = Stat::of(process.pid).is_some_and(|stat| u32::try_from(stat.parent) == Ok(*proxy));
            is_child && process.arguments.iter().any(|argument| argument.ends_with(&file))
        });
        let [server] = &servers[..] else { return Err(format!("{} servers of {model}", servers.len())) };
        signal(server.pid.unsigned_abs(), Signal::KILL);
        Ok(())
    }
}
