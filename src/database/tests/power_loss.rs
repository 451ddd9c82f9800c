//! What a power loss leaves: a log that ends anywhere, half-written pages. Every
//! prefix of the commits is a state that the database was in.

use std::fs;

use super::*;
use crate::model::{GenerationOutcome, PortRecord, Records, Status};

const PAGE: usize = 4096;
/// sqlite.org/fileformat2.html, 4.1: the header of the log, and of a frame.
const HEADER: usize = 32;
const FRAME: usize = 24 + PAGE;

/// The files of a database that many passes wrote to and nobody closed, with the
/// records after each commit.
struct Image {
    file: Vec<u8>,
    log: Vec<u8>,
    index: Vec<u8>,
    /// The length of the log and the records, after each commit.
    states: Vec<(usize, Records)>,
}

impl Image {
    fn take() -> Self {
        let scratch = Scratch::new();
        let mut database = scratch.open();
        database.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        let part = |suffix: &str| {
            let name = format!("herdsman.db{suffix}");
            fs::read(scratch.directory.path().join(name)).unwrap()
        };
        let mut states = vec![(0, database.records().unwrap())];
        for round in 0..12 {
            database.commit(&changes(round), at(i64::from(round))).unwrap();
            states.push((part("-wal").len(), database.records().unwrap()));
        }
        Self { file: part(""), log: part("-wal"), index: part("-shm"), states }
    }

    /// The records when only this much of the log is left.
    fn records_at(&self, length: usize) -> &Records {
        let (_, records) = self.states.iter().rev().find(|(end, _)| *end <= length).unwrap();
        records
    }
}

/// What passes record: creations, updates, outcomes, deletions.
fn changes(round: u32) -> Vec<Change> {
    let model = format!("m{}", round % 3);
    let mut changes = match round {
        0..3 => create(&config(&model)).to_vec(),
        9 => return vec![Change::DeleteModel { model: name(&model) }],
        10 | 11 => vec![generation(&model, round)],
        _ => vec![Change::UpdateModel { config: config(&model) }, generation(&model, round)],
    };
    changes.push(Change::SetPort { model: name(&model), port: Some(PortRecord { port: 8100, proven: true }) });
    changes.push(Change::SetStatus { model: name(&model), status: Status::Running, message: None });
    let number = if round < 3 { 1 } else { round };
    changes.push(Change::SetGenerationOutcome { model: name(&model), number, outcome: GenerationOutcome::Ready });
    changes
}

/// Opens what was left, as a pass does; returns the records, if it is sound.
fn opened(what: &str, file: &[u8], log: &[u8], index: Option<&[u8]>) -> Records {
    let scratch = Scratch::new();
    fs::write(scratch.path(), file).unwrap();
    fs::write(scratch.directory.path().join("herdsman.db-wal"), log).unwrap();
    if let Some(index) = index {
        fs::write(scratch.directory.path().join("herdsman.db-shm"), index).unwrap();
    }
    let mut database = Database::open(&scratch.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let records = database.records().unwrap_or_else(|error| panic!("{what}: {error}"));
    let sound: String = database.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok", "{what}");
    database.commit(&create(&config("next")), at(99)).unwrap_or_else(|error| panic!("{what}: {error}"));
    records
}

#[test]
fn a_truncated_log_keeps_earlier_commits() {
    let image = Image::take();
    let frames = (image.log.len() - HEADER) / FRAME;
    assert!(frames > 60, "{frames}");
    let ends = (0..=frames).map(|frame| HEADER + frame * FRAME);
    let odd = ends.clone().map(|end| end + 24 + PAGE / 2).chain([0, 1, HEADER - 1, HEADER + 12]);
    for end in ends.chain(odd).filter(|end| *end <= image.log.len()) {
        let records = opened(&format!("{end} bytes"), &image.file, &image.log[..end], None);
        assert_eq!(records, *image.records_at(end), "{end} bytes");
    }
}

#[test]
fn a_log_with_unwritten_frames_keeps_earlier_commits() {
    let image = Image::take();
    let frames = (image.log.len() - HEADER) / FRAME;
    for frame in (0..frames).step_by(3) {
        // In the middle of a frame, which breaks its checksum.
        let end = HEADER + frame * FRAME + 24 + 512;
        for (what, garbage) in [("zeroes", 0), ("garbage", 0xa5)] {
            let mut log = image.log.clone();
            log[end..].fill(garbage);
            let records = opened(&format!("{what} from {end}"), &image.file, &log, None);
            // If the end of that frame is zeros anyway, it is whole.
            let whole = log[..HEADER + (frame + 1) * FRAME] == image.log[..HEADER + (frame + 1) * FRAME];
            let end = if whole { HEADER + (frame + 1) * FRAME } else { end };
            assert_eq!(records, *image.records_at(end), "{what} from {end}");
        }
    }
}

#[test]
fn ignores_a_stale_log_index_after_a_power_loss() {
    let image = Image::take();
    let frames = (image.log.len() - HEADER) / FRAME;
    for frame in (0..=frames).step_by(3) {
        let end = HEADER + frame * FRAME;
        for (what, index) in
            [("stale", image.index.clone()), ("zeroed", vec![0; image.index.len()]), ("garbage", vec![0xa5; 1000])]
        {
            let records = opened(&format!("{what}, {end} bytes"), &image.file, &image.log[..end], Some(&index));
            assert_eq!(records, *image.records_at(end), "{what}, {end} bytes");
        }
    }
}

#[test]
fn an_interrupted_checkpoint_loses_nothing_in_the_log() {
    let image = Image::take();
    let after = {
        let scratch = Scratch::new();
        fs::write(scratch.path(), &image.file).unwrap();
        fs::write(scratch.directory.path().join("herdsman.db-wal"), &image.log).unwrap();
        scratch.client().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        fs::read(scratch.path()).unwrap()
    };
    let mut before = image.file.clone();
    before.resize(after.len(), 0);
    let whole = image.records_at(image.log.len());
    for end in (0..=after.len()).step_by(PAGE / 2) {
        // Pages in order, the last one half; then any other order.
        let torn = [&after[..end], &before[end..]].concat();
        assert_eq!(opened(&format!("torn at {end}"), &torn, &image.log, None), *whole, "torn at {end}");
        let longest = end.max(image.file.len());
        let short = &torn[..longest];
        assert_eq!(opened(&format!("short at {end}"), short, &image.log, None), *whole, "short at {end}");
    }
    for odd in [0, 1] {
        let page = |number: usize| if number % 2 == odd { &after } else { &before };
        let torn: Vec<u8> = (0..after.len() / PAGE).flat_map(|n| page(n)[n * PAGE..(n + 1) * PAGE].to_vec()).collect();
        assert_eq!(opened("every other page", &torn, &image.log, None), *whole);
    }
}
