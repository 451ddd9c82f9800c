//! Programs that stand in for llama-server; `tests/real/catalogue.rs` asks the real
//! one.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::OptionMatch;
use super::*;

/// An executable script. A shell writes it: a descriptor that this process has
/// open for writing, inherited by a fork of another test, makes exec fail.
fn script(dir: &TempDir, name: &str, body: &str) -> PathBuf {
    let path = dir.path().join(name);
    let write = Command::new("/bin/sh")
        .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"", "sh"])
        .arg(&path)
        .arg(body)
        .stdin(Stdio::null())
        .status();
    assert!(write.unwrap().success());
    path
}

/// A script that prints the pinned help, and leaves a line in `asked` each time.
fn helpful(dir: &TempDir, asked: &Path) -> PathBuf {
    let help = dir.path().join("help.txt");
    fs::write(&help, EMBEDDED_HELP.replace("--lora FNAME ", "--lora-new F ")).unwrap();
    script(dir, "llama-server", &format!("echo >> '{}'; cat '{}'", asked.display(), help.display()))
}

fn times_asked(asked: &Path) -> usize {
    fs::read_to_string(asked).unwrap_or_default().lines().count()
}

fn refused(stderr: &str, code: i32) -> Result<Verdict, BinaryProblem> {
    let dir = TempDir::new().unwrap();
    let path = script(&dir, "llama-server", &format!("echo \"{stderr}\" >&2; exit {code}"));
    dry_run(&path, &[], &BTreeMap::new())
}

#[test]
fn looks_up_a_bare_name_in_path_and_uses_a_path_as_is() {
    let (first, second) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    fs::write(first.path().join("llama-server"), "not executable").unwrap();
    let path = script(&second, "llama-server", "exit 0");
    let var = std::env::join_paths([Path::new("relative"), first.path(), second.path()]).unwrap();
    assert_eq!(locate(None, Some(&var)).unwrap(), path);
    assert_eq!(locate(Some("llama-server"), Some(&var)).unwrap(), path);
    assert_eq!(locate(path.to_str(), None).unwrap(), path);
}

#[test]
fn names_a_missing_or_unexecutable_program() {
    let dir = TempDir::new().unwrap();
    let message = locate(Some("/nowhere/llama-server"), None).unwrap_err().to_string();
    assert!(message.starts_with("no llama-server at /nowhere/llama-server; install"), "{message}");
    assert!(matches!(locate(None, Some(dir.path().as_os_str())), Err(BinaryProblem::NotInPath { .. })));
    assert!(matches!(locate(dir.path().to_str(), None), Err(BinaryProblem::NotExecutable { .. })), "a directory");
    fs::write(dir.path().join("llama-server"), "").unwrap();
    assert!(matches!(locate(None, Some(dir.path().as_os_str())), Err(BinaryProblem::NotExecutable { .. })));
}

#[test]
fn an_identity_changes_with_the_program_and_with_the_libraries_beside_it_only() {
    let dir = TempDir::new().unwrap();
    let path = script(&dir, "llama-server", "exit 0");
    let before = identify(&path).unwrap();
    assert_eq!(identify(&path).unwrap(), before);
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
    assert_eq!(identify(&dir.path().join("link")).unwrap(), before, "a link to it is the same program");
    fs::write(dir.path().join("libggml.so.0"), "x").unwrap();
    let with_library = identify(&path).unwrap();
    assert_ne!(with_library, before);
    fs::write(dir.path().join("libggml.so.0"), "xy").unwrap();
    assert_ne!(identify(&path).unwrap(), with_library);
}

#[test]
fn asks_for_the_help_once_per_identity() {
    let (dir, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let asked = dir.path().join("asked");
    let path = helpful(&dir, &asked);
    let cache = cache.path().join("new");
    let identity = identify(&path).unwrap();
    catalogue(&path, &identity, Some(&cache), false).unwrap();
    assert!(!cache.exists(), "a dry run writes nothing");
    for _ in 0..3 {
        let catalogue = catalogue(&path, &identity, Some(&cache), true).unwrap();
        assert!(matches!(catalogue.find("lora_new"), OptionMatch::Option { .. }));
    }
    assert_eq!(times_asked(&asked), 2);
    catalogue(&path, &BinaryIdentity("other".into()), Some(&cache), true).unwrap();
    assert_eq!(times_asked(&asked), 3);
}

#[test]
fn ignores_a_damaged_or_unwritable_cache() {
    let dir = TempDir::new().unwrap();
    let asked = dir.path().join("asked");
    let path = helpful(&dir, &asked);
    let identity = identify(&path).unwrap();
    let cache = dir.path().join("cache");
    catalogue(&path, &identity, Some(&cache), true).unwrap();
    let file = cache.join(format!("{}.help", identity.0));
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, whole.replace("--lora-new", "--lora-old")).unwrap();
    catalogue(&path, &identity, Some(&cache), true).unwrap();
    assert_eq!(times_asked(&asked), 2);
    assert_eq!(fs::read_to_string(&file).unwrap(), whole, "and it is whole again");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "nothing else is left");
    catalogue(&path, &identity, Some(&file), true).unwrap();
}

#[test]
fn does_not_take_another_program_for_llama_server() {
    let dir = TempDir::new().unwrap();
    let path = script(&dir, "llama-server", "echo 'usage: something else'");
    let problem = catalogue(&path, &BinaryIdentity("x".into()), None, false).unwrap_err();
    assert!(matches!(problem, BinaryProblem::NotLlamaServer { .. }), "{problem}");
    let path = script(&dir, "broken", "echo 'error while loading shared libraries: libx.so' >&2; exit 127");
    let problem = catalogue(&path, &BinaryIdentity("x".into()), None, false).unwrap_err().to_string();
    assert!(problem.contains("exit code 127: error while loading shared libraries: libx.so;"), "{problem}");
}

#[test]
fn a_dry_run_distinguishes_a_bad_command_line_from_a_bad_program() {
    let message = |message: &str| Verdict::Refused { message: message.to_owned() };
    assert_eq!(refused("version: 1", 0).unwrap(), Verdict::Accepted);
    assert_eq!(
        refused("load_backend: x\nerror: invalid argument: --x\n\nusage", 1).unwrap(),
        message("error: invalid argument: --x")
    );
    assert!(matches!(refused("error while loading shared libraries: libx.so", 127), Err(BinaryProblem::Failed { .. })));
    assert!(refused("said why", 1).unwrap_err().to_string().contains("exit code 1: said why;"));
}

#[test]
fn a_dry_run_gets_its_arguments_its_variables_and_little_else() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("out");
    let body = format!("{{ echo \"$@\"; env; cat; }} > '{}'", out.display());
    let path = script(&dir, "llama-server", &body);
    let env = BTreeMap::from([("CUDA_VISIBLE_DEVICES".to_owned(), "7".to_owned())]);
    dry_run(&path, &["--ctx-size".into(), "8".into()], &env).unwrap();
    let seen = fs::read_to_string(&out).unwrap();
    assert!(seen.starts_with("--ctx-size 8 --version\n"), "{seen}");
    assert!(seen.contains("CUDA_VISIBLE_DEVICES=7\n") && seen.contains("GGML_NO_BACKTRACE=1\n"), "{seen}");
    assert!(!seen.contains("CARGO_"), "{seen}");
}

#[test]
fn kills_an_endless_program_and_its_children() {
    let dir = TempDir::new().unwrap();
    let pids = dir.path().join("pids");
    let body = format!("sleep 1000 & echo $$ $! > '{}'; wait", pids.display());
    let path = script(&dir, "llama-server", &body);
    let problem =
        process::run_within(&path, Command::new(&path), "--help", None, Duration::from_secs(1)).err().unwrap();
    assert!(problem.to_string().contains("did not answer --help within 1 s"), "{problem}");
    for pid in fs::read_to_string(&pids).unwrap().split_whitespace() {
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_running(pid) {
            assert!(Instant::now() < deadline, "{pid} still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a process exists and is not a zombie.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn bounds_endless_output_and_meets_the_deadline() {
    let dir = TempDir::new().unwrap();
    let path = script(&dir, "llama-server", "head -c 3000000 /dev/zero; echo end >&2");
    let output = process::run_within(&path, Command::new(&path), "--help", None, Duration::from_secs(30)).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.as_slice()), (1 << 20, b"end\n".as_slice()));
    let path = script(&dir, "endless", "exec yes");
    assert!(process::run_within(&path, Command::new(&path), "--help", None, Duration::from_millis(200)).is_err());
}
