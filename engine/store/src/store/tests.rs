//! The store from outside: what was acknowledged is found again, in order, whole or reported.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use truststram_base::{
    Kind, ManualClock, ModelEntry, ModelId, ModelVersion, PredictionRecord, RequestId, SystemClock,
    UserId,
};

use super::*;
use crate::StoreOptions;
use crate::query::{Cursor, PredictionQuery};

/// 2026-11-15 and 2026-12-15, microseconds UTC.
const NOVEMBER_US: i64 = 1_794_700_800_000_000;
const DECEMBER_US: i64 = 1_797_292_800_000_000;

fn open(directory: &Path) -> Store {
    open_with(directory, StoreOptions::default())
}

fn open_with(directory: &Path, options: StoreOptions) -> Store {
    Store::open(directory, options, Arc::new(ManualClock::at(NOVEMBER_US))).unwrap()
}

fn record(number: u32, model: &str, user: Option<&str>, timestamp_us: i64) -> PredictionRecord {
    PredictionRecord {
        request: RequestId(number.into()),
        model: ModelId::new(model).unwrap(),
        version: ModelVersion(1 + number % 3),
        user: user.map(|user| UserId::new(user).unwrap()),
        timestamp_us,
        features: (0..64).map(|pixel| (number + pixel) as f32 * 0.5).collect(),
        class: number % 10,
        confidence: 1.0 / (1.0 + number as f32),
    }
}

/// The full count of `make soak`, or a share of it.
fn rounds() -> u64 {
    if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { 10 } else { 1 }
}

fn xorshift(seed: u64) -> impl FnMut(u64) -> u64 {
    let mut state = seed;
    move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn durably(store: &Store, record: PredictionRecord) {
    let (done, committed) = sync_channel(1);
    let on_commit = Box::new(move |result: Result<(), CommitFailure>| done.send(result).unwrap());
    store.submit_durable(record, on_commit).unwrap();
    committed.recv().unwrap().unwrap();
}

/// Every page of `query` with `limit` rows each.
fn all_pages(store: &Store, query: &PredictionQuery, limit: usize) -> Vec<PredictionRecord> {
    let mut query = PredictionQuery { limit, before: None, ..query.clone() };
    let mut rows = Vec::new();
    loop {
        let page = store.predictions(&query).unwrap();
        assert!(page.rows.len() <= limit);
        rows.extend(page.rows.into_iter().map(|row| row.record));
        let Some(next) = page.next else { return rows };
        // A cursor survives its text.
        query.before = Some(next.to_string().parse().unwrap());
    }
}

#[test]
fn records_are_found_after_a_restart_and_sequences_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = Vec::new();
    for run in 0..3 {
        let store = open(dir.path());
        for number in run * 100..(run + 1) * 100 {
            written.push(record(number, "m", Some("ana"), NOVEMBER_US + i64::from(number)));
            store.submit(written[number as usize].clone()).unwrap();
        }
        store.close().unwrap();
    }
    written.reverse();
    let store = open(dir.path());
    assert_eq!(all_pages(&store, &PredictionQuery::default(), 7), written);
    assert_eq!(all_pages(&store, &PredictionQuery::default(), 1_000), written);
}

#[test]
fn what_was_acknowledged_is_in_a_copy_of_the_open_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let copy = tempfile::tempdir().unwrap();
    for number in 0..20 {
        durably(&store, record(number, "m", None, NOVEMBER_US));
        // Nothing is closed or flushed: this is what a power loss would leave.
        copy_directory(dir.path(), copy.path());
        let survivor = open(copy.path());
        let rows = all_pages(&survivor, &PredictionQuery::default(), 100);
        assert_eq!(rows.len() as u32, number + 1);
    }
}

#[test]
fn queries_agree_with_a_plain_list() {
    for seed in 0..4 * rounds() {
        let dir = tempfile::tempdir().unwrap();
        let store =
            open_with(dir.path(), StoreOptions { group_rows_max: 64, ..Default::default() });
        let mut random = xorshift(seed + 1);
        let mut written: Vec<PredictionRecord> = Vec::new();
        for number in 0..1_500 {
            let user = ["ana", "ben", "eve"].get(random(4) as usize).copied();
            let model = ["a", "b"][random(2) as usize];
            // Mostly in order, some late, over the end of a month.
            let month = if random(3) == 0 { DECEMBER_US } else { NOVEMBER_US };
            let row = record(number, model, user, month + random(1_000) as i64);
            written.push(row.clone());
            store.submit(row).unwrap();
            match random(150) {
                0 => store.flush().unwrap(),
                1 => store.checkpoint().unwrap(),
                _ => {}
            }
        }
        store.flush().unwrap();
        for _ in 0..60 {
            let pick = |texts: [Option<&'static str>; 3], at: u64| texts[at as usize];
            let query = PredictionQuery {
                model: pick([None, Some("a"), Some("b")], random(3))
                    .map(|m| ModelId::new(m).unwrap()),
                user: pick([None, Some("ana"), Some("eve")], random(3))
                    .map(|u| UserId::new(u).unwrap()),
                since_us: (random(3) == 0).then(|| NOVEMBER_US + random(1_000) as i64),
                until_us: (random(3) == 0).then(|| DECEMBER_US + random(1_000) as i64),
                ..PredictionQuery::default()
            };
            let expected: Vec<&PredictionRecord> = written
                .iter()
                .rev()
                .filter(|row| {
                    query.model.as_ref().is_none_or(|model| row.model == *model)
                        && (query.user.is_none() || row.user == query.user)
                        && query.since_us.is_none_or(|since| row.timestamp_us >= since)
                        && query.until_us.is_none_or(|until| row.timestamp_us <= until)
                })
                .collect();
            let found = all_pages(&store, &query, 1 + random(300) as usize);
            assert!(found.iter().eq(expected), "seed {seed}: {query:?}");
        }
        store.close().unwrap();
    }
}

#[test]
fn pages_do_not_move_when_new_records_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let write = |numbers: std::ops::Range<u32>| {
        numbers.for_each(|number| store.submit(record(number, "m", None, NOVEMBER_US)).unwrap());
        store.flush().unwrap();
    };
    write(0..100);
    let mut query = PredictionQuery { limit: 30, ..PredictionQuery::default() };
    let mut found = Vec::new();
    for new in 1.. {
        let page = store.predictions(&query).unwrap();
        found.extend(page.rows.iter().map(|row| row.record.request.0));
        write(new * 1_000..new * 1_000 + 10);
        let Some(next) = page.next else { break };
        query.before = Some(next);
    }
    assert!(found.into_iter().eq((0..100).rev()));
}

#[test]
fn a_group_is_one_commit_and_a_full_queue_gives_records_back() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing ends the gathering but the flush.
    let options =
        StoreOptions { group_wait_us: u64::MAX >> 20, queue_rows_max: 10, ..Default::default() };
    let store = open_with(dir.path(), options);
    let mut many: Vec<_> = (0..9).map(|number| record(number, "m", None, NOVEMBER_US)).collect();
    store.submit_many(&mut many).unwrap();
    assert!(many.is_empty());
    let mut two = vec![record(9, "m", None, NOVEMBER_US), record(10, "m", None, NOVEMBER_US)];
    let error = store.submit_many(&mut two).unwrap_err();
    assert_eq!((error.kind(), two.len()), (Kind::Overloaded, 2));
    store.submit(record(9, "m", None, NOVEMBER_US)).unwrap();
    let refused = store.submit(record(10, "m", None, NOVEMBER_US)).unwrap_err();
    assert_eq!(refused.record.request, RequestId(10));
    assert_eq!(store.stats().rows_refused, 3);
    store.flush().unwrap();
    let stats = store.stats();
    assert_eq!((stats.rows_committed, stats.commits, stats.rows_queued), (10, 1, 0));
    store.close().unwrap();
    let refused = store.submit(record(11, "m", None, NOVEMBER_US)).unwrap_err();
    assert_eq!(refused.error.kind(), Kind::Unavailable);
}

#[test]
fn a_group_that_spans_turns_of_the_log_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let options =
        || StoreOptions { log_rows_max: 64, entry_bytes_max: 4_000, ..StoreOptions::default() };
    let mut expected = 0;
    for round in 0..6 {
        let store = open_with(dir.path(), options());
        let rows = round * 1_000..round * 1_000 + 333;
        let mut many: Vec<_> =
            rows.map(|number| record(number, "m", Some("ana"), NOVEMBER_US)).collect();
        expected += many.len();
        store.submit_many(&mut many).unwrap();
        store.flush().unwrap();
        let performance = store.performance(&ModelId::new("m").unwrap()).unwrap();
        assert_eq!(performance.all.rows, expected as u64, "round {round}");
        assert_eq!(all_pages(&store, &PredictionQuery::default(), 500).len(), expected);
        store.close().unwrap();
    }
    let store = open_with(dir.path(), options());
    store.checkpoint().unwrap();
    assert_eq!(store.verify(&mut |_| true).unwrap().findings, []);
    assert_eq!(all_pages(&store, &PredictionQuery::default(), 500).len(), expected);
}

#[test]
fn a_flipped_bit_is_reported_and_never_served() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let written: Vec<_> =
        (0..40).map(|number| record(number, "m", Some("ana"), NOVEMBER_US)).collect();
    // Half of the rows are in the month's file, half in the log.
    for (number, row) in written.iter().enumerate() {
        durably(&store, row.clone());
        if number == 19 {
            store.checkpoint().unwrap();
        }
    }
    store.close().unwrap();
    let expected: Vec<_> = written.into_iter().rev().collect();
    let mut random = xorshift(7);
    let mut reported = 0;
    for file in ["predictions/pred-202611.redb", "log/even.log"] {
        let path = dir.path().join(file);
        let bytes = fs::read(&path).unwrap();
        for _ in 0..150 * rounds() {
            let bit = random(8 * bytes.len().min(80_000) as u64) as usize;
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            let clock = Arc::new(SystemClock::new());
            let found = Store::open(dir.path(), StoreOptions::default(), clock).and_then(|store| {
                let query = PredictionQuery { limit: 1_000, ..PredictionQuery::default() };
                store.predictions(&query)
            });
            match found {
                Ok(page) => {
                    let rows: Vec<_> = page.rows.into_iter().map(|row| row.record).collect();
                    // The bit was in no row, or in the last entry of the log, which then looks
                    // like one that was cut off; `verify` tells these apart.
                    assert!(rows == expected || rows == expected[1..], "{file} bit {bit}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Corrupt, "{file} bit {bit}: {error}");
                    reported += 1;
                }
            }
        }
        fs::write(&path, &bytes).unwrap();
    }
    assert!(reported > 10, "{reported}");
}

#[test]
fn versions_are_registered_once_and_one_is_active() {
    let dir = tempfile::tempdir().unwrap();
    let entry = |id: &str, version: u32, active: bool| ModelEntry {
        id: ModelId::new(id).unwrap(),
        version: ModelVersion(version),
        owner: None,
        name: id.to_owned(),
        tags: Vec::new(),
        metadata_json: "{}".to_owned(),
        architecture: "dense".to_owned(),
        path: format!("models/{id}/{version}/model.safetensors"),
        sha256: "00".repeat(32),
        bytes: 9,
        created_us: NOVEMBER_US,
        feature_count: 64,
        classes: vec!["no".to_owned(), "yes".to_owned()],
        metrics: vec![("held_out_accuracy".to_owned(), 0.5)],
        active,
    };
    let store = open(dir.path());
    for (id, version) in [("b", 1), ("a", 1), ("a", 2), ("a", 10)] {
        store.register_model(&entry(id, version, true)).unwrap();
    }
    let again = store.register_model(&entry("a", 2, true)).unwrap_err();
    assert_eq!(again.kind(), Kind::Conflict);
    store.close().unwrap();
    let store = open(dir.path());
    let expected =
        [entry("a", 1, false), entry("a", 2, false), entry("a", 10, true), entry("b", 1, true)];
    assert_eq!(store.models().unwrap(), expected);
    assert_eq!(store.model_versions(&ModelId::new("b").unwrap()).unwrap(), expected[3..]);
    assert!(store.model_versions(&ModelId::new("c").unwrap()).unwrap().is_empty());
}

#[test]
fn texts_that_are_no_cursor_are_refused() {
    for text in ["", "p1-", "p1-xyz", "17", "p1--1", "p2-10"] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}

#[test]
fn months_are_listed_with_their_rows_and_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(store.months().unwrap().is_empty());
    for number in 0..30 {
        let month = if number % 3 == 0 { DECEMBER_US } else { NOVEMBER_US };
        let model = if number % 2 == 0 { "a" } else { "b" };
        store.submit(record(number, model, None, month)).unwrap();
    }
    store.checkpoint().unwrap();
    let months = store.months().unwrap();
    let named: Vec<(&str, u64)> = months.iter().map(|of| (of.month.as_str(), of.rows)).collect();
    assert_eq!(named, [("202612", 10), ("202611", 20)]);
    for month in months {
        assert_eq!(month.bytes, fs::metadata(&month.path).unwrap().len());
    }
}
