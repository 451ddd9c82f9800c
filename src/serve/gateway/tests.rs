//! Requests and passes against each other: who may enter, when a pass is asked for,
//! and that no instance is stopped under a request.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::routes::About;
use super::{Asker, Backend, Gateway, Lease, Refusal, Route, Routes, Standing};
use crate::model::{InstanceId, ModelName, Timestamp};
use crate::owner::settings::serve::Serve;

const NOW: Timestamp = Timestamp(1_000_000);

fn name(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn id(id: &str) -> InstanceId {
    InstanceId(id.to_owned())
}

fn ready(instance: &str, max_in_flight: Option<u32>) -> Standing {
    let backend =
        Backend { instance: id(instance), generation: 1, address: Default::default(), max_in_flight, api_key: None };
    Standing::Ready(Arc::new(backend))
}

fn route(model: &str, standing: Standing) -> Route {
    Route { model: name(model), aliases: Vec::new(), listed: true, on_demand: true, standing, about: About::default() }
}

/// A gateway, and how often it asked for a pass.
struct Scene {
    gateway: Gateway,
    rings: Arc<AtomicUsize>,
}

impl Scene {
    fn new(settings: Serve) -> Self {
        let rings = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&rings);
        let ring = move || {
            counts.fetch_add(1, Ordering::SeqCst);
        };
        Self { gateway: Gateway::new(settings, ring), rings }
    }

    /// One model, `a`.
    fn with(standing: Standing) -> Self {
        let scene = Self::new(Serve::default());
        scene.publish(standing);
        scene
    }

    fn publish(&self, standing: Standing) {
        self.gateway.publish(Routes::new(Instant::now(), vec![route("a", standing)]));
    }

    fn ask(&self) -> Asker {
        self.gateway.ask(&name("a"), Instant::now(), true).unwrap()
    }

    fn poll(&self) -> Asker {
        self.gateway.ask(&name("a"), Instant::now(), false).unwrap()
    }

    fn rings(&self) -> usize {
        self.rings.load(Ordering::SeqCst)
    }

    fn waiting(&self) -> u32 {
        self.gateway.demand(NOW).models[&name("a")].waiting
    }
}

/// Polls once; what is not ready goes on later.
fn now<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Runs `test` where there are timers.
fn with_time<T>(test: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    test()
}

fn lease(asker: &Asker) -> Option<Result<Lease, Refusal>> {
    with_time(|| now(pin!(asker.lease())))
}

#[test]
fn a_request_for_a_ready_model_enters_at_once_and_asks_for_no_pass() {
    let scene = Scene::with(ready("i", None));
    let asker = scene.ask();
    let lease = lease(&asker).unwrap().unwrap();
    assert_eq!(lease.backend().instance, id("i"));
    assert_eq!((scene.gateway.in_flight(&id("i")), scene.waiting()), (1, 0));
    drop((lease, asker));
    assert_eq!((scene.gateway.in_flight(&id("i")), scene.rings()), (0, 0));
}

#[test]
fn a_thousand_that_wait_ask_for_one_pass_and_their_leaving_for_another() {
    let scene = Scene::with(Standing::OnDemand);
    let askers: Vec<Asker> = (0..1000).map(|_| scene.ask()).collect();
    with_time(|| {
        let mut waits: Vec<_> = askers.iter().map(|asker| Box::pin(asker.lease())).collect();
        assert!(waits.iter_mut().all(|wait| now(wait.as_mut()).is_none()));
        assert_eq!((scene.waiting(), scene.rings()), (1000, 1));
        // A pass that brings nothing new wakes them for nothing.
        scene.publish(Standing::Coming);
        assert!(waits.iter_mut().all(|wait| now(wait.as_mut()).is_none()));
        assert_eq!(scene.rings(), 1);
        scene.publish(ready("i", None));
        assert!(waits.iter_mut().all(|wait| matches!(now(wait.as_mut()), Some(Ok(_)))));
    });
    assert_eq!(scene.rings(), 1);
    drop(askers);
    scene.publish(Standing::OnDemand);
    let askers: Vec<Asker> = (0..1000).map(|_| scene.ask()).collect();
    assert!(askers.iter().all(|asker| lease(asker).is_none()));
    assert_eq!(scene.rings(), 2);
    drop(askers);
    assert_eq!((scene.waiting(), scene.rings()), (0, 3), "nobody waits any more");
}

#[test]
fn more_than_may_wait_are_refused() {
    let scene = Scene::new(Serve { max_waiting: 2, ..Serve::default() });
    scene.publish(Standing::OnDemand);
    let (_first, second) = (scene.ask(), scene.ask());
    let refused = || scene.gateway.ask(&name("a"), Instant::now(), true).err();
    assert_eq!(refused(), Some(Refusal::TooMany(2)));
    assert!(scene.gateway.ask(&name("a"), Instant::now(), false).is_ok(), "a poll does not wait in this queue");
    drop(second);
    assert_eq!(refused(), None);
}

#[test]
fn what_will_not_start_refuses_and_what_is_cold_refuses_polls() {
    let scene = Scene::with(Standing::Unavailable("stopped".to_owned()));
    let refused = || scene.gateway.ask(&name("a"), Instant::now(), true).err();
    assert_eq!(refused(), Some(Refusal::Unavailable("stopped".to_owned())));
    assert!(scene.gateway.demand(NOW).models.is_empty(), "no pass sees what is refused");
    scene.publish(Standing::OnDemand);
    assert_eq!(lease(&scene.poll()).unwrap().err(), Some(Refusal::NotRunning));
    scene.publish(Standing::Coming);
    assert!(lease(&scene.poll()).is_none(), "it comes anyway");
    assert_eq!(scene.rings(), 0);
    let gone = scene.gateway.ask(&name("b"), Instant::now(), true).unwrap();
    assert_eq!(lease(&gone).unwrap().err(), Some(Refusal::Unknown("b".to_owned())));
}

#[test]
fn what_was_refused_has_a_pass_look_again_now_and_then() {
    let scene = Scene::with(Standing::Unavailable("no weights".to_owned()));
    let refused = || scene.gateway.ask(&name("a"), Instant::now(), true).is_err();
    assert!((0..100).all(|_| refused()));
    assert_eq!(scene.rings(), 0, "the pass that found it out has just begun");
    let long_ago = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
    let unavailable = || route("a", Standing::Unavailable("no weights".to_owned()));
    scene.gateway.publish(Routes::new(long_ago, vec![unavailable()]));
    assert!((0..100).all(|_| refused()));
    assert_eq!(scene.rings(), 1);
    let scene = Scene::new(Serve::default());
    scene.gateway.publish(Routes::new(long_ago, vec![Route { on_demand: false, ..unavailable() }]));
    assert!(scene.gateway.ask(&name("a"), Instant::now(), true).is_err());
    assert_eq!(scene.rings(), 0, "requests start only what runs on demand");
}

#[test]
fn before_the_first_pass_requests_wait() {
    let scene = Scene::new(Serve::default());
    let asker = scene.ask();
    with_time(|| {
        let (mut wait, mut routes) = (pin!(asker.lease()), pin!(scene.gateway.known_routes()));
        assert!(now(wait.as_mut()).is_none() && now(routes.as_mut()).is_none());
        scene.publish(ready("i", None));
        assert!(matches!(now(wait.as_mut()), Some(Ok(_))));
        assert!(now(routes.as_mut()).is_some_and(|routes| routes.find("a").is_some()));
    });
}

#[test]
fn a_request_waits_as_long_as_it_may() {
    let scene = Scene::new(Serve { hold: Some(Duration::from_millis(20)), ..Serve::default() });
    scene.publish(Standing::Coming);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let asker = scene.ask();
    let refusal = runtime.block_on(asker.lease()).err();
    assert_eq!(refusal, Some(Refusal::TimedOut(Duration::from_millis(20))));
}

#[test]
fn nobody_enters_a_withdrawn_instance_until_a_later_pass_finds_it_ready() {
    let scene = Scene::with(ready("i", None));
    let began = Instant::now();
    scene.gateway.withdraw(&[id("i")]);
    // The pass that withdrew it, or one that looked before another herdsman did.
    scene.gateway.publish(Routes::new(began, vec![route("a", ready("i", None))]));
    let asker = scene.ask();
    with_time(|| {
        let mut wait = pin!(asker.lease());
        assert!(now(wait.as_mut()).is_none());
        assert_eq!(scene.rings(), 1, "the herdsman that withdrew it may be dead");
        scene.publish(ready("i", None));
        assert!(matches!(now(wait.as_mut()), Some(Ok(_))));
    });
}

#[test]
fn the_last_request_of_a_withdrawn_instance_asks_for_a_pass() {
    let scene = Scene::with(ready("i", None));
    let askers = [scene.ask(), scene.ask()];
    let [one, other] = askers.each_ref().map(|asker| lease(asker).unwrap().unwrap());
    scene.gateway.withdraw(&[id("i")]);
    drop(one);
    assert_eq!(scene.rings(), 0);
    drop(other);
    assert_eq!(scene.rings(), 1);
}

#[test]
fn an_idle_instance_that_others_wait_to_replace_asks_for_a_pass() {
    let scene = Scene::new(Serve::default());
    let routes = vec![route("a", ready("i", None)), route("b", Standing::OnDemand)];
    scene.gateway.publish(Routes::new(Instant::now(), routes));
    let (asker, other) = (scene.ask(), scene.gateway.ask(&name("b"), Instant::now(), true).unwrap());
    let held = lease(&asker).unwrap().unwrap();
    assert!(lease(&other).is_none());
    assert_eq!(scene.rings(), 1);
    drop(held);
    assert_eq!(scene.rings(), 2);
}

#[test]
fn a_failed_instance_is_avoided_until_a_later_pass_finds_it_ready() {
    let scene = Scene::with(ready("i", None));
    let began = Instant::now();
    let mut asker = scene.ask();
    let held = lease(&asker).unwrap().unwrap();
    asker.failed(held);
    assert_eq!((scene.gateway.in_flight(&id("i")), scene.waiting(), scene.rings()), (0, 1, 1));
    scene.gateway.publish(Routes::new(began, vec![route("a", ready("i", None))]));
    assert!(lease(&asker).is_none(), "that pass may have looked before it failed");
    assert!(matches!(lease(&scene.ask()), Some(Ok(_))), "others may try it");
    scene.publish(ready("other", None));
    assert_eq!(lease(&asker).unwrap().unwrap().backend().instance, id("other"));
}

#[test]
fn where_an_instance_takes_one_at_a_time_the_oldest_goes_first() {
    let scene = Scene::with(ready("i", Some(1)));
    let askers: Vec<Asker> = (0..4).map(|_| scene.ask()).collect();
    with_time(|| {
        let mut waits: Vec<_> = askers.iter().map(|asker| Box::pin(asker.lease())).collect();
        let held = now(waits[0].as_mut()).unwrap().unwrap();
        for wait in &mut waits[1..] {
            assert!(now(wait.as_mut()).is_none());
        }
        assert!(matches!(lease(&scene.poll()), Some(Ok(_))), "a poll takes no place");
        drop(held);
        assert!(lease(&scene.ask()).is_none(), "a new one is not served before those that wait");
        assert!(now(waits[3].as_mut()).is_none() && now(waits[2].as_mut()).is_none());
        let held = now(waits[1].as_mut()).unwrap().unwrap();
        drop(held);
        // One that gives up its turn passes it on.
        drop(waits.remove(2));
        assert!(matches!(now(waits[2].as_mut()), Some(Ok(_))));
    });
    assert_eq!(scene.rings(), 0, "no pass can help them");
}

#[test]
fn polls_do_not_count_as_demand() {
    let scene = Scene::with(ready("i", None));
    let asker = scene.poll();
    let _held = lease(&asker).unwrap().unwrap();
    let traffic = scene.gateway.demand(NOW).models[&name("a")];
    assert_eq!((traffic.in_flight, traffic.last_used), (0, None));
    assert_eq!(scene.gateway.in_flight(&id("i")), 0, "nor keep an instance awake");
    scene.gateway.withdraw(&[id("i")]);
    assert_eq!(scene.gateway.in_flight(&id("i")), 1, "but nobody stops a server under them");
    scene.publish(Standing::Coming);
    assert_eq!(scene.gateway.in_flight(&id("i")), 1);
}

#[test]
fn demand_says_since_when_and_a_request_takes_an_unload_back() {
    let scene = Scene::with(Standing::OnDemand);
    let arrived = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let asker = scene.gateway.ask(&name("a"), arrived, true).unwrap();
    scene.gateway.unload(&name("a"));
    let traffic = || scene.gateway.demand(NOW).models[&name("a")];
    let since = traffic().waiting_since.unwrap();
    assert!((4_900..=5_100).contains(&(NOW.0 - since.0)), "{since:?}");
    assert!(traffic().unload.is_some());
    let _second = scene.ask();
    assert!(traffic().unload.is_none());
    drop(asker);
}

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

#[test]
fn requests_of_the_herdsman_before_this_one_are_in_flight_until_it_says_that_they_ended() {
    let before = Scene::with(ready("1", None));
    let (asker, poll) = (before.ask(), before.poll());
    let (in_use, polled) = (lease(&asker), lease(&poll));
    assert!(matches!((&in_use, &polled), (Some(Ok(_)), Some(Ok(_)))));
    let scene = Scene::with(ready("1", Some(1)));
    scene.gateway.set_unfinished(before.gateway.unfinished());
    let in_flight = || (scene.gateway.in_flight(&id("1")), scene.gateway.demand(NOW).models[&name("a")].in_flight);
    assert_eq!(in_flight(), (1, 1));
    // They take its places, too.
    let asker = scene.ask();
    assert!(lease(&asker).is_none());
    drop(in_use);
    scene.gateway.set_unfinished(before.gateway.unfinished());
    assert_eq!(in_flight(), (0, 0));
    assert!(lease(&asker).is_some());
    scene.gateway.withdraw(&[id("1")]);
    assert_eq!(in_flight().0, 1, "the poll");
    let rings = scene.rings();
    drop(polled);
    scene.gateway.set_unfinished(before.gateway.unfinished());
    assert_eq!((in_flight().0, scene.rings()), (0, rings + 1));
}

#[test]
fn requests_wait_while_another_herdsman_may_be_about_to_take_over() {
    let scene = Scene::with(ready("1", None));
    let first = scene.ask();
    let _in_use = lease(&first);
    assert_eq!(scene.gateway.pause().len(), 1);
    let asker = scene.ask();
    assert!(lease(&asker).is_none());
    scene.gateway.resume();
    assert!(lease(&asker).is_some());
}
