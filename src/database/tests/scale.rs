//! Ten thousand models (a thousand in a debug build): how long it took is
//! printed, not asserted; machines differ.

use std::time::Instant;

use super::*;
use crate::model::{GenerationOutcome, PortRecord, Row, Status};

const MODELS: u16 = if cfg!(debug_assertions) { 1_000 } else { 10_000 };

#[test]
fn many_models_are_recorded_in_one_commit_and_loaded() {
    let scratch = Scratch::new();
    let mut database = scratch.open();
    let mut changes = Vec::new();
    for number in 0..MODELS {
        let model = format!("model-{number:05}");
        changes.extend(create(&config(&model)));
        changes.push(Change::SetPort {
            model: name(&model),
            port: Some(PortRecord { port: 1024 + number, proven: true }),
        });
        changes.push(Change::SetStatus { model: name(&model), status: Status::Running, message: None });
        changes.push(Change::SetGenerationOutcome {
            model: name(&model),
            number: 1,
            outcome: GenerationOutcome::Ready,
        });
    }
    let started = Instant::now();
    database.commit(&changes, at(1)).unwrap();
    let written = started.elapsed();
    let started = Instant::now();
    let records = database.records().unwrap();
    let read = started.elapsed();
    println!("{MODELS} models: recorded in {written:?}, loaded in {read:?}");
    assert_eq!(records.models.len(), usize::from(MODELS));
    assert!(records.models.values().all(|model| model.row == Row::Present(Vec::new())));
    assert!(records.unmanaged.is_empty());
}
