//! A load of many files, for `cargo test -- --ignored --nocapture load_of_many`.

use std::fmt::Write;
use std::time::Instant;

use super::*;

#[test]
#[ignore = "a measurement"]
fn load_of_many_files_costs_little_more_than_reading_them() {
    let dir = Dir::new(&[("_defaults.toml", "[parameters]\nthreads = 2\nmlock = true\n")]);
    for number in 0..10_000 {
        let mut text = format!("model = \"w.gguf\"\ndescription = \"model number {number}\"\n");
        write!(text, "labels = {{ team = \"search\", tier = \"t{number}\" }}\n[parameters]\nctx_size = 8192\n")
            .unwrap();
        text += "gpu_layers = 99\ntemperature = 0.7\ntop_k = 40\nbatch_size = 512\nmmap = false\n[env]\nA = \"0\"\n";
        dir.write(&format!("model-{number}.toml"), &text);
    }
    let plain = || {
        let entries = std::fs::read_dir(dir.path()).unwrap();
        entries.map(|entry| std::fs::read(entry.unwrap().path()).unwrap().len()).sum::<usize>()
    };
    // The best of several: other work on the machine only ever adds.
    let best = |measured: &dyn Fn() -> Option<Desired>| {
        let once = || {
            let start = Instant::now();
            let result = measured();
            let elapsed = start.elapsed();
            assert!(result.is_none_or(|desired| desired.definitions.len() == 10_000));
            elapsed
        };
        (0..7).map(|_| once()).min().unwrap()
    };
    let reading = best(&|| {
        plain();
        None
    });
    let loading = best(&|| Some(dir.load()));
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let ratio = loading.as_secs_f64() / reading.as_secs_f64();
    println!("{} bytes: read in {reading:?}, loaded in {loading:?}, {ratio:.2} times; {peak}", plain());
}
