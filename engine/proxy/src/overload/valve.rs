//! Owns the places of requests under way, and those that wait for one: by key, in turns, so that
//! one key that asks much does not hold up the others.
//!
//! Refuses to know time; who waits gives up when it wants to. Bound: `queue_max` that wait. Where
//! they are so many, the newest of the key that has most of them gives way to a key that has less.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use truststram_base::{Counter, Gauge};

use super::spec::{OverloadSpec, Strain};

/// No figure has come to its limit.
const CALM: usize = usize::MAX;

/// What became of requests where more came than can be done.
#[derive(Debug, Default)]
pub struct OverloadStats {
    /// Refused for their low priority, under strain.
    pub shed: Counter,
    /// Had to wait, and went on.
    pub waited: Counter,
    /// Refused because too many waited.
    pub full: Counter,
    /// Refused because they had waited too long.
    pub late: Counter,
    /// Under way now.
    pub in_flight: Gauge,
    /// Waiting now.
    pub waiting: Gauge,
}

/// One that waits.
#[derive(Debug)]
struct Waiter {
    number: u64,
    /// Told that the place is its own, or dropped when it gave way.
    wake: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    held: usize,
    held_max: usize,
    waiting: usize,
    next_number: u64,
    /// Those that wait, the oldest first; no list is empty.
    by_key: HashMap<Box<[u8]>, VecDeque<Waiter>>,
    /// The keys of those lists, in the order of their turns.
    turns: VecDeque<Box<[u8]>>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Valve {
    state: Mutex<State>,
    strained: AtomicUsize,
    pub(crate) stats: OverloadStats,
}

/// A place among those under way; given to the next when this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<Valve>);

/// One that waits for its place.
#[derive(Debug)]
pub(crate) struct Waiting {
    valve: Arc<Valve>,
    key: Box<[u8]>,
    number: u64,
    woken: oneshot::Receiver<()>,
    is_over: bool,
}

/// What a request finds.
#[derive(Debug)]
pub(crate) enum Entry {
    Free(Place),
    Wait(Waiting),
    Full,
}

impl Valve {
    pub(crate) fn new() -> Arc<Self> {
        let (state, stats) = (Mutex::default(), OverloadStats::default());
        Arc::new(Self { state, strained: AtomicUsize::new(CALM), stats })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two of its changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which figure has come to its limit.
    pub(crate) fn set_strained(&self, place: Option<usize>) {
        self.strained.store(place.unwrap_or(CALM), Ordering::Relaxed);
    }

    /// The figure that has.
    pub(crate) fn strained(&self) -> Option<&'static str> {
        let place = self.strained.load(Ordering::Relaxed);
        (place != CALM).then(|| Strain::name(place))
    }

    /// Takes a place for a request of `key`, or has it wait for one.
    pub(crate) fn enter(self: &Arc<Self>, key: &[u8], spec: &OverloadSpec) -> Entry {
        let mut state = self.lock();
        state.held_max = spec.in_flight_max;
        if state.held < state.held_max && state.waiting == 0 {
            state.held += 1;
            self.stats.in_flight.raise(1);
            return Entry::Free(Place(self.clone()));
        }
        let own = state.by_key.get(key).map_or(0, VecDeque::len);
        if state.waiting >= spec.queue_max && !state.displace(own) {
            self.stats.full.add(1);
            return Entry::Full;
        }
        let (wake, woken) = oneshot::channel();
        let number = state.next_number;
        state.next_number += 1;
        if own == 0 {
            state.turns.push_back(key.into());
        }
        state.by_key.entry(key.into()).or_default().push_back(Waiter { number, wake });
        state.waiting += 1;
        self.stats.waiting.raise(1);
        let valve = self.clone();
        // Where the limit was raised since, it is its turn or that of one before it.
        state.hand_on();
        Entry::Wait(Waiting { valve, key: key.into(), number, woken, is_over: false })
    }

    /// Gives a place back, to whose turn it is.
    fn leave(&self) {
        let mut state = self.lock();
        state.held -= 1;
        self.stats.in_flight.lower(1);
        state.hand_on();
    }
}

impl State {
    /// Gives free places to those whose turn it is.
    fn hand_on(&mut self) {
        while self.held < self.held_max {
            let Some(key) = self.turns.pop_front() else { return };
            let Some(list) = self.by_key.get_mut(&key) else { continue };
            let next = list.pop_front();
            if list.is_empty() {
                self.by_key.remove(&key);
            } else {
                self.turns.push_back(key);
            }
            let Some(next) = next else { continue };
            self.waiting -= 1;
            // One that gave up meanwhile takes itself out; its place goes to the next.
            if next.wake.send(()).is_ok() {
                self.held += 1;
            }
        }
    }

    /// Makes room for a key of which `own` wait already; whether there is.
    fn displace(&mut self, own: usize) -> bool {
        let longest = self.by_key.iter_mut().max_by_key(|(_, list)| list.len());
        let Some((_, list)) = longest.filter(|(_, list)| list.len() > own + 1) else {
            return false;
        };
        // More than one are in the list, so that it does not become empty.
        list.pop_back();
        self.waiting -= 1;
        true
    }

    /// Takes one out that gives up; whether it waited still.
    fn remove(&mut self, key: &[u8], number: u64) -> bool {
        let Some(list) = self.by_key.get_mut(key) else { return false };
        let Some(at) = list.iter().position(|waiter| waiter.number == number) else { return false };
        list.remove(at);
        if list.is_empty() {
            self.by_key.remove(key);
            self.turns.retain(|other| **other != *key);
        }
        self.waiting -= 1;
        true
    }
}

impl Waiting {
    /// Waits; `None` where it gave way to others.
    pub(crate) async fn place(mut self) -> Option<Place> {
        let is_given = (&mut self.woken).await.is_ok();
        self.is_over = true;
        let stats = &self.valve.stats;
        stats.waiting.lower(1);
        if !is_given {
            stats.full.add(1);
            return None;
        }
        stats.waited.add(1);
        stats.in_flight.raise(1);
        Some(Place(self.valve.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.valve.stats.waiting.lower(1);
        let waited = self.valve.lock().remove(&self.key, self.number);
        // Its place may have come in the very moment in which it gave up.
        if !waited && self.woken.try_recv().is_ok() {
            self.valve.stats.in_flight.raise(1);
            self.valve.leave();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn spec(in_flight_max: usize, queue_max: usize) -> OverloadSpec {
        OverloadSpec {
            strain_max: Strain::default(),
            in_flight_max,
            queue_max,
            queue_wait: Duration::from_secs(1),
            queue_key: "ip".parse().unwrap(),
        }
    }

    fn free(entry: Entry) -> Place {
        let Entry::Free(place) = entry else { panic!("{entry:?}") };
        place
    }

    fn waits(entry: Entry) -> Waiting {
        let Entry::Wait(waiting) = entry else { panic!("{entry:?}") };
        waiting
    }

    #[test]
    fn keys_take_turns() {
        let (valve, spec) = (Valve::new(), spec(1, 10));
        let mut place = Some(free(valve.enter(b"a", &spec)));
        let keys = ["a", "a", "a", "b", "c", "b"];
        let enter = |key: &'static str| {
            Some((key, Box::pin(waits(valve.enter(key.as_bytes(), &spec)).place())))
        };
        let mut waiting: Vec<_> = keys.map(enter).into_iter().collect();
        let mut order = Vec::new();
        for _ in keys {
            drop(place.take());
            let mut woken = waiting.iter_mut().filter_map(|one| {
                let (key, future) = one.as_mut()?;
                let (key, given) = (*key, future.now_or_never()?);
                *one = None;
                Some((key, given))
            });
            let (key, given) = woken.next().unwrap();
            order.push(key);
            place = given;
        }
        assert_eq!(order, ["a", "b", "c", "a", "b", "a"]);
        drop(place);
        let state = valve.lock();
        assert_eq!((state.held, state.waiting, state.turns.len()), (0, 0, 0));
    }

    #[test]
    fn a_full_queue_takes_from_the_key_that_has_most() {
        let (valve, spec) = (Valve::new(), spec(1, 3));
        let place = free(valve.enter(b"a", &spec));
        let mut of_a: Vec<_> = (0..3).map(|_| waits(valve.enter(b"a", &spec))).collect();
        assert!(matches!(valve.enter(b"a", &spec), Entry::Full));
        let b = waits(valve.enter(b"b", &spec));
        // The newest of `a` gave way; two of it and one of `b` are left.
        assert!(of_a.pop().unwrap().place().now_or_never().unwrap().is_none());
        assert!(matches!(valve.enter(b"b", &spec), Entry::Full));
        drop((place, of_a, b));
        let state = valve.lock();
        assert_eq!((state.held, state.waiting, state.by_key.len()), (0, 0, 0));
        assert_eq!((valve.stats.full.get(), valve.stats.waiting.get()), (3, 0));
        assert_eq!(valve.stats.in_flight.get(), 0);
    }

    #[test]
    fn who_gives_up_leaves_its_turn_to_the_next() {
        let (valve, narrow) = (Valve::new(), spec(1, 9));
        let place = free(valve.enter(b"a", &narrow));
        let [first, second, third] = [b"a", b"b", b"c"].map(|key| waits(valve.enter(key, &narrow)));
        drop(second);
        drop(place);
        // The place is that of the first by now; it goes on when the first does not want it.
        drop(first);
        let place = third.place().now_or_never().unwrap().unwrap();
        assert!(matches!(valve.enter(b"a", &narrow), Entry::Wait(_)));
        // A limit that is raised lets in at once.
        let late = waits(valve.enter(b"d", &narrow));
        let other = waits(valve.enter(b"e", &spec(3, 9)));
        assert!(late.place().now_or_never().is_some() && other.place().now_or_never().is_some());
        drop(place);
        assert_eq!(valve.lock().held, 0);
    }
}
