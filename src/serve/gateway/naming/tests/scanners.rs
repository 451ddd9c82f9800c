//! JSON and multipart, cut at every byte.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;

/// What a JSON scanner finds in a text that is cut into these pieces.
fn found<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(Option<String>, Option<bool>), NamingError> {
    let mut json = Json::default();
    for piece in pieces {
        json.push(piece)?;
    }
    Ok((json.model, json.streams))
}

#[test]
fn finds_the_model_in_json_wherever_it_is_cut() {
    let cases = [
        (r#"{"model":"a/b:c"}"#, Some("a/b:c"), None),
        ("\u{feff} {\n\t\"model\" : \"ü\" , \"stream\" : true }", Some("ü"), Some(true)),
        (r#"{"\u006dodel":"\u0061\ud83d\ude00\"\\","x":1}"#, Some("a😀\"\\"), None),
        (r#"{"a":"\"model\":\"x\"","b":[{"model":"y"},"]"],"c":{"model":"}"},"model":"m"}"#, Some("m"), None),
        (r#"{"model":"first","model":"second","stream":false,"stream":true}"#, Some("first"), Some(false)),
        (r#"{"model":null,"model":"m","n":-1.5e3,"stream":true}"#, Some("m"), Some(true)),
        (r#"{"models":"x","mode":"y","":"z","stream":null,"model":"m"}"#, Some("m"), Some(false)),
        (r#"{"a":"\\","model":"m"}"#, Some("m"), None),
        (r#"{"a":[[],{},[[{}]]],"model":"m"}"#, Some("m"), None),
        (r#"{"a":"b"}{"model":"m"}"#, None, None),
        (r#"{"a" "model":"m"}"#, None, None),
        (r#"[{"model":"m"}]"#, None, None),
        (r#""model""#, None, None),
        (r#"{"stream":true"#, None, None),
        ("", None, None),
    ];
    for (text, model, streams) in cases {
        let wanted = (model.map(str::to_owned), streams);
        for cut in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            assert_eq!(found([before, after]).unwrap(), wanted, "{text} at {cut}");
        }
        assert_eq!(found(text.as_bytes().chunks(1)).unwrap(), wanted, "{text} byte by byte");
    }
}

/// Any JSON value, with the keys that matter often among its keys.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("model".to_owned()),
        Just("stream".to_owned()),
        "[\\PC\"\\\\{}\\[\\]:,\n]{0,12}".prop_map(String::from),
    ]
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec((text(), inner), 0..6).prop_map(|members| Map::from_iter(members).into())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn agrees_with_serde_about_any_object(
        body in object(value()), is_pretty in any::<bool>(), escapes in any::<bool>(), cut in 1_usize..9,
    ) {
        let text = if is_pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let text = if escapes { text.replace('m', "\\u006d").replace('é', "\\u00e9") } else { text };
        let found = found(text.as_bytes().chunks(cut));
        match &body["model"] {
            Value::String(model) => prop_assert_eq!(found.unwrap().0, Some(model.clone())),
            Value::Null => prop_assert_eq!(found.unwrap(), (None, body.get("stream").map(|value| *value == true))),
            _ => prop_assert!(matches!(found, Err(NamingError::NotAName))),
        }
    }

    #[test]
    fn takes_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 1_usize..9) {
        let whole = found([bytes.as_slice()]).ok();
        prop_assert_eq!(found(bytes.chunks(cut)).ok(), whole);
    }
}

/// What a multipart scanner finds in a text that is cut into these pieces.
fn fields<'a>(content_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<String>, Option<bool>) {
    let mut multipart = Multipart::of(content_type).unwrap().unwrap();
    for piece in pieces {
        multipart.push(piece).unwrap();
    }
    (multipart.model, multipart.streams)
}

const PLAIN: &str = "multipart/form-data; boundary=XX";

#[test]
fn finds_the_fields_of_a_form_wherever_it_is_cut() {
    let part = |head: &str, content: &str| format!("--XX\r\n{head}\r\n\r\n{content}\r\n");
    let named = |name: &str, content: &str| part(&format!("Content-Disposition: form-data; name={name}"), content);
    let file = part(
        "Content-Disposition: form-data; name=\"model\"; filename=\"model\"\r\nContent-Type: audio/wav",
        "RIFF\r\n--X\r\n--\r\nname=\"model\"\r\n\r\n",
    );
    let model = named("\"model\"", "whisper-1");
    let cases = [
        ([file.as_str(), &model, "--XX--\r\n"].concat(), Some("whisper-1"), None),
        ([model.as_str(), &file, "--XX--"].concat(), Some("whisper-1"), None),
        ([named("model", "a").as_str(), &named("stream", "true"), &model, "--XX--"].concat(), Some("a"), Some(true)),
        (["preamble\r\n", &model, "--XX--\r\n", &named("stream", "true")].concat(), Some("whisper-1"), None),
        (["--XX  \r\nX: y\r\n\r\n\r\n", &model, "--XX--"].concat(), Some("whisper-1"), None),
        (
            [part("content-disposition: FORM-DATA;NAME=\"mod\\el\" ; x=y", "é").as_str(), "--XX--"].concat(),
            Some("é"),
            None,
        ),
        ([named("model", "").as_str(), "--XX--"].concat(), Some(""), None),
        ([named("model", "a\r\n\r\n--X").as_str(), "--XX--"].concat(), Some("a\r\n\r\n--X"), None),
        ([file.as_str(), "--XX--\r\n"].concat(), None, None),
        ("--XX\r\nContent-Disposition: form-data; name=model\r\n\r\nunfinished".to_owned(), None, None),
        (String::new(), None, None),
    ];
    for (text, model, streams) in cases {
        let wanted = (model.map(str::to_owned), streams);
        for cut in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(cut);
            assert_eq!(fields(PLAIN, [before, after]), wanted, "{text} at {cut}");
        }
        for size in [1, 2, 3, 7] {
            assert_eq!(fields(PLAIN, text.as_bytes().chunks(size)), wanted, "{text} by {size}");
        }
    }
}

#[test]
fn reads_every_way_to_write_a_boundary() {
    let text = b"--a b;c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--a b;c--";
    for content_type in
        ["multipart/form-data; boundary=\"a b;c\"", "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=\"a \\b;c\"; x=y"]
    {
        assert_eq!(fields(content_type, [text.as_slice()]).0.as_deref(), Some("m"), "{content_type}");
    }
    for none in ["application/json", "", "multipart/mixed; boundary=x"] {
        assert!(Multipart::of(none).unwrap().is_none());
    }
    for wrong in ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; bound=x"] {
        assert!(matches!(Multipart::of(wrong), Err(NamingError::NoBoundary)), "{wrong}");
    }
}

#[test]
fn scans_large_bodies_at_the_speed_of_memory() {
    let picture = "A".repeat(24 << 20);
    let json = format!(r#"{{"messages":[{{"content":"{picture}"}}],"model":"m"}}"#);
    let form = format!(
        "--XX\r\nX: y\r\n\r\n{picture}\r\n--XX\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--XX--"
    );
    let begun = crate::hostile::cpu_time();
    assert_eq!(found(json.as_bytes().chunks(100_000)).unwrap().0.as_deref(), Some("m"));
    let json_took = crate::hostile::cpu_time() - begun;
    assert_eq!(fields(PLAIN, form.as_bytes().chunks(100_000)).0.as_deref(), Some("m"));
    let form_took = crate::hostile::cpu_time() - begun - json_took;
    // Optimised it takes 2 ms; a byte at a time, this build takes 10 times as long.
    assert!(json_took.as_millis() < 100 && form_took.as_millis() < 100, "{json_took:?} {form_took:?}");
}
