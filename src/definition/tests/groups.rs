//! `_groups.toml`.

use std::time::Duration;

use super::*;
use crate::model::{DesiredState, Evict, Origin};

const CHAT: (&str, &str) = ("_groups.toml", "# GPU 0\n[chat]\nmax_running = 1\n[big]\nmax_running = 2\n");
const MEMBER: (&str, &str) = ("a.toml", "model = \"a.gguf\"\ngroup = \"chat\"\n");

#[test]
fn groups_and_members_name_their_places() {
    let dir = Dir::new(&[CHAT, MEMBER]);
    let desired = dir.load();
    assert_eq!(render(&desired.diagnostics, false), "");
    let chat = &desired.groups["chat"];
    assert_eq!((chat.max_running, &chat.origin), (1, &Origin::new("models.d/_groups.toml", 3)));
    assert_eq!(desired.groups.len(), 2, "a group without members is fine");
    let definition = dir.definition();
    assert_eq!(definition.placement.groups, ["chat".into()]);
    assert_eq!(definition.origin("group"), Origin::new("models.d/a.toml", 2));
}

#[test]
fn reads_every_key_of_a_model_on_demand() {
    let dir = Dir::new(&[
        CHAT,
        (
            "_defaults.toml",
            "state = \"on_demand\"\ngroup = \"chat\"\npriority = 7\n[idle]\nstop_after = \"5m\"\n[serve]\nmax_in_flight = 2\n",
        ),
        (
            "a.toml",
            "model = \"a.gguf\"\ngroup = [\"big\", \"chat\", \"big\"]\npriority = -1\nevict = \"never\"\n[idle]\n\
             stop_after = \"off\"\n[serve]\nlisted = false\nmax_in_flight = \"off\"\n",
        ),
        ("b.toml", "model = \"b.gguf\"\ngroup = []\n"),
    ]);
    let desired = dir.load();
    assert_eq!(render(&desired.diagnostics, false), "");
    let [a, b] = ["a", "b"].map(|name| &desired.definitions[&ModelName::parse(name).unwrap()]);
    assert_eq!((a.state, a.idle.stop_after), (DesiredState::OnDemand, None));
    assert_eq!(a.placement.groups, ["big".into(), "chat".into()]);
    assert_eq!((a.placement.priority, a.placement.evict), (-1, Evict::Never));
    assert_eq!((a.serve.listed, a.serve.max_in_flight), (false, None));
    assert_eq!((b.placement.priority, b.placement.evict, b.placement.groups.len()), (7, Evict::Idle, 0));
    assert_eq!((b.idle.stop_after, b.serve.max_in_flight), (Some(Duration::from_secs(300)), Some(2)));
    assert_eq!(b.origin("idle.stop_after"), Origin::new("models.d/_defaults.toml", 5));
}

#[test]
fn broken_groups_leave_their_members_alone_and_nobody_else() {
    for text in ["x", "[chat]\nmax_running = 0", "[chat]\nmax_running = 1\n[other]\n", "[chat]\nmax_runing = 1\n"] {
        let dir = Dir::new(&[("_groups.toml", text), MEMBER, ("b.toml", "model = \"b.gguf\"\n")]);
        let desired = dir.load();
        assert_eq!(names(&desired), ["b"], "{text}");
        assert_eq!(desired.unresolved.len(), 1);
        assert_eq!(desired.unresolved[0].name.as_ref().map(ModelName::as_str), Some("a"));
        assert_eq!(desired.unresolved[0].problem, "_groups.toml in the same directory has errors");
        assert!(desired.diagnostics.iter().all(|problem| &*problem.file == "models.d/_groups.toml"), "{text}");
        assert!(desired.groups.is_empty(), "half of it is nothing to act on");
    }
}

#[test]
fn broken_groups_leave_members_by_default_alone() {
    let dir = Dir::new(&[
        ("_groups.toml", "[chat]\n"),
        ("_defaults.toml", "group = \"chat\"\n"),
        ("a.toml", "model = \"a.gguf\"\n"),
        ("b.toml", "model = \"b.gguf\"\ngroup = []\n"),
    ]);
    assert_eq!(names(&dir.load()), ["b"]);
}

#[test]
fn a_file_of_groups_that_cannot_be_read_is_broken() {
    let dir = Dir::new(&[MEMBER]);
    std::fs::create_dir(dir.path().join("_groups.toml")).unwrap();
    let desired = dir.load();
    assert_eq!(names(&desired), [""; 0]);
    assert!(dir.problems().contains("models.d/_groups.toml"), "{}", dir.problems());
}

#[test]
fn a_group_that_does_not_exist_is_an_error_in_the_file_that_names_it() {
    let dir = Dir::new(&[MEMBER, ("b.toml", "model = \"b.gguf\"\n")]);
    assert_eq!(names(&dir.load()), ["b"]);
    assert!(dir.problems().contains("add the lines `[chat]` and `max_running = 1` to models.d/_groups.toml"));
    let dir = Dir::new(&[("_defaults.toml", "group = \"chat\"\n"), ("b.toml", "model = \"b.gguf\"\n")]);
    assert_eq!(names(&dir.load()), [""; 0]);
    assert!(dir.problems().contains("models.d/_defaults.toml:1:9"), "{}", dir.problems());
}
