//! `_defaults.toml`.

use super::*;
use crate::model::{DesiredState, OptionValue, Origin};

#[test]
fn defaults_are_merged_by_option_and_name_their_place() {
    let dir = Dir::new(&[
        (
            "_defaults.toml",
            "state = \"stopped\"\nlabels = { a = \"d\", b = \"d\" }\n[parameters]\nn_gpu_layers = 1\nno_mmap = true\n\
             threads = 2\n[env]\nA = \"d\"\nB = \"d\"\n[update]\ndrain = \"1s\"\n",
        ),
        (
            "a.toml",
            "model = \"a.gguf\"\nlabels = { b = \"f\" }\n[parameters]\ngpu_layers = 99\nmmap = true\n[env]\nB = \"f\"\n",
        ),
    ]);
    let definition = dir.definition();
    let value = |key: &str| definition.spec.options[key].value.clone();
    assert_eq!(value("gpu_layers"), OptionValue::One("99".into()));
    assert_eq!(value("mmap"), OptionValue::Flag(true));
    assert_eq!(value("threads"), OptionValue::One("2".into()));
    assert_eq!(definition.spec.options.len(), 4);
    assert_eq!((&*definition.spec.env["A"], &*definition.spec.env["B"]), ("d", "f"));
    assert_eq!((&*definition.labels["a"], &*definition.labels["b"]), ("d", "f"));
    assert_eq!(definition.state, DesiredState::Stopped);
    assert_eq!(definition.update.drain.as_secs(), 1);
    assert_eq!(definition.origin("threads"), Origin::new("models.d/_defaults.toml", 6));
    assert_eq!(definition.origin("gpu_layers"), Origin::new("models.d/a.toml", 4));
    assert_eq!(definition.origin("env.A"), Origin::new("models.d/_defaults.toml", 8));
    assert_eq!(definition.origin("state"), Origin::new("models.d/_defaults.toml", 1));
}

#[test]
fn broken_defaults_leave_every_model_alone() {
    for text in ["x", "state = 1", "[parameters]\nnosuch = 1", "[env]\nA = 1"] {
        let dir = Dir::new(&[("_defaults.toml", text), ("a.toml", "model = \"a.gguf\""), ("b.toml", "prot = 1")]);
        let desired = dir.load();
        assert_eq!(names(&desired), [""; 0], "{text}");
        let unresolved: Vec<_> = desired.unresolved.iter().map(|u| u.name.as_ref().unwrap().as_str()).collect();
        assert_eq!(unresolved, ["a", "b"]);
        assert_eq!(desired.unresolved[0].problem, "_defaults.toml in the same directory has errors");
        let about = |file: &str| desired.diagnostics.iter().filter(|d| &*d.file == file).count();
        assert_eq!(about("models.d/_defaults.toml"), 1, "{text}");
        assert!(about("models.d/b.toml") > 0, "the other problems are reported, too");
    }
}

#[test]
fn defaults_are_checked_even_where_no_definition_uses_them() {
    assert!(Dir::new(&[("_defaults.toml", "[parameters]\nnosuch = 1")]).problems().contains("nosuch"));
    assert_eq!(Dir::new(&[("_defaults.toml", "[parameters]\nctx_size = 1")]).problems(), "");
}

#[test]
fn a_socket_from_the_defaults_and_a_port_contradict_each_other() {
    let dir =
        Dir::new(&[("_defaults.toml", "host = \"/run/llama.sock\""), ("a.toml", "model = \"a.gguf\"\nport = 1\n")]);
    assert!(dir.problems().contains("models.d/_defaults.toml:1 sets it to a socket"), "{}", dir.problems());
}

#[test]
fn two_models_on_the_socket_of_the_defaults_clash() {
    let dir = Dir::new(&[
        ("_defaults.toml", "host = \"/run/llama.sock\""),
        ("a.toml", "model = \"a.gguf\"\n"),
        ("b.toml", "model = \"b.gguf\"\n"),
    ]);
    let desired = dir.load();
    assert_eq!(desired.unresolved.len(), 2);
    assert!(desired.diagnostics.iter().all(|d| d.message.contains("belongs to another model")));
}

/// A default llama-server that has no option `threads`.
struct WithoutThreads;

impl Catalogues for WithoutThreads {
    fn catalogue(&self, binary: Option<&str>) -> Arc<Catalogue> {
        let help = include_str!("../../llama/catalogue/help-b10434.txt");
        match binary {
            None => Arc::new(Catalogue::from_help(&help.replace("--threads", "--strands")).unwrap()),
            Some(_) => Catalogue::embedded(),
        }
    }
}

#[test]
fn defaults_mean_what_the_definitions_own_binary_understands() {
    let dir = Dir::new(&[
        ("_defaults.toml", "[parameters]\nthreads = 2\n"),
        ("a.toml", "model = \"a.gguf\"\nbinary = \"other\"\n"),
    ]);
    let read = || dir.load_as(Path::new("models.d"), &WithoutThreads).unwrap();
    assert_eq!(render(&read().diagnostics, false), "", "the default binary is not in use");
    assert_eq!(names(&read()), ["a"]);
    dir.write("b.toml", "model = \"b.gguf\"\n");
    let desired = read();
    assert_eq!(names(&desired), ["a"]);
    assert_eq!(desired.diagnostics.len(), 1, "{}", render(&desired.diagnostics, false));
}
