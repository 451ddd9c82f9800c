//! Definitions that are changed over the API.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::client::{Answer, PATIENCE, get, post, send};
use crate::gateway::served::Served;
use crate::support::{Repository, World, eventually, git};

/// A world with two models that may run, and the weights of a third.
fn world(settings: &str) -> World {
    let world = World::new();
    for name in ["chat", "other", "new"] {
        world.weights(name, "word ");
    }
    world.write_definition("chat", &toml("chat"));
    world.write_definition("other", &toml("other"));
    fs::write(world.settings(), format!("[serve]\n{settings}\n")).unwrap();
    world
}

fn served(settings: &str) -> Served {
    let served = Served::new(world(settings));
    for name in ["chat", "other"] {
        eventually("it is recorded", PATIENCE, || {
            get(served.port, &format!("/api/models/{name}")).json()["generation"] == 1
        });
    }
    served
}

/// With a comment, an odd indent, and no newline at the end.
fn toml(name: &str) -> String {
    format!("# {name}: ask Ann first\n  state = \"on_demand\" # for now\n{}# the end", World::tiny_toml(name))
}

fn path(name: &str) -> String {
    format!("/api/definitions/{name}.toml")
}

fn tag(served: &Served, name: &str) -> String {
    get(served.port, &path(name)).header("etag").unwrap().to_owned()
}

/// Writes a file under the condition `header`.
fn put(served: &Served, name: &str, header: &str, text: &str) -> Answer {
    send(served.port, "PUT", &path(name), &[header, "Content-Type: application/toml"], text)
}

fn on_disk(served: &Served, name: &str) -> String {
    fs::read_to_string(served.world.models_dir().join(format!("{name}.toml"))).unwrap()
}

/// What there is in the directory besides the definitions.
fn left_over(served: &Served) -> Vec<String> {
    let names = fs::read_dir(served.world.models_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).filter(|name| !name.ends_with(".toml")).collect()
}

/// Asserts that an answer is this problem, and returns what it says.
#[track_caller]
fn refused(answer: &Answer, status: u16, says: &str) -> Value {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (status, Some("application/problem+json")),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(problem["detail"].as_str().unwrap().contains(says), "{says:?} is not in {problem}");
    problem
}

#[track_caller]
fn eventually_is(served: &Served, name: &str, status: u16) {
    eventually(&format!("{name} is {status}"), PATIENCE, || {
        get(served.port, &format!("/api/models/{name}")).status == status
    });
}

#[test]
fn a_model_is_created_changed_and_deleted_with_its_comments() {
    let served = served("edit = true");
    let made = put(&served, "new", "If-None-Match: *", &toml("new"));
    assert_eq!((made.status, made.json()["written"].clone()), (201, json!(true)), "{made:?}");
    assert_eq!(made.header("etag").unwrap(), tag(&served, "new"));
    let actions = &made.json()["plan"]["actions"];
    assert_eq!(actions.as_array().unwrap().iter().map(|action| &action["model"]).collect::<Vec<_>>(), [&json!("new")]);
    assert!(made.json()["plan"]["words"]["reasons"]["new"].is_array(), "{made:?}");
    assert_eq!(on_disk(&served, "new"), toml("new"));
    eventually_is(&served, "new", 200);
    assert_eq!(post(served.port, "/api/models/new/start?wait=60s", "").json()["outcome"], "done");
}

#[test]
fn a_changed_definition_restarts_its_model() {
    let served = served("edit = true");
    let file = served.world.models_dir().join("chat.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let started = post(served.port, "/api/models/chat/start?wait=60s", "").json();
    let pid = started["model"]["instance"]["pid"].clone();
    assert!(pid.is_number(), "{started}");
    let more = toml("chat").replace("512", "1024");
    let changed = put(&served, "chat", &format!("If-Match: {}", tag(&served, "chat")), &more);
    assert_eq!(changed.status, 200, "{changed:?}");
    assert!(
        changed.json()["plan"]["words"]["reasons"]["chat"][0].as_str().unwrap().contains("ctx_size"),
        "{changed:?}"
    );
    assert_eq!((on_disk(&served, "chat"), fs::metadata(&file).unwrap().permissions().mode() & 0o777), (more, 0o640));
    eventually("another server runs", PATIENCE, || {
        let model = get(served.port, "/api/models/chat").json();
        let now = &model["instance"]["pid"];
        now.is_number() && *now != pid
    });
    let gone = send(served.port, "DELETE", &path("chat"), &[&format!("If-Match: {}", tag(&served, "chat"))], "");
    assert_eq!((gone.status, gone.json()["written"].clone()), (200, json!(true)), "{gone:?}");
    assert_eq!(gone.json()["plan"]["actions"][0]["action"], "delete", "{gone:?}");
    eventually_is(&served, "chat", 404);
    assert_eq!(left_over(&served), Vec::<String>::new());
}

#[test]
fn a_wrong_edit_says_where_and_what_to_do_and_writes_nothing() {
    let served = served("edit = true");
    let wrong = toml("chat").replace("threads", "thraeds");
    let (line, column) = (1 + wrong.lines().position(|line| line.contains("thraeds")).unwrap(), 1);
    let header = format!("If-Match: {}", tag(&served, "chat"));
    let answer = put(&served, "chat", &header, &wrong);
    let problem = refused(&answer, 422, &format!("chat.toml:{line}:{column}: "));
    let flaw = &problem["diagnostics"][0];
    assert_eq!((&flaw["severity"], &flaw["line"], &flaw["column"]), (&json!("error"), &json!(line), &json!(column)));
    assert!(flaw["help"].as_str().unwrap().contains("threads"), "{flaw}");
    let tried = send(served.port, "PUT", &format!("{}?dry-run=true", path("chat")), &[], &wrong);
    assert_eq!((tried.status, tried.json()["written"].clone()), (200, json!(false)), "{tried:?}");
    assert_eq!(tried.json()["diagnostics"], problem["diagnostics"]);
    let good = toml("chat").replace("512", "1024");
    let tried = send(served.port, "PUT", &format!("{}?dry-run=true", path("chat")), &[&header], &good);
    assert_eq!(tried.json()["diagnostics"], json!([]), "{tried:?}");
    // A file that all share breaks others.
    let groups = "[room]\nmax_running = 1\n";
    assert_eq!(put(&served, "_groups", "If-None-Match: *", groups).status, 201);
    let shared = put(&served, "_defaults", "If-None-Match: *", "[parameters]\nctx_size = \"many\"\n");
    refused(&shared, 422, "_defaults.toml:2");
    assert!(!served.world.models_dir().join("_defaults.toml").exists());
    assert_eq!((on_disk(&served, "chat"), left_over(&served)), (toml("chat"), Vec::new()));
    // Nothing was recorded and nothing started either.
    assert_eq!(get(served.port, "/api/models/chat").json()["generation"], 1);
    assert_eq!(served.running(), Vec::<String>::new());
}

#[test]
fn of_two_writers_one_wins_and_the_other_hears_of_it() {
    let served = served("edit = true");
    let header = format!("If-Match: {}", tag(&served, "chat"));
    let texts: Vec<String> = (0..8).map(|writer| toml("chat") + &format!(" of writer {writer}")).collect();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let writers: Vec<_> = texts.iter().map(|text| scope.spawn(|| put(&served, "chat", &header, text))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let won: Vec<usize> = (0..8).filter(|writer| answers[*writer].status == 200).collect();
    let [winner] = won[..] else { panic!("{won:?} have won: {answers:?}") };
    assert_eq!(on_disk(&served, "chat"), texts[winner]);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        refused(answer, 412, "read it again");
    }
    let tried = send(served.port, "PUT", &format!("{}?dry-run=true", path("chat")), &[&header], &texts[0]);
    refused(&tried, 412, "has changed since you read it");

    refused(&put(&served, "chat", "If-None-Match: *", &texts[0]), 412, "exists already");
    refused(&put(&served, "none", &header, &texts[0]), 412, "is gone");
    refused(&send(served.port, "DELETE", &path("none"), &[&header], ""), 412, "is gone already");
    refused(&send(served.port, "PUT", &path("chat"), &[], &texts[0]), 428, "If-Match");
    refused(&send(served.port, "DELETE", &path("chat"), &[], ""), 428, "If-Match");
    assert_eq!(on_disk(&served, "chat"), texts[winner]);
}

#[test]
fn only_files_that_the_reader_reads_can_be_written() {
    let served = served("edit = true");
    let long = "x".repeat(300);
    for name in [".hidden", "_draft", "..%2F..%2Fherdsman", "a%2Fb", "a%00b", &long] {
        refused(&put(&served, name, "If-None-Match: *", ""), 400, "cannot be the name");
    }
    let answer = send(served.port, "PUT", "/api/definitions/chat.txt", &["If-None-Match: *"], "");
    refused(&answer, 400, "NAME.toml");
    let header = format!("If-Match: {}", tag(&served, "chat"));
    let json = send(served.port, "PUT", &path("chat"), &[&header, "Content-Type: application/json"], "{}");
    refused(&json, 415, "application/toml");
    refused(&put(&served, "chat", &header, &"#".repeat(300 << 10)), 413, "larger");
    refused(&put(&served, "chat", "If-None-Match: \"x\"", ""), 400, "If-Match");
    let link = served.world.models_dir().join("link.toml");
    std::os::unix::fs::symlink("chat.toml", &link).unwrap();
    let header = format!("If-Match: {}", tag(&served, "link"));
    refused(&put(&served, "link", &header, &toml("chat")), 409, "a symlink");
    assert!(link.is_symlink());
    assert_eq!(on_disk(&served, "chat"), toml("chat"));
}

#[test]
fn editing_is_off_unless_the_owner_wants_it_and_never_with_from_git() {
    let mut served = served("edit = false");
    let header = format!("If-Match: {}", tag(&served, "chat"));
    for answer in [
        put(&served, "chat", &header, &toml("chat")),
        send(served.port, "PUT", &format!("{}?dry-run=true", path("chat")), &[], ""),
        send(served.port, "DELETE", &path("chat"), &[&header], ""),
    ] {
        refused(&answer, 403, "`edit = true` in `[serve]`");
    }
    let list = get(served.port, "/api/definitions").json();
    assert!(list["read_only"].as_str().unwrap().contains("`edit = true`"), "{list}");
    // Without a restart.
    fs::write(served.world.settings(), "[serve]\nedit = true\n").unwrap();
    eventually("editing is on", PATIENCE, || put(&served, "chat", &header, &toml("chat")).status == 200);
    assert_eq!(get(served.port, "/api/definitions").json()["read_only"], json!(null));

    drop(served.watcher.take());
    Repository::init(served.world.path()).commit();
    let world = served.world;
    let herdsman = world.command();
    let served = Served::by(world, herdsman, &["--from-git", "HEAD"]);
    refused(&put(&served, "chat", &header, &toml("chat")), 409, "--from-git");
    refused(&send(served.port, "DELETE", &path("chat"), &[&header], ""), 409, "--from-git");
}

#[test]
fn a_key_without_admin_and_a_page_of_another_site_change_nothing() {
    let world = world("");
    for (name, key) in [("ann", "open"), ("boss", "sesame")] {
        fs::write(world.path().join(name), key).unwrap();
    }
    let key = |name: &str, more: &str| {
        let file = world.path().join(name);
        format!("[[serve.keys]]\nname = \"{name}\"\nkey = {{ file = \"{}\" }}\n{more}\n", file.display())
    };
    let settings = format!("[serve]\nedit = true\n{}{}", key("ann", ""), key("boss", "admin = true"));
    fs::write(world.settings(), settings).unwrap();
    let served = Served::new(world);
    let read = |key: &str| send(served.port, "GET", &path("chat"), &[&format!("x-api-key: {key}")], "");
    assert_eq!(read("open").status, 403);
    let tag = format!("If-Match: {}", read("sesame").header("etag").unwrap());
    let changes = [("PUT", path("chat")), ("DELETE", path("chat")), ("POST", "/api/reconcile".to_owned())];
    for (method, path) in changes {
        let by = |headers: &[&str]| send(served.port, method, &path, &[&[&*tag], headers].concat(), "");
        refused(&by(&["x-api-key: open"]), 403, "admin = true");
        assert_eq!(by(&["x-api-key: wrong"]).status, 401, "{method} {path}");
        let foreign = by(&["x-api-key: sesame", "Origin: http://evil.example"]);
        refused(&foreign, 403, "evil.example");
        refused(&by(&["Host: evil.example"]), 403, "evil.example");
    }
    assert_eq!(on_disk(&served, "chat"), toml("chat"));
}

#[test]
fn the_policy_of_the_owner_holds_for_edits_too() {
    let world = world("edit = true");
    let policy = format!("model_roots = [\"{}/weights\"]\n", world.path().display());
    fs::write(world.path().join("policy.toml"), policy).unwrap();
    let mut herdsman = world.command();
    herdsman.env("HERDSMAN_POLICY", "policy.toml");
    let served = Served::by(world, herdsman, &[]);
    assert_eq!(get(served.port, "/api/models/chat").status, 200);
    fs::copy(served.world.path().join("weights/new.gguf"), served.world.path().join("elsewhere.gguf")).unwrap();
    let elsewhere = toml("new").replace("../weights/new.gguf", "../elsewhere.gguf");
    let problem = refused(&put(&served, "new", "If-None-Match: *", &elsewhere), 422, "new.toml:3:");
    assert!(problem["diagnostics"][0]["help"].as_str().unwrap().contains("policy.toml"), "{problem}");
    assert!(!served.world.models_dir().join("new.toml").exists());
    assert_eq!(put(&served, "new", "If-None-Match: *", &toml("new")).status, 201);
}

/// A served world in a repository, in which `staged.txt` is staged and `other.toml` edited.
fn committing() -> (Served, Repository) {
    let world = world("edit = true\ncommit = true");
    fs::write(world.path().join("boss"), "sesame").unwrap();
    let key = format!(
        "[serve]\nedit = true\ncommit = true\n[[serve.keys]]\nname = \"The Boss\"\nkey = {{ file = \"{}/boss\" }}\nadmin = true\n",
        world.path().display()
    );
    fs::write(world.settings(), key).unwrap();
    let repository = Repository::init(world.path());
    repository.commit();
    fs::write(world.path().join("staged.txt"), "x").unwrap();
    repository.git(&["add", "staged.txt"]);
    world.write_definition("other", &(toml("other") + " edited"));
    (Served::new(world), repository)
}

fn by_the_boss(served: &Served, method: &str, name: &str, condition: &str, text: &str) -> Answer {
    send(served.port, method, &path(name), &["x-api-key: sesame", condition], text)
}

fn tag_for_the_boss(served: &Served, name: &str) -> String {
    let read = send(served.port, "GET", &path(name), &["x-api-key: sesame"], "");
    format!("If-Match: {}", read.header("etag").unwrap())
}

#[test]
fn each_edit_is_a_commit_of_that_file_by_the_name_of_the_key() {
    let (served, repository) = committing();
    let log = |format: &str| repository.git(&["show", "--name-status", &format!("--format={format}"), "HEAD"]);
    let made = by_the_boss(&served, "PUT", "new", "If-None-Match: *", &toml("new"));
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.json()["commit"], repository.git(&["rev-parse", "HEAD"]).trim());
    let author = "The Boss <herdsman@localhost>";
    assert_eq!(log("%an <%ae>: %s"), format!("{author}: Add new.toml\n\nA\tmodels.d/new.toml\n"));
    let changed = by_the_boss(&served, "PUT", "chat", &tag_for_the_boss(&served, "chat"), &(toml("chat") + " "));
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(log("%an <%ae>: %s"), format!("{author}: Change chat.toml\n\nM\tmodels.d/chat.toml\n"));
    let gone = by_the_boss(&served, "DELETE", "new", &tag_for_the_boss(&served, "new"), "");
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_eq!(log("%an <%ae>: %s"), format!("{author}: Delete new.toml\n\nD\tmodels.d/new.toml\n"));
    let status = repository.git(&["status", "--porcelain", "--untracked-files=no"]);
    assert_eq!(status, " M models.d/other.toml\nA  staged.txt\n", "what others staged and edited stays");
}

#[test]
fn an_edit_whose_commit_a_hook_refuses_is_taken_back() {
    let (served, repository) = committing();
    let head = repository.git(&["rev-parse", "HEAD"]);
    let hook = served.world.path().join(".git/hooks/pre-commit");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\necho 'not on a Sunday' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let status = repository.git(&["status", "--porcelain"]);
    let says = "not on a Sunday; new.toml was not created";
    refused(&by_the_boss(&served, "PUT", "new", "If-None-Match: *", &toml("new")), 409, says);
    let chat = tag_for_the_boss(&served, "chat");
    refused(&by_the_boss(&served, "PUT", "chat", &chat, &(toml("chat") + " ")), 409, "chat.toml is as it was");
    refused(&by_the_boss(&served, "DELETE", "chat", &chat, ""), 409, "chat.toml is as it was");
    assert_eq!((on_disk(&served, "chat"), left_over(&served)), (toml("chat"), vec!["README".to_owned()]));
    assert!(!served.world.models_dir().join("new.toml").exists());
    assert_eq!((repository.git(&["status", "--porcelain"]), repository.git(&["rev-parse", "HEAD"])), (status, head));
    lock_and_try(&served, &chat);
}

/// Another git that is at it, or has died there.
fn lock_and_try(served: &Served, chat: &str) {
    let lock = Path::new(served.world.path()).join(".git/index.lock");
    fs::write(&lock, "").unwrap();
    let answer = by_the_boss(served, "PUT", "chat", chat, &(toml("chat") + " "));
    assert!([409, 503].contains(&answer.status), "{answer:?}");
    assert!(answer.body.contains("index.lock"), "{answer:?}");
    assert_eq!(on_disk(served, "chat"), toml("chat"));
    fs::remove_file(&lock).unwrap();
    assert_eq!(git(served.world.path(), &["status", "--porcelain", "--", "models.d/chat.toml"]), "");
}

#[test]
fn without_keys_editing_is_warned_of_and_refused_where_everybody_may_come_in() {
    let mut served = served("edit = true");
    served.watcher().eventually_says("every user and program of this machine can have herdsman run");
    fs::write(served.world.settings(), "[serve]\nedit = true\nopen = true\n").unwrap();
    let refused = || send(served.port, "PUT", &path("new"), &["If-None-Match: *"], &toml("new"));
    eventually("it is refused", PATIENCE, || {
        get(served.port, "/api/definitions").json()["read_only"].as_str().is_some_and(|why| why.contains("everybody"))
    });
    let refused = refused();
    assert_eq!((refused.status, &refused.json()["code"]), (403, &json!("edit_open")), "{refused:?}");
    assert!(!served.world.models_dir().join("new.toml").exists());
}
