//! One address for all models, as clients see it.

mod browser;
mod clients;
mod stand_in;

use crate::support::World;
use crate::support::gguf::TinyGguf;

/// A model that says its name slowly, about 2,000 times: there is time to do
/// something while it answers.
fn slow(world: &World, name: &str) {
    let path = world.path().join(format!("weights/{name}.gguf"));
    TinyGguf::new(format!("{name} ")).zero_layers(5).write(&path).unwrap();
    world.write_definition(name, &format!("model = \"../weights/{name}.gguf\"\n[parameters]\nctx_size = 2048\n"));
}

/// A model for embeddings.
fn embeds(world: &World, name: &str) {
    world.weights(name, &format!("{name} "));
    world.write_definition(name, &format!("{}embedding = true\npooling = \"mean\"\n", World::tiny_toml(name)));
}
