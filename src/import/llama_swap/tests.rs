//! Which models the imported groups let run together, against llama-swap's rules.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;

use super::super::options::Options;
use super::super::remark::SourceLocation;
use super::super::source::Read;
use super::super::write;
use crate::model::DesiredState;

/// A configuration with these models and whatever else it says.
fn import(models: &[&str], more: &str) -> Read {
    let models: String =
        models.iter().map(|name| format!("  {name}: {{cmd: llama-server -m /{name}.gguf}}\n")).collect();
    read(&format!("models:\n{models}{more}"))
}

fn read(text: &str) -> Read {
    let options = Options::pinned(Path::new("/base"), true, None);
    super::read(&[(text, SourceLocation::whole("config.yaml"))], &options, &|_| None).unwrap()
}

/// `name max_running: members`, a line per group.
fn groups(read: &Read) -> Vec<String> {
    let members = |name: &String| {
        let members = read.models.iter().filter(|model| model.groups.contains(name));
        members.map(|model| model.called.as_str()).collect::<Vec<_>>().join(" ")
    };
    read.groups.iter().map(|group| format!("{} {}: {}", group.name, group.max_running, members(&group.name))).collect()
}

/// What `read` says about the room, and nothing else.
fn remarks(read: &Read) -> Vec<String> {
    let remarks = read.remarks.iter().map(ToString::to_string);
    remarks.filter(|remark| !remark.starts_with("one address")).collect()
}

/// Whether all groups have room for these models at once.
fn allows(read: &Read, running: &BTreeSet<String>) -> bool {
    read.groups.iter().all(|group| {
        let is_running =
            |model: &&crate::import::Model| running.contains(&model.called) && model.groups.contains(&group.name);
        read.models.iter().filter(is_running).count() <= group.max_running
    })
}

/// Every set of these names.
fn subsets(names: &[&str]) -> Vec<BTreeSet<String>> {
    let chosen = |bits: usize| names.iter().enumerate().filter(move |(index, _)| bits & (1 << index) != 0);
    (0..1 << names.len()).map(|bits| chosen(bits).map(|(_, name)| (*name).to_owned()).collect()).collect()
}

#[test]
fn without_groups_one_model_runs_at_a_time() {
    let read = import(&["a", "b", "c"], "");
    assert_eq!(groups(&read), ["swap 1: a b c"]);
    assert!(read.models.iter().all(|model| model.state == DesiredState::OnDemand && model.stop_after == Some(0)));
    assert_eq!(groups(&import(&["a"], "")), [""; 0], "one model needs no group");
}

/// A group of llama-swap: name, swap, exclusive, persistent, members.
type Stated = (&'static str, bool, bool, bool, &'static [&'static str]);

/// The sets of models that llama-swap has running after some requests, as
/// `EvictionFor` of its group router decides.
fn reachable(models: &[&str], stated: &[Stated]) -> BTreeSet<BTreeSet<String>> {
    let default: Stated = ("(default)", true, true, false, &[]);
    let of = |name: &str| stated.iter().find(|(.., members)| members.contains(&name)).unwrap_or(&default);
    let mut reached = BTreeSet::from([BTreeSet::new()]);
    loop {
        let mut next = reached.clone();
        for (running, target) in reached.iter().flat_map(|running| models.iter().map(move |target| (running, target))) {
            let (name, swap, exclusive, ..) = of(target);
            let stays = |other: &&String| match of(other) {
                (same, ..) if same == name => !swap || other == target,
                (_, _, _, persistent, _) => !exclusive || *persistent,
            };
            let mut after: BTreeSet<String> = running.iter().filter(stays).cloned().collect();
            after.insert((*target).to_owned());
            next.insert(after);
        }
        if next == reached {
            return reached;
        }
        reached = next;
    }
}

#[test]
fn groups_allow_what_llama_swap_runs_together_and_nothing_else() {
    const MODELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    let (ab, cd, e): (&[&str], &[&str], &[&str]) = (&["a", "b"], &["c", "d"], &["e"]);
    let cases: [(&[Stated], &[&str]); 6] = [
        (&[("g", true, true, false, ab)], &["swap 1: a b c d e f"]),
        // A group that stays, beside those that swap.
        (&[("main", true, true, false, ab), ("ever", false, false, true, cd)], &["swap 1: a b e f"]),
        // All of one group together, without those of the others.
        (&[("g", false, true, false, ab)], &["swap 1: a c d e f", "swap-2 1: b c d e f"]),
        (
            &[("g", false, true, false, ab), ("h", false, true, false, cd)],
            &["swap 1: a c e f", "swap-2 1: a d e f", "swap-3 1: b c e f", "swap-4 1: b d e f"],
        ),
        // Each group swaps by itself.
        (
            &[("g", true, false, true, ab), ("h", true, false, true, cd), ("i", true, false, true, e)],
            &["g 1: a b", "h 1: c d"],
        ),
        (&[("all", false, false, false, &MODELS)], &[]),
    ];
    for (stated, expected) in cases {
        let line = |(name, swap, exclusive, persistent, members): &Stated| {
            let members = members.join(", ");
            format!(
                "  {name}: {{swap: {swap}, exclusive: {exclusive}, persistent: {persistent}, members: [{members}]}}\n"
            )
        };
        let text = stated.iter().map(line).collect::<String>();
        let read = import(&MODELS, &format!("groups:\n{text}"));
        assert_eq!(groups(&read), expected, "{text}");
        assert_eq!(remarks(&read), [""; 0], "{text}");
        let reached = reachable(&MODELS, stated);
        for running in subsets(&MODELS) {
            // What may run may lose a member, too.
            let is_reached = reached.iter().any(|set| running.is_subset(set));
            assert_eq!(allows(&read, &running), is_reached, "{running:?} with\n{text}");
        }
        let routing = format!(
            "routing:\n  router:\n    use: group\n    settings:\n      groups:\n{}",
            text.replace("  ", "        ")
        );
        assert_eq!(groups(&import(&MODELS, &routing)), expected, "the newer form says the same");
    }
}

#[test]
fn a_group_that_others_stop_but_does_not_stop_them_may_run_beside_them() {
    let more = "groups:\n  pair: {swap: false, exclusive: false, members: [a, b]}\n";
    let read = import(&["a", "b", "c", "d"], more);
    assert_eq!(groups(&read), ["swap 1: c d"]);
    let said = remarks(&read);
    assert!(said.len() == 1 && said[0].starts_with("groups: pair: other groups stop its members"), "{said:?}");
    // llama-swap runs them together if `pair` comes last.
    let pair: Stated = ("pair", false, false, false, &["a", "b"]);
    let all = ["a", "b", "c"].map(str::to_owned).into();
    assert!(reachable(&["a", "b", "c", "d"], &[pair]).contains(&all) && allows(&read, &all));
}

#[test]
fn a_persistent_group_is_never_evicted_unless_it_swaps_itself() {
    let more = "groups:\n  ever: {swap: false, exclusive: false, persistent: true, members: [a]}\n  \
                turns: {exclusive: false, persistent: true, members: [b, c]}\n";
    let read = import(&["a", "b", "c"], more);
    let never: Vec<_> = read.models.iter().map(|model| model.never_evict).collect();
    assert_eq!(never, [true, false, false]);
}

#[test]
fn a_matrix_allows_its_sets_and_nothing_else() {
    const MODELS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
    for (sets, allowed, expected) in [
        (
            "{s: \"(a | b | c) & d\"}",
            &["a d", "b d", "c d", "e", "f"][..],
            &["swap 1: a b c e f", "swap-2 1: d e f"][..],
        ),
        // Residents, and those that take turns beside them.
        (
            "{r: \"d & e\", s: \"+r & (x | b)\", t: \"+r & b & c\"}",
            &["d e a", "d e b c", "f"],
            &["swap 1: a b f", "swap-2 1: a c f", "swap-3 1: d f", "swap-4 1: e f"],
        ),
        ("{s: \"a & b & c & d & e & f\"}", &["a b c d e f"], &[]),
    ] {
        let read = import(
            &MODELS,
            &format!("matrix:\n  vars: {{x: a}}\n  evict_costs: {{x: 50, b: 1, c: 30}}\n  sets: {sets}\n"),
        );
        assert_eq!(
            (groups(&read), remarks(&read)),
            (expected.iter().map(ToString::to_string).collect(), Vec::new()),
            "{sets}"
        );
        for running in subsets(&MODELS) {
            let is_in = |set: &&str| running.iter().all(|name| set.split(' ').any(|member| member == name));
            assert_eq!(allows(&read, &running), allowed.iter().any(is_in), "{running:?} {sets}");
        }
        let priorities: Vec<_> = read.models.iter().map(|model| model.priority).collect();
        assert_eq!(priorities, [Some(50), None, Some(30), None, None, None], "the dearest stays longest");
    }
}

#[test]
fn each_two_of_three_are_two_at_once() {
    let read = import(
        &["a", "b", "c"],
        "routing:\n  router:\n    use: matrix\n    settings:\n      matrix:\n        sets: {s: \"a & b | b & c | a & c\"}\n",
    );
    assert_eq!(groups(&read), ["matrix 2: a b c"]);
    assert!(remarks(&read)[0].contains("check `max_running`"), "{:?}", remarks(&read));
}

#[test]
fn a_matrix_that_cannot_be_read_runs_one_model_at_a_time() {
    let read = import(&["a", "b"], "matrix:\n  sets: {s: \"a & (b\"}\n");
    assert_eq!(groups(&read), ["swap 1: a b"]);
    assert!(remarks(&read)[0].contains("the set `s` has an unclosed `(`"), "{:?}", remarks(&read));
}

#[test]
fn what_is_preloaded_always_runs_only_where_it_leaves_room() {
    let preload = |more: &str| {
        let read = import(&["a", "b"], &format!("hooks: {{on_startup: {{preload: [a]}}}}\n{more}"));
        (read.models[0].state, read.models[0].remarks.iter().map(ToString::to_string).collect::<String>())
    };
    assert_eq!(
        preload("groups:\n  g: {swap: false, exclusive: false, members: [a, b]}\n"),
        (DesiredState::Running, String::new())
    );
    let (state, said) = preload("");
    assert_eq!(state, DesiredState::OnDemand);
    assert!(said.starts_with("preload: starts with its first request"), "{said}");
}

#[test]
fn limits_names_and_filters_of_a_model() {
    let read = read(
        "globalTTL: 300\nmodels:\n  a:\n    cmd: llama-server -m /a.gguf\n    concurrencyLimit: 4\n    unlisted: true\n    \
         useModelName: x\n    filters:\n      strip_params: temperature\n      setParamsByID:\n        \"${MODEL_ID}:high\": {a: 1}\n  \
         b:\n    cmd: llama-server -m /b.gguf\n    ttl: 0\n  c:\n    cmd: llama-server -m /c.gguf\n    ttl: 99999999\n",
    );
    let [a, b, c] = &read.models[..] else { panic!("{read:?}") };
    assert_eq!((a.stop_after, b.stop_after, c.stop_after), (Some(300), Some(0), Some(0)));
    assert_eq!((a.max_in_flight, a.unlisted, &a.aliases), (Some(4), true, &vec!["a:high".to_owned()]));
    let said = |model: &crate::import::Model, kind: crate::import::Kind| {
        model.remarks.iter().filter(|remark| remark.why.kind() == kind).map(ToString::to_string).collect::<Vec<_>>()
    };
    use crate::import::Kind::{Changed, Dropped, Lost};
    assert_eq!(said(a, Lost).len(), 2, "{:?}", said(a, Lost));
    assert!(said(a, Lost).iter().all(|what| what.contains("passes requests on unchanged")));
    assert!(said(a, Dropped)[0].starts_with("useModelName: x"), "{:?}", said(a, Dropped));
    assert!(said(a, Changed)[0].contains("rather than fail with 429"));
    assert!(said(c, Lost)[0].contains("ttl: 99999999"), "{:?}", c.remarks);
}

#[test]
fn many_models_are_grouped_quickly() {
    let names: Vec<String> = (0..1200).map(|number| format!("m{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for count in [900, 1200] {
        let read = import(&names[..count], "");
        assert_eq!((read.groups.len(), read.groups[0].max_running), (1, 1));
    }
    let halves = format!(
        "groups:\n  g: {{swap: false, members: [{}]}}\n  h: {{swap: false, members: [{}]}}\n",
        names[..90].join(", "),
        names[90..180].join(", ")
    );
    let read = import(&names[..180], &halves);
    assert_eq!(groups(&read).len(), 1, "hundreds of groups say nothing to anybody");
    assert!(remarks(&read)[0].contains("only one model runs at a time"), "{:?}", remarks(&read));
    assert!(write::groups(&read.groups).unwrap().ends_with("\n\n[swap]\nmax_running = 1\n"));
}

#[test]
fn two_files_are_one_room() {
    let options = Options::pinned(Path::new("/base"), true, None);
    let place = SourceLocation::whole("x");
    let files = [
        "models: {a: {cmd: llama-server -m /a.gguf}}\ngroups: {g: {swap: false, exclusive: false, members: [a, b]}}\n",
        "models: {b: {cmd: llama-server -m /b.gguf}}\n",
    ];
    let files: Vec<_> = files.iter().map(|text| (*text, place.clone())).collect();
    let read = super::read(&files, &options, &|_| None).unwrap();
    assert_eq!(groups(&read), [""; 0]);
}
