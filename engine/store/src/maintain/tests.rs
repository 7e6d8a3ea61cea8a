//! What is done to stored data while it is used: nothing is lost by it, and it ends whole or not
//! at all.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use truststram_base::{
    Clock, Kind, ManualClock, ModelId, ModelVersion, PredictionRecord, RequestId, UserId,
};

use super::*;
use crate::disk::HostDisk;
use crate::options::{MaintenanceOptions, StoreOptions, Tier};
use crate::query::PredictionQuery;
use crate::store::Store;
use crate::verify::verify_directory;

/// 2026-11-15, and 30 days each way, microseconds UTC.
const NOVEMBER_US: i64 = 1_794_700_800_000_000;
const DAY_US: i64 = 86_400_000_000;

fn open(directory: &Path, tiers: &[Tier]) -> Store {
    let options =
        StoreOptions { log_rows_max: 500, tiers: tiers.to_vec(), ..StoreOptions::default() };
    Store::open(directory, options, Arc::new(ManualClock::at(NOVEMBER_US))).unwrap()
}

fn record(number: u64, timestamp_us: i64) -> PredictionRecord {
    PredictionRecord {
        request: RequestId(number.into()),
        model: ModelId::new(["a", "b"][number as usize % 2]).unwrap(),
        version: ModelVersion(1),
        user: Some(UserId::new(&format!("user {}", number % 7)).unwrap()),
        timestamp_us,
        features: vec![number as f32; 30],
        class: (number % 3) as u32,
        confidence: 0.25,
    }
}

/// `count` rows in each of September, October and November, in runs.
fn fill(store: &Store, count: u64) {
    for number in 0..3 * count {
        let back_us = (2 - i64::try_from(number / count).unwrap()) * 30 * DAY_US;
        store.submit(record(number, NOVEMBER_US - back_us)).unwrap();
        if number % 97 == 0 {
            store.checkpoint().unwrap();
        }
    }
    store.checkpoint().unwrap();
}

fn requests(store: &Store) -> Vec<u128> {
    let mut query = PredictionQuery { limit: 1_000, ..PredictionQuery::default() };
    let mut found = Vec::new();
    loop {
        let page = store.predictions(&query).unwrap();
        found.extend(page.rows.iter().map(|row| row.record.request.0));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return found,
        }
    }
}

fn assert_sound(store: &Store) {
    assert_eq!(store.verify(&mut |_| true).unwrap().findings, []);
}

#[test]
fn a_compaction_under_load_keeps_every_row() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(dir.path(), &[]));
    fill(&store, 1_000);
    let is_done = Arc::new(AtomicBool::new(false));
    let (store_of_load, is_done_of_load) = (Arc::clone(&store), Arc::clone(&is_done));
    let load = truststram_machine::spawn(
        truststram_machine::ThreadSpec {
            name: "load".to_owned(),
            cores: Vec::new(),
            memory_node: None,
            priority: truststram_machine::Priority::Normal,
        },
        move |_| {
            let mut number = 10_000;
            while !is_done_of_load.load(Ordering::Acquire) {
                // Late rows as well, so that every file changes meanwhile.
                let late_us = (number % 3) as i64 * 30 * DAY_US;
                store_of_load.submit(record(number, NOVEMBER_US - late_us)).unwrap();
                number += 1;
                if number % 50 == 0 {
                    store_of_load.checkpoint().unwrap();
                    assert!(!requests(&store_of_load).is_empty());
                }
            }
            number - 10_000
        },
    )
    .unwrap();
    for _ in 0..3 {
        let compacted = store.compact(&mut |_| true).unwrap();
        assert_eq!(compacted.len(), 3);
    }
    is_done.store(true, Ordering::Release);
    let written = load.join().unwrap();
    store.flush().unwrap();
    assert_eq!(requests(&store).len() as u64, 3_000 + written);
    assert_sound(&store);
    let before = store.stats().file_bytes;
    store.checkpoint().unwrap();
    let compacted = store.compact(&mut |_| true).unwrap();
    assert!(compacted.iter().all(|month| month.bytes_after <= month.bytes_before));
    assert!(store.stats().file_bytes <= before);
    store.close().unwrap();
    let store = open(dir.path(), &[]);
    assert_eq!(requests(&store).len() as u64, 3_000 + written);
    assert_sound(&store);
}

#[test]
fn a_compaction_that_is_ended_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &[]);
    fill(&store, 300);
    assert_eq!(store.compact(&mut |_| false).unwrap(), []);
    assert_eq!(requests(&store).len(), 900);
    let names: Vec<_> = fs::read_dir(dir.path().join("predictions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn a_month_is_dropped_under_its_readers() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &[]);
    fill(&store, 400);
    let (_, file) = store.core.files.between(i64::MIN, NOVEMBER_US - 20 * DAY_US).remove(0);
    let snapshot = file.snapshot().unwrap();
    let dropped = store.drop_month("202610").unwrap();
    assert_eq!((dropped.month.as_str(), dropped.rows), ("202610", 400));
    assert!(!dir.path().join("predictions/pred-202610.redb").exists());
    assert_eq!(snapshot.total("a").unwrap().rows, 200, "who is reading goes on");
    assert_eq!(requests(&store).len(), 800);
    let model = ModelId::new("a").unwrap();
    assert_eq!(store.performance_cached(&model).unwrap().all.rows, 400);
    assert_eq!(store.drop_month("202610").unwrap_err().kind(), Kind::NotFound);
    drop(snapshot);
    // Late rows make the month anew.
    store.submit(record(5_000, NOVEMBER_US - 30 * DAY_US)).unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    let store = open(dir.path(), &[]);
    assert_eq!(requests(&store).len(), 801);
    assert_sound(&store);
}

#[test]
fn dropped_rows_do_not_come_back_from_the_log() {
    let dir = tempfile::tempdir().unwrap();
    // All in one turn; then in the turn before; then with rows after them.
    for rounds in 0..3 {
        let store = open(dir.path(), &[]);
        fill(&store, 50);
        for _ in 0..rounds {
            store.checkpoint().unwrap();
            store.submit(record(9_000, NOVEMBER_US)).unwrap();
        }
        store.flush().unwrap();
        let kept = requests(&store).len() - 50;
        assert_eq!(store.drop_month("202610").unwrap().rows, 50);
        assert_eq!(requests(&store).len(), kept);
        store.close().unwrap();
        let store = open(dir.path(), &[]);
        assert_eq!(requests(&store).len(), kept, "after {rounds} checkpoints");
        store.checkpoint().unwrap();
        assert!(!dir.path().join("predictions/pred-202610.redb").exists());
        assert_sound(&store);
        store.close().unwrap();
    }
}

#[test]
fn a_damaged_month_that_is_over_keeps_nobody_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &[]);
    fill(&store, 100);
    store.close().unwrap();
    let path = dir.path().join("predictions/pred-202610.redb");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..64]).unwrap();
    let store = open(dir.path(), &[]);
    let of = |since_us| PredictionQuery {
        since_us: Some(since_us),
        limit: 1_000,
        ..PredictionQuery::default()
    };
    // The months beside it are served, and who asks for it is told.
    assert_eq!(store.predictions(&of(NOVEMBER_US - DAY_US)).unwrap().rows.len(), 100);
    let error = store.predictions(&of(NOVEMBER_US - 40 * DAY_US)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(store.verify(&mut |_| true).unwrap().findings[0].path, path);
    store.submit(record(9_000, NOVEMBER_US)).unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    // Put back, it is as it was.
    fs::write(&path, &bytes).unwrap();
    let store = open(dir.path(), &[]);
    assert_eq!(requests(&store).len(), 301);
    assert_sound(&store);
    // The newest month is where records go: a start without it would only fail later.
    store.close().unwrap();
    fs::write(dir.path().join("predictions/pred-202611.redb"), &bytes[..64]).unwrap();
    let clock = Arc::new(ManualClock::at(NOVEMBER_US));
    let error = Store::open(dir.path(), StoreOptions::default(), clock).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

#[test]
fn old_months_are_dropped_and_aging_ones_move_to_their_tier() {
    let dir = tempfile::tempdir().unwrap();
    let cold = tempfile::tempdir().unwrap();
    let tiers = [Tier { after_days: 10, directory: cold.path().join("predictions") }];
    let store = Arc::new(open(dir.path(), &tiers));
    fill(&store, 200);
    let options = MaintenanceOptions { keep_days: 40, scrub_every_h: 0, scrub_mib_per_s: 1 };
    let upkeep = Upkeep::default();
    upkeep.keep_order(&store, &options);
    // September ended 45 days ago, October 15.
    assert_eq!(requests(&store).len(), 400);
    assert!(cold.path().join("predictions/pred-202610.redb").exists());
    assert!(!dir.path().join("predictions/pred-202610.redb").exists());
    assert!(dir.path().join("predictions/pred-202611.redb").exists());
    // A late row finds the file where it is now, also after a restart.
    store.submit(record(5_000, NOVEMBER_US - 30 * DAY_US)).unwrap();
    store.checkpoint().unwrap();
    drop(store);
    let store = Arc::new(open(dir.path(), &tiers));
    assert_eq!(requests(&store).len(), 401);
    upkeep.keep_order(&store, &options);
    upkeep.scrub(&store, 1_000);
    assert_eq!((store.stats().scrubs, store.stats().scrub_findings), (1, 0));
    assert_sound(&store);
    store.close().unwrap();
    let verify = || {
        let clock = Arc::new(ManualClock::at(NOVEMBER_US));
        verify_directory(Arc::new(HostDisk), dir.path(), &tiers, clock, &mut |_| true).unwrap()
    };
    let report = verify();
    assert!(report.is_sealed);
    assert_eq!((report.findings.len(), report.checked.rows), (0, 401), "{:?}", report.findings);
    let moved = cold.path().join("predictions/pred-202610.redb");
    let mut bytes = fs::read(&moved).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&moved, &bytes).unwrap();
    assert_eq!(verify().findings[0].path, moved);
}

#[test]
fn a_backup_made_under_load_is_restored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"), &[]);
    fill(&store, 300);
    let model = dir.path().join("data/models/a/1");
    fs::create_dir_all(&model).unwrap();
    fs::write(model.join("model.safetensors"), b"weights").unwrap();
    store.submit(record(7_000, NOVEMBER_US)).unwrap();
    for (name, format) in [("backup", BackupFormat::Directory), ("b.tar", BackupFormat::Tar)] {
        let target = dir.path().join(name);
        let ended = store.backup(&target, format, &mut |_| false).unwrap_err();
        assert_eq!(ended.kind(), Kind::Unavailable);
        assert!(!target.exists());
        let made = store.backup(&target, format, &mut |_| true).unwrap();
        assert_eq!(made.rows, 901);
        // Later rows are not in it.
        store.submit(record(8_000, NOVEMBER_US)).unwrap();
        let again = store.backup(&target, format, &mut |_| true).unwrap_err();
        assert_eq!(again.kind(), Kind::Conflict);
        let restored = dir.path().join(format!("{name}-restored"));
        let report = restore(&target, &restored, &mut |_| true).unwrap();
        assert_eq!((report.files, report.bytes, report.rows), (made.files, made.bytes, made.rows));
        assert!(restore(&target, &restored, &mut |_| true).is_err(), "something is there");
        let weights = fs::read(restored.join("models/a/1/model.safetensors")).unwrap();
        assert_eq!(weights, b"weights");
        let copy = open(&restored, &[]);
        let mut expected = requests(&store);
        expected.retain(|&request| request != 8_000);
        assert_eq!(requests(&copy), expected);
        assert_sound(&copy);
        // It goes on from there.
        copy.submit(record(9_000, NOVEMBER_US)).unwrap();
        copy.flush().unwrap();
        assert_eq!(requests(&copy)[0], 9_000);
        store.drop_month("202609").unwrap();
        fill_again(&store);
    }
    let leftovers = fs::read_dir(dir.path()).unwrap();
    let names = leftovers.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.into_iter().all(|name| !name.contains("unfinished")));
}

/// Puts back the rows of September, so that the next round finds the same rows.
fn fill_again(store: &Store) {
    for number in 0..300 {
        store.submit(record(number, NOVEMBER_US - 60 * DAY_US)).unwrap();
    }
    store.drop_month("202611").unwrap();
    for number in 600..900 {
        store.submit(record(number, NOVEMBER_US)).unwrap();
    }
    store.submit(record(7_000, NOVEMBER_US)).unwrap();
    store.checkpoint().unwrap();
}

#[test]
fn a_backup_goes_on_while_updates_of_a_federation_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = open(&data, &[]);
    fill(&store, 50);
    let federation = data.join("fl/7");
    for folder in ["updates", "arriving", "partial"] {
        fs::create_dir_all(federation.join(folder)).unwrap();
    }
    let update = |name: &str| federation.join("updates").join(name);
    fs::write(update("1.safetensors"), "merged soon").unwrap();
    fs::write(federation.join("arriving/x"), "half of one").unwrap();
    let target = dir.path().join("backup");
    let mut merge = |_: &BackupProgress| {
        let _ = fs::remove_file(update("1.safetensors"));
        fs::write(update("2.safetensors"), "accepted").unwrap();
        true
    };
    store.backup(&target, BackupFormat::Directory, &mut merge).unwrap();
    let restored = dir.path().join("restored");
    restore(&target, &restored, &mut |_| true).unwrap();
    assert!(restored.join("fl/7/updates/2.safetensors").exists());
    assert!(!restored.join("fl/7/updates/1.safetensors").exists());
    assert!(!restored.join("fl/7/arriving/x").exists());
}

#[test]
fn a_backup_that_was_changed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("data"), &[]);
    fill(&store, 100);
    let backup = dir.path().join("backup");
    store.backup(&backup, BackupFormat::Directory, &mut |_| true).unwrap();
    let target = dir.path().join("restored");
    let check = |change: &dyn Fn(), expected: BackupProblem| {
        change();
        let error = restore(&backup, &target, &mut |_| true).unwrap_err();
        assert!(error.to_string().contains(&expected.to_string()), "{error}");
        assert!(!target.exists());
    };
    let file = backup.join("predictions/pred-202610.redb");
    let bytes = fs::read(&file).unwrap();
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    let name = "predictions/pred-202610.redb".to_owned();
    check(&|| fs::write(&file, &damaged).unwrap(), BackupProblem::Changed { name: name.clone() });
    check(&|| fs::remove_file(&file).unwrap(), BackupProblem::Changed { name });
    fs::write(&file, &bytes).unwrap();
    let manifest = backup.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let outside = text.replace("predictions/pred-202610", "../pred-202610");
    check(&|| fs::write(&manifest, &outside).unwrap(), BackupProblem::Manifest);
    check(&|| fs::write(&manifest, "{").unwrap(), BackupProblem::Manifest);
    check(&|| fs::remove_file(&manifest).unwrap(), BackupProblem::NoManifest);
}

#[test]
fn cached_figures_are_never_older_than_the_last_commit() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOVEMBER_US));
    let store = Store::open(dir.path(), StoreOptions::default(), clock.clone()).unwrap();
    let model = ModelId::new("a").unwrap();
    for number in 0..50_u64 {
        store.submit(record(2 * number, clock.utc_us())).unwrap();
        store.flush().unwrap();
        let first = store.performance_cached(&model).unwrap();
        let second = store.performance_cached(&model).unwrap();
        assert_eq!(first.all.rows, number + 1);
        assert!(Arc::ptr_eq(&first, &second));
    }
    // The day moves on although no row comes.
    clock.advance(2 * 86_400_000_000);
    let later = store.performance_cached(&model).unwrap();
    assert_eq!((later.all.rows, later.day.rows), (50, 0));
}
