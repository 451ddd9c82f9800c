//! The option catalogue against the real, pinned llama-server.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::support::llama_server;
use herdsman::definition::Catalogue;
use herdsman::llama::catalogue::binary::{Verdict, catalogue, dry_run, identify};
use herdsman::llama::catalogue::{ListStyle, OptionMatch, OptionSpec, ValueKind};

/// Dry runs, on every processor at once: there are hundreds.
fn dry_runs(command_lines: &[Vec<String>]) -> Vec<Verdict> {
    let path = llama_server();
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let share = command_lines.len().div_ceil(workers).max(1);
    let run =
        |args: &Vec<String>| dry_run(&path, args, &BTreeMap::new()).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    std::thread::scope(|scope| {
        let threads: Vec<_> = command_lines
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(run).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// The options a definition may use.
fn usable(catalogue: &Catalogue) -> Vec<&OptionSpec> {
    catalogue.options().filter(|option| matches!(catalogue.find(&option.key), OptionMatch::Option { .. })).collect()
}

#[test]
fn the_pinned_llama_server_has_the_embedded_catalogue() {
    let path: PathBuf = llama_server();
    let read = catalogue(&path, &identify(&path).unwrap(), None, false).unwrap();
    assert!(read.options().eq(Catalogue::embedded().options()));
}

#[test]
fn the_pinned_llama_server_accepts_what_the_catalogue_takes() {
    let catalogue = Catalogue::embedded();
    let mut command_lines: Vec<Vec<String>> = Vec::new();
    for option in usable(&catalogue) {
        for value in samples(option) {
            let value = toml::de::DeValue::parse(&value).unwrap();
            let setting = option.setting(value.get_ref(), false, &str::to_owned).unwrap().setting;
            command_lines.push(setting.args.iter().map(ToString::to_string).collect());
        }
    }
    let verdicts = dry_runs(&command_lines);
    let refused: Vec<_> =
        command_lines.iter().zip(verdicts).filter(|(_, verdict)| *verdict != Verdict::Accepted).collect();
    assert!(command_lines.len() > 400 && refused.is_empty(), "{refused:#?}");
}

#[test]
fn the_pinned_llama_server_reads_numbers_just_where_the_table_says_so() {
    let catalogue = Catalogue::embedded();
    let options: Vec<_> = usable(&catalogue).into_iter().filter(|o| o.kind != ValueKind::Flag).collect();
    let dir = tempfile::tempdir().unwrap();
    let no_number = dir.path().join("zz").display().to_string();
    let command_lines: Vec<Vec<String>> = options
        .iter()
        .map(|option| {
            let values = if matches!(option.list, ListStyle::Words(_)) { 2 } else { 1 };
            std::iter::once(option.argument.to_string()).chain(vec![no_number.clone(); values]).collect()
        })
        .collect();
    let mut wrong = Vec::new();
    for (option, verdict) in options.iter().zip(dry_runs(&command_lines)) {
        let reads = match verdict {
            Verdict::Refused { message } if message.contains(": stof") => "float",
            Verdict::Refused { message } if message.contains(": sto") => "int",
            _ => "other",
        };
        let expected = match option.kind {
            ValueKind::Integer(_) => "int",
            ValueKind::Float(_) => "float",
            _ => "other",
        };
        if reads != expected {
            wrong.push((option.key.clone(), reads));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(dir.path().read_dir().unwrap().count(), 0, "a check creates nothing, whatever an option names");
}

#[test]
fn the_pinned_llama_server_refuses_and_says_why() {
    let lines = [&["--x"][..], &["-c", "x"], &["--lora-scaled", "\"/a,b:1\",/c:2"]];
    let refused = |message: &str| Verdict::Refused { message: message.to_owned() };
    assert_eq!(
        dry_runs(&lines.map(|line| line.iter().map(|&word| word.to_owned()).collect())),
        [
            refused("error: invalid argument: --x"),
            refused("error while handling argument \"-c\": stoi"),
            // Paths in quotes hold commas.
            Verdict::Accepted,
        ]
    );
}

/// Values of an option that llama-server should accept, as TOML.
fn samples(option: &OptionSpec) -> Vec<String> {
    let quoted = |words: &[String]| words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>();
    let of_kind = match &option.kind {
        ValueKind::Flag => vec!["true".to_owned(), "false".to_owned()],
        _ if !option.choices.is_empty() => quoted(&option.choices),
        ValueKind::Integer(range) => vec![range.min.max(-1).to_string(), "1".to_owned(), range.max.to_string()],
        ValueKind::Float(range) => vec![range.min.max(-1.0).to_string(), range.min.max(0.5).to_string()],
        ValueKind::Json => vec!["'{}'".to_owned(), "{ a = 1 }".to_owned()],
        ValueKind::Text => Vec::new(),
    };
    let pair = |value: String| match option.list {
        ListStyle::Words(_) => format!("[{value}, {value}]"),
        _ => value,
    };
    of_kind.into_iter().chain(quoted(&option.words)).map(pair).collect()
}
