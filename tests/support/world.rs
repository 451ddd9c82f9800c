//! A machine in a temporary directory: definitions, weights, state, ports.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use super::gguf::TinyGguf;
use super::{PortBlock, Process, llama_server, processes, stop};

/// The variable that marks every program a world runs. herdsman does not hand
/// it on to the servers it starts: those carry the state id.
const MARK: &str = "HERDSMAN_TEST_WORLD";

/// `models.d/`, `weights/` and `state/` in a temporary directory, with ports
/// of its own. Dropping it stops every process that belongs to it.
pub struct World {
    dir: TempDir,
    ports: PortBlock,
}

impl World {
    /// An empty world: no definition, no state yet.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("herdsman-test-").tempdir().unwrap();
        for folder in ["models.d", "weights", "home"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Self { dir, ports: PortBlock::take() }
    }

    /// The directory that holds everything; what herdsman is run in.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// `models.d`.
    pub fn models_dir(&self) -> PathBuf {
        self.path().join("models.d")
    }

    /// The state directory; herdsman makes it.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("state")
    }

    /// The settings of this world's host; there are none until a test writes them.
    pub fn settings(&self) -> PathBuf {
        self.path().join("herdsman.toml")
    }

    /// The ports this world allots from.
    pub fn ports(&self) -> &PortBlock {
        &self.ports
    }

    /// Writes or replaces `models.d/NAME.toml`, at once as an editor or Git does.
    pub fn write_definition(&self, name: &str, toml: &str) -> PathBuf {
        let path = self.models_dir().join(format!("{name}.toml"));
        let partial = self.path().join(format!("{name}.partial"));
        fs::write(&partial, toml).unwrap();
        fs::rename(&partial, &path).unwrap();
        path
    }

    /// Deletes `models.d/NAME.toml`.
    pub fn remove_definition(&self, name: &str) {
        fs::remove_file(self.models_dir().join(format!("{name}.toml"))).unwrap();
    }

    /// Writes or replaces `weights/NAME.gguf`, a model that says `text` for ever.
    pub fn weights(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join("weights").join(format!("{name}.gguf"));
        TinyGguf::new(text).name(name).write(&path).unwrap();
        path
    }

    /// A tiny model that says its own name: weights and definition.
    pub fn tiny(&self, name: &str) {
        self.weights(name, &format!("{name} "));
        self.write_definition(name, &Self::tiny_toml(name));
    }

    /// The definition that [`World::tiny`] writes, to be added to.
    pub fn tiny_toml(name: &str) -> String {
        format!("model = \"../weights/{name}.gguf\"\n[parameters]\nctx_size = 512\nthreads = 1\n")
    }

    /// Weights that pass every check of the file and die at load: of an
    /// architecture no llama-server knows.
    pub fn weights_that_die(&self, name: &str) -> PathBuf {
        let path = self.weights(name, "never said ");
        let mut bytes = fs::read(&path).unwrap();
        let key = b"general.architecture";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
        let value = at + bytes[at..].windows(5).position(|w| w == b"llama").unwrap();
        bytes[value..value + 5].copy_from_slice(b"lzzma");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Weights that look right and lack what only llama-server asks for.
    pub fn weights_without_blocks(&self, name: &str) -> PathBuf {
        let path = self.weights(name, "never said ");
        let mut bytes = fs::read(&path).unwrap();
        let key = b"llama.block_count";
        let at = bytes.windows(key.len()).position(|w| w == key).unwrap();
        bytes[at + key.len() - 1] = b'X';
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Runs herdsman to its end, with this world's directories and ports.
    pub fn herdsman(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Starts herdsman (`watch`) and returns at once.
    pub fn start(&self, arguments: &[&str]) -> Background {
        let log = |name: &str| fs::File::create(self.path().join(name)).unwrap();
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(log("stdout.log")).stderr(log("stderr.log"));
        Background(command.spawn().unwrap())
    }

    /// herdsman as this world runs it, in [`World::path`] with a clean
    /// environment. Variables say where things are, so that a test may
    /// say otherwise by option or variable.
    pub fn command(&self) -> Command {
        let ports = self.ports.range();
        let mut command = self.own(Command::new(env!("CARGO_BIN_EXE_herdsman")));
        command
            .env("XDG_STATE_HOME", self.path().join("home/state"))
            .env("HERDSMAN_MODELS_DIR", "models.d")
            .env("HERDSMAN_STATE_DIR", "state")
            .envs(self.settings().exists().then_some(("HERDSMAN_SETTINGS", self.settings())))
            .env("HERDSMAN_LLAMA_SERVER", llama_server())
            .arg("--port-range")
            .arg(format!("{}-{}", ports.start(), ports.end()));
        command
    }

    /// `command` in [`World::path`] with a clean environment, marked so that the
    /// world's end is its end.
    pub fn own(&self, mut command: Command) -> Command {
        command
            .current_dir(self.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.path().join("home"))
            .env(MARK, self.path());
        command
    }

    /// [`World::command`] in namespaces of users and mounts of its own, where
    /// `setup` (sh) was run before: mounts and limits for herdsman alone. Its
    /// pid is that of the command.
    pub fn command_after(&self, setup: &str) -> Command {
        let herdsman = self.command();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-euc", &format!("{setup}; exec \"$@\""), "sh"]);
        command.arg(herdsman.get_program()).args(herdsman.get_args());
        command.env_clear().envs(herdsman.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.path());
        command
    }

    /// The live instances, as `(pid, model)` in order of model, then pid.
    pub fn instances(&self) -> Vec<(i32, String)> {
        let leaders = self.servers().into_iter().filter(|process| process.session == process.pid);
        let mut instances: Vec<_> = leaders
            .map(|process| (process.pid, process.variable("HERDSMAN_MODEL").unwrap_or_default().to_owned()))
            .collect();
        instances.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
        instances
    }

    /// Every live process that carries this world's state id: instances and
    /// whatever they started.
    pub fn servers(&self) -> Vec<Process> {
        match fs::read_to_string(self.state_dir().join("id")) {
            Ok(id) => processes(|process| process.variable("HERDSMAN_STATE") == Some(id.trim_end())),
            Err(_) => Vec::new(),
        }
    }

    /// Every live process whose command line names a file of this world: how
    /// servers are found when a test has lost the state id.
    fn users_of_files(&self) -> Vec<Process> {
        let inside = self.path().to_string_lossy();
        processes(|process| process.arguments.iter().any(|argument| argument.contains(&*inside)))
    }

    /// Stops everything that belongs to this world, herdsman first, lest it
    /// start again what is stopped; `false` if something is still there.
    pub fn stop_all(&self) -> bool {
        let here = self.path().to_str();
        let herdsmen = processes(|process| process.variable(MARK) == here);
        stop(&herdsmen) && stop(&self.servers()) && stop(&self.users_of_files())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let gone = self.stop_all();
        // A second panic while unwinding would hide the first.
        assert!(gone || std::thread::panicking(), "processes of {} are still there", self.path().display());
    }
}

/// A herdsman that runs beside the test; killed and waited for when dropped.
pub struct Background(Child);

impl From<Child> for Background {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Background {
    /// The process.
    pub fn child(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Fails only for a process that has been waited for already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
