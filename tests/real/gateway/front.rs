//! A gateway on a port, over real llama-servers, with a watcher of a few lines: it
//! starts what is asked for and stops what is unloaded.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use herdsman::model::{Address, InstanceId, ModelName, Timestamp};
use herdsman::owner::settings::serve::Serve;
use herdsman::serve::app::App;
use herdsman::serve::gateway::naming::Spool;
use herdsman::serve::gateway::own::Host;
use herdsman::serve::gateway::routes::About;
use herdsman::serve::gateway::{Backend, Gateway, Route, Routes, Standing};
use herdsman::serve::server::{Serving, bind, serve};
use herdsman::state::StateDir;
use tempfile::TempDir;

use crate::support::gguf::TinyGguf;
use crate::support::{eventually, free_port, get, llama_server};

const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway with its models.
pub struct Front {
    /// Where it listens.
    pub port: u16,
    pub gateway: Gateway,
    stage: Arc<Stage>,
    bell: Sender<Wake>,
    watcher: Option<thread::JoinHandle<()>>,
    serving: Option<Serving>,
}

enum Wake {
    Look,
    End,
}

/// The models and their servers.
struct Stage {
    directory: TempDir,
    state: StateDir,
    models: Mutex<BTreeMap<String, Model>>,
}

struct Model {
    on_demand: bool,
    /// Tokens.
    context: u32,
    server: Option<(Child, Arc<Backend>, Instant)>,
    started: u32,
}

impl Host for Stage {
    fn start(&self, model: &ModelName, _by: Option<&str>) -> Result<(), String> {
        Err(format!("{model} is not for tests of starts by hand"))
    }

    fn llama_server(&self) -> Option<PathBuf> {
        let own = self.directory.path().join("bin/llama-server");
        Some(if own.exists() { own } else { llama_server() })
    }

    fn state(&self) -> &StateDir {
        &self.state
    }

    fn metrics(&self) -> Result<String, String> {
        Ok("herdsman_up 1\n".to_owned())
    }
}

impl Front {
    /// Listens, with these on-demand models; each says its own name, for ever.
    pub fn new(models: &[&str]) -> Self {
        Self::with(models, 512, 0)
    }

    /// Listens, with on-demand models that take a minute or more for an answer.
    pub fn slow(models: &[&str]) -> Self {
        Self::with(models, 16_384, 2)
    }

    fn with(models: &[&str], context: u32, zero_layers: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cast = models.iter().map(|name| {
            let weights = weights(&directory, name);
            let tiny = TinyGguf::new(format!("{name} ")).name(*name).context(context.max(4096));
            tiny.zero_layers(zero_layers).write(&weights).unwrap();
            ((*name).to_owned(), Model { on_demand: true, context, server: None, started: 0 })
        });
        let models = Mutex::new(cast.collect());
        let state = StateDir::new(directory.path().join("state"));
        let stage = Arc::new(Stage { directory, state, models });
        let (bell, rung) = channel();
        let ring = Mutex::new(bell.clone());
        let gateway = Gateway::new(Serve::default(), move || {
            let _ended = ring.lock().unwrap().send(Wake::Look);
        });
        gateway.attach(Arc::clone(&stage) as Arc<dyn Host>);
        stage.publish(&gateway);
        let (watched, of_watcher) = (Arc::clone(&stage), gateway.clone());
        let watcher = thread::spawn(move || {
            while let Ok(Wake::Look) = rung.recv() {
                watched.look(&of_watcher);
            }
        });
        let listener = bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let port = listener.address().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        let spool = Spool::new(16 << 20, stage.directory.path().to_owned());
        let app = App { gateway: gateway.clone(), api: None, observer: None, spool };
        let serving = serve(app, vec![listener], None).unwrap();
        serving.learn();
        Self { port, gateway, stage, bell, watcher: Some(watcher), serving: Some(serving) }
    }

    /// Starts a model and waits until it is ready.
    pub fn start(&self, model: &str) {
        self.stage.start(&self.gateway, model);
    }

    /// Takes a model's server out of rotation, as before a stop.
    pub fn withdraw(&self, model: &str) {
        self.gateway.withdraw(&[self.instance(model)]);
        self.stage.publish_with(&self.gateway, Some(model));
    }

    /// Kills a model's server.
    pub fn stop(&self, model: &str) {
        self.stage.stop(&self.gateway, model);
    }

    /// Makes a model run for good.
    pub fn runs_for_good(&self, model: &str) {
        self.stage.models().get_mut(model).unwrap().on_demand = false;
        self.start(model);
    }

    /// How often a model's server was started.
    pub fn started(&self, model: &str) -> u32 {
        self.stage.models()[model].started
    }

    /// The port of a model's server.
    pub fn server_port(&self, model: &str) -> u16 {
        self.stage.models()[model].server.as_ref().unwrap().1.address.port.unwrap()
    }

    /// The instance of a model.
    pub fn instance(&self, model: &str) -> InstanceId {
        self.stage.models()[model].server.as_ref().unwrap().1.instance.clone()
    }

    pub fn state(&self) -> &StateDir {
        &self.stage.state
    }

    /// The llama-server for the chat page; a copy may be put there.
    pub fn binary(&self) -> PathBuf {
        self.stage.directory.path().join("bin/llama-server")
    }

    pub fn weights(&self) -> PathBuf {
        self.stage.directory.path().to_owned()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ended = self.bell.send(Wake::End);
        let _panicked = self.watcher.take().unwrap().join();
        drop(self.serving.take());
        let models = std::mem::take(&mut *self.stage.models());
        for (mut child, _, _) in models.into_values().filter_map(|model| model.server) {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn weights(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join(format!("{name}.gguf"))
}

impl Stage {
    fn models(&self) -> MutexGuard<'_, BTreeMap<String, Model>> {
        self.models.lock().unwrap()
    }

    fn look(&self, gateway: &Gateway) {
        let demand = gateway.demand(Timestamp(0));
        for (model, traffic) in demand.models {
            let since = self.models()[model.as_str()].server.as_ref().map(|(_, _, since)| since.elapsed());
            // An unload counts for the server that it was about.
            let is_unloaded =
                |since: Duration| traffic.unload.is_some_and(|at| Duration::from_millis(at.0.unsigned_abs()) < since);
            if traffic.waiting > 0 && since.is_none() {
                self.start(gateway, model.as_str());
            } else if since.is_some_and(is_unloaded) {
                self.stop(gateway, model.as_str());
            }
        }
    }

    fn stop(&self, gateway: &Gateway, model: &str) {
        let (mut child, _, _) = self.models().get_mut(model).unwrap().server.take().unwrap();
        self.publish(gateway);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn start(&self, gateway: &Gateway, name: &str) {
        let port = free_port();
        let log = self.state.logs().join(name).with_extension("log");
        std::fs::create_dir_all(log.parent().unwrap()).unwrap();
        let log = File::options().create(true).append(true).open(log).unwrap();
        let backend = {
            let mut models = self.models();
            let model = models.get_mut(name).unwrap();
            let mut command = Command::new(llama_server());
            command.arg("--model").arg(weights(&self.directory, name));
            command.args(["--alias", name, "--host", "127.0.0.1", "--threads", "1", "--parallel", "2"]);
            command.args(["--ctx-size", &model.context.to_string(), "--port", &port.to_string()]).stdin(Stdio::null());
            let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
            model.started += 1;
            let address = Address { host: "127.0.0.1".to_owned(), port: Some(port), ..Address::default() };
            let backend = Arc::new(Backend {
                instance: InstanceId(format!("{name}-{}", model.started)),
                generation: 1,
                address,
                max_in_flight: None,
                api_key: None,
            });
            model.server = Some((child, Arc::clone(&backend), Instant::now()));
            backend
        };
        self.publish_with(gateway, Some(name));
        eventually("the server is ready", PATIENCE, || get(port, "/health").is_ok_and(|(status, _)| status == 200));
        assert_eq!(backend.address.port, Some(port));
        self.publish(gateway);
    }

    fn publish(&self, gateway: &Gateway) {
        self.publish_with(gateway, None);
    }

    /// Publishes the routes; the server of `loading` is not ready yet.
    fn publish_with(&self, gateway: &Gateway, loading: Option<&str>) {
        let began = Instant::now();
        let models = self.models();
        let routes = models.iter().map(|(name, model)| {
            let standing = match &model.server {
                None => Standing::OnDemand,
                Some(_) if loading == Some(name) => Standing::Coming,
                Some((_, backend, _)) => Standing::Ready(Arc::clone(backend)),
            };
            Route {
                model: name.parse().unwrap(),
                aliases: vec![format!("{name}-alias")],
                listed: true,
                on_demand: model.on_demand,
                standing,
                about: About {
                    created: 1_700_000_000,
                    command: vec![llama_server().display().to_string(), "--alias".to_owned(), name.clone()],
                    ..About::default()
                },
            }
        });
        gateway.publish(Routes::new(began, routes.collect()));
    }
}
