//! The store on a simulated disk: power lost at any operation, full and failing disks, syncs that
//! fail or lie, flipped bits.
//!
//! Owns the seeded cases. Each prints its seed when it fails; `TRUSTSTRAM_SEED=N` runs that one
//! alone. `TRUSTSTRAM_SOAK=1` runs the full counts.
//! Refuses to reach into the store: a case uses what a user of the crate has.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

mod case;
mod disk;
mod random;

use std::io::Write;

use case::{Case, Ending};
use disk::Faults;
use random::Random;
use truststram_base::Kind;

/// The seeds of a test: all of `soak` in `make soak`, a share of them in `make test`, or the one
/// that is asked for.
fn seeds(soak: u64, share: u64) -> std::ops::Range<u64> {
    if let Ok(seed) = std::env::var("TRUSTSTRAM_SEED") {
        let seed: u64 = seed.parse().expect("TRUSTSTRAM_SEED is a number");
        return seed..seed + 1;
    }
    0..if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { soak } else { share }
}

/// Tells who runs the tests; nextest shows it where a test fails.
fn say(line: &str) {
    // Nobody is left to be told of an error here.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Runs `run` for each seed and says which one failed.
fn for_each_seed(soak: u64, share: u64, run: impl Fn(u64)) {
    for seed in seeds(soak, share) {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = outcome {
            say(&format!("failed with TRUSTSTRAM_SEED={seed}"));
            std::panic::resume_unwind(panic);
        }
    }
}

/// Power is lost at a random operation, and in half of the cases again while the store recovers.
#[test]
fn power_loss_at_any_operation_loses_nothing_acknowledged() {
    for_each_seed(10_000, 400, |seed| {
        let mut case = Case::new(seed);
        let at = case.random.below(700) + 1;
        case.disk.arm(Faults { power_loss_at: Some(at), ..Faults::default() });
        case.work();
        case.end(Ending::PowerLoss);
        if case.random.chance(50) {
            let at = case.random.below(60) + 1;
            case.disk.arm(Faults { power_loss_at: Some(at), ..Faults::default() });
            case.try_recovery();
            case.end(Ending::PowerLoss);
        }
        case.recover_and_check();
        case.work();
        case.recover_and_check();
    });
}

/// Operations fail for a while, as those of a bad cable do. Nothing acknowledged is lost, and the
/// store goes on by itself.
#[test]
fn errors_of_the_disk_lose_nothing_and_service_resumes() {
    for_each_seed(3_000, 150, |seed| {
        let mut case = Case::new(seed);
        let (error_at, error_count) = (case.random.below(500) + 1, case.random.below(8) + 1);
        let only_syncs = case.random.chance(50);
        let faults =
            Faults { error_at: Some(error_at), error_count, only_syncs, ..Faults::default() };
        case.disk.arm(faults);
        case.work();
        case.disk.arm(Faults::default());
        case.settle();
        let ending = if case.random.chance(70) { Ending::PowerLoss } else { Ending::Kill };
        case.end(ending);
        case.recover_and_check();
    });
}

/// The disk is full from some operation on: rows are refused or acknowledged, queries are
/// answered, and once there is space everything goes on.
#[test]
fn a_full_disk_refuses_answers_and_goes_on() {
    for_each_seed(2_000, 100, |seed| {
        let mut case = Case::new(seed);
        let faults = Faults {
            error_at: Some(case.random.below(400) + 1),
            error_count: u64::MAX,
            is_full: true,
            ..Faults::default()
        };
        case.disk.arm(faults);
        case.work();
        if case.is_open() {
            case.check();
        }
        case.disk.arm(Faults::default());
        case.settle();
        if case.random.chance(50) {
            case.end(Ending::PowerLoss);
        }
        case.recover_and_check();
    });
}

/// Those who do not wait for the disk are told that it is full, once the queue is, and not only
/// that the queue is.
#[test]
fn a_full_disk_says_so_to_those_who_do_not_wait() {
    for_each_seed(200, 20, |seed| {
        let mut case = Case::new(seed);
        case.work();
        case.disk.arm(Faults {
            error_at: Some(1),
            error_count: u64::MAX,
            is_full: true,
            ..Faults::default()
        });
        assert_eq!(case.submit_until_refused(), Kind::NoSpace);
        case.check();
        case.disk.arm(Faults::default());
        case.settle();
        case.recover_and_check();
    });
}

/// Some syncs are answered without being done, then power is lost. What the disk forgot cannot be
/// there; but nothing wrong is served, and rows are missing silently only at the very end, where
/// nothing after them shows that they were.
#[test]
fn lying_syncs_are_detected() {
    let counts = std::sync::Mutex::new([0_u64; 3]);
    for_each_seed(2_000, 200, |seed| {
        let mut case = Case::new(seed);
        let one_in = case.random.below(6) + 2;
        case.disk.arm(Faults { lying_sync_one_in: one_in, ..Faults::default() });
        case.work();
        case.end(Ending::PowerLoss);
        let outcome = case.judge_lies();
        counts.lock().unwrap()[outcome as usize] += 1;
    });
    let [whole, detected, tail] = counts.into_inner().unwrap();
    say(&format!("lying syncs: {whole} lost nothing, {detected} detected, {tail} lost the end"));
    assert!(std::env::var_os("TRUSTSTRAM_SEED").is_some() || detected > 0);
}

/// One bit of a closed store is turned over; `verify` finds each.
#[test]
fn every_flipped_bit_is_found_by_verify() {
    for_each_seed(1_000, 60, |seed| {
        let mut case = Case::new(seed);
        case.work();
        case.end(Ending::Close);
        let findings = case.verify_directory();
        assert_eq!(findings, [], "before the flip");
        for _ in 0..3 {
            let files = case.disk.files();
            let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64 * 8).sum();
            let mut bit = case.random.below(total);
            for (path, bytes) in files {
                let bits = bytes.len() as u64 * 8;
                if bit < bits {
                    case.disk.flip(&path, bit);
                    let findings = case.verify_directory();
                    assert!(!findings.is_empty(), "{} bit {bit}", path.display());
                    case.disk.flip(&path, bit);
                    break;
                }
                bit -= bits;
            }
        }
    });
}

/// A change of the generator would make the seeds in old reports mean something else.
#[test]
fn the_generator_of_cases_is_what_it_was() {
    let mut random = Random::new(1);
    assert_eq!([random.next(), random.next()], [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67]);
}
