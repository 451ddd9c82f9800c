//! Simulated histories by the million: whatever happens, and whenever herdsman
//! is killed, does it keep its promises?
//!
//! ```sh
//! cargo run --release --example simulate -- --seeds 1000000
//! cargo run --release --example simulate -- --seed 42          # one of them, as a story
//! cargo run --release --example simulate -- --sabotage list    # rules it can be made to break
//! cargo run --release --example simulate -- --sabotage skip-guard
//! ```
//! Exit 0 when every promise was kept, 1 with a line to repeat it when not.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people who test")]

#[path = "../tests/simulated/mod.rs"]
mod simulated;

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};

use simulated::history::{Broken, deeds, live, shrink, tell};
use simulated::{Sabotage, Tally};

/// Two fifths of a history are allocations.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulated histories: does herdsman keep its promises, whatever happens?
#[derive(Parser)]
struct Arguments {
    /// How many histories.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run only this seed, and print it as a story; shrinks a broken promise.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Break this rule of herdsman, which a promise must notice; `list` names the rules.
    #[arg(long)]
    sabotage: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let sabotage = match arguments.sabotage.as_deref() {
        None => None,
        Some("list") => {
            Sabotage::ALL.iter().for_each(|rule| println!("{:<22} {}", rule.name(), rule.meaning()));
            return ExitCode::SUCCESS;
        }
        Some(word) => match Sabotage::ALL.iter().find(|rule| rule.name() == word) {
            Some(rule) => Some(*rule),
            None => {
                eprintln!("error: unknown rule {word:?}; `--sabotage list` names them");
                return ExitCode::from(64);
            }
        },
    };
    // A broken promise is a panic, and is reported once.
    std::panic::set_hook(Box::new(|_| {}));
    match arguments.seed {
        Some(seed) => one(seed, sabotage),
        None => run(arguments.from, arguments.seeds, sabotage),
    }
}

/// Prints one history as a story; shrinks it first if it breaks a promise.
fn one(seed: u64, sabotage: Option<Sabotage>) -> ExitCode {
    let history = deeds(seed);
    if live(&history, sabotage, &mut Tally::default()).is_ok() {
        print!("{}", tell(&history, sabotage).0);
        println!("Seed {seed}: every promise kept.");
        return ExitCode::SUCCESS;
    }
    let (small, Broken(how)) = shrink(&history, sabotage);
    match tell(&small, sabotage).0 {
        // A watcher that breaks a promise takes its story along.
        story if story.is_empty() => println!("{small:#?}"),
        story => print!("{story}"),
    }
    println!("Seed {seed}, made small: {how}");
    ExitCode::FAILURE
}

/// Runs all histories, on all processors, up to the first that breaks a promise.
fn run(from: u64, seeds: u64, sabotage: Option<Sabotage>) -> ExitCode {
    let (next, stop) = (AtomicU64::new(from), AtomicBool::new(false));
    let end = from.saturating_add(seeds);
    let seeds = end - from;
    let total: Mutex<(Tally, Option<(u64, Broken)>)> = Mutex::default();
    let began = Instant::now();
    let progress = progress(seeds);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                let mut tally = Tally::default();
                while !stop.load(Ordering::Relaxed) {
                    let after = |seed: u64| (seed < end).then(|| seed + 1);
                    let Ok(seed) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after) else { break };
                    if let Err(broken) = live(&deeds(seed), sabotage, &mut tally) {
                        stop.store(true, Ordering::Relaxed);
                        total.lock().unwrap().1.get_or_insert((seed, broken));
                    }
                    progress.inc(1);
                }
                total.lock().unwrap().0.merge(&tally);
            });
        }
    });
    progress.finish_and_clear();
    let (tally, broken) = total.into_inner().unwrap();
    report(&tally, began.elapsed());
    match broken {
        None => {
            println!("Every promise kept.");
            ExitCode::SUCCESS
        }
        Some((seed, Broken(how))) => {
            let rule = sabotage.map_or_else(String::new, |rule| format!(" --sabotage {rule}"));
            println!("{how}");
            println!("Repeat: cargo run --release --example simulate -- --seed {seed}{rule}");
            ExitCode::FAILURE
        }
    }
}

fn progress(seeds: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} histories, {per_sec}, {eta} left");
    let bar = ProgressBar::new(seeds).with_style(style.unwrap());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn report(tally: &Tally, took: Duration) {
    let histories = tally.sum("histories");
    print!("{tally}");
    let a_minute = histories as f64 / took.as_secs_f64().max(0.001) * 60.0;
    println!(
        "{histories} histories in {:.1} s ({a_minute:.0} a minute): {} deeds, {} calls, {} faults, {} kills.",
        took.as_secs_f64(),
        tally.sum("deeds") + tally.sum("meanwhile"),
        tally.sum("calls"),
        tally.sum("fails") + tally.sum("works and is told as failed") + tally.sum("stale"),
        tally.sum("killed before") + tally.sum("killed after"),
    );
}
