//! Where a rollback serves: on the port on which the model was ready before the
//! edit that failed.

use herdsman::plan::Command;

use crate::simulated::{Edit, World, model};

fn port(world: &World, model: &str) -> Option<(u16, bool)> {
    world.store.records().models[model].port.map(|port| (port.port, port.proven))
}

#[test]
fn an_edit_to_a_socket_that_fails_is_rolled_back_to_the_port_before() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").socket("/run/chat.sock").fate("dies"));
    world.settle();
    assert_eq!(world.machine.server("chat").port, Some(8100));
    assert_eq!(port(&world, "chat"), Some((8100, true)));
    // Once it works, the port is given up.
    world.define(model("chat").socket("/run/chat.sock"));
    world.settle();
    assert_eq!((world.machine.server("chat").port, port(&world, "chat")), (None, None));
    assert!(world.plan().is_empty(), "{}", world.planned());
}

#[test]
fn an_edit_to_a_port_that_fails_is_rolled_back_to_the_port_before() {
    for before in [model("chat"), model("chat").port(8100)] {
        let mut world = World::settled([before]);
        world.define(model("chat").port(8300).fate("dies"));
        world.settle();
        assert_eq!(world.machine.server("chat").port, Some(8100));
        assert_eq!(port(&world, "chat"), Some((8100, true)));
        assert!(world.planned().starts_with("wait    chat: "), "{}", world.planned());
        world.define(model("chat").port(8300));
        world.settle();
        assert_eq!(world.machine.server("chat").port, Some(8300));
        assert_eq!(port(&world, "chat"), Some((8300, true)));
        assert!(world.plan().is_empty(), "{}", world.planned());
    }
}

#[test]
fn a_rollback_whose_port_another_model_took_gets_a_free_one() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").socket("/run/chat.sock").fate("dies"));
    world.define(model("other").port(8100));
    world.settle();
    assert_eq!(world.machine.server("other").port, Some(8100));
    assert_eq!(world.machine.server("chat").port, Some(8101));
    assert_eq!(port(&world, "chat"), Some((8101, true)));
    // The next start gets the same.
    world.machine.kill("chat", herdsman::model::FailureCause::Spec, "segmentation fault");
    world.settle();
    assert_eq!(world.machine.server("chat").port, Some(8101));
}

#[test]
fn a_rollback_waits_while_no_port_is_free() {
    let mut world = World::settled([model("chat")]);
    world.site.port_range = (8100, 8100);
    world.define(model("chat").socket("/run/chat.sock").fate("dies"));
    world.define(model("other").port(8100));
    world.settle();
    assert!(world.machine.of("chat").is_empty());
    assert!(world.planned().contains("wait    chat: free_port("), "{}", world.planned());
    world.site.port_range = (8100, 8101);
    world.settle();
    assert_eq!(world.machine.server("chat").port, Some(8101));
}

#[test]
fn a_port_that_only_a_failed_edit_left_is_not_given_away() {
    let mut world = World::settled([model("chat"), model("other")]);
    world.define(model("chat").port(8300).fate("dies"));
    world.settle();
    world.define(model("other").port(8100));
    world.settle();
    assert_eq!(world.machine.server("chat").port, Some(8100));
    assert_eq!(world.machine.server("other").port, Some(8101));
}

#[test]
fn a_declared_port_that_a_stranger_holds_is_waited_for_with_backoff() {
    let mut world = World::settled([model("chat")]);
    world.define(model("chat").port(8300));
    world.pass();
    world.machine.kill("chat", herdsman::model::FailureCause::PortBusy, "couldn't bind HTTP server socket");
    world.pass();
    assert!(world.planned().contains("wait    chat: backoff("), "{}", world.planned());
}

#[test]
fn a_model_that_never_had_a_port_gets_one_although_its_file_is_broken() {
    let mut world = World::settled([model("chat").stopped()]);
    world.by_hand("chat", Command::Start).unwrap();
    world.spoil("chat", Some("chat"));
    world.settle();
    assert_eq!(world.machine.server("chat").port, Some(8100));
    assert_eq!(port(&world, "chat"), Some((8100, true)));
}
