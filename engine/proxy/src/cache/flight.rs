//! Owns the requests to the origin that others wait for, so that many requests for one key become
//! one (nginx's `proxy_cache_lock`).
//!
//! Refuses to know what is fetched. Bound: one entry for each fetch under way; a fetch older than
//! its limit is no longer waited for.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Fetches under way by key.
#[derive(Debug)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Box<str>, Flight>>,
    age_ms_max: u64,
}

#[derive(Clone, Debug)]
struct Flight {
    began_ms: u64,
    /// Tells flights of one key apart.
    number: u64,
    /// Closed when the fetch is over.
    over: watch::Receiver<()>,
}

/// The part that a request has in a fetch.
pub(crate) enum Role {
    /// It fetches; the others go on when this is dropped.
    Leader(Leader),
    /// Another one fetches.
    Follower(watch::Receiver<()>),
}

/// Ends the flight when it is dropped.
#[derive(Debug)]
pub(crate) struct Leader {
    flights: Arc<Flights>,
    key: Box<str>,
    number: u64,
    _over: watch::Sender<()>,
}

impl Flights {
    /// Fetches that are older than `age_max` are not waited for.
    pub(crate) fn new(age_max: Duration) -> Self {
        let age_ms_max = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        Self { open: Mutex::default(), age_ms_max }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Flight>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the fetch of `key`, or begins it.
    pub(crate) fn join(self: &Arc<Self>, key: &str, now_ms: u64) -> Role {
        let mut open = self.lock();
        let number = match open.entry(key.into()) {
            Entry::Occupied(entry) => {
                let flight = entry.get();
                if now_ms.saturating_sub(flight.began_ms) <= self.age_ms_max {
                    return Role::Follower(flight.over.clone());
                }
                flight.number + 1
            }
            Entry::Vacant(_) => 0,
        };
        let (sender, over) = watch::channel(());
        open.insert(key.into(), Flight { began_ms: now_ms, number, over });
        Role::Leader(Leader { flights: self.clone(), key: key.into(), number, _over: sender })
    }

    /// How many fetches are under way.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// Waits until the fetch is over; false when `limit` passed before.
pub(crate) async fn wait(mut over: watch::Receiver<()>, limit: Duration) -> bool {
    // Nothing is ever sent: the error says that the sender is gone.
    tokio::time::timeout(limit, over.changed()).await.is_ok()
}

impl Drop for Leader {
    fn drop(&mut self) {
        let mut open = self.flights.lock();
        if open.get(&self.key).is_some_and(|flight| flight.number == self.number) {
            open.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leads_and_the_others_follow_until_it_is_over_or_too_old() {
        let flights = Arc::new(Flights::new(Duration::from_secs(5)));
        let Role::Leader(first) = flights.join("a", 0) else { panic!("the first leads") };
        assert!(matches!(flights.join("b", 0), Role::Leader(_)));
        let Role::Follower(over) = flights.join("a", 5_000) else { panic!("the second follows") };
        assert!(over.has_changed().is_ok());
        let Role::Leader(second) = flights.join("a", 5_001) else { panic!("too old to wait for") };
        drop(first);
        assert!(over.has_changed().is_err(), "the first is over");
        assert!(matches!(flights.join("a", 5_002), Role::Follower(_)));
        drop(second);
        assert_eq!(flights.len(), 0);
    }
}
