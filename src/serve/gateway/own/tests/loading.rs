//! Loading and unloading, in the words of the router and of llama-swap.

use super::*;

#[test]
fn loading_asks_for_an_on_demand_model_and_starts_another_by_hand() {
    let scene = Scene::new();
    let traffic = |name: &str| {
        let demand = scene.gateway.demand(Timestamp(0));
        demand.models.get(&name.parse::<ModelName>().unwrap()).copied().unwrap_or_default()
    };
    assert_eq!(scene.ask("POST /models/load", r#"{"model": "eyes"}"#), (200, r#"{"success":true}"#.to_owned()));
    assert_eq!(traffic("eyes").waiting, 1);
    assert!(scene.host.started.lock().unwrap().is_empty());
    // Once it is ready, nobody waits and nothing is in flight.
    scene.gateway.publish(Routes::new(Instant::now(), vec![route("eyes", true, ready("eyes"))]));
    scene.runtime.block_on(async {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!((traffic("eyes").waiting, traffic("eyes").in_flight), (0, 0));

    scene.gateway.publish(routes());
    assert_eq!(scene.ask("POST /models/load", r#"{"model": "stopped"}"#).0, 200);
    assert_eq!(*scene.host.started.lock().unwrap(), ["stopped by nobody"]);
}

#[test]
fn unloading_tells_the_planner_until_the_model_is_asked_for_again() {
    let scene = Scene::new();
    let unloaded = || {
        let demand = scene.gateway.demand(Timestamp(0));
        let unloaded = demand.models.iter().filter(|(_, traffic)| traffic.unload.is_some());
        unloaded.map(|(model, _)| model.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(scene.ask("POST /models/unload", r#"{"model": "gpt-4o"}"#), (200, r#"{"success":true}"#.to_owned()));
    assert_eq!(unloaded(), ["chat"]);
    assert_eq!(scene.rings.load(Ordering::Relaxed), 1);
    let asker = scene.gateway.ask(&"chat".parse().unwrap(), Instant::now(), true).unwrap();
    assert!(unloaded().is_empty());
    drop(asker);
    // All that can be unloaded: not those that run because their definition says so.
    assert_eq!(scene.ask("POST /unload", ""), (200, "OK".to_owned()));
    assert_eq!(unloaded(), ["chat", "loads"]);
}

#[test]
fn unloading_ends_a_load_that_still_waits() {
    let scene = Scene::new();
    let waiting = || {
        let yields = async {
            for _ in 0..10 {
                tokio::task::yield_now().await
            }
        };
        scene.runtime.block_on(yields);
        scene
            .gateway
            .demand(Timestamp(0))
            .models
            .get(&"eyes".parse::<ModelName>().unwrap())
            .map(|traffic| traffic.waiting)
    };
    let again =
        |standing: Standing| scene.gateway.publish(Routes::new(Instant::now(), vec![route("eyes", true, standing)]));
    for unload in ["POST /models/unload", "POST /api/models/unload/eyes", "POST /unload"] {
        // Before and after a pass has seen that it is asked for.
        for standing in [Standing::OnDemand, Standing::Coming] {
            again(Standing::OnDemand);
            assert_eq!(scene.ask("POST /models/load", r#"{"model": "eyes"}"#).0, 200);
            again(standing);
            let request = scene.gateway.ask(&"eyes".parse().unwrap(), Instant::now(), true).unwrap();
            assert_eq!(waiting(), Some(2), "{unload}");
            assert_eq!(scene.ask(unload, r#"{"model": "eyes"}"#).0, 200, "{unload}");
            assert_eq!(waiting(), Some(1), "{unload}: only the load ends");
            drop(request);
        }
    }
    again(Standing::OnDemand);
    assert_eq!(scene.ask("POST /models/unload", r#"{"model": "eyes"}"#).0, 400, "nothing is left");
}
