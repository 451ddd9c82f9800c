//! What is asked of llama-server before a start: does it take this command line?

use std::path::PathBuf;

use crate::definition;
use crate::definition::catalogue::binary::{self, Verdict};
use crate::model::Launch;

/// Whether llama-server takes a command line, and its weights are GGUF files
/// that are all there.
fn check(launch: &Launch, weights: &[PathBuf]) -> Result<(), String> {
    for file in weights {
        definition::check_gguf(file).map_err(|problem| problem.to_string())?;
    }
    match binary::dry_run(&launch.binary, &launch.args, &launch.env) {
        Ok(Verdict::Accepted) => Ok(()),
        Ok(Verdict::Refused { message }) => Err(format!("llama-server refuses its options: {message}")),
        Err(problem) => Err(problem.to_string()),
    }
}

/// Checks command lines, as many at once as there are processors: each takes
/// a dry run of llama-server.
pub(super) fn check_all(checks: &[(&Launch, &[PathBuf])]) -> Vec<Result<(), String>> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(checks.len()).max(1);
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some((launch, weights)) = checks.get(index) else { return done };
            done.push((index, check(launch, weights)));
        }
    };
    let mut results: Vec<(usize, Result<(), String>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        let done =
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        done.flatten().collect()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
