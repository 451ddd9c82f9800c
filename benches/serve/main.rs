//! The gateway beside other proxies, all of them addresses:
//! `cargo bench --bench serve [-- [ROW…] [--rounds N] [--seconds S]]`.
//!
//! Rows: idle, one, many, stream, paced, upload, body, open (in front of a stub that
//! answers at once), cold, swap, killed (real llama-servers). Beside herdsman run
//! nginx and HAProxy, which `apt-get install nginx-light haproxy` installs,
//! llama-server's router mode, and llama-swap where it is on PATH.
//!
//! Measures each row in N rounds (5), one proxy after the other in each, S seconds (2)
//! at a time; idle once, 30 × S seconds. Prints a Markdown table of medians with the
//! least and the most. `--rounds 3 --seconds 0.5` takes two minutes.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod chunks;
mod driver;
mod event;
mod front;
#[path = "../measure/mod.rs"]
mod measure;
mod on_demand;
mod options;
mod process;
mod proxies;
mod rows;
mod stub;
#[path = "../../tests/support/mod.rs"]
mod support;
mod table;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use driver::Driver;
use on_demand::OnDemand;
use options::Options;
use proxies::Proxy;
use rows::{Measure, Row};
use table::Samples;

/// As long as herdsman looks again at a file that changed.
const SETTLES: Duration = Duration::from_secs(5);

/// Everything that is measured.
struct Bench {
    options: Options,
    driver: Driver,
    front: Vec<Proxy>,
    on_demand: Vec<(&'static str, OnDemand)>,
    interrupted: Arc<AtomicBool>,
    remarks: Vec<String>,
}

fn main() {
    stub::serve_if_asked();
    let options = Options::of_command_line();
    process::allow_many_files();
    let mut bench = Bench::start(options);
    let mut lines = vec![table::head()];
    let wanted: Vec<&Row> = rows::ROWS.iter().filter(|row| bench.options.wants(row.name)).collect();
    for row in wanted {
        eprintln!("{} …", row.name);
        let samples = bench.measure(row);
        lines.extend(table::lines(row, &samples));
        bench.remarks.extend(table::failures(row, &samples));
        if bench.interrupted.load(Ordering::Relaxed) {
            eprintln!("interrupted");
            return;
        }
    }
    println!("{}", lines.join("\n"));
    for remark in &bench.remarks {
        println!("\n{remark}");
    }
}

impl Bench {
    /// Starts what the wanted rows need.
    fn start(options: Options) -> Self {
        // Ctrl-C ends the measuring, not this process: it has others to stop.
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&interrupted)).expect("a signal handler");
        }
        let wanted =
            |kind: fn(&Measure) -> bool| rows::ROWS.iter().any(|row| options.wants(row.name) && kind(&row.measure));
        let mut remarks = Vec::new();
        let mut front = Vec::new();
        if wanted(|measure| matches!(measure, Measure::Front(_) | Measure::Idle)) {
            for (name, started) in proxies::in_front_of_a_stub() {
                match started {
                    Ok(proxy) => front.push(proxy),
                    Err(why) => remarks.push(format!("{name} is not in the rows with a stub: {why}")),
                }
            }
        }
        let mut on_demand = Vec::new();
        if wanted(|measure| matches!(measure, Measure::OnDemand(_) | Measure::Idle)) {
            for (name, started) in on_demand::start_all() {
                match started {
                    Ok(servers) => on_demand.push((name, servers)),
                    Err(why) => remarks.push(format!("{name} is not in the rows that start servers: {why}")),
                }
            }
        }
        remarks.iter().for_each(|remark| eprintln!("{remark}"));
        Self { options, driver: Driver::new(), front, on_demand, interrupted, remarks }
    }

    fn measure(&mut self, row: &Row) -> Samples {
        match row.measure {
            Measure::Front(measure) => {
                let (driver, time) = (&self.driver, self.options.time);
                let mut samples: Samples = self.front.iter().map(|proxy| (proxy.name, Vec::new())).collect();
                for _ in 0..self.options.rounds {
                    for (proxy, (_, samples)) in self.front.iter().zip(&mut samples) {
                        if !self.interrupted.load(Ordering::Relaxed) {
                            samples.push(measure(driver, proxy, time));
                        }
                    }
                }
                samples
            }
            Measure::OnDemand(measure) => {
                let mut samples: Samples = self.on_demand.iter().map(|(name, _)| (*name, Vec::new())).collect();
                for _ in 0..self.options.rounds {
                    for ((_, servers), (_, samples)) in self.on_demand.iter_mut().zip(&mut samples) {
                        if !self.interrupted.load(Ordering::Relaxed) {
                            samples.push(measure(servers));
                        }
                    }
                }
                samples
            }
            Measure::Idle => self.idle(),
        }
    }

    /// Lets everything rest at once: what rests does not disturb the others. A server
    /// runs behind each.
    fn idle(&mut self) -> Samples {
        if let Some((_, router)) = self.on_demand.iter_mut().find(|(name, _)| *name == "router") {
            // Where that fails, the rows that start servers say so.
            let _ = router.ready("a");
        }
        let router = self.on_demand.iter().filter(|(name, _)| *name == "router");
        let proxies: Vec<&Proxy> = self.front.iter().chain(router.filter_map(|(_, servers)| servers.proxy())).collect();
        self.sleep(SETTLES);
        let start = Instant::now();
        let before: Vec<Duration> = proxies.iter().map(|proxy| process::cpu(&proxy.pids)).collect();
        self.sleep(self.options.time * 30);
        let minutes = start.elapsed().as_secs_f64() / 60.0;
        let sample = |proxy: &Proxy, before| {
            let used = (process::cpu(&proxy.pids) - before).as_secs_f64() * 1e3 / minutes;
            let memory = process::memory(&proxy.pids).map_err(|error| error.to_string())?;
            let is_there = !proxy.pids.is_empty();
            Ok(vec![is_there.then_some(used), is_there.then_some(memory)])
        };
        proxies.iter().zip(before).map(|(proxy, before)| (proxy.name, vec![sample(proxy, before)])).collect()
    }

    fn sleep(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time && !self.interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(100).min(time));
        }
    }
}
