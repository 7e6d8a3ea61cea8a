//! The file against a model, past the page cache and through it, and each refusal of the kernel.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use io_uring::IoUring;

use super::open::setup;
use super::*;
use crate::ring::{RingMode, RingRefusal, forget_cached, probe};

/// Whether this host has io_uring at all; without it only the refusals are tested.
fn host_has_ring() -> bool {
    probe(RingMode::Auto).1.chosen == "io_uring"
}

fn files(dir: &tempfile::TempDir) -> Vec<DirectFile> {
    if !host_has_ring() {
        return Vec::new();
    }
    let open = |index: usize, sync_by: SyncBy, direct: bool| {
        let path = dir.path().join(index.to_string());
        DirectFile::open_with(&path, sync_by, setup, direct).unwrap()
    };
    let files = vec![
        open(0, SyncBy::Link, true),
        open(1, SyncBy::Call, true),
        open(2, SyncBy::Link, false),
        open(3, SyncBy::Call, false),
    ];
    assert!(!files[2].is_direct() && !files[3].is_direct());
    files
}

/// A generator of numbers (Knuth's MMIX), so that a failure can be repeated.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) as usize % limit
    }
}

#[test]
fn pages_read_back_as_they_were_written() {
    const BLOCKS: usize = 3_000;
    let dir = tempfile::tempdir().unwrap();
    for mut file in files(&dir) {
        let mut numbers = Numbers(7);
        let mut model = vec![0_u8; BLOCKS * BLOCK_BYTES];
        file.set_length(model.len() as u64).unwrap();
        for round in 0..12 {
            // From single scattered pages to more neighbours than the pool and the ring hold.
            let stride = [1, 1, 2, 40, 400][round % 5];
            let mut at = numbers.below(50);
            let mut pages: Vec<(u64, Vec<u8>)> = Vec::new();
            while at < BLOCKS {
                let blocks = (1 + numbers.below(3)).min(BLOCKS - at);
                let byte = numbers.below(256) as u8;
                let bytes = vec![byte; blocks * BLOCK_BYTES];
                model[at * BLOCK_BYTES..][..bytes.len()].copy_from_slice(&bytes);
                pages.push(((at * BLOCK_BYTES) as u64, bytes));
                at += blocks + (stride - 1) * numbers.below(stride + 1);
            }
            let pages: Vec<(u64, &[u8])> = pages.iter().map(|(at, page)| (*at, &**page)).collect();
            if round % 2 == 0 {
                file.write_pages_and_sync(&pages).unwrap();
            } else {
                file.write_pages(&pages).unwrap();
                file.sync().unwrap();
            }
            for _ in 0..20 {
                let start = numbers.below(model.len());
                let most = [1, 100, 5_000, 5 << 20][numbers.below(4)];
                let mut part = vec![0; numbers.below(most.min(model.len() - start)) + 1];
                file.read_at(&mut part, start as u64).unwrap();
                assert!(part == model[start..start + part.len()], "round {round} at {start}");
            }
        }
        assert_eq!(file.length().unwrap(), model.len() as u64);
    }
}

#[test]
fn a_file_may_end_inside_a_block() {
    let dir = tempfile::tempdir().unwrap();
    for mut file in files(&dir) {
        let bytes: Vec<u8> = (0..2 * BLOCK_BYTES + 100).map(|at| (at % 251) as u8).collect();
        file.write_pages_and_sync(&[(BLOCK_BYTES as u64, &bytes)]).unwrap();
        let length = (3 * BLOCK_BYTES + 100) as u64;
        assert_eq!(file.length().unwrap(), length);
        let mut found = vec![1; length as usize];
        file.read_at(&mut found, 0).unwrap();
        assert!(found[..BLOCK_BYTES].iter().all(|&byte| byte == 0));
        assert!(found[BLOCK_BYTES..] == bytes);
        for (offset, count) in [(length, 1), (length - 1, 2), (0, length + 1), (length + 9_999, 1)]
        {
            let error = file.read_at(&mut vec![0; count as usize], offset).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{offset} {count}");
        }
        file.read_at(&mut [], length + 1).unwrap();
        file.write_pages_and_sync(&[]).unwrap();
    }
}

#[test]
fn pages_of_another_form_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let page = [0; BLOCK_BYTES];
    let cases: [&[(u64, &[u8])]; 4] = [
        &[(1, &page)],
        &[(8_192, &page), (0, &page)],
        &[(0, &page), (0, &page)],
        &[(u64::MAX - 4_095, &page)],
    ];
    for mut file in files(&dir) {
        for pages in cases {
            let error = file.write_pages(pages).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        file.write_pages_and_sync(&[(0, &page)]).unwrap();
    }
}

#[test]
fn what_bypasses_the_page_cache_is_seen_through_it() {
    let dir = tempfile::tempdir().unwrap();
    for mut file in files(&dir) {
        let page = [7; BLOCK_BYTES];
        file.write_pages_and_sync(&[(0, &page)]).unwrap();
        file.plain.write_all_at(&[8; 10], 5).unwrap();
        let mut found = [0; 20];
        file.read_at(&mut found, 0).unwrap();
        assert_eq!(found, [7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 7, 7, 7, 7, 7]);
        forget_cached(&file.plain).unwrap();
        file.write_pages(&[(0, &page)]).unwrap();
        file.plain.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(found, [7; 20]);
    }
}

#[test]
fn a_refused_ring_and_a_refused_file_are_told_apart() {
    fn refuse(errno: i32) -> io::Result<IoUring> {
        Err(io::Error::from_raw_os_error(errno))
    }
    let dir = tempfile::tempdir().unwrap();
    let open_as = |path: &Path, setup| DirectFile::open_with(path, SyncBy::Link, setup, true);
    let check = |setup: fn() -> io::Result<IoUring>, expected: &str| {
        let error = open_as(&dir.path().join("file"), setup).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
        let reason = RingRefusal::of(&error).unwrap().reason();
        assert!(reason.contains(expected), "{reason}");
        assert!(error.to_string().contains("use plain files"), "{error}");
    };
    check(|| refuse(libc::ENOSYS), "built without it");
    check(|| refuse(libc::EPERM), "io_uring_disabled");
    check(|| refuse(libc::ENOMEM), "RLIMIT_MEMLOCK");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none(), "no file without a ring");
    if host_has_ring() {
        let error = open_as(dir.path(), setup).unwrap_err();
        assert!(RingRefusal::of(&error).is_none(), "{error}");
        let error = open_as(&dir.path().join("none/file"), setup).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}

#[test]
fn errors_of_answers_are_those_of_the_call() {
    let run = |done| Run { offset: 0, start: 0, bytes: 8_192, needed: 5_000, done };
    let check = |direction, done, result, expected: Result<usize, io::ErrorKind>| {
        let mut run = run(done);
        let outcome = run.answer(direction, result).map(|()| run.done);
        assert_eq!(outcome.map_err(|error| error.kind()), expected, "{done} {result}");
    };
    check(Direction::Read, 0, 8_192, Ok(8_192));
    check(Direction::Read, 0, 5_000, Ok(5_000));
    check(Direction::Read, 4_200, 500, Ok(4_596));
    check(Direction::Read, 4_200, 104, Err(io::ErrorKind::UnexpectedEof));
    check(Direction::Read, 0, 0, Err(io::ErrorKind::UnexpectedEof));
    check(Direction::Read, 100, -libc::EINTR, Ok(100));
    check(Direction::Write, 512, 1_024, Ok(1_536));
    check(Direction::Write, 0, 0, Err(io::ErrorKind::WriteZero));
    check(Direction::Write, 0, -libc::ENOSPC, Err(io::ErrorKind::StorageFull));
    check(Direction::Write, 0, -libc::EAGAIN, Ok(0));
}

#[test]
fn cached_pages_are_forgotten_only_where_there_is_a_cache() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, [1; 10_000]).unwrap();
    forget_cached(&File::open(&path).unwrap()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [1; 10_000]);
    let (_reader, writer) = io::pipe().unwrap();
    let pipe = File::from(std::os::fd::OwnedFd::from(writer));
    assert!(forget_cached(&pipe).is_err());
}
