//! Models by the names that clients know them by.

use crate::support::World;

/// A model that is imported from elsewhere, where it was called `qwen:7b`.
fn world() -> World {
    let world = World::new();
    world.tiny("qwen-7b");
    world.write_definition("qwen-7b", &format!("aliases = [\"qwen:7b\", \"gpt\"]\n{}", World::tiny_toml("qwen-7b")));
    world.tiny("other");
    world.converges();
    world
}

#[test]
fn commands_take_an_alias_for_a_name() {
    let world = world();
    for alias in ["qwen:7b", "gpt"] {
        world.run(&["why", alias]).exits(0).says(&["qwen-7b"]);
        world.run(&["status", alias]).exits(0).says(&["qwen-7b"]).does_not_say("other");
        world.run(&["history", alias]).exits(0).says(&["qwen-7b"]).does_not_say("other");
        world.run(&["logs", alias, "-n", "all"]).exits(0).says(&["listening"]);
        world.run(&["stop", alias]).exits(0).says(&["qwen-7b"]);
        world.run(&["start", alias]).exits(0).says(&["qwen-7b"]);
        world.run(&["restart", alias]).exits(0).says(&["qwen-7b"]);
        world.run(&["suspend", alias]).exits(0).says(&["suspended qwen-7b"]);
        world.run(&["resume", alias]).exits(0).says(&["resumed qwen-7b"]);
    }
    world.run(&["reconcile", "--target", "gpt"]).exits(64).says(&["gpt is an alias of qwen-7b; use --target qwen-7b"]);
    world.run(&["why", "qwen:8b"]).exits(64).says(&["\"qwen:8b\" is no alias of a model", "`herdsman status` lists"]);
    world.run(&["why", "gpu"]).exits(64).says(&["there is no model named gpu"]);

    // A model of that name goes before, the name of one that is gone does not.
    world.tiny("old");
    world.converges();
    world.remove_definition("old");
    world.run(&["reconcile", "--max-deletes", "1"]).exits(0);
    world.run(&["why", "old"]).exits(0).says(&["old"]);
    world.write_definition("other", &format!("aliases = [\"old\"]\n{}", World::tiny_toml("other")));
    world.converges();
    world.run(&["status", "old"]).exits(0).says(&["other"]);
}
