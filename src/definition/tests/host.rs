//! Checks against this machine.

use super::*;

#[test]
fn missing_weights_make_a_running_model_unresolved() {
    let dir = Dir::new(&[
        ("a.toml", "state = \"running\"\nmodel = \"w-00001-of-00002.gguf\"\n"),
        ("b.toml", "model = \"there.gguf\"\n"),
        ("c.toml", "state = \"stopped\"\nmodel = \"no.gguf\"\n"),
        ("there.gguf", "x"),
        ("w-00001-of-00002.gguf", "x"),
    ]);
    let mut desired = dir.load();
    host_checks(&mut desired, ReadFrom::Itself);
    assert_eq!(names(&desired), ["b", "c"]);
    assert_eq!(desired.unresolved.len(), 1);
    assert_eq!(desired.unresolved[0].name.as_ref().unwrap().as_str(), "a");
    let [problem] = &desired.diagnostics[..] else { panic!("{:?}", desired.diagnostics) };
    assert!(problem.message.contains("w-00002-of-00002.gguf does not exist"));
    assert_eq!(problem.position(), Some((2, 1)), "that shard is not written there, so the whole line");
}

#[test]
fn reports_a_directory_given_as_weights_at_its_line() {
    let dir = Dir::new(&[("a.toml", "model = \"a.gguf\"\n")]);
    std::fs::create_dir(dir.path().join("a.gguf")).unwrap();
    let mut desired = dir.load();
    host_checks(&mut desired, ReadFrom::Itself);
    assert!(desired.diagnostics[0].message.contains("it is a directory"));
    assert_eq!(desired.diagnostics[0].position(), Some((1, 9)));
}

#[test]
fn reports_a_shared_unreadable_secret_once() {
    let dir = Dir::new(&[
        ("_defaults.toml", "[secrets]\napi_key = { file = \"no\" }\n"),
        ("a.toml", "hf_repo = \"o/a\"\n"),
        ("b.toml", "hf_repo = \"o/b\"\n"),
        ("c.toml", "hf_repo = \"o/c\"\nsecrets.api_key = { file = \"empty\" }\n"),
        ("empty", "\n"),
    ]);
    let mut desired = dir.load();
    assert_eq!(desired.definitions.len(), 3, "not a problem of the files");
    host_checks(&mut desired, ReadFrom::Itself);
    assert_eq!(desired.unresolved.len(), 3);
    let shown: Vec<_> = desired.diagnostics.iter().map(|d| (&*d.file, d.position(), d.message.as_str())).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!((shown[0].0, shown[0].1), ("models.d/_defaults.toml", Some((2, 1))));
    assert!(shown[0].2.contains("cannot read"));
    assert!(shown[1].2.contains("is empty"), "an empty key would leave the server open");
}
