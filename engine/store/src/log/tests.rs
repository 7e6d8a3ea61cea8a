//! The log gives back what was acknowledged, takes a cut-off end for what it is, and reports
//! anything else.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use truststram_base::{Kind, ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use super::entry::SECTOR_BYTES;
use super::header::ENTRIES_START;
use super::pair::Recovered;
use super::*;
use crate::disk::{Disk, HostDisk};
use crate::error::StoreError;

const BYTES_MAX: u64 = 16 << 20;

fn open(directory: &Path) -> Result<(Log, Recovered), StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(HostDisk);
    Log::open(directory, &disk, BYTES_MAX, 77)
}

fn record(number: u64) -> PredictionRecord {
    PredictionRecord {
        request: RequestId(number.into()),
        model: ModelId::new("m").unwrap(),
        version: ModelVersion(1),
        user: number.is_multiple_of(2).then(|| UserId::new("ana").unwrap()),
        timestamp_us: number as i64,
        features: vec![number as f32; (number % 300) as usize],
        class: 1,
        confidence: 0.5,
    }
}

/// Appends an entry of the rows.
fn append(log: &mut Log, rows: std::ops::Range<u64>) {
    let mut encoder = Encoder::new(usize::MAX);
    encoder.start();
    rows.clone().for_each(|number| assert!(encoder.push(&record(number))));
    log.append(&mut encoder, rows.start).unwrap();
}

fn numbers(entries: &[EntryRows]) -> Vec<u64> {
    entries
        .iter()
        .flat_map(|(first, rows)| {
            (*first..)
                .zip(rows)
                .inspect(|(number, row)| assert_eq!(**row, record(*number)))
                .map(|(number, _)| number)
        })
        .collect()
}

#[test]
fn turns_are_given_back_and_the_one_before_the_last_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, recovered) = open(dir.path()).unwrap();
    assert_eq!(recovered.sequences, None);
    log.switch(1, Vec::new()).unwrap();
    let mut next = 1;
    for turn in 0..7_u64 {
        for entry in 0..5 {
            append(&mut log, next..next + 1 + entry * 100);
            next += 1 + entry * 100;
        }
        drop(log);
        let (reopened, recovered) = open(dir.path()).unwrap();
        log = reopened;
        let in_turn = 5 + (1 + 2 + 3 + 4) * 100;
        let first = next - in_turn;
        assert_eq!(numbers(&recovered.newer), (first..next).collect::<Vec<_>>());
        let before = if turn == 0 { first } else { first - in_turn };
        assert_eq!(numbers(&recovered.older), (before..first).collect::<Vec<_>>());
        assert_eq!(recovered.sequences, Some((first, next)));
        log.switch(next, vec![(202_611, next)]).unwrap();
    }
    drop(log);
    assert_eq!(open(dir.path()).unwrap().1.months, [(202_611, next)]);
}

#[test]
fn an_end_that_was_cut_off_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path()).unwrap();
    log.switch(1, Vec::new()).unwrap();
    append(&mut log, 1..4);
    append(&mut log, 4..9);
    drop(log);
    let path = dir.path().join("odd.log");
    let whole = fs::read(&path).unwrap();
    let second = ENTRIES_START + SECTOR_BYTES;
    for cut in (second..second + 4 * SECTOR_BYTES).step_by(37) {
        let mut bytes = whole.clone();
        bytes[cut as usize..].fill(0);
        fs::write(&path, &bytes).unwrap();
        let (mut log, recovered) = open(dir.path()).unwrap();
        let found = numbers(&recovered.newer);
        assert!(found == [1, 2, 3] || found == (1..9).collect::<Vec<_>>(), "cut at {cut}");
        // It goes on from there.
        let next = recovered.sequences.unwrap().1;
        append(&mut log, next..next + 2);
        drop(log);
        assert_eq!(open(dir.path()).unwrap().1.sequences, Some((1, next + 2)));
    }
}

#[test]
fn damage_before_the_end_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path()).unwrap();
    log.switch(1, Vec::new()).unwrap();
    append(&mut log, 1..200);
    log.switch(200, Vec::new()).unwrap();
    append(&mut log, 200..300);
    append(&mut log, 300..302);
    drop(log);
    for (name, place) in [
        // The end of a turn that another one followed; an entry that another one followed; a
        // header of a turn that has entries.
        ("odd.log", ENTRIES_START + 900),
        ("even.log", ENTRIES_START + 900),
        ("even.log", 4_096 + 33),
    ] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        bytes[place as usize] ^= 4;
        fs::write(&path, &bytes).unwrap();
        let error = open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{name} at {place}: {error}");
        fs::write(&path, &whole).unwrap();
    }
    assert!(open(dir.path()).is_ok());
}
