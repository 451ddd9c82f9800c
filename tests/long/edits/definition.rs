//! What a definition file says, and in which ways it is wrong.

use fastrand::Rng;

/// The weights there are; each says its own name.
pub const WEIGHTS: [&str; 3] = ["ash", "birch", "cedar"];

/// Weights that look right and cannot be loaded.
pub const ROTTEN: &str = "rotten";

/// A valid definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    pub running: bool,
    pub weights: &'static str,
    /// `--seed`: tells one command line from another.
    pub seed: u32,
    /// Changes only what is recorded.
    pub description: u32,
    /// Declared; else one is allotted.
    pub port: Option<u16>,
}

impl Definition {
    pub fn random(rng: &mut Rng) -> Self {
        let (running, weights) = (rng.u8(..10) > 0, weights(rng));
        Self { running, weights, seed: rng.u32(..100_000), description: rng.u32(..100), port: None }
    }

    /// As somebody changed it.
    pub fn changed(&self, rng: &mut Rng) -> Self {
        let mut changed = self.clone();
        match rng.u8(..10) {
            0..5 => changed.seed = rng.u32(..100_000),
            5..7 => changed.weights = weights(rng),
            7..9 => changed.description = rng.u32(..100),
            _ => changed.running = !self.running,
        }
        changed
    }

    /// Whether a server of the one serves the other as well.
    pub fn serves(&self, other: &Self) -> bool {
        let what = |it: &Self| (it.running, it.weights, it.seed, it.port);
        what(self) == what(other)
    }

    /// The file, with a comment that means nothing.
    pub fn toml(&self, comment: u32) -> String {
        let Self { running, weights, seed, description, port } = self;
        let state = if *running { "running" } else { "stopped" };
        let port = port.map_or_else(String::new, |port| format!("port = {port}\n"));
        format!(
            "description = \"number {description}\" # {comment}\nstate = \"{state}\"\n{port}\
             model = \"../weights/{weights}.gguf\"\n\n[parameters]\nctx_size = 512\nthreads = 1\nseed = {seed}\n"
        )
    }

    /// The file with something wrong in it that herdsman must not act upon.
    pub fn invalid(&self, rng: &mut Rng) -> String {
        let toml = self.toml(0);
        match rng.u8(..6) {
            0 => String::new(),
            // In the middle of the path.
            1 => toml[..toml.find(".gguf").unwrap()].to_owned(),
            2 => toml.replace("ctx_size", "ctx_sise"),
            3 => toml.replace("threads = 1", "threads = \"many\""),
            4 => toml.replace(self.weights, "not-there"),
            // Only llama-server itself knows that there is none.
            _ => format!("{toml}device = \"none-of-this-name\"\n"),
        }
    }

    /// The file as a valid one, whose server does not become ready.
    pub fn failing(&self) -> String {
        self.toml(0).replace(self.weights, ROTTEN)
    }
}

fn weights(rng: &mut Rng) -> &'static str {
    WEIGHTS[rng.usize(..WEIGHTS.len())]
}
