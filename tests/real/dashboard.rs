//! `examples/grafana` and `examples/events.sh`: what they ask for is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::api::client::Events;
use crate::gateway::served::Served;
use crate::metrics::scrape;
use crate::support::World;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

type Metrics = BTreeMap<String, BTreeSet<String>>;

/// Each name that begins a metric in a text, with the labels that follow in braces.
fn metrics(text: &str) -> Metrics {
    let mut found = Metrics::new();
    for part in text.split("herdsman_").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(part.len());
        let name = part[..end].trim_end_matches("_bucket");
        let labels =
            part[end..].strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let label = |label: &str| label.split(['=', '!']).next().unwrap_or_default().to_owned();
        let labels = labels.split(',').map(label).filter(|label| !label.is_empty());
        found.entry(format!("herdsman_{name}")).or_default().extend(labels);
    }
    found
}

#[test]
fn the_dashboard_asks_for_metrics_and_labels_that_there_are() {
    let mut documented = metrics(&file("src/cli/help/topics/metrics.md"));
    let dashboard: Value = serde_json::from_str(&file("examples/grafana/herdsman.json")).unwrap();
    let mut exprs = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["title"].is_string() && panel["gridPos"]["w"].is_u64(), "{panel}");
        exprs.extend(panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].as_str().unwrap()));
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    exprs.extend(variables.iter().filter_map(|variable| variable["definition"].as_str()));
    let asked = metrics(&exprs.join("\n"));
    assert!(asked.len() > 15, "{asked:?}");

    // What is documented is what a watcher serves.
    let world = World::new();
    world.tiny("a");
    let mut served = Served::new(world);
    served.watcher().eventually_says("a is ready");
    assert_eq!(served.ask("a"), Ok("a a a ".to_owned()));
    let real = scrape(served.port).into_keys().collect::<Vec<_>>().join("\n");
    for (name, labels) in metrics(&real) {
        let base = ["_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
        let said = documented.get(base).unwrap_or_else(|| panic!("{name} is not documented"));
        assert_eq!(&labels.into_iter().filter(|label| label != "le").collect::<BTreeSet<_>>(), said, "{name}");
    }

    for labels in documented.values_mut() {
        // Of the scrape, not of herdsman.
        labels.extend(["job", "instance"].map(str::to_owned));
    }
    for (name, labels) in asked {
        let there = documented.get(&name).unwrap_or_else(|| panic!("there is no metric {name}"));
        assert!(labels.is_subset(there), "{name} has no {:?}", labels.difference(there));
    }
}

#[test]
fn the_events_example_follows_a_start() {
    let world = World::new();
    world.weights("cold", "cold ");
    world.write_definition("cold", &format!("state = \"on_demand\"\n{}", World::tiny_toml("cold")));
    let mut served = Served::new(world);
    served.watcher().eventually_says("match");
    // Stands in for websocat, which no package here brings: it notes what it is asked to follow.
    let bin = served.world.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let (websocat, asked) = (bin.join("websocat"), bin.join("asked"));
    fs::write(
        &websocat,
        format!("#!/bin/sh\necho \"$@\" > '{}.new'\nmv '{0}.new' '{0}'\nexec sleep 60\n", asked.display()),
    )
    .unwrap();
    fs::set_permissions(&websocat, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/events.sh"))
        .args(["cold", &format!("127.0.0.1:{}", served.port)])
        .env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&outcome["outcome"], &outcome["model"]["status"]), (&"done".into(), &"running".into()), "{output:?}");
    let url = fs::read_to_string(asked).unwrap();
    let query = url.trim().strip_prefix(&format!("ws://127.0.0.1:{}/api/events", served.port)).unwrap();
    assert_eq!(Events::connect(served.port, query).next().unwrap()["type"], "models");
}
