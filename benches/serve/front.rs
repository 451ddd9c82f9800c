//! What is measured of a proxy in front of a server that answers at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::driver::{CONNECTIONS, Driver, completion, long_completion};
use crate::measure::{median, p99};
use crate::process::{cpu, forget_peak, memory, peak};
use crate::proxies::Proxy;
use crate::rows::Sample;

/// The bytes of the bodies.
const SMALL_BODY: usize = 100_000;
const LARGE_BODY: usize = 25_000_000;
/// How many large ones come at once.
const AT_ONCE: usize = 4;
/// How far the events of a slow stream are apart.
const PAUSE: Duration = Duration::from_millis(10);
/// How many streams stay open with nothing to say.
const IDLE_STREAMS: usize = 1_000;

/// One connection, small answers: the median, µs.
pub fn one_connection(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    one_by_one(driver, proxy, &completion(""), time).map(|took| vec![Some(took * 1e6)])
}

/// The same with bodies of 100 kB.
pub fn small_body(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    one_by_one(driver, proxy, &long_completion(SMALL_BODY), time).map(|took| vec![Some(took * 1e6)])
}

/// Bodies of 25 MB: the median, ms; and the most memory while four arrive at once, MB.
pub fn large_body(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    let request = Arc::new(long_completion(LARGE_BODY));
    let took = one_by_one(driver, proxy, &request, time)?;
    let wires = driver.connect(proxy.address, AT_ONCE).map_err(words)?;
    forget_peak(&proxy.pids).map_err(words)?;
    driver.at_once(wires, &request).map_err(words)?;
    let memory = peak(&proxy.pids).map_err(words)?;
    Ok(vec![Some(took * 1e3), behind(proxy, memory)])
}

/// 32 connections: answers each second; and the proxy's CPU time for 10⁴, s.
pub fn answers(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    let wires = driver.connect(proxy.address, CONNECTIONS).map_err(words)?;
    let (start, before) = (Instant::now(), cpu(&proxy.pids));
    let answers = count(driver.answers(wires, time).map_err(words)?);
    let (took, used) = (start.elapsed(), cpu(&proxy.pids) - before);
    Ok(vec![Some(answers / took.as_secs_f64()), behind(proxy, used.as_secs_f64() / answers * 1e4)])
}

/// 32 streams at full speed: events each second; and the proxy's CPU time for 10³, ms.
pub fn streams(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    let wires = driver.connect(proxy.address, CONNECTIONS).map_err(words)?;
    let (start, before) = (Instant::now(), cpu(&proxy.pids));
    let events = count(driver.streams(wires, time).map_err(words)?);
    let (took, used) = (start.elapsed(), cpu(&proxy.pids) - before);
    Ok(vec![Some(events / took.as_secs_f64()), behind(proxy, used.as_secs_f64() * 1e3 / events * 1e3)])
}

/// 32 streams, an event each 10 ms: how long an event is on its way, µs, the median and
/// the 99th of 100.
pub fn delays(driver: &Driver, proxy: &Proxy, time: Duration) -> Sample {
    let wires = driver.connect(proxy.address, CONNECTIONS).map_err(words)?;
    let delays = driver.delays(wires, PAUSE, time).map_err(words)?;
    let delays: Vec<f64> = delays.iter().map(|delay| delay.as_secs_f64() * 1e6).collect();
    Ok(vec![Some(median(delays.clone())), Some(p99(delays))])
}

/// 1,000 streams on which nothing comes: the proxy's memory, MB.
pub fn idle_streams(driver: &Driver, proxy: &Proxy, _: Duration) -> Sample {
    let _open = driver.idle_streams(proxy.address, IDLE_STREAMS).map_err(words)?;
    Ok(vec![behind(proxy, memory(&proxy.pids).map_err(words)?)])
}

fn one_by_one(driver: &Driver, proxy: &Proxy, request: &[u8], time: Duration) -> Result<f64, String> {
    let mut wires = driver.connect(proxy.address, 1).map_err(words)?;
    let took = driver.one_by_one(&mut wires[0], request, time).map_err(words)?;
    Ok(median(took.iter().map(Duration::as_secs_f64).collect()))
}

/// A figure that only a proxy has.
fn behind(proxy: &Proxy, figure: f64) -> Option<f64> {
    (!proxy.pids.is_empty()).then_some(figure)
}

#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52")]
fn count(number: usize) -> f64 {
    number as f64
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: std::io::Error) -> String {
    error.to_string()
}
