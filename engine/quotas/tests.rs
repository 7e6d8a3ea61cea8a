//! Counts of days in a store: found again after a restart, and gone with their day.

use std::path::Path;

use truststram_base::ManualClock;
use truststram_proxy::{Counts, LimitSpec, TableSpec, ZoneSpec};
use truststram_store::StoreOptions;

use super::*;

const DAY_US: i64 = 86_400_000_000;

fn store(directory: &Path, clock: &Arc<ManualClock>) -> Arc<Store> {
    Arc::new(Store::open(directory, StoreOptions::default(), clock.clone()).unwrap())
}

fn table(zones: &[(&str, &str)]) -> TableSpec {
    let zone = |&(name, key): &(&str, &str)| ZoneSpec {
        name: name.to_owned(),
        key: key.parse().unwrap(),
        counts: Counts::Day,
        bytes_max: 1 << 20,
    };
    let zones = zones.iter().map(zone).collect();
    TableSpec { limits: LimitSpec { zones, ..LimitSpec::default() }, ..TableSpec::default() }
}

fn book(live: &Arc<Live>, store: &Arc<Store>, clock: &Arc<ManualClock>) -> Book {
    let (live, store, clock) = (live.clone(), store.clone(), clock.clone());
    let (known, waiting, turns) = (Vec::new(), Vec::new(), Arc::default());
    Book { live, store, clock, known, day: 20_000, waiting, turns }
}

/// Counts as requests would that nobody has kept yet.
fn add(zone: &DayZone, key: &str, day: u32, count: u64) {
    zone.restore(&DayCount { key: key.as_bytes().into(), day, count, is_first: true });
}

#[test]
fn a_restart_goes_on_from_what_was_kept() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(20_000 * DAY_US));
    let zones = [("daily", "api-key"), ("users", "user"), ("paths", "ip path")];
    let ada = UserId::new("ada").unwrap();
    {
        let live = Live::new(&table(&zones), 1).unwrap();
        let store = store(directory.path(), &clock);
        let mut book = book(&live, &store, &clock);
        book.turn().unwrap();
        let days = live.zones().days;
        add(&days[0], "0123", 20_000, 7);
        add(&days[1], "ada", 20_000, 9);
        add(&days[2], "/\0x", 20_000, 3);
        assert_eq!(of_day(&store, 20_000).unwrap(), []);
        book.turn().unwrap();
        let shown = used(&of_day(&store, 20_000).unwrap(), "0123", &ada);
        assert_eq!(shown, serde_json::json!({ "daily": 7, "users": 9 }));
        assert_eq!(shown, used_now(&days, 20_000, "0123", &ada));
        store.close().unwrap();
    }
    let live = Live::new(&table(&zones[..1]), 1).unwrap();
    let store = store(directory.path(), &clock);
    let mut book = book(&live, &store, &clock);
    book.turn().unwrap();
    assert_eq!(live.zones().days[0].used(b"0123", 20_000), 7);
    // A zone that a reload brings finds its counts, too; another key has none.
    live.replace(&table(&zones[..2])).unwrap();
    book.turn().unwrap();
    assert_eq!(live.zones().days[1].used(b"ada", 20_000), 9);
    live.replace(&table(&[("daily", "user")])).unwrap();
    book.turn().unwrap();
    assert_eq!(live.zones().days[0].key_count(), 0);
    // The next day begins with nothing, and removes the day before.
    live.replace(&table(&zones)).unwrap();
    book.turn().unwrap();
    assert_eq!(store.access_records(PREFIX).unwrap().len(), 3);
    clock.advance(DAY_US);
    book.turn().unwrap();
    assert_eq!(store.access_records(PREFIX).unwrap(), []);
    store.close().unwrap();
}

#[test]
fn records_of_keys_that_were_forgotten_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(20_000 * DAY_US));
    let mut spec = table(&[("daily", "path")]);
    spec.limits.zones[0].bytes_max = 64 << 10;
    let live = Live::new(&spec, 1).unwrap();
    let store = store(directory.path(), &clock);
    let mut book = book(&live, &store, &clock);
    for round in 0..40 {
        book.turn().unwrap();
        for turn in 0..500 {
            add(&live.zones().days[0], &format!("/{round}/{turn}"), 20_000, 1);
        }
    }
    let held = live.zones().days[0].key_count();
    let records = store.access_records(PREFIX).unwrap().len();
    assert!(held < 1_000 && records <= 2 * held + SPARE_RECORDS + 500, "{held} {records}");
    store.close().unwrap();
}
