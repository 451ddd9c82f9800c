//! Hostile sources: whatever a configuration or preset contains, the result is
//! valid and contains no secret.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::hostile::{Target, survives};

#[test]
fn no_source_does_harm_and_all_that_is_made_of_it_is_valid() {
    let words: &[&[u8]] = &[
        b"${PORT}",
        b"${MODEL_ID}",
        b"${env.A}",
        b"${env.KEY}",
        b"<<: *common",
        b"--api-key",
        b" -m /m.gguf",
        b"--host /run/a.sock",
        b"--alias a,b",
        b"[*]\n",
        b"[a]\n",
        b"hf-repo = ",
        b"port = ",
        b"'",
        b"\\\n",
        b"\xc2\x9b",
        b"groups:\n  g: {swap: false, members: [a, b]}\n",
        b"matrix:\n  sets: {s: \"(a | b) & c\"}\n",
        b"ttl: ",
        b"concurrencyLimit: ",
    ];
    // Names of the text are repeated in files, comments and remarks.
    let target = Target {
        name: "import",
        words,
        cases: 300,
        longest: 8 << 10,
        time: Duration::from_secs(10),
        memory: 64 << 20,
        ..Target::default()
    };
    let _ = crate::definition::Catalogue::embedded();
    survives(target, |bytes| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let place = SourceLocation::whole("source");
        let options = Options::pinned(Path::new("/base"), true, None);
        let variable = |name: &str| (name.len() < 5).then(|| format!("value of {name}"));
        let swap = llama_swap::read(&[(text, place.clone())], &options, &variable).map_err(|(_, problems)| problems);
        let reads = [swap, preset::read(text, &place, &options, BTreeMap::new(), Read::default())];
        for read in reads.into_iter().flatten() {
            let files = assemble(read).files();
            assert!(files.iter().all(|file| !file.text.contains("value of KEY")), "{files:#?}");
            match check(Path::new("/no/such/directory"), &files, &crate::definition::Embedded) {
                Ok(()) => {}
                Err(WriteError::Invalid(problems)) => {
                    let rendered = crate::definition::render(&problems, false);
                    assert!(problems.is_empty(), "{rendered}\n{files:#?}");
                }
                Err(error) => assert!(files.is_empty(), "{error}"),
            }
        }
    });
}
