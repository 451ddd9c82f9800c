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
    let notify = Settings::load(&Located::Located(path)).unwrap().notify.unwrap();
    assert_eq!(notify.command.unwrap(), ["/usr/local/bin/tell", "--urgent"]);
    assert_eq!(notify.events, NewsKind::ALL.into_iter().collect());
    assert_eq!(notify.models.unwrap().len(), 2);
    let headers = notify.webhook.unwrap().headers;
    let secret = Text::Secret(SecretSource::File("/run/secrets/alerts-authorization".to_owned()));
    assert!(headers.iter().any(|(name, text)| name == "authorization" && *text == secret), "{headers:?}");
    let text = include_str!("../../../examples/settings/herdsman.toml");
    let keys = notify::KEYS.iter().filter(|key| **key != "headers");
    keys.for_each(|key| assert!(text.contains(&format!("\n{key} = ")), "the example lacks {key}"));
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
    let words: &[&[u8]] = &[b"[notify]", b"command = [", b"webhook = ", b"events", b"{ file = ", b"\"", b"\n"];
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
