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

use super::log::{self, InstanceLog};
use crate::model::text::printable;
use crate::model::{Death, FailureCause, InstanceId};
use crate::sys::regular;

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
const OFTEN_LOST: &str = "llama-server can exit before its last lines are written; a retry may show the cause";

/// What else is known of a death, where the log does not tell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// How it ended, where this herdsman started it.
    pub exit: Option<ExitStatus>,
    /// Its port, if somebody else listens on it.
    pub taken_port: Option<u16>,
    /// It was ready before.
    pub was_ready: bool,
}

/// The end of an instance, by the last of what it wrote.
pub(super) fn explain(log: &InstanceLog, id: &InstanceId, known: Known) -> Death {
    match last(&log.path, TAIL) {
        Ok(tail) if log.shared => from_log(&own_lines(&tail, id), known),
        Ok(tail) => from_log(&tail, known),
        Err(error) => silent(&format!("its log {} cannot be read: {error}", log.path.display()), known),
    }
}

/// `offloaded N/M layers to GPU`, as the log says while the model is loaded.
/// In a shared log the instance's lines begin at `offset`, unless lines before
/// them were removed; then they are near its end.
///
/// llama-server says so even where there is no GPU, and then puts every buffer
/// of the model on the CPU: that counts as none.
pub(super) fn offloaded_layers(log: &InstanceLog, id: &InstanceId, offset: u64) -> Option<(u32, u32)> {
    let mut text = read(&log.path, if log.shared { offset } else { 0 }, LOADING).ok()?;
    if log.shared {
        if !text.starts_with(&start_of(id)) {
            text = last(&log.path, LOADING).ok()?;
        }
        text = own_lines(&text, id);
    }
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

/// What one instance wrote, of the last part of a shared log. The line that heads
/// it may be further back, or removed: where no instance starts, all is its.
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

fn read(path: &Path, from: u64, length: u64) -> io::Result<String> {
    let (mut file, _) = regular::open(path)?;
    file.seek(SeekFrom::Start(from.max(log::begin(&file)?)))?;
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
        None => silent("its log does not say why", known),
    }
}

/// A death without an error in the log: by a signal, if that is known.
fn silent(context: &str, known: Known) -> Death {
    let Some(signal) = known.exit.and_then(|status| status.signal()) else {
        if !known.was_ready && known.exit.is_some_and(|status| status.success()) {
            // llama-server itself never ends well before it is ready.
            let holder = known.taken_port.map(|port| format!(", while another process listens on port {port}"));
            let message = format!(
                "exit status 0 before it was ready{}: a wrapper must start llama-server with `exec` and keep its \
                 environment; {context}",
                holder.unwrap_or_default()
            );
            return Death { cause: FailureCause::Spec, message };
        }
        if let Some(port) = known.taken_port {
            let message = format!("port {port} is in use by another process; {context}");
            return Death { cause: FailureCause::PortBusy, message };
        }
        let code = known.exit.and_then(|status| status.code()).map(|code| format!("exit status {code}; "));
        // One that served for a while had its words written long ago.
        let hint = if known.was_ready { String::new() } else { format!(" ({OFTEN_LOST})") };
        let message = format!("{}{context}{hint}", code.unwrap_or_default());
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
mod tests;
