//! The schema against the loader: the schema refuses nothing that loads.

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};
use toml::de::DeValue;

use super::super::keys::{GroupKey, IdleKey, Key, ReadyKey, SecretKey, ServeKey, SourceKey, UpdateKey};
use super::*;
use crate::llama::catalogue::{ListStyle, OptionMatch, OptionSpec, ValueKind};

/// What a schema makes of TOML.
struct Schema(Schemas, SchemaIndex);

impl Schema {
    fn of(kind: FileKind) -> Self {
        Self::from(&schema(&Catalogue::embedded(), kind))
    }

    fn from(schema: &Value) -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("definition.json", schema.clone()).unwrap();
        let index = compiler.compile("definition.json", &mut schemas).unwrap();
        Self(schemas, index)
    }

    /// Empty if there are none.
    fn problems(&self, toml: &toml::Table) -> String {
        let json = serde_json::to_value(toml).unwrap();
        self.0.validate(&json, self.1).err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn takes(&self, json: &Value) -> bool {
        self.0.validate(json, self.1).is_ok()
    }
}

/// One file in a directory that is kept, read again and again.
struct Loaded {
    dir: Dir,
    file: &'static str,
}

impl Loaded {
    fn new(kind: FileKind) -> Self {
        let loaded = match kind {
            FileKind::Definition => Self { dir: Dir::new(&[]), file: "a.toml" },
            FileKind::Defaults => Self { dir: Dir::one(""), file: "_defaults.toml" },
        };
        // Whether a group exists no schema can say: all that `VALUES` names do.
        let names = VALUES.iter().filter_map(|value| value.strip_prefix('\'')?.strip_suffix('\''));
        let names = names.filter(|name| ModelName::parse(name).is_ok());
        loaded
            .dir
            .write("_groups.toml", &names.map(|name| format!("['{name}']\nmax_running = 9\n")).collect::<String>());
        loaded
    }

    fn problems(&self, text: &str) -> String {
        self.dir.write(self.file, text);
        self.dir.problems()
    }
}

/// The definitions (or defaults) that come with herdsman.
fn samples(kind: FileKind) -> Vec<(String, String)> {
    let corpus = crate::hostile::corpus(if kind == FileKind::Definition { "definition" } else { "defaults" });
    let corpus = corpus.into_iter().filter_map(|(name, bytes)| Some((name, String::from_utf8(bytes).ok()?)));
    let examples = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/models.d")).unwrap();
    let examples = examples
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()));
    let is_wanted = |name: &str| !name.starts_with('.') && (kind == FileKind::Defaults) == name.starts_with('_');
    corpus.chain(examples.filter(|(name, _)| is_wanted(name))).collect()
}

/// The samples that load without a word.
fn good_samples(kind: FileKind) -> Vec<(String, toml::Table)> {
    let loaded = Loaded::new(kind);
    let good = samples(kind).into_iter().filter(|(_, text)| loaded.problems(text).is_empty());
    good.map(|(name, text)| (name, text.parse().unwrap())).collect()
}

#[test]
fn every_sample_that_loads_satisfies_the_schema() {
    for (kind, least) in [(FileKind::Definition, 6), (FileKind::Defaults, 3)] {
        let schema = Schema::of(kind);
        let samples = good_samples(kind);
        assert!(samples.len() >= least, "{samples:?}");
        for (name, sample) in samples {
            assert_eq!(schema.problems(&sample), "", "{name}");
        }
    }
}

/// Values that are wrong for most keys and right for some.
const VALUES: [&str; 24] = [
    "1",
    "0",
    "-1",
    "99999",
    "0.5",
    "true",
    "''",
    "' '",
    "'x'",
    "'off'",
    "'stop'",
    "'10m'",
    "'0s'",
    "'1m1h'",
    "'127.0.0.1'",
    "'/run/x.sock'",
    "'https://example.org/x'",
    "'org/repo:Q4'",
    "'a,b'",
    "[]",
    "['a', '']",
    "[1]",
    "{}",
    "{ x = 'a' }",
];

/// `table` changed in one place, in every way: an unknown key in each table,
/// every key left out, every value replaced.
fn mutants(table: &toml::Table) -> Vec<(String, toml::Table)> {
    let mut mutants = Vec::new();
    let mut unknown = table.clone();
    unknown.insert("unknown-key".to_owned(), toml::Value::Integer(1));
    mutants.push(("unknown-key".to_owned(), unknown));
    for (key, value) in table {
        let mut put = |what: String, value: Option<toml::Value>| {
            let mut mutant = table.clone();
            mutant.remove(key);
            mutant.extend(value.map(|value| (key.clone(), value)));
            mutants.push((format!("{key}: {what}"), mutant));
        };
        put("none".to_owned(), None);
        for text in VALUES {
            put(text.to_owned(), Some(toml::from_str::<toml::Table>(&format!("v = {text}")).unwrap()["v"].clone()));
        }
        if let toml::Value::Table(inner) = value {
            self::mutants(inner).into_iter().for_each(|(what, inner)| put(what, Some(inner.into())));
        }
    }
    mutants
}

#[test]
fn the_schema_refuses_what_the_loader_refuses_and_nothing_else() {
    let (mut refused, mut missed) = (0, std::collections::BTreeSet::new());
    for kind in [FileKind::Definition, FileKind::Defaults] {
        let (schema, loaded) = (Schema::of(kind), Loaded::new(kind));
        for (name, sample) in good_samples(kind) {
            for (what, mutant) in mutants(&sample) {
                let text = toml::to_string(&mutant).unwrap();
                let (by_schema, by_loader) = (schema.problems(&mutant), loaded.problems(&text));
                assert!(by_schema.is_empty() || !by_loader.is_empty(), "{name}: {what}: {by_schema:?}\n{text}");
                refused += usize::from(!by_schema.is_empty());
                // What no schema says: whether a text is JSON, and that a socket has no port.
                let is_beyond =
                    what.starts_with("parameters: chat_template_kwargs: '") || what == "host: '/run/x.sock'";
                if by_schema.is_empty() && !by_loader.is_empty() && !is_beyond {
                    missed.insert(what);
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
    assert_eq!(missed.into_iter().collect::<Vec<_>>(), [] as [&str; 0]);
}

#[test]
fn the_schema_of_groups_refuses_what_the_loader_refuses_and_nothing_else() {
    let (schema, dir) = (Schema::from(&groups_schema()), Dir::one(""));
    let sample = "[chat]\nmax_running = 1\n['big.2']\nmax_running = 7\n".parse::<toml::Table>().unwrap();
    let names = ["a b", "", ".x", "é"].map(|name| {
        let mut mutant = sample.clone();
        mutant.insert(name.to_owned(), sample["chat"].clone());
        (name.to_owned(), mutant)
    });
    for (what, mutant) in mutants(&sample).into_iter().chain(names).chain([("the sample".to_owned(), sample.clone())]) {
        dir.write("_groups.toml", &toml::to_string(&mutant).unwrap());
        assert_eq!(schema.problems(&mutant).is_empty(), dir.problems().is_empty(), "{what}: {}", dir.problems());
    }
    let keys = groups_schema();
    assert_eq!(properties(&keys, "/additionalProperties/properties"), GroupKey::NAMES);
}

/// The names of a schema's properties.
fn properties(schema: &Value, pointer: &str) -> Vec<String> {
    let mut names: Vec<String> = schema.pointer(pointer).unwrap().as_object().unwrap().keys().cloned().collect();
    names.sort();
    names
}

#[test]
fn the_schema_knows_the_keys_of_the_parser_and_no_others() {
    let sorted = |names: &[&str]| {
        let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    let definition = schema(&Catalogue::embedded(), FileKind::Definition);
    for (pointer, names) in [
        ("/properties", Key::NAMES),
        ("/properties/secrets/properties", SecretKey::NAMES),
        ("/properties/secrets/properties/api_key/properties", SourceKey::NAMES),
        ("/properties/ready/properties", ReadyKey::NAMES),
        ("/properties/update/properties", UpdateKey::NAMES),
        ("/properties/idle/properties", IdleKey::NAMES),
        ("/properties/serve/properties", ServeKey::NAMES),
    ] {
        assert_eq!(properties(&definition, pointer), sorted(names));
    }
    let defaults = schema(&Catalogue::embedded(), FileKind::Defaults);
    let loaded = Loaded::new(FileKind::Defaults);
    for key in Key::NAMES {
        let is_refused = loaded.problems(&format!("{key} = 1979-05-27\n")).contains("cannot have a default");
        assert_eq!(properties(&defaults, "/properties").iter().any(|name| name == key), !is_refused, "{key}");
    }
}

/// Values for options, as TOML.
const FOR_OPTIONS: [&str; 29] = [
    "true",
    "false",
    "0",
    "1",
    "-1",
    "3",
    "99999999999",
    "0.5",
    "-0.5",
    "''",
    "'x'",
    "'0x10'",
    "'auto'",
    "'on'",
    "'none'",
    "'a;b'",
    "'a,b'",
    "'a:0.5'",
    "'a:b'",
    "'q8_0'",
    "[]",
    "[1]",
    "[1, 0]",
    "['a', 'b']",
    "['a:0.5', 'b:1']",
    "['x', true]",
    "[[1]]",
    "{}",
    "{ a = 1 }",
];

/// The same, with numbers in texts: the schema does not look at their size.
const NUMBERS_IN_TEXT: [&str; 6] = ["'1'", "'+1'", "'-1.5e1'", "'1, 2'", "'.5,1.'", "['1', '2']"];

fn of_json(toml: &str) -> Value {
    serde_json::to_value(toml::from_str::<toml::Table>(&format!("v = {toml}")).unwrap()).unwrap()["v"].take()
}

fn takes(option: &OptionSpec, toml: &str) -> bool {
    option.setting(DeValue::parse(toml).unwrap().get_ref(), false, &str::to_owned).is_ok()
}

#[test]
fn every_option_takes_what_its_schema_says() {
    let catalogue = Catalogue::embedded();
    let schema = schema(&catalogue, FileKind::Definition);
    let options = schema["properties"]["parameters"]["properties"].as_object().unwrap();
    assert!(options.len() > 200);
    for (key, of_option) in options {
        let validator = Schema::from(of_option);
        let OptionMatch::Option { option, negated: false } = catalogue.find(key) else { panic!("{key}") };
        for toml in FOR_OPTIONS {
            let (by_schema, by_option) = (validator.takes(&of_json(toml)), takes(option, toml));
            // Whether a text is JSON no schema can say.
            let is_looser = option.kind == ValueKind::Json && toml.starts_with('\'');
            assert!(by_schema == by_option || (by_schema && is_looser), "{key} = {toml}: {by_schema} {of_option}");
        }
        for toml in NUMBERS_IN_TEXT {
            assert!(validator.takes(&of_json(toml)) || !takes(option, toml), "{key} = {toml}: {of_option}");
        }
        if let Some(default) = of_option.get("default") {
            assert!(validator.takes(default) && takes(option, &default.to_string()), "{key}: {default}");
        }
    }
}

#[test]
fn an_option_is_known_by_every_spelling_that_the_loader_knows() {
    let catalogue = Catalogue::embedded();
    let schema = Schema::of(FileKind::Definition);
    let is_valid = |key: &str, value: Value| schema.takes(&json!({ "model": "a", "parameters": { key: value } }));
    let mut seen = 0;
    for (name, (option, _)) in catalogue.names() {
        let value = match (&option.kind, option.list, option.choices.first()) {
            (ValueKind::Flag, ..) => json!(true),
            (_, ListStyle::Words(words), _) => json!(vec![1; words]),
            (.., Some(choice)) => json!(choice),
            (ValueKind::Json, ..) => json!({}),
            (ValueKind::Text, ..) => json!("a:1"),
            _ => json!(1),
        };
        let half = name.replacen('-', "_", 1);
        for spelling in [name, &name.replace('-', "_"), &half, &half.replacen("_", "-", 1)] {
            let is_known = matches!(catalogue.find(spelling), OptionMatch::Option { .. });
            assert_eq!(is_valid(spelling, value.clone()), is_known, "{spelling}");
            assert!(!is_valid(spelling, Value::Null), "{spelling} may be anything");
            seen += usize::from(is_known);
        }
        for wrong in [format!("{name}x"), format!("x{name}"), format!("--{name}"), name.to_uppercase()] {
            let is_known = matches!(catalogue.find(&wrong), OptionMatch::Option { .. });
            assert_eq!(is_valid(&wrong, value.clone()), is_known, "{wrong}");
        }
    }
    assert!(seen > 800, "{seen}");
}

#[test]
fn uses_another_llama_servers_own_names() {
    let pinned = crate::llama::catalogue::EMBEDDED_HELP;
    let help = pinned.replace("--gpu-layers, ", "").replace("--mirostat N", "--mi.ro/st-at N");
    let catalogue = Catalogue::from_help(&help).unwrap();
    let schema = Schema::from(&schema(&catalogue, FileKind::Definition));
    let is_valid = |key: &str| schema.takes(&json!({ "model": "a", "parameters": { key: 1 } }));
    assert!(is_valid("n_gpu_layers") && is_valid("n-gpu_layers") && !is_valid("gpu_layers"));
    assert!(is_valid("mi.ro/st_at") && is_valid("mi.ro/st-at"));
    assert!(!is_valid("mixro/st-at") && !is_valid("mirostat"));
}

#[test]
fn a_variable_is_refused_as_the_loader_refuses_it() {
    let catalogue = Catalogue::embedded();
    let schema = Schema::of(FileKind::Definition);
    let options = catalogue.options().filter_map(|option| option.env.as_deref());
    let others =
        ["CUDA_VISIBLE_DEVICES", "LLAMA", "LLAMA_ARG_X", "HERDSMAN_X", "WATCHDOG_USEC", "NOTIFY_SOCKET", "HF_HOME"];
    for name in options.chain(others).chain(["LLAMA_API_KEY", "HF_TOKEN", "LLAMA_SERVER_ROUTER_PORT", "", "A=B", "é"])
    {
        let is_taken = problems_of(&format!("[env]\n\"{name}\" = \"1\"\n")).is_empty();
        let is_valid = schema.takes(&json!({ "model": "a", "env": { name: "1" } }));
        assert_eq!(is_valid, is_taken, "{name}");
    }
}

#[test]
fn patterns_use_only_common_syntax() {
    fn patterns(schema: &Value) -> Vec<&str> {
        match schema {
            Value::Object(fields) => {
                let here = fields.get("pattern").and_then(Value::as_str);
                let names = fields.get("patternProperties").and_then(Value::as_object).map(|fields| fields.keys());
                let names = names.into_iter().flatten().map(String::as_str);
                here.into_iter().chain(names).chain(fields.values().flat_map(patterns)).collect()
            }
            Value::Array(items) => items.iter().flat_map(patterns).collect(),
            _ => Vec::new(),
        }
    }
    let schema = schema(&Catalogue::embedded(), FileKind::Definition);
    let patterns = patterns(&schema);
    assert!(patterns.len() > 300);
    for pattern in patterns {
        assert!(!pattern.contains("(?") && !pattern.contains(r"\-") && !pattern.contains(r"\u"), "{pattern}");
    }
}
