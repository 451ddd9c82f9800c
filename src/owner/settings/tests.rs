#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::model::{NewsKind, SecretSource};

fn problems(text: &str) -> String {
    match read(Path::new("/etc/herdsman/herdsman.toml"), text) {
        Ok(_) => String::new(),
        Err(problems) => render(&problems, false),
    }
}

#[test]
fn the_example_is_valid_and_has_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/settings/herdsman.toml");
    let settings = Settings::load(&Located::Located(path)).unwrap();
    let notify = settings.notify.unwrap();
    assert_eq!(notify.command.unwrap(), ["/usr/local/bin/tell", "--urgent"]);
    assert_eq!(notify.events, NewsKind::ALL.into_iter().collect());
    assert_eq!(notify.models.unwrap().len(), 2);
    let headers = notify.webhook.unwrap().headers;
    let secret = Text::Secret(SecretSource::File("/run/secrets/alerts-authorization".to_owned()));
    assert!(headers.iter().any(|(name, text)| name == "authorization" && *text == secret), "{headers:?}");
    let text = include_str!("../../../examples/settings/herdsman.toml");
    let serve = [&serve::read::KEYS[..], &serve::read::KEYS_OF_A_KEY].concat();
    let keys = notify::KEYS.iter().chain(&serve).filter(|key| !["headers", "keys"].contains(*key));
    keys.for_each(|key| assert!(text.contains(&format!("\n{key} = ")), "the example lacks {key}"));
}

#[test]
fn the_example_has_the_defaults_where_it_says_so() {
    let read = read(Path::new("/x"), include_str!("../../../examples/settings/herdsman.toml")).unwrap().serve;
    let serve::Serve { hold, max_wait, max_waiting, max_body, open, edit, commit, .. } = serve::Serve::default();
    assert_eq!((read.edit, read.commit), (edit, commit));
    let (wait, sizes) = ((read.hold, read.max_wait), (read.max_waiting, read.max_body));
    assert_eq!((wait, sizes, read.open), ((hold, max_wait), (max_waiting, max_body), open));
    let key = &read.keys[0];
    assert_eq!((key.name.as_str(), key.models.len(), key.admin), ("ann", 2, false));
    assert_eq!(key.key, Text::Secret(SecretSource::File("/run/secrets/ann".to_owned())));
}

#[test]
fn zero_is_no_limit() {
    let text = "[serve]\nhold = 0\nmax_wait = \"0\"\nmax_waiting = 0\nmax_body = 0\nkeep_alive_comments = \"0s\"\n";
    let read = read(Path::new("/x"), text).unwrap().serve;
    assert_eq!((read.hold, read.max_body, read.keep_alive_comments), (None, None, None));
    assert!(read.max_wait.as_secs() > 1 << 30 && read.max_waiting == usize::MAX, "{read:?}");
}

#[test]
fn reads_every_form_of_a_value() {
    let text = "serve = { listen = \"[::1]:0\", max_body = 1000, hosts = \"A.example\", tls = { cert = \"c\", key = \"/k\" } }";
    let read = read(Path::new("/etc/herdsman/herdsman.toml"), text).unwrap().serve;
    assert_eq!(
        (read.listen, read.max_body, read.hosts),
        (vec!["[::1]:0".into()], Some(1000), vec!["a.example".into()])
    );
    assert_eq!(read.tls, Some(serve::Tls { cert: "/etc/herdsman/c".into(), key: "/k".into() }));
    for (text, local) in
        [("localhost:80", true), ("[::ffff:127.0.0.1]:1", true), ("unix:/x", true), ("0.0.0.0:1", false)]
    {
        let listen: serve::Listen = text.parse().unwrap();
        assert_eq!(listen.is_local(), local, "{listen}");
    }
}

#[test]
fn reports_every_problem_of_serve_with_its_place_and_fix() {
    let texts = [
        r#"[serve]
listn = "x"
listen = ["example.org:80", "8080", "unix:x", 7]
hosts = ["https://a.example", ""]
default_model = ""
hold = 600
max_wait = "1 m"
max_waiting = -1
max_body = "big"
keep_alive_comments = true
open = "yes"
cors_origins = ["https://a.example/", "a.example", "ftp://a"]
tls = { cert = "a.pem", crt = "b" }
"#,
        r#"[[serve.keys]]
key = "s3cret"
[[serve.keys]]
name = "a"
key = { file = "a" }
[[serve.keys]]
name = "a"
key = { file = "a", env = "B" }
models = ["a b", ""]
admn = true
[[serve.keys]]
name = "a"
key = { env = "B" }
"#,
        "serve = 7\n",
        "serve.keys = 7\nserve.tls = \"x\"\n",
        "serve.keys = [7]\n",
        "[serve]\nedit = 1\ncommit = true\n",
    ];
    insta::assert_snapshot!(texts.map(problems).join("----\n"));
}

#[test]
fn reports_every_problem_with_its_place_and_fix() {
    insta::assert_snapshot!(problems(
        r#"[notfy]
[notify]
command = ["tell"]
webhok = "https://example.org"
timeout = "1h"
events = ["failed", "rolledback"]
models = ["a b", 7]
[notify.headers]
"X Y" = "z"
"#
    ));
}

#[test]
fn refuses_notify_without_events_or_receivers() {
    let texts = [
        "[notify]\nevents = []\ncommand = []\nheaders = { A = \"b\" }\n",
        "[notify]\ntimeout = \"1s\"\n",
        "notify = 7\n",
        "[notify]\ncommand = [\n",
    ];
    insta::assert_snapshot!(texts.map(problems).join("----\n"));
}

#[test]
fn never_shows_a_possible_secret() {
    let shown =
        problems("[notify]\nwebhook = \"ftp://example.org/s3cret\"\n[notify.headers]\nAuthorization = \"s3cret\\n\"\n");
    assert!(!shown.contains("s3cret"), "{shown}");
    assert!(shown.contains("neither http nor https"), "{shown}");
    let good = "[notify]\nwebhook = \"https://example.org/s3cret\"\n[notify.headers]\nX-Key = \"s3cret\"\n";
    let notify = read(Path::new("/x"), good).unwrap().notify.unwrap();
    assert!(!format!("{notify:?}").contains("s3cret"), "{notify:?}");
}

#[test]
fn only_a_named_file_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("herdsman.toml");
    assert!(Settings::load(&Located::Usual(path.clone())).unwrap().notify.is_none());
    let missing = Settings::load(&Located::Located(path.clone())).unwrap_err().to_string();
    assert!(missing.contains("--settings") && missing.contains("herdsman.toml"), "{missing}");
    std::fs::write(&path, "").unwrap();
    assert!(Settings::load(&Located::Located(path.clone())).unwrap().notify.is_none());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let error = Settings::load(&Located::Usual(path)).unwrap_err();
    assert!(matches!(error, SettingsError::Writable(_)), "{error}");
    assert_eq!(locate(Some(Path::new("/x"))), Located::Located("/x".into()));
    assert!(!locate(None).is_stated());
}

#[test]
fn no_settings_do_harm() {
    let words: &[&[u8]] = &[
        b"[serve]\n",
        b"[[serve.keys]]\n",
        b"listen = ",
        b"tls = ",
        b"0",
        b"[notify]",
        b"command = [",
        b"webhook = ",
        b"events",
        b"{ file = ",
        b"\"",
        b"\n",
    ];
    let target = crate::hostile::Target {
        name: "settings",
        words,
        cases: 300,
        // What the TOML parser takes, at its worst.
        memory_per_byte: 512,
        ..Default::default()
    };
    crate::hostile::survives(target, |bytes| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            let _ = read(Path::new("/etc/herdsman/herdsman.toml"), text);
        }
    });
}

#[test]
fn a_hold_that_ends_before_a_group_makes_room_is_doubted() {
    let doubts = |text: &str| read(Path::new("/s.toml"), &format!("[serve]\n{text}")).unwrap().serve.doubts();
    for fine in ["", "hold = \"61s\"", "hold = 0", "hold = \"5s\"\nmax_wait = \"1s\"", "hold = 0\nmax_wait = 0"] {
        assert_eq!(doubts(fine), Vec::<String>::new(), "{fine}");
    }
    insta::assert_snapshot!(doubts("hold = \"60s\"")[0], @"`hold` (60 s) in `[serve]` is not longer than `max_wait` (60 s): requests for a full, busy group fail before it makes room; raise `hold`, or lower `max_wait`");
    insta::assert_snapshot!(doubts("max_wait = 0")[0], @"`hold` (10m 0s) in `[serve]` is not longer than `max_wait` (0): requests for a full, busy group fail before it makes room; raise `hold`, or lower `max_wait`");
}
