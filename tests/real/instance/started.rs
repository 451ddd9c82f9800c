//! What `spawn` gives a process, and what it says when it cannot.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use herdsman::instance::{LogPart, LogReader, SpawnError};
use herdsman::model::{Health, InstanceId, Launch, SecretSource, Timestamp, log_path};
use rustix::io::FdFlags;
use rustix::process::{Pid, getsid};

use super::bench::{Bench, eventually, free_port};

#[test]
fn an_instance_has_a_session_a_directory_and_only_chosen_descriptors_and_variables() {
    let mut bench = Bench::new();
    // A process started while it is open inherits it, unless prevented.
    let leak = std::fs::File::open(bench.directory.path()).unwrap();
    rustix::io::fcntl_setfd(&leak, FdFlags::empty()).unwrap();
    let mut launch = bench.sleeper("plain");
    std::fs::write(bench.path("key"), "sesame\n").unwrap();
    launch.secrets.insert("THE_KEY".into(), SecretSource::File(bench.path("key").to_str().unwrap().into()));
    launch.env.insert("OMP_WAIT_POLICY".into(), "active".into());
    let pid = bench.spawn(&launch).pid;

    let link = |name: &str| std::fs::read_link(format!("/proc/{pid}/{name}")).unwrap();
    assert_eq!(link("cwd"), Path::new("/"));
    assert_eq!(link("fd/0"), Path::new("/dev/null"));
    assert_eq!((link("fd/1"), link("fd/2")), (launch.log.clone(), launch.log.clone()));
    // While it is loaded, the loader has its libraries open.
    let open = || std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    eventually("only the first three are open", || open() == 3);
    assert_eq!(getsid(Pid::from_raw(pid)).unwrap(), Pid::from_raw(pid).unwrap());
    let environment = String::from_utf8(std::fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
    let variables: Vec<&str> = environment.split('\0').collect();
    for expected in ["THE_KEY=sesame", "HERDSMAN_MODEL=plain", "OMP_WAIT_POLICY=active", "GGML_NO_BACKTRACE=1"] {
        assert!(variables.contains(&expected), "{expected} is not in {variables:?}");
    }
    assert!(!environment.contains("CARGO"), "{variables:?}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&launch.log), mode(&bench.logs())), (0o600, 0o700));
    assert!(!bench.log("plain").contains("sesame"));
}

#[test]
fn two_live_servers_of_one_model_write_two_files_that_are_read_as_one() {
    let mut bench = Bench::new();
    let one = bench.llama("m", &["--port", &free_port().to_string()]);
    let id = InstanceId("another of m".to_owned());
    let log = log_path(&bench.logs(), &one.model, &id, Timestamp(i64::from(u32::MAX)));
    let mut two = Launch { id, log, ..bench.llama("m", &["--port", &free_port().to_string()]) };
    for launch in [&one, &two] {
        bench.spawn(launch);
    }
    bench.until("ready", |seen| seen.instances.len() == 2 && seen.instances.iter().all(|i| i.health == Health::Ready));
    let log = |launch: &Launch| std::fs::read_to_string(&launch.log).unwrap();
    eventually("both say that they listen", || [&one, &two].iter().all(|l| log(l).contains("listening on")));
    for launch in [&one, &two] {
        assert!(log(launch).starts_with(&format!("herdsman: instance {} of", launch.id)));
        assert_eq!(log(launch).matches("herdsman: instance").count(), 1);
    }
    let mut reader = LogReader::open(&bench.logs(), &one.model, LogPart::Whole, None).unwrap().unwrap();
    let mut whole = reader.read().unwrap();
    whole.extend(reader.read().unwrap());
    assert_eq!(String::from_utf8(whole).unwrap(), format!("{}{}", log(&one), log(&two)));

    two.id = one.id.clone();
    let message = refusal(&mut bench, &two);
    assert!(message.starts_with("cannot write the log") && message.contains("File exists"), "{message}");
}

/// The error of a start.
fn refusal(bench: &mut Bench, launch: &Launch) -> String {
    bench.host.spawn(launch).unwrap_err().to_string()
}

#[test]
fn a_program_that_cannot_be_executed_is_named_with_the_next_step() {
    let mut bench = Bench::new();
    let missing = bench.launch("m", "/no/such/llama-server", &[]);
    let message = refusal(&mut bench, &missing);
    assert_eq!(
        message,
        "cannot execute /no/such/llama-server: No such file or directory (os error 2); \
         set `binary`, --llama-server or HERDSMAN_LLAMA_SERVER"
    );

    std::fs::write(bench.path("plain"), "text").unwrap();
    let plain = bench.launch("m", bench.path("plain"), &[]);
    assert!(refusal(&mut bench, &plain).ends_with("is it an executable file?"));

    let script = bench.path("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = bench.launch("m", script, &[]);
    assert!(refusal(&mut bench, &script).ends_with("the loader or interpreter it needs does not"));
    assert!(bench.observe().instances.is_empty());
}

#[test]
fn a_log_that_cannot_be_written_stops_the_start() {
    let mut bench = Bench::new();
    let full = SpawnError::Log { path: "m.log".into(), source: std::io::ErrorKind::StorageFull.into() };
    assert_eq!(full.to_string(), "cannot write the log m.log: no storage space; free some space");

    std::fs::write(bench.path("file"), "").unwrap();
    let nowhere = Launch { log: bench.path("file").join("m.log"), ..bench.sleeper("m") };
    assert!(refusal(&mut bench, &nowhere).starts_with("cannot write the log"));
    assert!(bench.observe().instances.is_empty());
}

#[test]
fn a_missing_secret_stops_the_start_and_is_named_by_its_source() {
    let mut bench = Bench::new();
    let mut locked = bench.sleeper("m");
    locked.secrets.insert("LLAMA_API_KEY".into(), SecretSource::File("/no/such/key".into()));
    assert_eq!(
        refusal(&mut bench, &locked),
        "cannot set LLAMA_API_KEY: cannot read the secret file /no/such/key: No such file or directory (os error 2)"
    );
    assert!(bench.observe().instances.is_empty());
}

#[test]
fn a_socket_somebody_listens_on_and_a_plain_file_are_left_alone() {
    let mut bench = Bench::new();
    let (socket, file) = (bench.path("theirs.sock"), bench.path("file"));
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::fs::write(&file, "precious").unwrap();
    for (model, path) in [("a", &socket), ("b", &file)] {
        let launch = Launch { socket: Some(path.clone()), ..bench.sleeper(model) };
        bench.spawn(&launch);
    }
    assert!(bench.stop().iter().all(Result::is_ok));
    assert!(socket.exists() && file.exists());
}
