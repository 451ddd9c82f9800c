//! One picture of `status --watch`: lines that fit a terminal.

use anstyle::{AnsiColor, Style};
use console::truncate_str;

use super::report::Look;
use super::table::{Table, log, one_line, style, unattended, undelivered};
use crate::model::text::{clock, count};
use crate::model::{Diagnostic, Severity, Status};

const BY_URGENCY: [Status; 4] = [Status::Error, Status::Loading, Status::Running, Status::Idle];

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub rows: usize,
    pub columns: usize,
}

/// What is known after some looks.
#[derive(Debug)]
pub(super) struct Known {
    /// The last look that worked.
    pub look: Look,
    /// Why the last one did not.
    pub error: Option<String>,
    /// Whether one model was asked for, which has room for its log.
    pub one: bool,
}

/// At most `size.rows` lines of at most `size.columns` columns.
pub(super) fn frame(known: &Known, size: Size) -> Vec<String> {
    let mut lines = vec![title(&known.look), String::new()];
    let below = below(known, size.rows / 3);
    let room = size.rows.saturating_sub(lines.len() + below.len());
    lines.extend(table(&known.look, size.columns, room));
    lines.extend(below);
    lines.truncate(size.rows);
    lines.iter().map(|line| truncate_str(line, size.columns, "…").into_owned()).collect()
}

/// The time, and how many models do what.
fn title(look: &Look) -> String {
    let mut parts = Vec::new();
    for status in BY_URGENCY {
        let number = look.models.iter().filter(|model| model.status == status).count();
        let style = style(status);
        if number > 0 {
            parts.push(format!("{style}{number} {}{style:#}", status.as_str()));
        }
    }
    let colon = if parts.is_empty() { "" } else { ": " };
    let (at, models) = (clock(look.now), count(look.models.len(), "model"));
    format!("{at}   {models}{colon}{}   (Ctrl-C to quit)", parts.join(", "))
}

fn table(look: &Look, columns: usize, room: usize) -> Vec<String> {
    let Table { header, models } = Table::new(look, Some(columns));
    if models.is_empty() {
        return vec!["No models.".to_owned()];
    }
    let (mut lines, all) = (vec![header], models.len());
    if models.iter().map(Vec::len).sum::<usize>() < room {
        lines.extend(models.into_iter().flatten());
        return lines;
    }
    // What needs a look is not left out.
    let mut models: Vec<_> = models.into_iter().zip(&look.models).collect();
    models.sort_by_key(|(_, model)| BY_URGENCY.iter().position(|status| *status == model.status));
    for (shown, (model, _)) in models.into_iter().enumerate() {
        // The last line is for how many there are more.
        if lines.len() + model.len() >= room {
            lines.push(format!("… {} more", all - shown));
            break;
        }
        lines.extend(model);
    }
    lines
}

/// What stands below the table: problems, each in a line, at most `most` of
/// them; the log of the one model; that nobody acts.
fn below(known: &Known, most: usize) -> Vec<String> {
    let Known { look, error, one } = known;
    let errors = error.iter().chain(&look.notices).chain(&look.unreadable);
    let mut problems: Vec<String> = errors.map(|error| problem(Severity::Error, error)).collect();
    problems.extend(look.diagnostics.iter().map(diagnostic));
    if problems.len() > most.max(1) {
        let left_out = problems.split_off(most.saturating_sub(1)).len();
        problems.push(format!("… {left_out} more problems, see `herdsman status`"));
    }
    let problems = Some(problems).filter(|problems| !problems.is_empty());
    let logs = look.models.iter().filter(|_| *one).filter_map(log);
    let unattended = undelivered(look).into_iter().chain(unattended(look)).map(|line| vec![line]);
    let sections = problems.into_iter().chain(logs).chain(unattended);
    sections.flat_map(|section| std::iter::once(String::new()).chain(section)).collect()
}

/// `error: models.d/a.toml:13: …`
fn diagnostic(of: &Diagnostic) -> String {
    let line = of.position().map_or_else(String::new, |(line, _)| format!(":{line}"));
    problem(of.severity, &format!("{}{line}: {}", of.file, of.message))
}

fn problem(severity: Severity, message: &str) -> String {
    let (word, style): (_, Style) = match severity {
        Severity::Error => ("error", AnsiColor::Red.on_default()),
        Severity::Warning => ("warning", AnsiColor::Yellow.on_default()),
    };
    format!("{style}{word}{style:#}: {}", one_line(message))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use console::measure_text_width;

    use super::super::report::{Log, ModelStatus, Requests};
    use super::*;
    use crate::cli::Exit;
    use crate::database::Undelivered;
    use crate::model::Timestamp;

    fn model(name: &str, status: Status, note: &str) -> ModelStatus {
        let running = status == Status::Running;
        ModelStatus {
            name: name.to_owned(),
            status,
            generation: 12,
            serving: running.then_some(11),
            port: Some(8100),
            pid: running.then_some(31_170),
            uptime: running.then_some(Duration::from_secs(7_500)),
            resident_bytes: running.then_some(5 << 30),
            restarts: 3,
            managed: true,
            waiting_for: if note.is_empty() { Vec::new() } else { vec![note.to_owned()] },
            ..ModelStatus::default()
        }
    }

    fn known(models: Vec<ModelStatus>) -> Known {
        let look = Look {
            now: Timestamp(0),
            models,
            diagnostics: Vec::new(),
            notices: Vec::new(),
            unreadable: None,
            watcher: true,
            undelivered: Undelivered::default(),
            needs_a_pass: false,
            exit: Exit::Converged,
        };
        Known { look, error: None, one: false }
    }

    fn drawn(known: &Known, rows: usize, columns: usize) -> String {
        let lines = frame(known, Size { rows, columns });
        assert!(lines.len() <= rows, "{lines:#?}");
        assert!(lines.iter().all(|line| measure_text_width(line) <= columns), "{lines:#?}");
        let text = anstream::adapter::strip_str(&lines.join("\n")).to_string();
        // The time of day is that of wherever the test runs.
        text.split_at("00:00:00".len()).1.trim_start().to_owned()
    }

    #[test]
    fn notes_stand_beside_their_models_where_there_is_room_and_else_below() {
        let crash = "crashed 3 times in a row, next try in 3.0 s (at 14:03:05): \u{1b}[2Jended by SIGSEGV";
        let known = known(vec![
            model("chat", Status::Running, ""),
            model("coder-14b", Status::Error, crash),
            ModelStatus { name: "not\nours".to_owned(), ..ModelStatus::default() },
        ]);
        insta::assert_snapshot!(drawn(&known, 24, 200), @"
        3 models: 1 error, 1 running, 1 idle   (Ctrl-C to quit)

        NAME       STATUS   GEN    PORT  PID    UPTIME  MEMORY   RESTARTS  NOTE
        chat       running  11<12  8100  31170  2h 5m   5.0 GiB  3
        coder-14b  error    12     8100  -      -       -        3         crashed 3 times in a row, next try in 3.0 s (at 14:03:05):  [2Jended by SIGSEGV
        not?ours   idle     -      -     -      -       -        -
        ");
        insta::assert_snapshot!(drawn(&known, 24, 80), @"
        3 models: 1 error, 1 running, 1 idle   (Ctrl-C to quit)

        NAME       STATUS   GEN    PORT  PID    UPTIME  MEMORY   RESTARTS
        chat       running  11<12  8100  31170  2h 5m   5.0 GiB  3
        coder-14b  error    12     8100  -      -       -        3
          └ crashed 3 times in a row, next try in 3.0 s (at 14:03:05):  [2Jended by SIG…
        not?ours   idle     -      -     -      -       -        -
        ");
    }

    #[test]
    fn what_has_no_room_is_counted_and_what_needs_a_look_is_shown() {
        let mut many: Vec<ModelStatus> = (0..20).map(|n| model(&format!("m{n:02}"), Status::Running, "")).collect();
        many.push(model(
            "worst",
            Status::Error,
            "generation 12 failed: no such file; waiting for an edit (or --retry)",
        ));
        let mut known = known(many);
        let text: Arc<str> = "x\ny\n".into();
        for number in 0..9 {
            known
                .look
                .diagnostics
                .push(Diagnostic::error(format!("models.d/{number}.toml"), "bad\nkey").at(&text, 2..3));
        }
        known.look.watcher = false;
        known.look.needs_a_pass = true;
        known.error = Some("the database is busy".to_owned());
        insta::assert_snapshot!(drawn(&known, 20, 80), @"
        21 models: 1 error, 20 running   (Ctrl-C to quit)

        NAME   STATUS   GEN    PORT  PID    UPTIME  MEMORY   RESTARTS
        worst  error    12     8100  -      -       -        3
          └ generation 12 failed: no such file; waiting for an edit (or --retry)
        m00    running  11<12  8100  31170  2h 5m   5.0 GiB  3
        m01    running  11<12  8100  31170  2h 5m   5.0 GiB  3
        m02    running  11<12  8100  31170  2h 5m   5.0 GiB  3
        m03    running  11<12  8100  31170  2h 5m   5.0 GiB  3
        m04    running  11<12  8100  31170  2h 5m   5.0 GiB  3
        … 15 more

        error: the database is busy
        error: models.d/0.toml:2: bad key
        error: models.d/1.toml:2: bad key
        error: models.d/2.toml:2: bad key
        error: models.d/3.toml:2: bad key
        … 5 more problems, see `herdsman status`

        No watcher is running; run `herdsman reconcile` to apply this.
        ");
        for (rows, columns) in [(1, 1), (2, 5), (5, 20), (9, 300)] {
            let lines = frame(&known, Size { rows, columns });
            assert!(lines.len() <= rows && lines.iter().all(|line| measure_text_width(line) <= columns), "{lines:?}");
        }
    }

    #[test]
    fn where_a_gateway_serves_requests_go_before_what_a_narrow_terminal_has_no_room_for() {
        let requests = |in_flight, waiting, last_used: Option<i64>| {
            Some(Requests { in_flight, waiting, last_used: last_used.map(Timestamp) })
        };
        let mut known = known(vec![
            ModelStatus { requests: requests(2, 1, Some(0)), ..model("chat", Status::Running, "") },
            ModelStatus { requests: requests(0, 0, Some(-90_000)), ..model("coder", Status::Idle, "") },
            ModelStatus { requests: requests(0, 0, None), ..model("embed", Status::Running, "") },
            ModelStatus { name: "not ours".to_owned(), ..ModelStatus::default() },
        ]);
        known.look.models[3].managed = false;
        insta::assert_snapshot!(drawn(&known, 24, 200), @"
        4 models: 2 running, 2 idle   (Ctrl-C to quit)

        NAME      STATUS   GEN    PORT  PID    UPTIME  MEMORY   RESTARTS  IN FLIGHT  WAITING  LAST USED  NOTE
        chat      running  11<12  8100  31170  2h 5m   5.0 GiB  3         2          1        now
        coder     idle     12     8100  -      -       -        3         0          0        90 s ago
        embed     running  11<12  8100  31170  2h 5m   5.0 GiB  3         0          0        -
        not ours  idle     -      -     -      -       -        -         -          -        -
        ");
        insta::assert_snapshot!(drawn(&known, 24, 80), @"
        4 models: 2 running, 2 idle   (Ctrl-C to quit)

        NAME      STATUS   GEN    PORT  UPTIME  MEMORY   IN FLIGHT  WAITING  LAST USED
        chat      running  11<12  8100  2h 5m   5.0 GiB  2          1        now
        coder     idle     12     8100  -       -        0          0        90 s ago
        embed     running  11<12  8100  2h 5m   5.0 GiB  0          0        -
        not ours  idle     -      -     -       -        -          -        -
        ");
        insta::assert_snapshot!(drawn(&known, 24, 86), @"
        4 models: 2 running, 2 idle   (Ctrl-C to quit)

        NAME      STATUS   GEN    PORT  PID    UPTIME  MEMORY   IN FLIGHT  WAITING  LAST USED
        chat      running  11<12  8100  31170  2h 5m   5.0 GiB  2          1        now
        coder     idle     12     8100  -      -       -        0          0        90 s ago
        embed     running  11<12  8100  31170  2h 5m   5.0 GiB  0          0        -
        not ours  idle     -      -     -      -       -        -          -        -
        ");
    }

    #[test]
    fn one_model_has_room_for_its_log() {
        let mut known = known(vec![model("chat", Status::Running, "")]);
        let lines = vec!["one".to_owned(), "two".to_owned()];
        known.look.models[0].log = Some(Log { path: "/state/logs/chat.log".to_owned(), lines, problem: None });
        assert!(!drawn(&known, 24, 80).contains("two"));
        known.one = true;
        insta::assert_snapshot!(drawn(&known, 24, 80), @"
        1 model: 1 running   (Ctrl-C to quit)

        NAME  STATUS   GEN    PORT  PID    UPTIME  MEMORY   RESTARTS  NOTE
        chat  running  11<12  8100  31170  2h 5m   5.0 GiB  3

        last lines of chat in /state/logs/chat.log:
          one
          two
        ");
    }
}
