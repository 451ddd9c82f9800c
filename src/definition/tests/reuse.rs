//! A loader that has read the directory before returns what a new one would.

use std::time::Duration;

use super::*;

/// A directory, and a loader that has read it.
struct Scene {
    dir: Dir,
    loader: Loader,
    last: Arc<Desired>,
}

impl Scene {
    fn new(files: &[(&str, &str)]) -> Self {
        let (dir, mut loader) = (Dir::new(files), Loader::default());
        loader.at_rest = Duration::ZERO;
        let last = loader.load(&dir.options(&dir.path(), &Pinned)).unwrap();
        Self { dir, loader, last }
    }

    /// Loads again, which must give what a new loader gives; returns whether it is
    /// the very same value as before.
    #[track_caller]
    fn is_same(&mut self) -> bool {
        self.is_same_with(&Pinned)
    }

    #[track_caller]
    fn is_same_with(&mut self, catalogues: &dyn Catalogues) -> bool {
        let path = self.dir.path();
        let options = self.dir.options(&path, catalogues);
        let (now, new) = (self.loader.load(&options).unwrap(), Loader::default().load(&options).unwrap());
        assert_eq!((&now.definitions, &now.unresolved), (&new.definitions, &new.unresolved));
        assert_eq!(now.diagnostics, new.diagnostics);
        let same = Arc::ptr_eq(&now, &self.last);
        self.last = now;
        same
    }
}

const TWO: [(&str, &str); 2] = [("a.toml", "model = \"w.gguf\"\n"), ("b.toml", "model = \"w.gguf\"\nport = 1\n")];

#[test]
fn an_unchanged_directory_returns_the_same_definitions() {
    let mut scene = Scene::new(&TWO);
    assert!(scene.is_same());
    assert!(scene.is_same());
}

#[test]
fn one_edit_keeps_the_other_definitions_identical() {
    let mut scene = Scene::new(&TWO);
    let b = Arc::clone(&scene.last.definitions[&ModelName::parse("b").unwrap()]);
    scene.dir.write("a.toml", "model = \"w.gguf\"\ndescription = \"x\"\n");
    assert!(!scene.is_same());
    assert!(Arc::ptr_eq(&b, &scene.last.definitions[&ModelName::parse("b").unwrap()]));
    assert!(scene.is_same());
}

#[test]
fn notices_files_that_appear_vanish_break_or_clash() {
    let mut scene = Scene::new(&TWO);
    for (file, text) in [
        ("c.toml", Some("model = \"w.gguf\"\n")),
        ("c.toml", Some("model = \"w.gguf\"\nport = 1\n")),
        ("b.toml", None),
        ("c.toml", Some("model = \n")),
        ("a.toml", Some("name = \"c\"\nmodel = \"w.gguf\"\n")),
        ("c.toml", None),
        ("_defaults.toml", Some("[parameters]\nctx_size = 1024\n")),
        ("_defaults.toml", Some("[parameters]\nctx_sise = 1024\n")),
        ("_defaults.toml", None),
    ] {
        match text {
            Some(text) => scene.dir.write(file, text),
            None => std::fs::remove_file(scene.dir.path().join(file)).unwrap(),
        }
        assert!(!scene.is_same(), "{file} {text:?}");
    }
    assert!(scene.is_same(), "at rest again");
}

#[test]
fn rereads_and_reports_a_broken_directory_each_time() {
    let mut scene = Scene::new(&[("a.toml", "prot = 1\n"), TWO[1]]);
    scene.is_same();
    assert_eq!(scene.last.unresolved.len(), 1);
    assert_eq!(scene.last.diagnostics.len(), 2);
}

#[test]
fn checks_named_files_of_unchanged_definitions() {
    let secret = "[secrets]\napi_key = { file = \"k\" }\n";
    let mut scene = Scene::new(&[("a.toml", &format!("{}{secret}", TWO[0].1)), ("k", "one")]);
    scene.dir.write("w.gguf", "x");
    assert!(!scene.is_same(), "the weights came");
    scene.dir.write("w.gguf", "xy");
    assert!(!scene.is_same(), "the weights changed");
    scene.dir.write("k", "two");
    assert!(!scene.is_same(), "the secret changed");
    std::fs::remove_file(scene.dir.path().join("w.gguf")).unwrap();
    assert!(!scene.is_same(), "the weights are gone");
    assert!(scene.is_same());
}

#[test]
fn another_llama_server_knows_other_options() {
    struct Other;
    impl Catalogues for Other {
        fn catalogue(&self, _: Option<&str>) -> Arc<Catalogue> {
            let help = include_str!("../../llama/catalogue/help-b10434.txt").replace("--mmap", "--mapped");
            Arc::new(Catalogue::from_help(&help).unwrap())
        }
    }
    let mut scene = Scene::new(&[("a.toml", &format!("{}[parameters]\nmmap = true\n", TWO[0].1))]);
    assert!(scene.is_same());
    assert!(!scene.is_same_with(&Other));
    assert_eq!(scene.last.unresolved.len(), 1, "it has no --mmap");
}

#[test]
fn a_file_written_twice_within_a_tick_of_the_clock_is_read_twice() {
    let mut scene = Scene::new(&TWO);
    scene.loader.at_rest = Duration::from_secs(3600);
    for round in 0..200 {
        let label = ["x", "y"][round % 2];
        scene.dir.write("a.toml", &format!("model = \"w.gguf\"\ndescription = \"{label}\"\n"));
        scene.is_same();
        let a = &scene.last.definitions[&ModelName::parse("a").unwrap()];
        assert_eq!(a.description.as_deref(), Some(label), "round {round}");
    }
}

#[test]
fn an_edit_of_the_groups_is_seen() {
    let mut scene =
        Scene::new(&[("a.toml", "model = \"w.gguf\"\ngroup = \"chat\"\n"), ("b.toml", "model = \"w.gguf\"\n")]);
    let max_running = |scene: &Scene| scene.last.groups.get("chat").map(|group| group.max_running);
    assert_eq!((scene.last.definitions.len(), max_running(&scene)), (1, None));
    for (text, definitions, expected) in [
        ("[chat]\nmax_running = 1\n", 2, Some(1)),
        ("[chat]\nmax_running = 2\n", 2, Some(2)),
        ("[chat]\nmax_running = 0\n", 1, None),
        ("[chat]\nmax_running = 1\n", 2, Some(1)),
        ("", 1, None),
    ] {
        let before = Glance::at(&scene.dir.path());
        scene.dir.write("_groups.toml", text);
        assert_ne!(Glance::at(&scene.dir.path()), before, "{text}");
        assert!(!scene.loader.is_still_so(&scene.dir.path()));
        assert!(!scene.is_same(), "{text}");
        assert_eq!((scene.last.definitions.len(), max_running(&scene)), (definitions, expected), "{text}");
        // A file that cannot be used is read again each time.
        assert_eq!(scene.is_same(), definitions == 2);
    }
}
