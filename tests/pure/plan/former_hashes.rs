//! Upgrades from a herdsman whose spec hashes are of the first recipe.

use herdsman::model::{FailureCause, Spec};
use insta::assert_snapshot;

use crate::simulated::{Edit, World, model};

/// Settled by the former herdsman: an allotted port, a declared one, a socket,
/// and one that never ran.
fn upgraded() -> World {
    let mut world = World::settled([
        model("allotted"),
        model("declared").port(8200),
        model("socket").socket("/run/s.sock"),
        model("stopped").stopped(),
    ]);
    world.by_a_former_herdsman();
    assert!(world.machine.servers.iter().all(|server| server.spec.is_v1()));
    world
}

fn pids(world: &World) -> Vec<i32> {
    world.machine.servers.iter().map(|server| server.handle.pid()).collect()
}

#[test]
fn an_upgrade_restarts_nothing_and_writes_nothing() {
    let mut world = upgraded();
    let (records, before) = (world.store.records(), pids(&world));
    assert!(world.plan().is_empty(), "{}", world.planned());
    world.settle();
    assert_eq!((world.store.records(), pids(&world)), (records, before));
}

#[test]
fn an_upgrade_that_lost_the_database_adopts_what_runs() {
    let mut world = upgraded();
    let before = pids(&world);
    world.lose_database();
    world.settle();
    assert_eq!(pids(&world), before);
    assert!(world.plan().is_empty(), "{}", world.planned());
    assert_eq!(world.store.records().models["allotted"].generation.number, 1);
}

#[test]
fn an_edit_after_an_upgrade_tells_only_what_changed() {
    let mut world = upgraded();
    world.define(model("allotted").option("ctx_size", "2"));
    assert_snapshot!(world.planned(), @r"
    restart allotted: field_changed(ctx_size set to 2, impact restart, models.d/allotted.toml:2)
            - record row again, generation 2, generation 2 accepted by release 1
            - stop pid 101
            - start generation 2 of allotted on port 8100
    ");
    world.settle();
    let record = world.store.records().models["allotted"].clone();
    assert!(!record.generation.hash.is_v1());
    assert_eq!(record.generation.spec().unwrap().port, None);
}

#[test]
fn an_edit_taken_back_after_an_upgrade_leaves_the_server_alone() {
    let mut world = upgraded();
    let before = pids(&world);
    world.machine.servers[0].busy = herdsman::model::Busy::Yes(1);
    world.define(model("allotted").option("ctx_size", "2"));
    world.pass();
    world.define(model("allotted"));
    world.settle();
    assert_eq!(pids(&world), before);
    assert!(world.plan().is_empty(), "{}", world.planned());
}

#[test]
fn an_edit_that_fails_after_an_upgrade_is_rolled_back_to_what_ran_before() {
    let mut world = upgraded();
    world.define(model("allotted").fate("dies"));
    world.settle();
    let serves = world.machine.server("allotted");
    assert_eq!((serves.spec.is_v1(), serves.port), (true, Some(8100)));
    assert!(world.planned().starts_with("wait    allotted: "), "{}", world.planned());
}

#[test]
fn a_crash_after_an_upgrade_starts_the_generation_that_is_recorded() {
    let mut world = upgraded();
    world.machine.kill("allotted", FailureCause::Spec, "segmentation fault");
    world.settle();
    let record = world.store.records().models["allotted"].clone();
    assert_eq!((record.generation.number, record.instances[0].generation), (1, 1));
    assert_eq!(record.instances[0].spec, record.generation.hash);
}

#[test]
fn a_declared_port_is_another_after_an_upgrade() {
    let mut world = upgraded();
    world.define(model("allotted").port(8300));
    assert!(world.planned().starts_with("restart allotted: field_changed(port 8100 -> 8300, "), "{}", world.planned());
    world.settle();
    assert!(world.plan().is_empty(), "{}", world.planned());
}

#[test]
fn to_declare_the_port_that_a_model_has_changes_nothing() {
    for upgraded in [false, true] {
        let mut world = World::settled([model("a"), model("b").port(8200)]);
        if upgraded {
            world.by_a_former_herdsman();
        }
        let records = world.store.records();
        world.define(model("a").port(8100));
        world.define(model("b"));
        assert!(world.plan().is_empty(), "{}", world.planned());
        assert_eq!(world.store.records(), records);
        // What is edited besides is shown, and the port is not.
        world.define(model("a").port(8100).option("ctx_size", "2"));
        assert!(
            world
                .planned()
                .starts_with("restart a: field_changed(ctx_size set to 2, impact restart, models.d/a.toml:3)\n"),
            "{}",
            world.planned()
        );
        world.settle();
        assert!(world.plan().is_empty(), "{}", world.planned());
    }
}

#[test]
fn another_allotted_port_makes_no_generation() {
    let mut world = World::new([model("chat")]);
    world.pass();
    world.machine.kill("chat", FailureCause::PortBusy, "couldn't bind HTTP server socket");
    world.settle();
    let record = world.store.records().models["chat"].clone();
    assert_eq!((record.generation.number, record.port.map(|port| port.port)), (1, Some(8101)));
    assert_eq!(record.instances[0].spec, *model("chat").hash());
}

/// As a herdsman of the first recipe wrote it, and what that made of it.
const FORMER_SPEC: &str = r#"{"host":"127.0.0.1","port":8101,
    "options":{"ctx_size":{"value":{"one":"8192"},"args":["--ctx-size","8192"]},
        "mmap":{"value":{"flag":false},"args":["--no-mmap"]},
        "model":{"value":{"one":"/models/a.gguf"},"args":["--model","/models/a.gguf"]},
        "tensor_split":{"value":{"many":["1","2"]},"args":["--tensor-split","1,2"]}},
    "env":{"CUDA_VISIBLE_DEVICES":"0"},
    "binary":"/opt/llama.cpp/bin/llama-server",
    "files":{"/models/a.gguf":{"size":4096,"mtime_ns":1700000000123456789,"inode":42}},
    "secrets":{"LLAMA_API_KEY":{"source":{"file":"/run/secrets/llama"},"digest":"0123456789abcdef"}}}"#;

#[test]
fn the_first_recipe_is_what_it_was() {
    let spec: Spec = serde_json::from_str(FORMER_SPEC).unwrap();
    assert_eq!(spec.hash_v1(spec.port).0, "v1:8a4dd4c0fa8cf84c5750ddaf9cdaaf8a");
    assert_eq!(spec.hash_v1(None).0, "v1:408693fc537335b1218dd6a59ac56643");
    assert_eq!(spec.hash_v1(Some(8105)).0, "v1:77b123063a3c36485d8db10929792e0a");
}
