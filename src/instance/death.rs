//! What a dead instance's log says about its end.
//!
//! llama-server says what went wrong in one line and then, in several more,
//! that something went wrong; the patterns pick the first kind. Where the log
//! holds no error at all, the exit status decides, which only the herdsman
//! that started the instance can know.

use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::model::{Death, FailureCause, InstanceId};
use crate::regular;
use crate::text::printable;

/// How much of the end of a log is read.
pub(super) const TAIL: u64 = 16 << 10;

/// How much of a log is searched for what is said while loading.
const LOADING: u64 = 1 << 20;

/// What begins the lines herdsman itself writes to a log.
pub(super) const OWN_LINE: &str = "herdsman: ";

/// What begins the one among them that heads the lines of an instance.
pub(super) const START_LINE: &str = "herdsman: instance ";

/// Said where a log holds no error. llama-server writes its log from a thread
/// and at times exits before the last lines, or any, are out: of 900 starts on
/// a busy machine (b10434), one left none and five a part.
const OFTEN_LOST: &str = "llama-server can exit before its last lines are written; another try may tell";

/// What else is known of a death, where the log does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// How it ended, where this herdsman started it.
    pub exit: Option<ExitStatus>,
    /// Its port, if somebody else listens on it.
    pub taken_port: Option<u16>,
}

/// The end of an instance, by the last of what it wrote.
pub(super) fn explain(log: &Path, id: &InstanceId, known: Known) -> Death {
    match last(log, TAIL) {
        Ok(tail) => from_log(&own_lines(&tail, id), known),
        Err(error) => silent(&format!("its log {} cannot be read: {error}", log.display()), known),
    }
}

/// `offloaded N/M layers to GPU`, as the log says while the model is loaded.
/// The instance's lines begin at `offset`, unless the log was rotated since;
/// then they are near its end.
///
/// llama-server says so even where there is no GPU, and then puts every buffer
/// of the model on the CPU: that counts as none.
pub(super) fn offloaded_layers(log: &Path, id: &InstanceId, offset: u64) -> Option<(u32, u32)> {
    let mut text = read(log, offset, LOADING).ok()?;
    if !text.starts_with(&start_of(id)) {
        text = last(log, LOADING).ok()?;
    }
    let text = own_lines(&text, id);
    let (on_gpu, all) = text.lines().find_map(|line| {
        let (_, rest) = line.split_once("offloaded ")?;
        let (layers, _) = rest.split_once(" layers to GPU")?;
        let (on_gpu, all) = layers.split_once('/')?;
        Some((on_gpu.parse().ok()?, all.parse().ok()?))
    })?;
    let devices = text.lines().filter_map(|line| line.split_once(" model buffer size")?.0.split_whitespace().last());
    let really = devices.into_iter().any(|device| !device.starts_with("CPU"));
    Some((if really { on_gpu } else { 0 }, all))
}

/// What begins that line for this instance.
pub(super) fn start_of(id: &InstanceId) -> String {
    format!("{START_LINE}{id} ")
}

/// What one instance wrote, of the last part of a log. The line that heads it
/// may be further back, or rotated away: where no instance starts, all is its.
fn own_lines(text: &str, id: &InstanceId) -> String {
    let lines = || text.split_inclusive('\n');
    if !lines().any(|line| line.starts_with(START_LINE)) {
        return text.to_owned();
    }
    let head = start_of(id);
    let own = lines().skip_while(|line| !line.starts_with(&head)).skip(1);
    own.take_while(|line| !line.starts_with(START_LINE)).collect()
}

/// The last `length` bytes of a log.
pub(super) fn last(log: &Path, length: u64) -> io::Result<String> {
    let end = std::fs::metadata(log)?.len();
    read(log, end.saturating_sub(length), length)
}

fn read(log: &Path, from: u64, length: u64) -> io::Result<String> {
    let (mut file, _) = regular::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut text = Vec::new();
    file.take(length).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// What tells a cause: the first row with a line that holds one of the
/// patterns wins, so the specific ones come first. Compared in lower case.
const PATTERNS: &[(FailureCause, &[&str])] = &[
    (FailureCause::PortBusy, &["couldn't bind", "address already in use"]),
    (FailureCause::DiskFull, &["no space left on device", "disk quota exceeded"]),
    (
        FailureCause::NoMemory,
        &[
            "out of memory",
            "failed to allocate",
            "unable to allocate",
            "cannot allocate memory",
            "cudamalloc",
            "bad_alloc",
            "outofdevicememory",
            "outofhostmemory",
        ],
    ),
    (FailureCause::Spec, &["invalid argument: ", "error while handling ", "is not supported", "without ssl support"]),
    (
        FailureCause::Download,
        &[
            "download failed",
            "failed to download",
            "failed to fetch",
            "failed to resolve commit",
            "curl",
            "could not resolve host",
            "http error",
            "get_repo_commit: error",
        ],
    ),
    (
        FailureCause::Spec,
        &[
            "gguf_init_from",
            "invalid magic",
            "not within the file bounds",
            "ggml_assert",
            "terminate called",
            "what():",
            "unknown model architecture",
            "error loading model",
        ],
    ),
];

fn from_log(tail: &str, known: Known) -> Death {
    let lines: Vec<Line<'_>> = tail.split(['\n', '\r']).filter_map(Line::parse).collect();
    for (cause, patterns) in PATTERNS {
        let tells = |line: &&Line<'_>| {
            let text = line.text.to_ascii_lowercase();
            line.may_tell() && patterns.iter().any(|pattern| text.contains(pattern))
        };
        if let Some(line) = lines.iter().find(tells) {
            return Death { cause: *cause, message: line.message() };
        }
    }
    if let Some(line) = lines.iter().find(|line| line.level == Some('E')) {
        return Death { cause: FailureCause::Spec, message: line.message() };
    }
    match lines.last() {
        Some(line) => silent(&format!("no error in its log, which ends with: {}", line.message()), known),
        None => silent("it left no word in its log", known),
    }
}

/// A death without an error in the log: by a signal, if that is known.
fn silent(context: &str, known: Known) -> Death {
    let Some(signal) = known.exit.and_then(|status| status.signal()) else {
        if let Some(port) = known.taken_port {
            let message = format!("port {port} is taken by another process; {context}");
            return Death { cause: FailureCause::PortBusy, message };
        }
        let code = known.exit.and_then(|status| status.code()).map(|code| format!("exit status {code}; "));
        let message = format!("{}{context} ({OFTEN_LOST})", code.unwrap_or_default());
        return Death { cause: FailureCause::Spec, message };
    };
    let (name, cause) = match signal {
        1 => ("SIGHUP", FailureCause::Killed),
        2 => ("SIGINT", FailureCause::Killed),
        4 => ("SIGILL", FailureCause::Spec),
        6 => ("SIGABRT", FailureCause::Spec),
        7 => ("SIGBUS", FailureCause::Spec),
        8 => ("SIGFPE", FailureCause::Spec),
        9 => ("SIGKILL (the kernel does this when memory runs out)", FailureCause::Killed),
        11 => ("SIGSEGV", FailureCause::Spec),
        15 => ("SIGTERM", FailureCause::Killed),
        _ => ("a signal", FailureCause::Spec),
    };
    Death { cause, message: format!("ended by {name}; {context}") }
}

/// A line of a log without its prefix.
struct Line<'a> {
    /// `E`, `W`, `I`, `D`; `None` where the line has no prefix.
    level: Option<char>,
    text: &'a str,
}

impl<'a> Line<'a> {
    /// Takes `0.00.008.790 E srv    load_model: text` apart; `None` for an
    /// empty line and for herdsman's own.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim();
        if line.is_empty() || line.starts_with(OWN_LINE) {
            return None;
        }
        let prefixed = line.split_once(' ').and_then(|(time, rest)| {
            let is_time = time.contains('.') && time.bytes().all(|b| b.is_ascii_digit() || b == b'.');
            let (level, text) = rest.split_once(' ')?;
            let level = level.parse::<char>().ok().filter(char::is_ascii_uppercase)?;
            is_time.then(|| Self { level: Some(level), text: without_component(text.trim_start()) })
        });
        Some(prefixed.unwrap_or(Self { level: None, text: line }))
    }

    /// Informative lines quote names of files and prompts: no evidence.
    const fn may_tell(&self) -> bool {
        matches!(self.level, None | Some('E' | 'W'))
    }

    fn message(&self) -> String {
        printable(self.text)
    }
}

/// `srv    load_model: text` without the component `srv`.
fn without_component(text: &str) -> &str {
    match text.split_once(' ') {
        Some((component, rest)) if component.len() <= 4 && component.bytes().all(|b| b.is_ascii_lowercase()) => {
            rest.trim_start()
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const MISSING: &str = "\
herdsman: starts instance x: failed to allocate everything
0.00.006.262 I srv    load_model: loading model 'out of memory.gguf'
0.00.009.938 E common_fit_params: encountered an error while trying to fit params to free device memory: failed to load model
0.00.009.968 E gguf_init_from_file: failed to open GGUF file 'nosuch.gguf' (No such file or directory)
0.00.009.979 E llama_model_load: error loading model: llama_model_loader: failed to load model from nosuch.gguf
0.00.009.993 E srv    load_model: failed to load model, 'nosuch.gguf'
0.00.011.156 E srv  llama_server: exiting due to model loading error
";

    fn death(log: &str) -> (FailureCause, String) {
        let Death { cause, message } = from_log(log, Known::default());
        (cause, message)
    }

    fn exited(status: i32) -> Known {
        Known { exit: Some(ExitStatus::from_raw(status)), taken_port: None }
    }

    #[test]
    fn a_log_cut_short_does_not_hide_that_the_port_was_taken() {
        let known = Known { taken_port: Some(8101), ..exited(1 << 8) };
        let death = from_log("0.00.1 I srv    load_model: loading\n", known);
        assert_eq!(death.cause, FailureCause::PortBusy);
        assert!(death.message.starts_with("port 8101 is taken"), "{death:?}");
        assert_eq!(
            from_log("error: invalid argument: --x", known).cause,
            FailureCause::Spec,
            "an error in the log wins"
        );
        assert_eq!(from_log("", Known { taken_port: Some(8101), ..exited(9) }).cause, FailureCause::Killed);
    }

    #[test]
    fn the_line_that_says_what_went_wrong_wins_over_those_that_say_that_it_did() {
        assert_eq!(
            death(MISSING),
            (
                FailureCause::Spec,
                "gguf_init_from_file: failed to open GGUF file 'nosuch.gguf' (No such file or directory)".into()
            )
        );
    }

    #[test]
    fn a_bad_option_is_named_without_the_usage_that_follows() {
        assert_eq!(
            death("error: invalid argument: --foo\n"),
            (FailureCause::Spec, "error: invalid argument: --foo".into())
        );
        let log = "error while handling argument \"-c\": stoi\n\nusage:\n-c,    --ctx-size N\n\nto show complete usage, run with -h\n";
        assert_eq!(death(log), (FailureCause::Spec, "error while handling argument \"-c\": stoi".into()));
    }

    #[test]
    fn faults_of_the_world_are_told_from_faults_of_the_spec() {
        let line = |text: &str| {
            death(&format!("0.00.006.592 E srv         start: {text}\n0.1 E srv  llama_server: exiting\n"))
        };
        assert_eq!(
            line("couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 39413"),
            (
                FailureCause::PortBusy,
                "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 39413".into()
            )
        );
        assert_eq!(line("cudaMalloc failed: out of memory").0, FailureCause::NoMemory);
        assert_eq!(line("failed to allocate buffer of size 17179869184").0, FailureCause::NoMemory);
        assert_eq!(line("write failed: No space left on device").0, FailureCause::DiskFull);
        assert_eq!(line("failed to download model from https://x").0, FailureCause::Download);
        assert_eq!(
            death("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n").0,
            FailureCause::NoMemory
        );
    }

    #[test]
    fn a_log_without_an_error_gives_its_last_line_and_the_signal_where_known() {
        let log = "0.00.1 I srv    load_model: loading model 't.gguf'\nAMX is not ready to be used!\n";
        assert_eq!(
            death(log),
            (
                FailureCause::Spec,
                format!("no error in its log, which ends with: AMX is not ready to be used! ({OFTEN_LOST})")
            )
        );
        let killed = from_log(log, exited(9));
        assert_eq!(killed.cause, FailureCause::Killed, "by whom is not known");
        let illegal = from_log(log, exited(4));
        assert_eq!(illegal.cause, FailureCause::Spec);
        assert_eq!(
            illegal.message,
            "ended by SIGILL; no error in its log, which ends with: AMX is not ready to be used!"
        );
        let no_word = format!("it left no word in its log ({OFTEN_LOST})");
        assert_eq!(death("herdsman: starts\n").1, no_word);
        assert_eq!(from_log("", exited(3 << 8)).message, format!("exit status 3; {no_word}"));
    }

    fn id(name: &str) -> InstanceId {
        InstanceId(name.to_owned())
    }

    fn head(name: &str) -> String {
        format!("{}of spec v1:x starts /bin/llama-server\n", start_of(&id(name)))
    }

    #[test]
    fn only_what_this_instance_wrote_counts_and_at_most_the_last_16_kib() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("m.log");
        let says = |name: &str| explain(&log, &id(name), Known::default()).message;
        let (old, new) = ("error: invalid argument: --old", "error: invalid argument: --new");
        std::fs::write(&log, format!("{}{old}\n{}", head("1"), head("2"))).unwrap();
        assert_eq!(says("1"), old);
        let no_word = format!("it left no word in its log ({OFTEN_LOST})");
        assert_eq!(says("2"), no_word);
        assert_eq!(says("3"), no_word, "never started");
        std::fs::write(&log, format!("{}{old}\n{}{new}\n", head("1"), head("2"))).unwrap();
        assert_eq!((says("1"), says("2")), (old.into(), new.into()));
        std::fs::write(&log, format!("{}{new}\n{}", head("1"), "noise\n".repeat(4000))).unwrap();
        assert_eq!(says("1"), format!("no error in its log, which ends with: noise ({OFTEN_LOST})"));
        std::fs::write(&log, format!("{OWN_LINE}older lines are in m.log.1\nprompt {}{new}\n", head("2"))).unwrap();
        assert_eq!(says("1"), new, "its head was rotated away, and a prompt starts no instance");
        assert!(explain(&directory.path().join("none"), &id("1"), Known::default()).message.contains("cannot be read"));
    }

    #[test]
    fn a_message_is_short_and_safe_to_print() {
        let message = death(&format!("0.1 E x: \u{1b}[31m{}", "é".repeat(1000))).1;
        assert!(message.chars().count() <= 301 && !message.contains('\u{1b}'), "{message}");
    }

    #[test]
    fn layers_on_the_gpu_are_counted_in_this_instances_lines_also_after_a_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("m.log");
        let old = format!("{}load_tensors: offloaded 1/9 layers to GPU\n", head("1"));
        let layers = |text: &str, offset: usize| {
            std::fs::write(&log, text).unwrap();
            offloaded_layers(&log, &id("2"), offset as u64)
        };
        let said = format!("{}0.1 I load_tensors: offloaded 33/33 layers to GPU\n", head("2"));
        assert_eq!(layers(&format!("{old}{said}"), old.len()), Some((0, 33)), "said without a GPU too");
        let buffers = "0.2 I load_tensors:   CPU_Mapped model buffer size =     0.02 MiB\n\
                       0.2 I load_tensors:        CUDA0 model buffer size =  4403.49 MiB\n";
        let noise = "noise\n".repeat(1 << 18);
        assert_eq!(layers(&format!("{old}{said}{buffers}{noise}"), old.len()), Some((33, 33)));
        for stale in [0, old.len() + 1, 1 << 20] {
            assert_eq!(layers(&format!("{old}{said}{buffers}"), stale), Some((33, 33)), "{stale}");
        }
        assert_eq!(layers(&format!("{old}{}", head("2")), old.len()), None);
        assert_eq!(layers(&format!("{}offloaded many/33 layers to GPU\n", head("2")), 0), None);
    }

    proptest! {
        #[test]
        fn no_log_makes_the_reader_panic(log in ".*", status in any::<i32>()) {
            let _ = from_log(&log, exited(status));
        }
    }
}
