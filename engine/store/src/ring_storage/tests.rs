//! The same operations on redb's backend and on ours against a model, redb on top of both, and a
//! file below that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redb::{ReadableDatabase, TableDefinition};
use truststram_machine::ring::RingRefusal;

use super::deferred_file::PageFile;
use super::dirty_pages::{PAGE_BYTES, PAGE_COUNT_MAX};
use super::*;

const TABLE: TableDefinition<u64, &[u8]> = TableDefinition::new("table");

/// Opens a storage, and the same one again.
type Open = Box<dyn Fn() -> Box<dyn StorageBackend>>;

/// A generator of numbers (Knuth's MMIX), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Each way to reach the file at `path`: redb's, the ring's where the host has it, and deferral
/// alone over a file in memory.
fn backends(dir: &Path) -> Vec<(&'static str, Open)> {
    let stock = dir.join("stock");
    let memory = Memory::default();
    let mut backends: Vec<(&'static str, Open)> = vec![
        (
            "stock",
            Box::new(move || {
                let mut options = OpenOptions::new();
                let options = options.create(true).truncate(false).read(true).write(true);
                Box::new(FileBackend::new(options.open(&stock).unwrap()).unwrap())
            }),
        ),
        ("memory", Box::new(move || Box::new(deferred(memory.clone(), dir_locks())))),
    ];
    match probe_ring_storage(dir) {
        Ok(_) => {
            for (name, sync_by) in [("link", SyncBy::Link), ("call", SyncBy::Call)] {
                let path = dir.join(name);
                let open = move || RingStorage::open(&path, sync_by).unwrap();
                backends.push((name, Box::new(move || Box::new(open()))));
            }
        }
        Err(error) => assert!(RingRefusal::of(&error).is_some(), "{error}"),
    }
    backends
}

/// Locks on a file of its own, for a storage without a file.
fn dir_locks() -> FileBackend {
    FileBackend::new(tempfile::tempfile().unwrap()).unwrap()
}

fn deferred(file: Memory, locks: FileBackend) -> RingStorage {
    RingStorage { file: Mutex::new(DeferredFile::new(Box::new(file))), locks }
}

/// A file in memory that fails, half way through a write, when its operations are used up.
#[derive(Clone, Debug)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    operations_left: Arc<AtomicUsize>,
    syncs: Arc<AtomicUsize>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            bytes: Arc::default(),
            operations_left: Arc::new(AtomicUsize::new(usize::MAX)),
            syncs: Arc::default(),
        }
    }
}

impl Memory {
    fn step(&self) -> io::Result<()> {
        let take = |left: usize| left.checked_sub(1);
        match self.operations_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn allow(&self, operations: usize) {
        self.operations_left.store(operations, Ordering::SeqCst);
    }

    /// Writes `pages`, or every other one of them when the file fails.
    fn write(&self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        let allowed = self.step();
        let skipped = usize::from(allowed.is_err());
        let written: Vec<_> = pages.iter().skip(skipped).step_by(1 + skipped).copied().collect();
        self.put(&written);
        allowed
    }

    fn put(&self, pages: &[(u64, &[u8])]) {
        let mut bytes = self.bytes.lock().unwrap();
        let mut before = 0;
        for (at, page) in pages {
            let at = *at as usize;
            assert!(at >= before && at.is_multiple_of(PAGE_BYTES), "sorted and aligned");
            before = at + page.len();
            bytes[at..before].copy_from_slice(page);
        }
    }
}

impl PageFile for Memory {
    fn length(&self) -> io::Result<u64> {
        self.step()?;
        Ok(self.bytes.lock().unwrap().len() as u64)
    }

    fn set_length(&mut self, bytes: u64) -> io::Result<()> {
        self.step()?;
        self.bytes.lock().unwrap().resize(bytes as usize, 0);
        Ok(())
    }

    fn read_at(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.step()?;
        let bytes = self.bytes.lock().unwrap();
        buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
        Ok(())
    }

    fn write_pages(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        self.write(pages)
    }

    fn write_pages_and_sync(&mut self, pages: &[(u64, &[u8])]) -> io::Result<()> {
        self.write(pages)?;
        self.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// One operation on the storage and on the model, which are the same afterwards.
fn step(storage: &dyn StorageBackend, model: &mut Vec<u8>, numbers: &mut Numbers) {
    let unaligned = numbers.below(3) == 0;
    let mut place = |limit: usize| {
        let at = numbers.below(limit + 1);
        if unaligned { at } else { at - at % PAGE_BYTES }
    };
    let at = place(model.len());
    let bytes = place(9 * PAGE_BYTES);
    match numbers.below(20) {
        0..7 => {
            let bytes = bytes.min(model.len() - at);
            let mut out = vec![0xee; bytes];
            storage.read(at as u64, &mut out).unwrap();
            assert!(out == model[at..at + bytes], "{bytes} bytes at {at}");
        }
        // A scan from here on.
        7 => {
            for start in (at..model.len()).step_by(PAGE_BYTES).take(60) {
                let end = model.len().min(start + PAGE_BYTES);
                let mut out = vec![0xee; end - start];
                storage.read(start as u64, &mut out).unwrap();
                assert!(out == model[start..end], "scan at {start}");
            }
        }
        8..16 => {
            let data = vec![numbers.below(256) as u8; bytes];
            storage.write(at as u64, &data).unwrap();
            model.resize(model.len().max(at + bytes), 0);
            model[at..at + bytes].copy_from_slice(&data);
        }
        16 => {
            let length = if numbers.below(3) == 0 { at } else { model.len() + bytes };
            let length = length.min(4 << 20);
            storage.set_len(length as u64).unwrap();
            model.resize(length, 0);
        }
        17 => {
            let past = model.len() as u64 + numbers.below(9_000) as u64;
            let error = storage.read(past, &mut [0; 10]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        _ => storage.sync_data().unwrap(),
    }
    assert_eq!(storage.len().unwrap(), model.len() as u64);
}

#[test]
fn every_backend_does_what_the_model_does() {
    for seed in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        for (name, open) in backends(dir.path()) {
            let mut numbers = Numbers(seed);
            let mut model = Vec::new();
            for opening in 0..4 {
                let storage = open();
                for _ in 0..150 {
                    step(&*storage, &mut model, &mut numbers);
                }
                storage.close().unwrap();
                drop(storage);
                let storage = open();
                let mut all = vec![0; model.len()];
                assert_eq!(storage.len().unwrap(), model.len() as u64);
                storage.read(0, &mut all).unwrap();
                assert!(all == model, "{name}, seed {seed}, opening {opening}");
                storage.close().unwrap();
            }
        }
    }
}

#[test]
fn more_than_the_bound_is_held_back_in_turns() {
    let dir = tempfile::tempdir().unwrap();
    for (name, open) in backends(dir.path()) {
        let storage = open();
        let count = 2 * PAGE_COUNT_MAX + 100;
        // Backwards, so that the order of writing is not that of the file.
        for page in (0..count).rev() {
            let bytes = [(page % 251) as u8; PAGE_BYTES];
            storage.write((page * PAGE_BYTES) as u64, &bytes).unwrap();
        }
        storage.write(10, &vec![9; (PAGE_COUNT_MAX + 2) * PAGE_BYTES]).unwrap();
        for page in [0, 1, PAGE_COUNT_MAX + 1, PAGE_COUNT_MAX + 2, PAGE_COUNT_MAX + 3, count - 1] {
            let mut out = [0; 2];
            storage.read((page * PAGE_BYTES + 9) as u64, &mut out).unwrap();
            let own = (page % 251) as u8;
            let expected = match page {
                0 => [own, 9],
                _ if page < PAGE_COUNT_MAX + 2 => [9, 9],
                _ if page == PAGE_COUNT_MAX + 2 => [9, own],
                _ => [own, own],
            };
            assert_eq!(out, expected, "{name}, page {page}");
        }
        storage.close().unwrap();
    }
}

#[test]
fn after_a_failed_sync_nothing_claims_to_be_durable() {
    let memory = Memory::default();
    let storage = deferred(memory.clone(), dir_locks());
    storage.write(0, &[1; PAGE_BYTES]).unwrap();
    storage.sync_data().unwrap();
    storage.write(0, &[2; PAGE_BYTES]).unwrap();
    memory.allow(0);
    assert_eq!(storage.sync_data().unwrap_err().kind(), io::ErrorKind::StorageFull);
    memory.allow(usize::MAX);
    let check = |outcome: io::Result<()>| {
        assert!(outcome.unwrap_err().to_string().contains("earlier sync"));
    };
    check(storage.sync_data());
    check(storage.write(0, &[3; PAGE_BYTES]));
    check(storage.read(0, &mut [0]));
    check(storage.set_len(0));
    check(storage.len().map(drop));
    storage.close().unwrap();
    assert_eq!(memory.syncs.load(Ordering::SeqCst), 1);
    assert!(memory.bytes.lock().unwrap()[..] == [1; PAGE_BYTES], "as at a crash");
}

#[test]
fn a_full_disk_before_the_sync_loses_no_page_that_was_taken() {
    let memory = Memory::default();
    let storage = deferred(memory.clone(), dir_locks());
    storage.set_len(((PAGE_COUNT_MAX + 1) * PAGE_BYTES) as u64).unwrap();
    for page in 0..PAGE_COUNT_MAX {
        storage.write((page * PAGE_BYTES) as u64, &[7; PAGE_BYTES]).unwrap();
    }
    memory.allow(0);
    let last = (PAGE_COUNT_MAX * PAGE_BYTES) as u64;
    let error = storage.write(last, &[7; PAGE_BYTES]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let error = storage.write(last + PAGE_BYTES as u64, &[7]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "lengthening the file");
    memory.allow(usize::MAX);
    storage.write(last, &[7; PAGE_BYTES]).unwrap();
    storage.close().unwrap();
    assert!(memory.bytes.lock().unwrap().iter().all(|&byte| byte == 7));
}

#[test]
fn redb_reports_an_error_at_each_operation_and_recovers() {
    let mut failures = 0;
    for operations in 0.. {
        let memory = Memory::default();
        let open = || {
            let storage = deferred(memory.clone(), dir_locks());
            Database::builder().set_cache_size(64 << 10).create_with_backend(storage)
        };
        let put = |database: &Database, key: u64| {
            let transaction = database.begin_write()?;
            transaction.open_table(TABLE)?.insert(key, &[key as u8; 40_000][..])?;
            Ok::<(), redb::Error>(transaction.commit()?)
        };
        let mut acknowledged = 0;
        let database = open().unwrap();
        put(&database, 0).unwrap();
        memory.allow(operations);
        for key in 1..6 {
            match put(&database, key) {
                Ok(()) => acknowledged = key,
                Err(_) => break,
            }
        }
        drop(database);
        memory.allow(usize::MAX);
        let mut database = open().unwrap();
        let transaction = database.begin_read().unwrap();
        let table = transaction.open_table(TABLE).unwrap();
        for key in 0..=acknowledged {
            assert_eq!(table.get(key).unwrap().unwrap().value(), [key as u8; 40_000]);
        }
        drop((table, transaction));
        assert!(database.check_integrity().unwrap(), "after {operations} operations");
        if acknowledged == 5 {
            break;
        }
        failures += 1;
    }
    assert!(failures > 10, "{failures}");
}

#[test]
fn redb_finds_its_rows_again_whichever_way_it_opens_the_file() {
    let dir = tempfile::tempdir().unwrap();
    if probe_ring_storage(dir.path()).is_err() {
        return;
    }
    let path = dir.path().join("database");
    let ways = [StoreIo::Ring, StoreIo::File, StoreIo::Ring, StoreIo::Ring, StoreIo::File];
    for (round, io) in (0..).zip(ways) {
        let mut trial = Trial::open(&path, io, 256 << 10).unwrap();
        trial.commit_rows(round * 3_000, 1).unwrap();
        trial.commit_rows(round * 3_000 + 1, 2_999).unwrap();
        trial.commit_segment(round, 100_000).unwrap();
        assert_eq!(trial.scan().unwrap(), (round + 1) * (3_000 * 300 + 100_000));
        assert!(trial.check().unwrap(), "round {round}");
        assert_eq!(trial.scan().unwrap(), (round + 1) * (3_000 * 300 + 100_000));
    }
}

#[test]
fn one_process_has_the_file_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    if probe_ring_storage(dir.path()).is_err() {
        return;
    }
    let path = dir.path().join("database");
    let ways = [StoreIo::Ring, StoreIo::File];
    for (holder, other) in ways.iter().flat_map(|holder| ways.map(|other| (*holder, other))) {
        let held = Trial::open(&path, holder, 256 << 10).unwrap();
        let refused = Trial::open(&path, other, 256 << 10).map(drop).unwrap_err();
        assert_eq!(refused.kind(), truststram_base::Kind::Conflict, "{holder:?} {other:?}");
        held.commit_rows(0, 1).unwrap();
        drop(held);
        Trial::open(&path, other, 256 << 10).map(drop).unwrap();
    }
}

#[test]
fn a_probe_leaves_nothing_behind_and_says_what_it_cannot_do() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = probe_ring_storage(dir.path());
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    let error = probe_ring_storage(&dir.path().join("none")).unwrap_err();
    match outcome {
        Ok(_) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
        Err(refused) => assert!(RingRefusal::of(&refused).is_some(), "{refused}"),
    }
}
