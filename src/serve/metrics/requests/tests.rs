use std::collections::VecDeque;
use std::time::{Duration, Instant};

use hyper::Method;

use super::super::Metrics;
use super::*;
use crate::model::ModelName;
use crate::owner::settings::serve::Serve;
use crate::serve::gateway::record::End;
use crate::serve::gateway::routes::{About, Route, Routes, Standing};

fn serving() -> (Metrics, Gateway, Observer) {
    let gateway = Gateway::new(Serve::default(), || {});
    let metrics = Metrics::new().unwrap();
    let observer = metrics.serve(gateway.clone()).unwrap();
    (metrics, gateway, observer)
}

fn finished(model: Option<&str>) -> Finished {
    let started = Instant::now();
    Finished {
        caller: None,
        model: model.map(|model| ModelName::parse(model).unwrap()),
        method: Method::POST,
        path: "/v1/chat/completions".to_owned(),
        is_own: false,
        status: Some(200),
        started,
        waited: Duration::ZERO,
        held: false,
        first_byte: Some(Duration::from_millis(20)),
        ended: started + Duration::from_secs(2),
        retries: 0,
        bytes: 0,
        head: Vec::new(),
        tail: VecDeque::new(),
        end: End::Complete,
    }
}

fn has(metrics: &Metrics, series: &str) -> bool {
    metrics.render().unwrap().lines().any(|line| line == series)
}

#[test]
fn each_request_is_counted_once_in_everything_it_is() {
    let (metrics, gateway, observer) = serving();
    let usage = br#""usage":{"prompt_tokens":7,"completion_tokens":5}"#;
    observer(&Finished {
        caller: Some("ann".into()),
        held: true,
        waited: Duration::from_millis(1_500),
        retries: 1,
        tail: usage.iter().copied().collect(),
        ..finished(Some("a"))
    });
    observer(&Finished { status: None, first_byte: None, end: End::ClientLeft, ..finished(Some("a")) });
    for series in [
        "herdsman_requests_total{code=\"200\",key=\"ann\",model=\"a\"} 1",
        "herdsman_requests_total{code=\"499\",key=\"\",model=\"a\"} 1",
        "herdsman_request_duration_seconds_count{model=\"a\"} 2",
        "herdsman_request_duration_seconds_bucket{model=\"a\",le=\"1\"} 0",
        "herdsman_request_duration_seconds_bucket{model=\"a\",le=\"2.5\"} 2",
        "herdsman_request_first_byte_seconds_count{model=\"a\"} 1",
        "herdsman_request_hold_seconds_count{model=\"a\"} 1",
        "herdsman_request_hold_seconds_sum{model=\"a\"} 1.5",
        "herdsman_request_retries_total{model=\"a\"} 1",
        "herdsman_prompt_tokens_total{model=\"a\"} 7",
        "herdsman_generated_tokens_total{model=\"a\"} 5",
    ] {
        assert!(has(&metrics, series), "{series} in\n{}", metrics.render().unwrap());
    }
    assert_eq!(gateway.activity().last(9).len(), 2);
}

#[test]
fn what_a_client_chooses_makes_no_series() {
    let (metrics, _gateway, observer) = serving();
    let unknown = |number: u32| Finished {
        status: Some(404),
        path: format!("/{number}"),
        method: Method::from_bytes(format!("M{number}").as_bytes()).unwrap(),
        ..finished(None)
    };
    observer(&unknown(0));
    let lines = metrics.render().unwrap().lines().count();
    (1..100_000).for_each(|number| observer(&unknown(number)));
    assert_eq!(metrics.render().unwrap().lines().count(), lines);
    assert!(has(&metrics, "herdsman_requests_total{code=\"404\",key=\"\",model=\"\"} 100000"));
}

#[test]
fn a_model_that_is_gone_is_rendered_once_more_and_forgotten() {
    let (metrics, gateway, observer) = serving();
    let publish = |names: &[&str]| {
        let about = About::default();
        let route = |name: &&str| Route {
            model: ModelName::parse(name).unwrap(),
            aliases: Vec::new(),
            listed: true,
            on_demand: true,
            standing: Standing::OnDemand,
            about: about.clone(),
        };
        gateway.publish(Routes::new(Instant::now(), names.iter().map(route).collect()));
    };
    let names = |model: &str| metrics.render().unwrap().contains(&format!("model=\"{model}\""));
    observer(&finished(Some("a")));
    assert!(names("a") && names("a"), "before the first pass nothing is known to be gone");
    publish(&["a", "b"]);
    observer(&finished(Some("b")));
    observer(&finished(None));
    publish(&["b"]);
    assert!(names("a"), "what happened since the last time");
    assert!(!names("a") && names("b") && names(""));
    // One that is in use is not gone.
    let asker = gateway.ask(&ModelName::parse("b").unwrap(), Instant::now(), true).unwrap();
    publish(&[]);
    assert!(names("b") && names("b"));
    drop(asker);
    assert!(names("b") && !names("b"));
}

#[test]
fn who_has_no_key_is_counted_and_not_listed() {
    let (metrics, gateway, observer) = serving();
    observer(&Finished { status: Some(401), ..finished(None) });
    assert!(has(&metrics, "herdsman_requests_total{code=\"401\",key=\"\",model=\"\"} 1"));
    assert_eq!(gateway.activity().last(9), []);
}

#[test]
fn polls_are_counted_and_push_no_request_out_of_the_list() {
    let (metrics, gateway, observer) = serving();
    observer(&finished(Some("a")));
    (0..10_001).for_each(|_| observer(&Finished { is_own: true, ..finished(None) }));
    assert!(has(&metrics, "herdsman_requests_total{code=\"200\",key=\"\",model=\"\"} 10001"));
    assert_eq!(gateway.activity().last(9).len(), 1);
}

#[test]
fn without_a_gateway_there_are_no_metrics_of_requests() {
    let text = Metrics::new().unwrap().render().unwrap();
    assert!(!text.contains("request") && !text.contains("on_demand"), "{text}");
}
