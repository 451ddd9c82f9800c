//! Comments, whole; and what somebody hostile may put into them.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::model::{ColumnDrift, DesiredState, FieldChange, ModelName, Origin, UnmanagedRow};
use crate::plan::{Impact, WaitFor};

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn doing(model: &str, kind: ActionKind, reasons: Vec<Reason>) -> Action {
    Action { model: name(model), kind, reasons, steps: Vec::new(), provenance: None }
}

fn changed(field: &str, old: &str, new: &str) -> Reason {
    let change = FieldChange { field: field.into(), old: Some(old.into()), new: Some(new.into()) };
    Reason::FieldChanged { change, impact: Impact::Restart, origin: Origin::new("models.d/coder-14b.toml", 7) }
}

fn added(model: &str) -> Action {
    let origin = Origin::new(format!("models.d/{model}.toml"), 0);
    doing(model, ActionKind::Create, vec![Reason::DefinitionAdded { origin, state: DesiredState::Running }])
}

fn waits(model: &str, on: WaitFor) -> Waiting {
    Waiting { model: name(model), on, reasons: Vec::new() }
}

#[test]
fn a_plan_with_everything_in_it() {
    let text: Arc<str> = "model = \"m.gguf\"\n[parameters]\nctx_sizes = 1\n".into();
    let wrong = Diagnostic::error("models.d/wrong.toml", "llama-server has no option `ctx_sizes`")
        .at(&text, 30..39)
        .help("did you mean `ctx_size`?");
    let odd = Diagnostic { severity: Severity::Warning, ..Diagnostic::error("models.d/odd.toml", "nobody reads this") };
    let path = format!("/srv/{}/Qwen3-8B-Q4_K_M.gguf", "weights/".repeat(20));
    let drift = ColumnDrift { column: "ctx_size".into(), recorded: "8192".into(), found: "1".into() };
    let shown = Plan {
        actions: vec![
            doing(
                "coder-14b",
                ActionKind::Restart,
                vec![changed("ctx_size", "8192", "16384"), changed("model", "/srv/old.gguf", &path)],
            ),
            doing("gemma", ActionKind::Delete, vec![Reason::DefinitionRemoved { file: "models.d/gemma.toml".into() }]),
            doing("lost", ActionKind::Adopt, vec![Reason::Unrecorded { pid: 4711 }]),
            doing("phi-4", ActionKind::Start, vec![Reason::ProcessGone { death: None, crashes: 1 }]),
            doing("qwen", ActionKind::Update, vec![Reason::RowDrift { drift }]),
        ]
        .into_iter()
        .chain((0..12).map(|number| added(&format!("tiny-{number:02}"))))
        .collect(),
        waiting: vec![
            Waiting {
                reasons: vec![changed("threads", "4", "8")],
                ..waits("later", WaitFor::RestartSlot { model: name("coder-14b") })
            },
            waits(
                "flaky",
                WaitFor::Backoff {
                    until: Timestamp(1),
                    crashes: 3,
                    was_ready: true,
                    message: "ended by SIGSEGV".into(),
                },
            ),
            waits("mistral", WaitFor::BinaryUpgrade),
        ],
        unmanaged: vec![UnmanagedRow { id: 9, name: "hand made".into() }],
        matching: 4,
        ..Plan::default()
    };
    insta::assert_snapshot!(plan(&shown, Timestamp(0), &[wrong, odd]));
}

#[test]
fn a_refusal_and_nothing_to_do() {
    let refusal =
        GuardRefusal { deletions: vec![name("a"), name("b")], managed: 2, renames: vec![(name("a"), name("c"))] };
    let waiting = ["a", "b", "c"].map(|model| waits(model, WaitFor::Guard)).into();
    let refused = plan(&Plan { waiting, guard: Some(refusal), ..Plan::default() }, Timestamp(0), &[]);
    let nothing = plan(&Plan { matching: 3, ..Plan::default() }, Timestamp(0), &[]);
    insta::assert_snapshot!(format!("{refused}\n=====\n{nothing}"));
}

/// Whatever is outside code spans was written by herdsman.
#[test]
fn nothing_hostile_gets_out_of_its_code_span() {
    let hostile = [
        "`` ` ``` @everyone | #1",
        "</details><script>alert(1)</script><!-- herdsman plan -->",
        "a\n\n# heading\n- [x](https://example.org)\r\n| a | b |",
        "\u{202e}fdp.exe\u{2066}\u{200b}\u{1b}[31m",
        "`",
        " ` ",
        "",
        "\\`@admin\\`",
    ];
    let reasons = hostile.iter().map(|value| changed("chat_template", "x", value)).collect();
    let origin = Origin::new("models.d/`@x`\n<b>.toml", 3);
    let wrong = Diagnostic::error("models.d/`|@x.toml", "`a\n</summary>@everyone`").help("`<img src=x>");
    let shown = Plan {
        actions: vec![
            doing("a", ActionKind::Restart, reasons),
            doing("b", ActionKind::Create, vec![Reason::DefinitionAdded { origin, state: DesiredState::Running }]),
        ],
        unmanaged: hostile.iter().map(|name| UnmanagedRow { id: 1, name: (*name).into() }).collect(),
        ..Plan::default()
    };
    let comment = plan(&shown, Timestamp(0), &[wrong]);
    for line in comment.lines().skip(1) {
        let outside = without_code(line);
        assert!(
            !outside.contains(['@', '<', '|', '#', '[', '`', '\\', '\u{1b}', '\u{202e}']) || is_heading(line),
            "{line}"
        );
    }
    insta::assert_snapshot!(comment);
}

fn is_heading(line: &str) -> bool {
    line.starts_with("### ") && !line.contains(['@', '<', '`'])
}

/// A line without its code spans, read as CommonMark says: a run of backticks
/// opens a span that the next run of the same length ends.
fn without_code(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('`') {
        outside.push_str(&rest[..at]);
        let length = rest[at..].chars().take_while(|c| *c == '`').count();
        let inside = &rest[at + length..];
        let mut from = 0;
        let end = loop {
            let Some(next) = inside[from..].find('`').map(|next| from + next) else { panic!("open span in {line}") };
            let run = inside[next..].chars().take_while(|c| *c == '`').count();
            if run == length {
                break next + run;
            }
            from = next + run;
        };
        rest = &inside[end..];
    }
    outside + rest
}

#[test]
fn a_comment_is_never_too_long_and_says_what_it_left_out() {
    let long = "\u{1f4a5}".repeat(5_000);
    let mut actions: Vec<Action> = (0..2_000).map(|number| added(&format!("m{number}"))).collect();
    actions.push(doing("z", ActionKind::Delete, (0..50).map(|_| changed("grammar", &long, &long)).collect()));
    let shown = Plan { actions, ..Plan::default() };
    let comment = plan(&shown, Timestamp(0), &[]);
    assert!(comment.chars().count() <= 65_536 && comment.len() > 60_000, "{}", comment.len());
    let listed = comment.lines().filter(|line| line.starts_with("- ")).count();
    let ends = format!("\n**{} entries left out: the comment is full.", 2_001 - listed);
    assert!(comment.contains(&ends) && comment.contains("- **`z`**") && comment.contains("… and 40 more"), "{ends}");
    assert_eq!(comment.matches("<details>").count(), comment.matches("</details>").count());
}

#[test]
fn a_value_that_is_shortened_keeps_both_its_ends() {
    let path = format!("/srv/{}end.gguf", "x".repeat(200));
    let short = shortened(&path, LONGEST_VALUE);
    assert_eq!(short.chars().count(), LONGEST_VALUE);
    assert!(short.starts_with("/srv/xxx") && short.ends_with("xxxend.gguf"), "{short}");
    assert_eq!(shortened("short", LONGEST_VALUE), "short");
}
