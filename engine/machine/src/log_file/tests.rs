//! Lines are written in their order, once each, whatever becomes of the file.

use truststram_base::{ManualClock, SystemClock};

use super::*;
use crate::ring::{RingMode, probe};

fn open(path: &Path, mode: RingMode, lines_max: usize, rotation: Rotation) -> LogFile {
    let clock = Arc::new(SystemClock::new());
    LogFile::open(path, probe(mode).0, lines_max, rotation, clock).unwrap()
}

#[test]
fn every_line_is_written_in_order_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, name) in [(RingMode::Auto, "a"), (RingMode::Off, "b")] {
        let path = dir.path().join(name);
        let log = open(&path, mode, 8, Rotation::default());
        for line in 0..2_000 {
            log.append(line.to_string());
        }
        log.close().unwrap();
        log.append("late".to_owned());
        let text = fs::read_to_string(&path).unwrap();
        let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert!(numbers.is_sorted());
        assert_eq!(numbers.len() as u64, log.written());
        assert_eq!(log.written() + log.dropped(), 2_001);
    }
}

#[test]
fn a_renamed_file_is_left_for_a_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = open(&path, RingMode::Auto, 8, Rotation::default());
    fs::rename(&path, dir.path().join("old")).unwrap();
    log.reopen();
    log.append("new".to_owned());
    log.close().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
}

/// The files of `path` from the oldest to the newest.
fn files(path: &Path) -> Vec<String> {
    let name = |number: u32| PathBuf::from(format!("{}.{number}", path.display()));
    let count = (1..).take_while(|number| name(*number).exists()).count() as u32;
    let older = (1..=count).rev().map(name);
    older.chain([path.to_owned()]).map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn no_line_of_a_burst_is_lost_or_doubled_across_files() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, name) in [(RingMode::Auto, "a"), (RingMode::Off, "b")] {
        let path = dir.path().join(name);
        let rotation = Rotation { bytes_max: 1_000, every_s: 0, keep: 1_000 };
        let log = open(&path, mode, 100_000, rotation);
        std::thread::scope(|scope| {
            for writer in 0..4_u32 {
                let log = &log;
                scope.spawn(move || {
                    for line in 0..2_000_u32 {
                        log.append(format!("{:05}", line * 4 + writer));
                    }
                });
            }
        });
        log.close().unwrap();
        let files = files(&path);
        assert!(files.iter().all(|text| text.len() <= 1_000));
        assert_eq!(files.len(), 49, "166 lines of 6 bytes fit");
        let all = files.concat();
        let mut numbers: Vec<u32> = all.lines().map(|line| line.parse().unwrap()).collect();
        for writer in 0..4 {
            assert!(numbers.iter().filter(|number| *number % 4 == writer).is_sorted());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..8_000).collect::<Vec<_>>());
        assert_eq!((log.written(), log.dropped()), (8_000, 0));
    }
}

#[test]
fn old_files_make_room_for_newer_ones() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let rotation = Rotation { bytes_max: 4, every_s: 0, keep: 2 };
    let write = |lines: &[&str]| {
        let log = open(&path, RingMode::Off, 100, rotation);
        lines.iter().for_each(|line| log.append((*line).to_owned()));
        log.close().unwrap();
    };
    write(&["a", "b", "c", "too long", "d"]);
    assert_eq!(files(&path), ["c\n".to_owned(), "too long\n".to_owned(), "d\n".to_owned()]);
    // A process that starts goes on in the file as it is.
    write(&["e", "f"]);
    assert_eq!(files(&path), ["too long\n".to_owned(), "d\ne\n".to_owned(), "f\n".to_owned()]);
}

#[test]
fn a_day_has_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let day_us = 86_400_000_000_i64;
    let clock = Arc::new(ManualClock::at(20_000 * day_us + day_us - 1_000_000));
    let rotation = Rotation { bytes_max: 0, every_s: 86_400, keep: 9 };
    let log = || LogFile::open(&path, probe(RingMode::Off).0, 8, rotation, clock.clone()).unwrap();
    let write = |line: &str| {
        let log = log();
        log.append(line.to_owned());
        log.close().unwrap();
        // The file is as old as the clock says.
        let at = UNIX_EPOCH + std::time::Duration::from_micros(clock.utc_us() as u64);
        File::options().append(true).open(&path).unwrap().set_modified(at).unwrap();
    };
    write("a");
    write("b");
    clock.advance(1_000_000);
    write("c");
    write("d");
    clock.advance(3 * day_us);
    write("e");
    let expected = ["a\nb\n", "c\nd\n", "e\n"].map(str::to_owned);
    assert_eq!(files(&path), expected);
}
