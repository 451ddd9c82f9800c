//! `herdsman watch`.

use std::io::IsTerminal;
use std::net::TcpListener;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::limits::LimitArgs;
use super::serving::{Bound, RunningGateway};
use super::{Exit, Places, duration};
use crate::definition::Loader;
use crate::host::HostError;
use crate::owner::settings::Settings as HostSettings;
use crate::serve::handover::{self, Hall, Heir, Inherited, Predecessor, Successor};
use crate::serve::metrics::{self, Metrics};
use crate::watch::machine::{Machine, Settings};
use crate::watch::{self, Pace};

/// How long the requests in flight have when the watcher ends.
const LAST_REQUESTS: Duration = Duration::from_secs(3);

/// Arguments of `watch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  herdsman watch
  herdsman watch --listen 127.0.0.1:8080
  herdsman watch --from-git origin/main --metrics 127.0.0.1:9090")]
pub struct WatchArgs {
    /// Check everything at least this often.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    resync: Duration,
    /// Read files once they have not changed for this long.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration)]
    debounce: Duration,
    /// Check the files every DURATION (default 2s) instead of waiting for events, for network file systems.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "2s", value_parser = duration)]
    poll: Option<Duration>,
    /// Serve all models at this address, HOST:PORT or unix:/PATH, instead of `[serve] listen`; repeat the option for several.
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Serve Prometheus metrics at http://ADDR/metrics; ADDR is HOST:PORT, such as 127.0.0.1:9090.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Format of the log on standard error.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What a successor knows the listener of metrics by.
const METRICS: &str = "metrics";

/// The format of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line.
    Json,
}

/// Runs the command until SIGTERM, SIGINT or a successor.
pub(super) fn run(places: &Places, args: &WatchArgs) -> anyhow::Result<Exit> {
    let mut inherited = handover::inherited()?;
    let settings_file = places.settings_file();
    let settings_text = HostSettings::text(&settings_file)?;
    let host_settings = settings_text.as_ref().map(|text| HostSettings::of(&settings_file, text)).transpose()?;
    let host_settings = host_settings.unwrap_or_default();
    let notify = host_settings.notify.as_ref();
    log_to_stderr(args.log_format);
    let state = places.state();
    state.create()?;
    let watch_lock = match inherited.as_mut().and_then(|inherited| inherited.watch_lock.take()) {
        Some(lock) => state.inherit_watch_lock(lock)?,
        None => state.watch_lock(&places.reads())?,
    };
    let host = {
        let _lock = state.lock(args.limits.lock_timeout)?;
        // A pass must not wait for git: other models may need it meanwhile.
        let mut host = places.open()?.with_loader(Loader::impatient()).telling(notify);
        host.read_policy().map_err(HostError::from)?;
        host
    };
    let heir = Heir::new(state.clone());
    let bound = Bound::new(&args.listen, host_settings.serve.clone(), settings_text, inherited.as_mut())?;
    let bind_metrics = |at| bind_metrics(at, inherited.as_mut(), &heir);
    let metrics_listener = args.metrics.as_deref().map(bind_metrics).transpose()?;
    // The gateway shows them, too.
    let is_counting = metrics_listener.is_some() || bound.is_some();
    let metrics = is_counting.then(Metrics::new).transpose()?;
    let LimitArgs { lock_timeout, .. } = args.limits;
    let settings = Settings { poll: args.poll, lock_timeout, logs: args.limits.logs() };
    let state_dir = state.clone();
    let mut machine = Machine::new(host, state, watch_lock, settings)
        .and_then(|machine| machine.observed_by(metrics.clone()).handing_over(heir.clone()).telling(notify))
        .map_err(|error| anyhow::anyhow!("cannot start watching: {error}; too many open files or threads?"))?;
    let pace = Pace { resync: args.resync.max(Duration::from_millis(100)), debounce: args.debounce };
    // Until then, the herdsman before this one watches and serves.
    let mut predecessor = inherited.map(Inherited::wait_for_go).transpose()?;
    let metrics_server = metrics_listener.zip(metrics.clone()).map(serve_metrics).transpose()?;
    let mut serving = None;
    if let Some((bound, metrics)) = bound.zip(metrics) {
        let (served, begun) = bound.serve(machine, places, &state_dir, metrics, &heir, predecessor.as_mut())?;
        (machine, serving) = (served, Some(begun));
    }
    predecessor.map(|predecessor| take_over(predecessor, &machine, places)).transpose()?;
    tracing::info!(
        version = env!("HERDSMAN_VERSION"),
        "watching {}{} (Ctrl-C stops the watcher; servers keep running)",
        places.models_dir.display(),
        places.revision().map(|revision| format!(" at {revision}")).unwrap_or_default(),
    );
    watch::run(&mut machine, pace, &args.limits.limits());
    if let Some((successor, hall)) = heir.take() {
        hand_over(machine, serving, metrics_server, successor, &hall);
        return Ok(Exit::Converged);
    }
    if std::process::id() == 1 {
        tracing::info!("the watcher stops; it is process 1, so every server stops too");
    } else {
        tracing::info!("the watcher stops; servers keep running");
    }
    // From here on nobody is left waiting at a socket that is never asked again.
    heir.end();
    serving.into_iter().for_each(|serving| serving.finish(LAST_REQUESTS));
    Ok(Exit::Converged)
}

/// Goes on where the watcher before this one stops. Until here that could go on itself.
fn take_over(predecessor: Predecessor, machine: &Machine, places: &Places) -> anyhow::Result<()> {
    let from = predecessor.pid;
    machine.note(&places.reads()).map_err(|error| anyhow::anyhow!("cannot write watch.lock: {error}"))?;
    predecessor.let_go().map_err(|error| anyhow::anyhow!("cannot take over from pid {from}: {error}"))?;
    tracing::info!("took over from pid {from}");
    Ok(())
}

/// Leaves everything to the successor, which has begun, and ends with the last request
/// that this process answers.
fn hand_over(
    machine: Machine,
    serving: Option<RunningGateway>,
    metrics: Option<metrics::Server>,
    mut successor: Successor,
    hall: &Hall,
) {
    serving.iter().for_each(|serving| serving.lead_to(hall));
    drop(machine);
    tracing::info!("pid {} takes over; servers keep running", successor.pid());
    let last_metrics = metrics.map(metrics::Server::leave);
    successor.lets_go(serving.as_ref().map(RunningGateway::unfinished).unwrap_or_default());
    if let Some(serving) = serving {
        serving.hand_over(successor);
    }
    // A thread that panicked has ended, too.
    last_metrics.into_iter().for_each(|thread| _ = thread.join());
}

fn bind_metrics(address: &str, inherited: Option<&mut Inherited>, heir: &Heir) -> anyhow::Result<TcpListener> {
    let given = inherited.and_then(|inherited| inherited.take_listener(METRICS));
    let listener = given.map_or_else(|| metrics::bind(address), |given| Ok(given.into()))?;
    heir.add(METRICS.to_owned(), &listener)?;
    Ok(listener)
}

fn serve_metrics((listener, metrics): (TcpListener, Metrics)) -> anyhow::Result<metrics::Server> {
    let server = metrics::listen(listener, metrics)?;
    tracing::info!("serving metrics at http://{}/metrics", server.address);
    Ok(server)
}

fn log_to_stderr(format: LogFormat) {
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(colours)
        .with_target(false)
        // If standard error is closed there is no place left to report it.
        .log_internal_errors(false);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
        // It notes the time itself.
        LogFormat::Human if is_journal() => lines.fmt_fields(human_fields()).without_time().init(),
        LogFormat::Human => lines.fmt_fields(human_fields()).init(),
    }
}

/// Whether standard error leads to systemd's journal: systemd.exec(5).
fn is_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|journal| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Writes the message, which names the model and the action, and beside it only
/// the cause of the pass and how long the action took.
fn human_fields() -> impl for<'w> tracing_subscriber::fmt::FormatFields<'w> + Send + Sync + 'static {
    tracing_subscriber::fmt::format::debug_fn(|out, field, value| match field.name() {
        "message" => write!(out, "{value:?}"),
        "cause" => write!(out, " ({value:?})"),
        "duration_ms" => write!(out, " {value:?} ms"),
        _ => Ok(()),
    })
}
