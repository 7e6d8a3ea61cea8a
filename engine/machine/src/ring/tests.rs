//! The same tests on both ways to reach files, and the fall-back for each refusal of the kernel.

use std::fs::{self, File, OpenOptions};
use std::io;

use io_uring::IoUring;

use super::disabled::PlainFiles;
use super::enabled::PIECE_BYTES_MAX;
use super::probe::probe_with;
use super::*;

/// Plain files, and io_uring where this host has it.
fn rings() -> Vec<Box<dyn Ring>> {
    let (ring, status) = probe(RingMode::Auto);
    assert_eq!(ring.name(), status.chosen);
    vec![Box::new(PlainFiles), ring]
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn files_of_every_size_are_read_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    for bytes in [0, 1, 4_097, PIECE_BYTES_MAX, 9 * PIECE_BYTES_MAX + 3] {
        fs::write(&path, pattern(bytes)).unwrap();
        for mut ring in rings() {
            let read = read_file(ring.as_mut(), &path, None, bytes as u64).unwrap();
            assert!(*read == pattern(bytes), "{bytes} by {}", ring.name());
        }
    }
}

#[test]
fn a_part_is_read_and_a_missing_part_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, pattern(5_000)).unwrap();
    for mut ring in rings() {
        let file = File::open(&path).unwrap();
        let mut part = [0; 100];
        ring.read_at(&file, &mut part, 4_000).unwrap();
        assert_eq!(part, pattern(5_000)[4_000..4_100]);
        let error = ring.read_at(&file, &mut part, 4_950).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{}", ring.name());
        ring.read_at(&file, &mut part, 0).unwrap();
        assert_eq!(part, pattern(100)[..]);
    }
}

#[test]
fn pieces_from_everywhere_are_read_each_into_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let whole = pattern(3 * PIECE_BYTES_MAX);
    fs::write(&path, &whole).unwrap();
    // Backwards, the same one twice, and many that lie one behind the other: over 512 KiB of them.
    let mut places: Vec<u64> = (0..200).rev().map(|place| place * 37 % 200).collect();
    places.extend([5, 5]);
    places.extend(1_000..1_900);
    for mut ring in rings() {
        let file = File::open(&path).unwrap();
        for bytes in [1, 7, 700] {
            let offsets: Vec<u64> = places.iter().map(|place| place * bytes as u64).collect();
            let mut found = vec![0; bytes * offsets.len()];
            ring.read_each(&file, &mut found, &offsets).unwrap();
            let expected: Vec<u8> = offsets
                .iter()
                .flat_map(|offset| &whole[*offset as usize..][..bytes])
                .copied()
                .collect();
            assert!(found == expected, "{bytes} by {}", ring.name());
        }
        ring.read_each(&file, &mut [], &[]).unwrap();
        let kind = |outcome: io::Result<()>| outcome.unwrap_err().kind();
        let end = whole.len() as u64;
        let over = ring.read_each(&file, &mut [0; 20], &[0, end - 5]);
        assert_eq!(kind(over), io::ErrorKind::UnexpectedEof, "{}", ring.name());
        let odd = ring.read_each(&file, &mut [0; 20], &[0, 1, 2]);
        assert_eq!(kind(odd), io::ErrorKind::InvalidInput, "{}", ring.name());
        let none = ring.read_each(&file, &mut [0; 20], &[]);
        assert_eq!(kind(none), io::ErrorKind::InvalidInput, "{}", ring.name());
    }
}

#[test]
fn chunks_are_appended_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    for (index, mut ring) in rings().into_iter().enumerate() {
        let path = dir.path().join(index.to_string());
        let file = OpenOptions::new().create(true).append(true).open(&path).unwrap();
        let lines: Vec<String> = (0..3_000).map(|line| format!("line {line}\n")).collect();
        let chunks: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        ring.append(&file, &chunks).unwrap();
        ring.append(&file, &[b"", b"end", b""]).unwrap();
        ring.append(&file, &[]).unwrap();
        ring.sync(&file).unwrap();
        let expected = lines.concat() + "end";
        assert!(fs::read_to_string(&path).unwrap() == expected, "{}", ring.name());
    }
}

#[test]
fn bytes_are_written_where_they_belong_and_synced() {
    let dir = tempfile::tempdir().unwrap();
    let chunk = pattern(7);
    let many: Vec<&[u8]> = (0..2_500).map(|at| &chunk[..at % 8]).collect();
    let large = pattern(3 << 20);
    let cases: [(&[&[u8]], u64); 5] = [
        (&[], 0),
        (&[b"", b"head", b"", b"body"], 3),
        (&many, 100),
        (&[&large, b"end"], 5_000),
        (&[b"over"], 8),
    ];
    for (index, mut ring) in rings().into_iter().enumerate() {
        let path = dir.path().join(index.to_string());
        let file = OpenOptions::new().create_new(true).read(true).write(true).open(path).unwrap();
        let mut expected = Vec::new();
        let mut put = |bytes: &[u8], offset: usize| {
            let end = expected.len().max(offset + bytes.len());
            expected.resize(end, 0);
            expected[offset..offset + bytes.len()].copy_from_slice(bytes);
            expected.clone()
        };
        for (chunks, offset) in cases {
            ring.write_at_and_sync(&file, chunks, offset).unwrap();
            ring.write_at(&file, b"alone", offset + 50).unwrap();
            put(&chunks.concat(), offset as usize);
            let expected = put(b"alone", offset as usize + 50);
            assert_eq!(file.metadata().unwrap().len(), expected.len() as u64);
            let mut found = vec![0; expected.len()];
            ring.read_at(&file, &mut found, 0).unwrap();
            assert!(found == expected, "{} at {offset}", ring.name());
        }
        assert!(ring.name() == "file" || index == 1, "the ring was lost on the way");
    }
}

#[test]
fn a_full_disk_and_a_closed_file_are_reported_by_each_way_to_write() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let read_only = File::open("/dev/null").unwrap();
    for mut ring in rings() {
        for (file, errno) in [(&full, libc::ENOSPC), (&read_only, libc::EBADF)] {
            let outcomes = [
                ring.write_at(file, b"bytes", 0),
                ring.write_at_and_sync(file, &[b"bytes"], 0),
                ring.append(file, &[b"bytes"]),
            ];
            for outcome in outcomes {
                assert_eq!(outcome.unwrap_err().raw_os_error(), Some(errno), "{}", ring.name());
            }
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"12345").unwrap();
    for mut ring in rings() {
        let mut check = |path: &std::path::Path, expected: &str| {
            let error = read_file(ring.as_mut(), path, None, 4).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(&path, "5 bytes, more than the limit of 4");
        check(dir.path(), "not a regular file");
        check(&dir.path().join("none"), "cannot open");
    }
}

#[test]
fn each_refusal_falls_back_to_plain_files() {
    fn refuse(errno: i32) -> io::Result<IoUring> {
        Err(io::Error::from_raw_os_error(errno))
    }
    let check = |setup: fn() -> io::Result<IoUring>, expected: &str| {
        let (ring, status) = probe_with(RingMode::Auto, setup);
        assert_eq!((ring.name(), status.chosen), ("file", "file"));
        assert!(status.reason.contains(expected), "{}", status.reason);
    };
    check(|| refuse(libc::ENOSYS), "built without it");
    check(|| refuse(libc::EPERM), "io_uring_disabled");
    check(|| refuse(libc::EACCES), "security module");
    check(|| refuse(libc::ENOMEM), "RLIMIT_MEMLOCK");
    check(|| refuse(libc::EMFILE), "refused it");
    let (ring, status) = probe(RingMode::Off);
    assert_eq!(ring.name(), "file");
    assert!(status.reason.contains("configuration"));
}
