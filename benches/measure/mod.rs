//! How the benchmarks measure: whole processes, one kind and the other in
//! turn, and the median of each.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub mod bare;
pub mod clock;
pub mod stamps;
pub mod watcher;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The argument that makes a benchmark run as its own floor.
pub const FLOOR: &str = "--floor";

/// The floor's command: this very program, which then only does the least that
/// any program with the same task would have to.
pub fn floor(argument: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("/proc/self/exe"));
    command.arg(FLOOR).arg(argument);
    command
}

/// The argument of [`floor`], when this process is one.
pub fn floor_argument() -> Option<std::path::PathBuf> {
    let mut arguments = std::env::args_os().skip(1);
    (arguments.next()? == FLOOR).then(|| arguments.next().expect("--floor ARGUMENT").into())
}

/// Returns how long `command` takes from spawn to exit, in milliseconds.
///
/// # Panics
/// It fails; its output is shown.
pub fn time(command: &mut Command) -> f64 {
    command.stdin(Stdio::null());
    let start = Instant::now();
    let output = command.output().expect("spawn");
    let took = start.elapsed();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
    took.as_secs_f64() * 1000.0
}

/// The peak resident memory of `command`, KiB: `VmHWM`, read until it exits.
///
/// Not `ru_maxrss`: that counts the parent's memory too, which the child
/// shares until it execs.
pub fn peak_memory(command: &mut Command) -> u64 {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spawn");
    let mut peak = 0;
    while child.try_wait().expect("wait").is_none() {
        peak = high_water(&child).unwrap_or(peak).max(peak);
        std::thread::sleep(Duration::from_micros(100));
    }
    peak
}

fn high_water(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
}

/// Returns the median; of an even number, the mean of the two in the middle.
///
/// # Panics
/// There are none.
pub fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len().is_multiple_of(2) { f64::midpoint(samples[middle - 1], samples[middle]) } else { samples[middle] }
}

/// The one that 99 of 100 do not exceed; of fewer than 100, the largest.
///
/// # Panics
/// There are none.
pub fn p99(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[(samples.len() * 99).div_ceil(100) - 1]
}

/// Returns the number on the command line, to measure less or more than usual; cargo
/// also passes `--bench`.
pub fn asked_for(usual: usize) -> usize {
    std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(usual)
}

/// Returns a definition of the usual size that runs nothing, with weights called
/// `tiny`.
pub fn usual_definition(number: usize) -> String {
    format!(
        "# Model {number} of a benchmark.\nstate = \"stopped\"\nmodel = \"../weights/tiny.gguf\"\n\
         description = \"number {number}\"\nlabels = {{ team = \"search\" }}\n\n[parameters]\n\
         ctx_size = {}\nthreads = 2\ntemperature = 0.7\nmmap = false\n\n[env]\nCUDA_VISIBLE_DEVICES = \"0\"\n",
        512 + number
    )
}
