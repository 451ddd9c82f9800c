//! Clients as people run them: OpenAI's and Anthropic's own, and a browser. The
//! scripts in `tests/clients` drive them and print what they got.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, thread};

use super::{Background, Ran, World, eventually};

/// How long a script may take for anything, on a machine that does much else
/// besides. Longer than the scripts' own patience, so that they say what failed.
const PATIENCE: Duration = Duration::from_secs(100);

/// A script of `tests/clients` that runs beside the test. Its [`World`] stops
/// what is left of it, the browser included, and removes the browser's profile.
pub struct Client {
    process: Background,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl World {
    /// The command that runs `tests/clients/SCRIPT`.
    pub fn client_command(&self, script: &str, arguments: &[&str]) -> Command {
        let temporary = self.path().join("home/tmp");
        fs::create_dir_all(&temporary).unwrap();
        let mut command = self.own(Command::new("python3"));
        command
            .env("TMPDIR", temporary)
            .env("PYTHONPATH", installed("sdks"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("OPENAI_API_KEY", "none")
            .env("ANTHROPIC_API_KEY", "none")
            .arg("-s")
            .arg(scripts().join(script))
            .args(arguments);
        if ["browser.py", "edit.py", "page.py", "injected.py"].contains(&script) {
            command.env("HERDSMAN_TEST_CHROMIUM", installed("chromium"));
            let pictures = std::env::var_os("HERDSMAN_TEST_SCREENSHOTS");
            command.envs(pictures.map(|folder| ("HERDSMAN_TEST_SCREENSHOTS", folder)));
        }
        command
    }

    /// Schemathesis, with the hooks of `tests/clients/api_hooks.py`.
    pub fn schemathesis(&self, arguments: &[&str]) -> Command {
        let paths = [installed("schemathesis"), scripts()];
        let mut command = self.own(Command::new("python3"));
        command
            .env("PYTHONPATH", std::env::join_paths(paths).unwrap())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("SCHEMATHESIS_HOOKS", "api_hooks")
            .args(["-s", "-m", "schemathesis.cli", "--config-file"])
            .arg(scripts().join("schemathesis.toml"))
            .args(arguments);
        command
    }

    /// Runs `tests/clients/SCRIPT` to its end, which must be a good one, and
    /// returns what it printed.
    #[track_caller]
    pub fn client(&self, script: &str, arguments: &[&str]) -> String {
        Ran::of(&mut self.client_command(script, arguments)).exits(0).stdout
    }

    /// Starts `command`, which [`World::client_command`] made.
    pub fn start_client(&self, mut command: Command) -> Client {
        let paths = (1..).map(|number| self.path().join(format!("client-{number}.out")));
        let stdout = paths.into_iter().find(|path| !path.exists()).unwrap();
        let stderr = stdout.with_extension("err");
        let file = |path: &Path| fs::File::create(path).unwrap();
        // Held open: a script that reads to the end of it waits for the test.
        command.stdin(Stdio::piped()).stdout(file(&stdout)).stderr(file(&stderr));
        Client { process: Background::from(command.spawn().unwrap()), stdout, stderr }
    }
}

impl Client {
    /// Waits until it has printed the line `line`.
    #[track_caller]
    pub fn eventually_prints(&mut self, line: &str) {
        eventually(&format!("the client prints {line:?}"), PATIENCE, || {
            let printed = fs::read_to_string(&self.stdout).unwrap();
            let ended = self.process.child().try_wait().unwrap();
            assert!(ended.is_none() || printed.contains(line), "the client ended without {line:?}");
            printed.lines().any(|printed| printed == line)
        });
    }

    /// Closes its standard input, waits for its end, which must be a good one,
    /// and returns what it printed.
    #[track_caller]
    pub fn ends(mut self) -> String {
        drop(self.process.child().stdin.take());
        let mut end = None;
        eventually("the client ends", PATIENCE, || {
            end = self.process.child().try_wait().unwrap();
            end.is_some()
        });
        let printed = fs::read_to_string(&self.stdout).unwrap();
        assert!(end.is_some_and(|end| end.success()), "the client ended with {end:?}; it printed:\n{printed}");
        printed
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if thread::panicking() {
            // Panics nowhere: a second one would hide the first.
            let errors = fs::read(&self.stderr).unwrap_or_default();
            eprintln!("the client said:\n{}", String::from_utf8_lossy(&errors));
        }
    }
}

/// `tests/clients`.
fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// What `tests/clients/install.sh` has installed, on first use, as `what`; tests
/// of other processes wait for that one install.
///
/// # Panics
/// There is none to be had: a test without its client has not passed.
fn installed(what: &'static str) -> PathBuf {
    static SDKS: OnceLock<PathBuf> = OnceLock::new();
    static SCHEMATHESIS: OnceLock<PathBuf> = OnceLock::new();
    static CHROMIUM: OnceLock<PathBuf> = OnceLock::new();
    let kept = match what {
        "sdks" => &SDKS,
        "schemathesis" => &SCHEMATHESIS,
        _ => &CHROMIUM,
    };
    kept.get_or_init(|| {
        let install = Command::new("sh").arg(scripts().join("install.sh")).arg(what).stdin(Stdio::null()).output();
        let install = install.unwrap_or_else(|error| panic!("cannot run tests/clients/install.sh: {error}"));
        let diagnostics = String::from_utf8_lossy(&install.stderr);
        assert!(install.status.success(), "tests need real clients and got none ({what}):\n{diagnostics}");
        PathBuf::from(String::from_utf8(install.stdout).unwrap().trim_end())
    })
    .clone()
}
