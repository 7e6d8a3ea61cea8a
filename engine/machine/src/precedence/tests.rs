//! Members that burn their core or rest, watched by a real watcher; credit by figures.
//!
//! Where the kernel refuses real-time threads, that is what is tested.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use super::*;

/// Whether the kernel lets this process have real-time threads.
fn may_go_first() -> bool {
    let spec = ThreadSpec { name: "tried".to_owned(), ..ThreadSpec::default() };
    spawn(spec, |_| system_calls::set_real_time(0, MEMBER).is_ok()).unwrap().join().unwrap()
}

/// A thread that does as it is told: to use its core or to wait.
struct Told {
    busy: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: Thread<i32>,
}

fn member(precedence: &Arc<Precedence>) -> Told {
    let (busy, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (joined, has_joined) = sync_channel(1);
    let spec = ThreadSpec { name: "member".to_owned(), ..ThreadSpec::default() };
    let (own, is_busy, is_over) = (precedence.clone(), busy.clone(), over.clone());
    let thread = spawn(spec, move |_| {
        own.join();
        joined.send(()).unwrap();
        while !is_over.load(Ordering::Relaxed) {
            if is_busy.load(Ordering::Relaxed) {
                spin_loop();
            } else {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        // What a thread inherits that a member starts.
        let spec = ThreadSpec { name: "child".to_owned(), ..ThreadSpec::default() };
        spawn(spec, |_| system_calls::scheduling(0).unwrap()).unwrap().join().unwrap()
    });
    has_joined.recv().unwrap();
    Told { busy, over, thread: thread.unwrap() }
}

/// Waits until the one member stands so.
fn await_standing(precedence: &Precedence, is_first: bool) -> Standing {
    loop {
        let members = precedence.members();
        if let Some(standing) = members.iter().find(|one| one.is_first == is_first) {
            return standing.clone();
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// After a look of 100 ms in which a member ran and waited for so many of them.
fn credit_after(before: f64, on_core: u64, waiting: u64) -> f64 {
    let (at, ms) = (Instant::now(), Duration::from_millis);
    let spent = Spent { at, on_core: ms(1_000), waiting: ms(50) };
    let now = Spent { at: at + ms(100), on_core: ms(1_000 + on_core), waiting: ms(50 + waiting) };
    (credit(before, spent, now) * 1e6).round() / 1e6
}

#[test]
fn credit_is_what_is_left_to_others_beyond_their_share() {
    assert_eq!(credit_after(0.01, 95, 0), 0.01);
    assert_eq!(credit_after(0.01, 89, 0), 0.016);
    // Who waits for its core wants it.
    assert_eq!(credit_after(0.01, 84, 16), 0.005);
    assert_eq!(credit_after(0.01, 65, 24), 0.016);
    assert_eq!(credit_after(0.01, 0, 0), CREDIT_MAX);
    assert_eq!(credit_after(0.003, 100, 0), 0.0);
}

#[test]
fn a_burst_is_not_a_flood() {
    // Three looks without a pause after calm; the fourth is one too many.
    let mut left = CREDIT_MAX;
    for _ in 0..3 {
        left = credit_after(left, 100, 0);
        assert!(goes_first(true, left), "{left}");
    }
    left = credit_after(left, 100, 0);
    assert!(!goes_first(true, left), "{left}");
    // Back among the others it must earn half of what it may owe.
    for _ in 0..3 {
        left = credit_after(left, 87, 5);
        assert!(!goes_first(false, left), "{left}");
    }
    left = credit_after(left, 87, 5);
    assert!(goes_first(false, left), "{left}");
}

#[test]
fn a_busy_member_loses_it_and_a_calm_one_has_it_again() {
    let precedence = Arc::new(Precedence::start(|| false).unwrap());
    let told = member(&precedence);
    if !may_go_first() {
        let standing = precedence.members().remove(0);
        assert!(!standing.is_first && standing.refused.is_some(), "{standing:?}");
    } else {
        assert!(precedence.members()[0].is_first);
        told.busy.store(true, Ordering::Relaxed);
        let lost = await_standing(&precedence, false);
        assert_eq!((lost.name.as_str(), lost.lost), ("member", 1));
        told.busy.store(false, Ordering::Relaxed);
        await_standing(&precedence, true);
    }
    told.over.store(true, Ordering::Relaxed);
    assert_eq!(told.thread.join().unwrap(), libc::SCHED_OTHER, "children are as all others");
    while !precedence.members().is_empty() {
        std::thread::park_timeout(Duration::from_millis(5));
    }
    precedence.close().unwrap();
}

#[test]
fn nobody_goes_first_while_others_are_behind() {
    let behind = Arc::new(AtomicBool::new(true));
    let asked = behind.clone();
    let is_behind = move || asked.load(Ordering::Relaxed);
    let precedence = Arc::new(Precedence::start(is_behind).unwrap());
    let told = member(&precedence);
    if may_go_first() {
        await_standing(&precedence, false);
        behind.store(false, Ordering::Relaxed);
        await_standing(&precedence, true);
    }
    told.over.store(true, Ordering::Relaxed);
    told.thread.join().unwrap();
}
