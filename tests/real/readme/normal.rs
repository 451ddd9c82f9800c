//! Output without what differs from run to run: pids, ports, times, memory,
//! commits, and which server is ready first. It goes by the form of words, not
//! by the words around them, so that a better wording changes no rule.

/// A line, and what it says in every run.
pub struct Line {
    pub printed: String,
    pub normal: String,
}

/// The lines of a command's output that every run has.
pub fn lines(output: &str) -> Vec<Line> {
    let kept = output.lines().filter(|line| !line.trim().is_empty() && !line.contains(": loading"));
    let mut lines: Vec<Line> = kept.map(|line| Line { printed: line.to_owned(), normal: normal(line) }).collect();
    // Servers that start together are ready in any order.
    for run in lines.chunk_by_mut(|a, b| is_of_a_server(a) && is_of_a_server(b)) {
        run.sort_by(|a, b| a.normal.cmp(&b.normal));
    }
    lines
}

/// The same, compared.
pub fn normalised(output: &str) -> Vec<String> {
    lines(output).into_iter().map(|line| line.normal).collect()
}

fn is_of_a_server(line: &Line) -> bool {
    line.normal.contains("(pid #")
}

/// One line: its columns closed up, and `#` for what differs.
fn normal(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let row_of_status = line.contains("MiB");
    for word in line.split_whitespace() {
        let core = word.trim_matches(['(', ')', ',', ':', ';', '.']);
        let after = words.last().map(|word| word.trim_matches(['(', ')', ',', ':', ';']).to_owned());
        let after = |what: &[&str]| after.as_deref().is_some_and(|last| what.contains(&last));
        let number = !core.is_empty() && core.chars().all(|c| c.is_ascii_digit());
        // NAME STATUS GEN PORT PID …
        // The port of a model without a server, after its generation.
        let is_kept_port = words.len() == 3 && core.len() >= 4 && words[2].parse::<u32>().is_ok();
        let is_in_a_row = is_kept_port || (row_of_status && [3, 4].contains(&words.len()));
        let varies = number && (after(&["pid", "port"]) || is_in_a_row);
        if varies || is_date(core) || is_commit(core) {
            words.push(word.replace(core, "#"));
        } else if is_unit(core) && after_a_number(&words) {
            words.pop();
            words.push(word.replace(core, "#s"));
        } else if core == "now" && after(&["just"]) {
            words.pop();
            words.extend(["#s".to_owned(), word.replace("now", "ago")]);
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

fn after_a_number(words: &[String]) -> bool {
    words.last().is_some_and(|last| last.trim_start_matches('(').parse::<f64>().is_ok())
}

fn is_unit(word: &str) -> bool {
    ["ms", "s", "KiB", "MiB"].contains(&word)
}

/// `2026-11-23`, `08:03:10`.
fn is_date(word: &str) -> bool {
    let form: String = word.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    ["0000-00-00", "00:00:00"].contains(&&*form)
}

/// Ten digits of a commit's hash.
fn is_commit(word: &str) -> bool {
    word.len() == 10 && word.chars().all(|c| c.is_ascii_hexdigit()) && word.chars().any(|c| c.is_ascii_digit())
}

#[test]
fn what_differs_from_run_to_run_is_one_and_what_matters_is_not() {
    let same = [
        ("tiny: ready after 0.2 s (pid 31170, port 8100)", "tiny: ready after 1.3 s (pid 7, port 20004)"),
        ("a  running  1  8100  31170  0.5 s  27.0 MiB  0", "a running 1 20131  8  2.0 s   9.1 MiB  0"),
        ("a  idle  1  8102  -  -  0", "a idle 1 20131  -  -  0"),
        ("done in 12 ms, 2.0 s ago", "done in 0.4 s, just now"),
        ("commit 3f9a2b41c0, at 2026-11-23 08:03:10:", "commit 0123456789, at 2027-01-01 00:00:00:"),
    ];
    for (one, other) in same {
        assert_eq!(normal(one), normal(other));
    }
    assert_ne!(normal("ctx_size 1024 -> 2048"), normal("ctx_size 1024 -> 4096"));
    assert_ne!(normal("a running 1 8100 31170 0.5 s 27.0 MiB 0"), normal("a running 2 8100 31170 0.5 s 27.0 MiB 0"));
}
