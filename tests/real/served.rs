//! A server is ready once it serves the model that was asked for, however it
//! comes by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::{Downloads, World, ask, eventually, llama_server};

const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a model that says `text`.
fn weights(world: &World, text: &str) -> Vec<u8> {
    fs::read(world.weights("to-download", text)).unwrap()
}

/// Every file below `directory`, by its path in it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect();
    found.sort();
    found
}

fn define_url(world: &World, name: &str, url: &str) {
    world.write_definition(name, &format!("model_url = \"{url}\"\n[parameters]\nctx_size = 512\nthreads = 1\n"));
}

/// A script in llama-server's place that does as `otherwise` says (sh) with
/// what it is to serve; `$real` is the real one.
fn wrapper(world: &World, otherwise: &str) -> String {
    let (path, real) = (world.path().join("wrapper"), llama_server());
    let text = format!(
        "#!/bin/sh\nreal='{}'\ncase \"$*\" in *--version|*--help) exec \"$real\" \"$@\";; esac\n{otherwise}\n",
        real.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

#[test]
fn weights_named_by_a_url_are_downloaded_once_and_served() {
    let (world, web) = (World::new(), Downloads::new());
    let url = web.file("m.gguf", weights(&world, "url "));
    define_url(&world, "a", &url);
    world.converges();
    assert_eq!(world.answer("a"), "url url url ");
    let downloads = world.state_dir().join("downloads");
    let found = files(&downloads);
    assert!(found.iter().any(|path| path.ends_with("m.gguf")), "{found:?}");
    let mode = fs::metadata(found[0].parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o77, 0, "others may not read it");
    world.is_settled();

    // Started again it asks whether the file is still the same, and no more.
    web.requests();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(web.requests(), ["HEAD /m.gguf"]);
    // It serves from there even where the host is gone.
    web.clear();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.answer("a"), "url url url ");

    // Who clears the cache has it downloaded again.
    web.file("m.gguf", weights(&world, "new "));
    fs::remove_dir_all(&downloads).unwrap();
    world.kill("a");
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.answer("a"), "new new new ");
    world.is_settled();
}

#[test]
fn a_download_that_was_cut_off_goes_on_where_it_was() {
    let (world, web) = (World::new(), Downloads::new());
    define_url(&world, "a", &web.file("m.gguf", weights(&world, "cut ")));
    web.pause(Duration::from_millis(200));
    let watcher = world.watch(&[]);
    let downloads = world.state_dir().join("downloads");
    let begun = || files(&downloads).iter().any(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > 0));
    eventually("the download has begun", PATIENCE, begun);
    world.kill("a");
    watcher.eventually_says("a is ready");
    let ranges = web.requests().into_iter().filter(|request| request.contains("bytes=")).count();
    assert_eq!(ranges, 1);
    assert_eq!(world.answer("a"), "cut cut cut ");
    watcher.stop();
}

#[test]
fn two_models_with_one_url_do_not_spoil_each_others_download() {
    let (world, web) = (World::new(), Downloads::new());
    let url = web.file("m.gguf", weights(&world, "two "));
    web.pause(Duration::from_millis(50));
    define_url(&world, "a", &url);
    define_url(&world, "b", &url);
    world.converges();
    assert_eq!((world.answer("a"), world.answer("b")), ("two two two ".to_owned(), "two two two ".to_owned()));
}

#[test]
fn each_url_has_a_place_of_its_own_so_the_one_before_is_still_there() {
    let (world, web) = (World::new(), Downloads::new());
    let (old, new) = (web.file("old/m.gguf", weights(&world, "old ")), web.file("new/m.gguf", weights(&world, "new ")));
    define_url(&world, "a", &old);
    world.converges();
    let port = world.port("a");
    define_url(&world, "a", &new);
    world.converges();
    assert_eq!(ask(port), "new new new ");
    web.clear();
    define_url(&world, "a", &old);
    world.converges();
    assert_eq!(ask(port), "old old old ");
}

#[test]
fn the_cache_of_the_definitions_environment_is_where_weights_go() {
    let (world, web) = (World::new(), Downloads::new());
    let cache = world.path().join("big disk");
    define_url(&world, "a", &web.file("m.gguf?download=true", weights(&world, "env ")));
    let definition = fs::read_to_string(world.models_dir().join("a.toml")).unwrap();
    world.write_definition("a", &format!("{definition}[env]\nLLAMA_CACHE = \"{}\"\n", cache.display()));
    world.converges();
    let found = files(&cache);
    assert!(found.iter().any(|path| path.ends_with("m.gguf")), "{found:?}");
    assert!(!world.state_dir().join("downloads").exists());
}

#[test]
fn a_repository_with_a_preset_leaves_no_model_and_is_rolled_back() {
    let (world, web) = (World::new(), Downloads::new());
    let tiny = weights(&world, "hub ");
    web.file_of("org/plain", "m-Q4_K_M.gguf", tiny.clone());
    web.file_of("org/preset", "m-Q4_K_M.gguf", tiny);
    web.file_of("org/preset", "preset.ini", b"[m]\nctx-size = 512\n".to_vec());
    let define = |repo: &str| {
        let env = format!("[env]\nHF_ENDPOINT = \"{}\"\n", web.url());
        let parameters = "[parameters]\nctx_size = 512\nthreads = 1\n";
        world.write_definition("a", &format!("hf_repo = \"{repo}:Q4_K_M\"\n{parameters}{env}"));
    };
    define("org/plain");
    world.converges();
    let port = world.port("a");
    assert_eq!(ask(port), "hub hub hub ");
    define("org/preset");
    world.run(&["reconcile"]).exits(1).says(&[
        "llama-server runs as a router without a model: does org/preset hold a preset.ini?",
        "generation 2 failed",
        "generation 1 is serving",
    ]);
    assert_eq!(ask(port), "hub hub hub ");
    world.run(&["reconcile"]).exits(1).says(&["waiting for an edit"]);
}

#[test]
fn a_script_that_drops_the_model_or_serves_another_is_rolled_back() {
    let world = World::new();
    world.tiny("a");
    world.weights("other", "other ");
    world.converges();
    let port = world.port("a");
    let other = world.path().join("weights/other.gguf");
    let asked = "--api-prefix /v --host 127.0.0.1";
    let cases = [
        (format!("exec \"$real\" {asked} --port {port}"), "runs as a router without a model"),
        (format!("exec \"$real\" \"$@\" --model '{}'", other.display()), "weights/other.gguf instead of "),
    ];
    for (otherwise, said) in cases {
        let binary = format!("binary = \"{}\"\n", wrapper(&world, &otherwise));
        let definition = World::tiny_toml("a") + "api_prefix = \"/v\"\n[secrets]\napi_key = { file = \"../key\" }\n";
        fs::write(world.path().join("key"), "k\n").unwrap();
        world.write_definition("a", &(binary + &definition));
        let ran = world.run(&["reconcile"]).exits(1);
        ran.says(&[
            "failed to start: llama-server ",
            said,
            "does `binary` pass its arguments on?",
            "is serving; waiting for an edit",
        ]);
        assert_eq!(ask(port), "a a a ");
        world.run(&["wait", "--stable-for", "0s", "--timeout", "1s"]).exits(1);
        world.write_definition("a", &World::tiny_toml("a"));
        world.converges();
    }
}

#[test]
fn a_first_generation_without_its_model_is_never_ready() {
    let world = World::new();
    world.weights("a", "a ");
    let binary = wrapper(
        &world,
        "exec \"$real\" --host 127.0.0.1 --port \"$(echo \"$*\" | sed 's/.*--port \\([0-9]*\\).*/\\1/')\"",
    );
    world.write_definition("a", &(format!("binary = \"{binary}\"\n") + &World::tiny_toml("a")));
    let ran = world.run(&["reconcile"]).exits(1);
    ran.says(&["failed to start: llama-server runs as a router"]);
    let status = world.status("a");
    assert_eq!(status["status"], "error", "{status}");
    assert!(status.to_string().contains("runs as a router without a model"), "{status}");
    assert_eq!(world.instances(), []);
}

#[test]
fn whatever_its_address_and_however_the_path_is_spelled_a_server_proves_itself() {
    let world = World::new();
    world.weights("real", "real ");
    std::os::unix::fs::symlink("real.gguf", world.path().join("weights/link.gguf")).unwrap();
    fs::write(world.path().join("key"), "k\n").unwrap();
    let socket = world.path().join("a.sock");
    let key = "[secrets]\napi_key = { file = \"../key\" }\n";
    world.write_definition("a", &format!("host = \"{}\"\n{}{key}", socket.display(), World::tiny_toml("link")));
    world.write_definition("b", &(World::tiny_toml("../weights/link") + "api_prefix = \"/v\"\n" + key));
    world.write_definition("c", &(World::tiny_toml("real") + "sleep_idle_seconds = 1\n"));
    // Only what is in the wrapper's own place differs.
    let elsewhere = world.path().join("fast");
    fs::create_dir(&elsewhere).unwrap();
    fs::copy(world.path().join("weights/real.gguf"), elsewhere.join("real.gguf")).unwrap();
    let moved = format!("exec \"$real\" \"$@\" --model '{}'", elsewhere.join("real.gguf").display());
    world.write_definition("d", &(format!("binary = \"{}\"\n", wrapper(&world, &moved)) + &World::tiny_toml("real")));
    world.converges();
    world.is_settled();
}

#[test]
fn a_download_that_arrived_broken_is_named_and_made_again_once_it_is_deleted() {
    let (world, web) = (World::new(), Downloads::new());
    let whole = weights(&world, "a ");
    define_url(&world, "a", &web.file("a.gguf", whole[..9000].to_vec()));
    let ran = world.run(&["reconcile"]).exits(1);
    let all = files(&world.state_dir().join("downloads"));
    let broken = all.iter().find(|file| file.ends_with("a.gguf")).unwrap();
    ran.says(&[&format!("if {} is corrupt, delete it", broken.display())]);
    web.file("a.gguf", whole);
    std::fs::remove_file(broken).unwrap();
    world.run(&["reconcile", "--retry"]).exits(0);
    assert_eq!(world.answer("a"), "a a a ");
}
