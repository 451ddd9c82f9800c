//! Models for clients.

use crate::support::World;
use crate::support::gguf::TinyGguf;

/// A tiny model that starts when it is asked for.
pub fn on_demand(world: &World, name: &str) {
    world.tiny(name);
    define_on_demand(world, name, &World::tiny_toml(name));
}

/// A model for embeddings that starts when it is asked for.
pub fn embeds_on_demand(world: &World, name: &str) {
    world.weights(name, &format!("{name} "));
    define_on_demand(world, name, &format!("{}embedding = true\npooling = \"mean\"\n", World::tiny_toml(name)));
}

/// A model that starts when it is asked for, of this definition.
pub fn define_on_demand(world: &World, name: &str, toml: &str) {
    world.write_definition(name, &format!("state = \"on_demand\"\n{toml}"));
}

/// A model that says its name about 2,000 times, slowly: there is time to do
/// something while it answers. It runs from the start.
pub fn slow(world: &World, name: &str) {
    let path = world.path().join(format!("weights/{name}.gguf"));
    TinyGguf::new(format!("{name} ")).zero_layers(2).write(&path).unwrap();
    world.write_definition(name, &World::tiny_toml(name).replace("512", "2048"));
}
