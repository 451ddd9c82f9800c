//! The directory as a whole.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

fn options<'a>(dir: &'a Dir, path: &'a Path) -> LoadOptions<'a> {
    LoadOptions { dir: path, from: ReadFrom::Itself, cwd: dir.0.path(), state_key: [0; 32], catalogues: &Pinned }
}

#[test]
fn a_directory_that_cannot_be_read_is_an_error_and_never_no_models() {
    let dir = Dir::new(&[("a.toml", "")]);
    let error = |path: &str| dir.load_as(Path::new(path), &Pinned).unwrap_err();
    assert!(matches!(error("no"), LoadError::MissingDirectory { .. }));
    assert!(matches!(error("models.d/a.toml"), LoadError::NotADirectory { .. }));
    symlink("nowhere", dir.0.path().join("link")).unwrap();
    assert!(matches!(error("link"), LoadError::MissingDirectory { .. }));
    symlink("loop", dir.0.path().join("loop")).unwrap();
    assert!(matches!(error("loop"), LoadError::Unreadable { .. }));
    let message = error("no").to_string();
    assert!(message.contains(dir.0.path().join("no").to_str().unwrap()) && message.contains("--models-dir"));
}

#[test]
fn an_empty_directory_is_valid() {
    let desired = Dir::new(&[]).load();
    assert!(desired.definitions.is_empty() && desired.unresolved.is_empty() && desired.diagnostics.is_empty());
}

#[test]
fn a_link_to_the_directory_works_and_paths_stay_lexical() {
    let dir = Dir::one("");
    symlink("models.d", dir.0.path().join("link")).unwrap();
    let desired = dir.load_as(Path::new("./x/../link"), &Pinned).unwrap();
    assert_eq!(desired.dir, dir.0.path().join("link"));
    assert_eq!(desired.definitions["a"].path.as_ref(), dir.0.path().join("link/a.toml").to_str().unwrap());
    assert_eq!(desired.definitions["a"].file.as_ref(), "link/a.toml");
}

#[test]
fn a_file_that_cannot_be_read_is_unresolved_under_its_stem() {
    let dir = Dir::new(&[("big.toml", &" ".repeat(1024 * 1024 + 1)), ("good.toml", "model = \"a.gguf\"")]);
    std::fs::create_dir(dir.path().join("dir.toml")).unwrap();
    symlink("nowhere", dir.path().join("link.toml")).unwrap();
    std::fs::write(dir.path().join("latin.toml"), b"description = \"\xe9\"").unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe.toml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let desired = dir.load();
    assert_eq!(names(&desired), ["good"]);
    let unresolved: Vec<_> =
        desired.unresolved.iter().map(|u| (u.name.as_ref().unwrap().as_str(), &*u.problem)).collect();
    let expected = [
        ("big", "larger than 256 KiB"),
        ("dir", "it is a directory"),
        ("latin", "not valid UTF-8: byte 16"),
        ("link", "No such file"),
        ("pipe", "not a regular file"),
    ];
    assert_eq!(unresolved.len(), expected.len());
    for ((name, problem), (file, part)) in unresolved.iter().zip(expected) {
        assert!(*name == file && problem.contains(part), "{name}: {problem}");
    }
    assert!(desired.diagnostics.iter().all(|d| d.help.is_some()));
}

#[test]
fn a_file_name_that_is_not_unicode_is_unresolved() {
    let dir = Dir::new(&[]);
    std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff.toml")), "model = \"a.gguf\"").unwrap();
    let desired = dir.load();
    assert_eq!(desired.unresolved[0].problem, "the file name is not valid UTF-8");
    assert_eq!(desired.unresolved[0].name, None);
}

#[test]
fn a_broken_file_protects_its_declared_name() {
    let dir = Dir::new(&[
        ("a.toml", "name = \"x\"\nport = ["),
        ("b.toml", "name = \"y\"\nprot = 1"),
        ("c.toml", "name = \"/\"\nmodel = \"c\""),
    ]);
    let protected: Vec<_> = dir.load().unresolved.iter().map(|u| u.name.clone().map(String::from)).collect();
    assert_eq!(protected, ["x", "y", "c"].map(|name| Some(name.to_owned())));
}

#[test]
fn a_broken_file_still_clashes_with_others() {
    let dir = Dir::new(&[("a.toml", "model = \"a\"\nport = 1"), ("b.toml", "prot = 2\nport = 1\nname = \"c\"")]);
    dir.write("c.toml", "model = \"c\"");
    let desired = dir.load();
    assert_eq!((desired.definitions.len(), desired.unresolved.len()), (0, 3));
    let shown = render(&desired.diagnostics, false);
    assert!(shown.contains("port 1 is also declared") && shown.contains("`c` is also the name"), "{shown}");
}

#[test]
fn an_alias_may_repeat_the_models_own_name() {
    assert_eq!(problems_of("aliases = [\"a\", \"b\", \"b\"]\n"), "");
}

#[test]
fn reports_one_clash_for_a_file_that_claims_a_name_twice() {
    let dir = Dir::one("aliases = [\"a\", \"a\"]\n");
    dir.write("b.toml", "model = \"b.gguf\"\naliases = [\"a\"]\n");
    let clashes: Vec<_> = dir.load().diagnostics.iter().map(|d| d.label.clone().unwrap()).collect();
    assert_eq!(clashes, ["also models.d/b.toml:2", "also models.d/a.toml"]);
}

#[test]
fn reads_many_files_and_reports_problems_in_order() {
    let dir = Dir::new(&[]);
    let all: Vec<_> = (100..300).map(|number| format!("m{number}")).collect();
    for name in &all {
        dir.write(&format!("{name}.toml"), &format!("model = \"{name}.gguf\"\n"));
    }
    let desired = dir.load();
    assert_eq!(names(&desired), all);
    assert!(desired.definitions.values().all(|d| d.parameters["model"] == dir.file(&format!("{}.gguf", d.name))));
    for broken in ["m120.toml", "m280.toml"] {
        dir.write(broken, "");
    }
    let desired = dir.load();
    let reported: Vec<_> = desired.unresolved.iter().map(|unresolved| &*unresolved.file).collect();
    assert_eq!(reported, ["models.d/m120.toml", "models.d/m280.toml"]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let dir = Dir::new(&[("a.toml", "\u{feff}model = \"a.gguf\"\r\nport = 1\r\n")]);
    let definition = dir.definition();
    assert_eq!((definition.spec.port, definition.origin("port").line), (Some(1), 2));
}

#[test]
fn a_load_waits_for_git_and_then_names_its_lock() {
    let dir = Dir::one("");
    let lock = dir.path().canonicalize().unwrap().join("../.git/index.lock");
    std::fs::create_dir(dir.0.path().join(".git")).unwrap();
    std::fs::write(&lock, "").unwrap();
    let short = Loader::with_patience(Duration::from_millis(30)).load(&options(&dir, &dir.path()));
    let message = short.unwrap_err().to_string();
    assert!(message.contains(".git/index.lock") && message.contains("remove the file"), "{message}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| Loader::default().load(&options(&dir, &dir.path())));
        std::fs::remove_file(&lock).unwrap();
        assert_eq!(names(&waiting.join().unwrap().unwrap()), ["a"]);
    });
}

#[test]
fn a_directory_that_never_rests_is_an_error() {
    let dir = Dir::one("");
    // Replaces the file while its options are looked up: in every reading.
    struct Busy(PathBuf, AtomicU32);
    impl Catalogues for Busy {
        fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
            let count = self.1.fetch_add(1, Ordering::Relaxed);
            std::fs::write(&self.0, format!("model = \"a.gguf\"\n#{}", "x".repeat(count as usize))).unwrap();
            Catalogue::embedded()
        }
    }
    let catalogues = Busy(dir.path().join("a.toml"), AtomicU32::new(0));
    let path = dir.path();
    let options = LoadOptions { catalogues: &catalogues, ..options(&dir, &path) };
    let error = Loader::with_patience(Duration::from_secs(1)).load(&options).unwrap_err();
    assert!(matches!(error, LoadError::Unsettled { .. }));
    assert!(catalogues.1.load(Ordering::Relaxed) > 1, "it looked again");
}

#[test]
fn a_load_is_of_one_moment() {
    // A commit to both files comes after the first was read, once; of another
    // length, for the time of a change is as coarse as the kernel's clock.
    struct Commit<'d>(&'d Dir, AtomicU32);
    impl Catalogues for Commit<'_> {
        fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
            if self.1.fetch_add(1, Ordering::Relaxed) == 0 {
                self.0.write("a.toml", "model = \"another.gguf\"");
                self.0.write("b.toml", "model = \"another.gguf\"");
            }
            Catalogue::embedded()
        }
    }
    let dir = Dir::new(&[("a.toml", "model = \"old.gguf\""), ("b.toml", "model = \"old.gguf\"")]);
    let catalogues = Commit(&dir, AtomicU32::new(0));
    let desired = dir.load_as(Path::new("models.d"), &catalogues).unwrap();
    for definition in desired.definitions.values() {
        assert_eq!(definition.parameters["model"], dir.file("another.gguf"));
    }
    assert_eq!(catalogues.1.load(Ordering::Relaxed), 2, "read twice");
}

#[test]
fn files_that_appear_while_others_are_read_are_not_missed() {
    struct Add<'d>(&'d Dir, AtomicU32);
    impl Catalogues for Add<'_> {
        fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
            if self.1.fetch_add(1, Ordering::Relaxed) == 0 {
                self.0.write("b.toml", "model = \"b.gguf\"");
                self.0.write("_defaults.toml", "description = \"from the defaults\"");
            }
            Catalogue::embedded()
        }
    }
    let dir = Dir::one("");
    let desired = dir.load_as(Path::new("models.d"), &Add(&dir, AtomicU32::new(0))).unwrap();
    assert_eq!(names(&desired), ["a", "b"]);
    assert_eq!(desired.definitions["a"].description.as_deref(), Some("from the defaults"));
}
