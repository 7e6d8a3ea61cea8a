use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;

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
    let (joined, has_joined) = channel();
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

#[test]
fn a_member_goes_first_unless_it_takes_all_or_others_are_behind() {
    let cases = [
        // First now, left to others, behind; first then.
        (true, 0.5, false, true),
        (true, 0.11, false, true),
        (true, 0.09, false, false),
        (true, 0.5, true, false),
        (false, 0.11, false, false),
        (false, 0.13, false, true),
        (false, 0.9, true, false),
    ];
    for (is_first, left, is_behind, expected) in cases {
        assert_eq!(goes_first(is_first, left, is_behind), expected, "{is_first} {left}");
    }
}

#[test]
fn what_is_left_counts_waits_as_wanted() {
    let at = Instant::now();
    let ms = Duration::from_millis;
    let before = Spent { at, on_core: ms(1_000), waiting: ms(50) };
    let after = |on_core, waiting| Spent { at: at + ms(100), on_core, waiting };
    let left = |now| (left_to_others(before, now) * 100.0).round();
    assert_eq!(left(after(ms(1_000), ms(50))), 100.0);
    assert_eq!(left(after(ms(1_060), ms(50))), 40.0);
    assert_eq!(left(after(ms(1_060), ms(80))), 10.0);
    // Two looks at one moment say nothing against it.
    assert_eq!(left_to_others(before, before), 1.0);
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
