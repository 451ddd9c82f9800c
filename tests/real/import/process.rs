//! A llama-server that somebody else started.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Background, World, ask, eventually, free_port, get, llama_server};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_running_server_is_imported_and_taken_over_with_one_restart() {
    let world = World::new();
    world.weights("m", "taken over ");
    let port = free_port();
    // Started as by hand: a relative path, short names, an option by variable.
    let server = Command::new(llama_server())
        .args(["-m", "weights/m.gguf", "-c", "512", "-t", "1", "--no-mmap", "--alias", "hand made,m"])
        .args(["--port", &port.to_string()])
        .current_dir(world.path())
        .env("LLAMA_ARG_N_PARALLEL", "1")
        .env("LLAMA_ARG_CTX_SIZE", "2048")
        .env("OMP_WAIT_POLICY", "passive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    let pid = server.child().id().to_string();
    eventually("it answers", PATIENCE, || matches!(get(port, "/health"), Ok((200, _))));

    let import = world.run(&["import", "process", &pid, "--to", "models.d"]).exits(0);
    import
        .says(&["hand-made.toml", &format!("kill {pid}"), "herdsman touches no server it did not start"])
        .says(&["LLAMA_ARG_CTX_SIZE=2048", "the command line sets it too, and wins"]);
    let text = fs::read_to_string(world.models_dir().join("hand-made.toml")).unwrap();
    let model = format!("model = \"{}/weights/m.gguf\"", world.path().display());
    let port_line = format!("port = {port}");
    let wanted = [
        &model,
        &port_line,
        "\"hand made\"",
        "\"m\"",
        "ctx_size = 512",
        "threads = 1",
        "mmap = false",
        "parallel = 1",
        "OMP_WAIT_POLICY = \"passive\"",
    ];
    assert!(wanted.iter().all(|part| text.contains(part)), "{text}");
    assert!(!text.contains("stopped") && text.contains(&format!("from pid {pid}")), "{text}");

    // The plan shows the start, and what it waits for; nothing is touched.
    world
        .run(&["reconcile", "--dry-run"])
        .says(&["create", &format!("port {port} is in use by pid {pid} (llama-server)")]);
    world.run(&["reconcile", "--no-wait"]).says(&[&format!("pid {pid}")]);
    assert_eq!(ask(port).split_whitespace().next(), Some("taken"), "the old one runs on");
    assert!(server.child().try_wait().unwrap().is_none());

    drop(server);
    world.converges();
    assert_ne!(world.pid("hand-made").to_string(), pid);
    assert_eq!(world.port("hand-made"), port, "on the same port");
    world.is_settled();
    let ours = world.pid("hand-made").to_string();
    world.run(&["import", "process", &ours, "--to", "out"]).exits(65).says(&["herdsman started pid"]);
}

#[test]
fn reports_but_never_writes_a_process_secret() {
    let world = World::new();
    world.weights("m", "hi ");
    let server = Command::new(llama_server())
        .args(["-m", "weights/m.gguf", "-c", "512", "-t", "1", "--api-key", "sk-verysecret", "--port", "0"])
        .current_dir(world.path())
        .env("HF_TOKEN", "hf_verysecret")
        .env("LLAMA_ARG_PORT", "9001")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Background::from(server);
    let pid = server.child().id().to_string();
    let ran = world.run(&["import", "process", &pid, "--to", "out", "--dry-run"]).exits(1);
    // Nor is a port invented: it was started with any port.
    ran.does_not_say("verysecret").does_not_say("\nport = ").says(&[
        "--port 0: any port: herdsman picks one",
        "api_key = { file = \"/run/secrets/m-api-key\" }",
        "hf_token = { file = \"/run/secrets/m-hf-token\" }",
        "2 secrets to fill in",
    ]);
}

#[test]
fn reports_why_a_process_was_left_out() {
    let world = World::new();
    // It waits for its input, and looks like a llama-server.
    let shell = Command::new("sh")
        .arg0("llama-server")
        .args(["-c", "read line", "-hf", "not-a-repo"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shell = Background::from(shell);
    let pid = shell.child().id().to_string();
    world.run(&["import", "process", &pid, "--to", "out"]).exits(1).says(&[
        &format!("pid {pid}: not imported: nothing says which weights to load"),
        &format!("! pid {pid}: pid {pid}: -hf not-a-repo: "),
    ]);
}

#[test]
fn refuses_to_import_another_program() {
    let world = World::new();
    let pid = std::process::id().to_string();
    world.run(&["import", "process", &pid, "--to", "out"]).exits(65).says(&["not llama-server"]);
}

/// Starts a llama-server in namespaces of its own, as a container has them:
/// `unshare` with `options` runs `mounts` and then the server. Its pid here.
fn in_namespaces(world: &World, options: &[&str], mounts: &str, arguments: &str) -> (Background, String) {
    let script = format!("set -e; server=$0; {mounts}; exec \"$server\" {arguments}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]).args(options).args(["sh", "-c", &script]).arg(llama_server());
    command.current_dir(world.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.env("XDG_CACHE_HOME", world.path().join("cache")).env("HTTPS_PROXY", "http://me:verysecret@proxy:1");
    command.env("RADV_PERFTEST", "x").env("AMD_VULKAN_ICD", "RADV").env("ONLY_NAMED", "verysecret");
    let mut unshare = Background::from(command.spawn().unwrap());
    let outer = unshare.child().id().to_string();
    let mut pid = None;
    eventually("the server runs", PATIENCE, || {
        let below = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap_or_default();
        let is_server =
            |pid: &str| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ends_with("llama-server"));
        pid = std::iter::once(&*outer).chain(below.split_whitespace()).find(|pid| is_server(pid)).map(str::to_owned);
        pid.is_some()
    });
    (unshare, pid.unwrap())
}

/// Imports it: the output, and the definition.
fn imported(world: &World, pid: &str, exit: i32) -> (crate::support::Ran, String) {
    let ran = world.run(&["import", "process", pid, "--to", "out"]).exits(exit);
    let file = fs::read_dir(world.path().join("out")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(file).unwrap();
    assert!(!text.contains("verysecret") && !ran.to_string().contains("verysecret"), "{ran}{text}");
    (ran, text)
}

#[test]
fn flags_container_values_that_differ_on_this_machine() {
    let world = World::new();
    world.weights("m", "hi ");
    for dir in ["models", "cache", "programs"] {
        fs::create_dir(world.path().join(dir)).unwrap();
    }
    let programs = llama_server().parent().map(Path::display).unwrap().to_string();
    let mounts = format!(
        "mount --bind weights models; mount --bind weights cache; mount --bind '{programs}' programs; server=$PWD/programs/llama-server"
    );
    let options = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let arguments = "-m models/m.gguf -c 512 -t 1 --host 0.0.0.0 --port 8080";
    let (server, pid) = in_namespaces(&world, &options, &mounts, arguments);
    let (ran, text) = imported(&world, &pid, 1);
    let root = world.path().display().to_string();
    ran.says(&[
        &format!("! pid {pid}: m: {root}/models/m.gguf: a path inside its mount namespace, visible from here as /proc/{pid}/root{root}/models/m.gguf"),
        &format!("! pid {pid}: m: port 8080: this port is inside its network namespace"),
        &format!("! pid {pid}: m: host 0.0.0.0: "),
        &format!("! pid {pid}: m: XDG_CACHE_HOME={root}/cache: "),
        &format!("! pid {pid}: m: it runs in its own process namespace"),
        &format!("! pid {pid}: m: binary {root}/programs/llama-server: "),
        "HTTPS_PROXY=…",
        "ONLY_NAMED",
        "resolve the lines marked `!`",
        "to check",
    ]);
    // The file it names is there, as long as the process is.
    assert!(Path::new(&format!("/proc/{pid}/root{root}/models/m.gguf")).exists());
    let definition: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    for taken in
        ["state = \"stopped\"", &format!("model = \"{root}/models/m.gguf\""), "RADV_PERFTEST = \"x\"", "AMD_VULKAN_ICD"]
    {
        assert!(definition.contains(taken), "{taken}: {text}");
    }
    for not_taken in ["/proc/", "binary", "port", "host", "XDG_CACHE_HOME", "HTTPS_PROXY", "ONLY_NAMED"] {
        assert!(!definition.contains(not_taken), "{not_taken}: {text}");
    }
    drop(server);
}

#[test]
fn imports_a_server_with_its_own_mounts_of_the_same_files() {
    // As a unit with `PrivateTmp=` has them.
    let world = World::new();
    world.weights("m", "hi ");
    fs::create_dir_all(world.path().join("cache")).unwrap();
    let port = free_port();
    let arguments = format!("-m weights/m.gguf -c 512 -t 1 --port {port}");
    let (server, pid) = in_namespaces(&world, &["--mount"], "true", &arguments);
    // The address of the proxy holds a password.
    let (ran, text) = imported(&world, &pid, 1);
    ran.says(&["HTTPS_PROXY", "1 not imported"]).does_not_say("namespace");
    let root = world.path().display().to_string();
    let cache = format!("XDG_CACHE_HOME = \"{root}/cache\"");
    for taken in ["weights/m.gguf\"", &format!("port = {port}"), "binary = ", &cache] {
        assert!(text.contains(taken), "{taken}: {text}");
    }
    assert!(!text.contains("stopped"), "{text}");
    drop(server);
}

/// What a router serves: each model's name, and its arguments.
fn served(port: u16) -> Vec<(String, Vec<String>)> {
    let (_, body) = get(port, "/models").unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let one = |model: &serde_json::Value| {
        let arguments = model["status"]["args"].as_array().unwrap().iter().map(text).collect();
        (text(&model["id"]), arguments)
    };
    body["data"].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn what_a_router_serves_is_imported_by_its_names_and_with_its_files() {
    let world = World::new();
    let tiny = |path: &str| {
        let path = world.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        crate::support::gguf::TinyGguf::new("x ").write(&path).unwrap();
    };
    for path in ["plain", "top-00001-of-00002", "deep/er/x", "shards/s-00001-of-00002", "shards/s-00002-of-00002"] {
        tiny(&format!("dir/{path}.gguf"));
    }
    for path in ["dir/vl/vl.gguf", "dir/vl/mmproj-vl.gguf", "dir/UPPER.GGUF", "other/o.gguf"] {
        tiny(path);
    }
    let snapshot = format!("snapshots/{}", "0".repeat(40));
    for path in ["a--One/SNAP/One-Q4_K_M.gguf", "a--One/SNAP/One-Q8_0.gguf", "a--One/SNAP/mmproj-One-f16.gguf"] {
        tiny(&format!("cache/models--{}", path.replace("SNAP", &snapshot)));
    }
    fs::create_dir_all(world.path().join("cache/models--a--One/refs")).unwrap();
    fs::write(world.path().join("cache/models--a--One/refs/main"), "0".repeat(40)).unwrap();
    let preset = "[*]\nc = 512\n[plain]\ntemp = 0.5\n[shards]\nm = OTHER\n[new]\nm = OTHER\n[a/One:Q8_0]\ntop-k = 5\n";
    let other = world.path().join("other/o.gguf").display().to_string();
    fs::write(world.path().join("p.ini"), preset.replace("OTHER", &other)).unwrap();
    let port = free_port();
    let mut router = Command::new(llama_server());
    router.args(["--models-dir", "dir", "--models-preset", "p.ini", "--models-max", "2", "--port", &port.to_string()]);
    router.env("LLAMA_CACHE", world.path().join("cache")).current_dir(world.path());
    router.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut router = Background::from(router.spawn().unwrap());
    eventually("it answers", PATIENCE, || matches!(get(port, "/models"), Ok((200, _))));
    let root = world.path().display().to_string();
    world.run(&["import", "process", &router.child().id().to_string(), "--to", "out"]).exits(1).says(&[&format!(
        "import its models with `herdsman import preset {root}/p.ini --dir {root}/dir --cache DIR --models-max 2 --to models.d`"
    )]);

    world
        .run(&["import", "preset", "p.ini", "--dir", "dir", "--cache", "cache", "--models-max", "2", "--to", "out"])
        .exits(0);
    let served = served(port);
    drop(router);
    assert_eq!(served.len(), 7, "{served:?}");
    assert_eq!(fs::read_dir(world.path().join("out")).unwrap().count(), 7 + 1);
    let groups = fs::read_to_string(world.path().join("out/_groups.toml")).unwrap();
    assert!(groups.ends_with("\n[router]\nmax_running = 2\n"), "{groups}");
    for (name, arguments) in served {
        let file = world.path().join(format!("out/{}.toml", name.replace(['/', ':'], "-")));
        let text = fs::read_to_string(&file).unwrap_or_default();
        let after = |option: &str| arguments.iter().skip_while(|word| *word != option).nth(1);
        for (option, key) in [("--model", "model"), ("--hf-repo", "hf_repo"), ("--mmproj", "mmproj")] {
            let value = after(option)
                .map(|value| if value.starts_with("dir/") { format!("{root}/{value}") } else { value.clone() });
            let line = value.map(|value| format!("\n{key} = \"{value}\"\n"));
            assert!(line.as_ref().is_none_or(|line| text.contains(line)), "{name}: {line:?} is not in {text}");
        }
        assert!(text.contains("\ngroup = \"router\"\n") && text.contains("state = \"on_demand\""), "{name}: {text}");
        assert!(text.contains("ctx_size = 512") && after("--ctx-size").unwrap() == "512", "{name}: {text}");
    }
}
