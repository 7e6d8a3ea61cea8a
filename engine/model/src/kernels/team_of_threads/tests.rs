//! Threads that help each other: every part once, panics kept, nobody waited for in vain.

use std::sync::atomic::{AtomicBool, AtomicU32};

use super::*;

/// Work for sleepers, too.
const LARGE: usize = 1 << 20;
/// Work for those who look.
const SMALL: usize = 2 * LOOKER_NANOS_MIN;

/// A helper that serves its seat until it is told to end.
fn serve(seats: &Seats, seat: usize, ends: &AtomicBool) {
    let ends = || ends.load(Ordering::Acquire);
    while !ends() {
        seats.offer(seat);
        while !seats.is_asked(seat) && !ends() {
            std::thread::yield_now();
        }
        seats.help(seat, ends);
    }
}

#[test]
fn every_part_is_done_once_by_whoever_is_there() {
    let seats = Seats::new(3);
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seat in [1, 2] {
            let (seats, ends) = (&seats, &ends);
            scope.spawn(move || serve(seats, seat, ends));
        }
        let team = TeamOfThreads::new(&seats, 0, 3, &|_| {});
        for parts in (0..500).map(|round| round % 9) {
            let done: Vec<_> = (0..parts).map(|_| AtomicU32::new(0)).collect();
            team.run(parts, &|part| {
                done[part].fetch_add(1, Ordering::Relaxed);
            });
            assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
        }
        ends.store(true, Ordering::Release);
    });
    assert_eq!(seats.idle_count(), 0);
}

#[test]
fn two_that_work_do_not_wait_for_each_other() {
    let seats = Seats::new(2);
    let total = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for me in [0, 1] {
            let (seats, total) = (&seats, &total);
            scope.spawn(move || {
                for _ in 0..300 {
                    let team = TeamOfThreads::new(seats, me, 2, &|_| {});
                    team.run(4, &|_| {
                        total.fetch_add(1, Ordering::Relaxed);
                    });
                    seats.offer(me);
                    // Idle for no time at all: work may or may not have come.
                    match me {
                        0 => drop(seats.help(me, || false)),
                        _ => seats.leave(me),
                    }
                }
            });
        }
    });
    assert_eq!(total.load(Ordering::Relaxed), 2 * 300 * 4);
    assert_eq!(seats.idle_count(), 0);
}

#[test]
fn work_that_nobody_takes_is_done_alone_and_a_refusal_is_no_loss() {
    let seats = Seats::new(2);
    seats.offer(1);
    assert_eq!(seats.idle_count(), 1);
    let woken = AtomicU32::new(0);
    let wake = |seat: usize| {
        assert_eq!(seat, 1);
        woken.fetch_add(1, Ordering::Relaxed);
        // It has got a request meanwhile, so it gives the work back; then waking fails, too.
        assert!(seats.is_asked(1));
        seats.leave(1);
        panic!("nobody there");
    };
    let done = AtomicU32::new(0);
    let team = TeamOfThreads::new(&seats, 0, 2, &wake);
    assert_eq!(team.size(), 2);
    let count = |_| {
        done.fetch_add(1, Ordering::Relaxed);
    };
    team.run(5, &count);
    assert_eq!((done.load(Ordering::Relaxed), woken.load(Ordering::Relaxed)), (5, 1));
    assert_eq!((team.size(), seats.idle_count()), (1, 0));
    // Offered and never awake: taken back.
    seats.offer(1);
    TeamOfThreads::new(&seats, 0, 2, &|_| {}).run(5, &count);
    assert_eq!(done.load(Ordering::Relaxed), 10);
    assert_eq!(seats.idle_count(), 1);
    assert_eq!(seats.help(1, || true), 0);
    assert_eq!(seats.idle_count(), 0);
}

#[test]
fn small_work_asks_those_who_look_and_invites_a_sleeper_now_and_then() {
    let seats = Seats::new(2);
    let (woken, ends) = (AtomicU32::new(0), AtomicBool::new(false));
    let wake = |_| {
        woken.fetch_add(1, Ordering::Relaxed);
    };
    let team = TeamOfThreads::new(&seats, 0, 2, &wake);
    assert_eq!((team.parts(LARGE), team.parts(SMALL)), (1, 1));
    seats.offer(1);
    assert_eq!(team.parts(LARGE), 2);
    for _ in 1..INVITES_EVERY {
        assert_eq!(team.parts(SMALL), 1);
        assert_eq!(team.parts(SMALL - 1), 1);
    }
    assert!(!seats.is_asked(1));
    assert_eq!(team.parts(SMALL), 1);
    assert!(seats.is_asked(1));
    assert_eq!((woken.load(Ordering::Relaxed), seats.idle_count()), (1, 1));
    std::thread::scope(|scope| {
        let helper = scope.spawn(|| {
            let mut helped = 0;
            while !ends.load(Ordering::Acquire) {
                helped += seats.help(1, || ends.load(Ordering::Acquire));
                // As if it had been invited again.
                seats.offer(1);
                seats.seats[1].change(State::Asleep, State::Invited);
            }
            helped
        });
        let owner = std::thread::current().id();
        let by_helper = AtomicU32::new(0);
        while by_helper.load(Ordering::Relaxed) < 100 {
            let parts = team.parts(SMALL);
            let done = AtomicU32::new(0);
            team.run(parts, &|_| {
                done.fetch_add(1, Ordering::Relaxed);
                match std::thread::current().id() == owner {
                    true => std::thread::yield_now(),
                    false => drop(by_helper.fetch_add(1, Ordering::Relaxed)),
                }
            });
            assert_eq!(done.load(Ordering::Relaxed) as usize, parts);
        }
        ends.store(true, Ordering::Release);
        assert!(helper.join().unwrap() >= 50, "two parts at most by one call for help");
    });
    assert_eq!(woken.load(Ordering::Relaxed), 1, "who looks needs no waking");
}

#[test]
fn a_panic_reaches_the_owner_after_all_have_ended() {
    for helper_panics in [false, true] {
        let seats = Seats::new(2);
        let owner = std::thread::current().id();
        let helped = AtomicBool::new(false);
        std::thread::scope(|scope| {
            seats.offer(1);
            scope.spawn(|| {
                while !seats.is_asked(1) {
                    std::thread::yield_now();
                }
                assert_eq!(seats.help(1, || false), 1);
            });
            let team = TeamOfThreads::new(&seats, 0, 2, &|_| {});
            let result = catch_unwind(AssertUnwindSafe(|| {
                team.run(2, &|_| {
                    let is_owner = std::thread::current().id() == owner;
                    if is_owner {
                        // The other part is the helper's.
                        while !helped.load(Ordering::Acquire) {
                            std::thread::yield_now();
                        }
                    }
                    helped.store(true, Ordering::Release);
                    if is_owner != helper_panics {
                        panic!("part");
                    }
                });
            }));
            assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"part"));
        });
        // The seat of the owner is free for the next task.
        TeamOfThreads::new(&seats, 0, 2, &|_| {}).run(1, &|_| {});
    }
}

#[test]
fn a_task_may_ask_for_help_itself() {
    let seats = Seats::new(2);
    seats.offer(1);
    let team = TeamOfThreads::new(&seats, 0, 2, &|_| {});
    let done = AtomicU32::new(0);
    team.run(2, &|_| {
        team.run(3, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
    });
    assert_eq!(done.load(Ordering::Relaxed), 6);
}
