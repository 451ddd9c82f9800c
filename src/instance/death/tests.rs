//! What servers that died have said.
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
    Known { exit: Some(ExitStatus::from_raw(status)), ..Known::default() }
}

#[test]
fn a_log_cut_short_does_not_hide_that_the_port_was_taken() {
    let known = Known { taken_port: Some(8101), ..exited(1 << 8) };
    let death = from_log("0.00.1 I srv    load_model: loading\n", known);
    assert_eq!(death.cause, FailureCause::PortBusy);
    assert!(death.message.starts_with("port 8101 is in use"), "{death:?}");
    assert_eq!(from_log("error: invalid argument: --x", known).cause, FailureCause::Spec, "an error in the log wins");
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
    let line =
        |text: &str| death(&format!("0.00.006.592 E srv         start: {text}\n0.1 E srv  llama_server: exiting\n"));
    assert_eq!(
        line("couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 39413"),
        (FailureCause::PortBusy, "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 39413".into())
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
    assert_eq!(illegal.message, "ended by SIGILL; no error in its log, which ends with: AMX is not ready to be used!");
    let no_word = format!("its log does not say why ({OFTEN_LOST})");
    assert_eq!(death("herdsman: starts\n").1, no_word);
    assert_eq!(from_log("", exited(3 << 8)).message, format!("exit status 3; {no_word}"));
}

fn id(name: &str) -> InstanceId {
    InstanceId(name.to_owned())
}

fn shared(log: &Path) -> InstanceLog {
    InstanceLog { path: log.to_owned(), shared: true }
}

fn head(name: &str) -> String {
    format!("{}of spec v1:x starts /bin/llama-server\n", start_of(&id(name)))
}

#[test]
fn only_what_this_instance_wrote_counts_and_at_most_the_last_16_kib() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("m.log");
    let says = |name: &str| explain(&shared(&log), &id(name), Known::default()).message;
    let (old, new) = ("error: invalid argument: --old", "error: invalid argument: --new");
    std::fs::write(&log, format!("{}{old}\n{}", head("1"), head("2"))).unwrap();
    assert_eq!(says("1"), old);
    let no_word = format!("its log does not say why ({OFTEN_LOST})");
    assert_eq!(says("2"), no_word);
    assert_eq!(says("3"), no_word, "never started");
    std::fs::write(&log, format!("{}{old}\n{}{new}\n", head("1"), head("2"))).unwrap();
    assert_eq!((says("1"), says("2")), (old.into(), new.into()));
    std::fs::write(&log, format!("{}{new}\n{}", head("1"), "noise\n".repeat(4000))).unwrap();
    assert_eq!(says("1"), format!("no error in its log, which ends with: noise ({OFTEN_LOST})"));
    std::fs::write(&log, format!("{OWN_LINE}older lines are in m.log.1\nprompt {}{new}\n", head("2"))).unwrap();
    assert_eq!(says("1"), new, "its head was removed, and a prompt starts no instance");
    std::fs::write(&log, format!("{}noise\n{}{new}\n", head("2"), head("1"))).unwrap();
    let own = InstanceLog { path: log, shared: false };
    assert_eq!(explain(&own, &id("2"), Known::default()).message, new, "all of its own log is its, prompts too");
    let none = shared(&directory.path().join("none"));
    assert!(explain(&none, &id("1"), Known::default()).message.contains("cannot be read"));
}

#[test]
fn a_message_is_short_and_safe_to_print() {
    let message = death(&format!("0.1 E x: \u{1b}[31m{}", "é".repeat(1000))).1;
    assert!(message.chars().count() <= 301 && !message.contains('\u{1b}'), "{message}");
}

#[test]
fn layers_on_the_gpu_are_counted_in_this_instances_lines_also_after_the_log_was_shortened() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("m.log");
    let old = format!("{}load_tensors: offloaded 1/9 layers to GPU\n", head("1"));
    let layers = |text: &str, offset: usize| {
        std::fs::write(&log, text).unwrap();
        offloaded_layers(&shared(&log), &id("2"), offset as u64)
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

#[test]
fn an_end_without_an_error_before_it_was_ready_is_a_wrappers() {
    let known = Known { taken_port: Some(8101), ..exited(0) };
    let death = from_log("", known);
    assert_eq!(death.cause, FailureCause::Spec, "another port would not help");
    assert!(death.message.contains("port 8101: a wrapper must start llama-server with `exec`"), "{death:?}");
    let was_ready = from_log("", Known { was_ready: true, ..exited(0) });
    assert!(!was_ready.message.contains("wrapper"), "{was_ready:?}");
}
