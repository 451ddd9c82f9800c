//! Many requests at once, on several threads.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{NOW, Scene, id, name, ready, route};
use crate::model::InstanceId;
use crate::owner::settings::serve::Serve;
use crate::serve::gateway::{Routes, Standing};

/// Requests from several threads against passes that withdraw, wait for the last
/// request, "stop" and start again: nobody is answered by a stopped instance, the
/// limit holds, and everybody is served.
#[test]
fn no_request_is_in_flight_at_an_instance_that_a_pass_stops() {
    const REQUESTS: usize = 1_000;
    const PASSES: u32 = 10;
    const LIMIT: u32 = 3;
    let scene = Scene::new(Serve::default());
    let gateway = scene.gateway.clone();
    let stopped: Arc<Mutex<BTreeMap<InstanceId, bool>>> = Arc::default();
    let (is_over, made) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut generation = 0_u32;
            while !is_over.load(Ordering::SeqCst) {
                let instance = id(&generation.to_string());
                scene.publish(ready(&instance.0, (generation.is_multiple_of(2)).then_some(LIMIT)));
                std::thread::yield_now();
                let began = Instant::now();
                gateway.withdraw(std::slice::from_ref(&instance));
                gateway.publish(Routes::new(began, vec![route("a", ready(&instance.0, None))]));
                while gateway.in_flight(&instance) > 0 {
                    std::thread::yield_now();
                }
                // Time for one that may not enter.
                (0..20).for_each(|_| std::thread::yield_now());
                stopped.lock().unwrap().insert(instance, true);
                scene.publish(Standing::Coming);
                generation += 1;
                made.store(generation, Ordering::SeqCst);
            }
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
        let mut ended = Vec::new();
        // On a busy machine a thousand requests may be over before a few passes are.
        while ended.is_empty() || made.load(Ordering::SeqCst) <= PASSES {
            runtime.block_on(async {
                let mut requests = Vec::new();
                for number in 0..REQUESTS {
                    let (gateway, stopped) = (gateway.clone(), Arc::clone(&stopped));
                    requests.push(tokio::spawn(async move {
                        // Too many at once are another test.
                        let asker = loop {
                            match gateway.ask(&name("a"), Instant::now(), true) {
                                Ok(asker) => break asker,
                                Err(_) => tokio::task::yield_now().await,
                            }
                        };
                        if number.is_multiple_of(7) {
                            // A client that leaves.
                            let _gone = tokio::time::timeout(Duration::from_micros(50), asker.lease()).await;
                            return;
                        }
                        let lease = asker.lease().await.unwrap();
                        let is_gone = || stopped.lock().unwrap().contains_key(&lease.backend().instance);
                        assert!(!is_gone());
                        for _ in 0..number % 3 {
                            tokio::task::yield_now().await;
                        }
                        assert!(!is_gone(), "stopped under a request");
                    }));
                }
                for request in requests {
                    ended.push(request.await);
                }
            });
        }
        is_over.store(true, Ordering::SeqCst);
        ended.into_iter().for_each(|request| request.unwrap());
    });
    let traffic = scene.gateway.demand(NOW).models[&name("a")];
    assert_eq!((traffic.waiting, traffic.in_flight), (0, 0));
}

/// With a limit, several threads of requests that come and go never exceed it, and
/// no wake-up is lost.
#[test]
fn a_limit_holds_and_no_turn_is_lost() {
    const LIMIT: u32 = 3;
    let scene = Scene::with(ready("i", Some(LIMIT)));
    let inside = Arc::new(AtomicU32::new(0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let requests: Vec<_> = (0..900)
            .map(|number: u32| {
                let (asker, inside) = (scene.ask(), Arc::clone(&inside));
                tokio::spawn(async move {
                    if number.is_multiple_of(5) {
                        let _gone = tokio::time::timeout(Duration::from_micros(30), asker.lease()).await;
                        return;
                    }
                    let _lease = asker.lease().await.unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < LIMIT);
                    tokio::task::yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for request in requests {
            tokio::time::timeout(Duration::from_secs(60), request).await.unwrap().unwrap();
        }
    });
    assert_eq!((scene.waiting(), scene.rings()), (0, 0));
}
