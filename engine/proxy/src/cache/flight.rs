//! Owns the requests to the origin that others wait for, so that many requests for one key become
//! one (nginx's `proxy_cache_lock`).
//!
//! Refuses to know what is fetched. Bound: one entry for each fetch under way; a fetch older than
//! its limit is no longer waited for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Fetches under way by key.
#[derive(Debug)]
pub(crate) struct Flights {
    open: Mutex<HashMap<Box<str>, Flight>>,
    age_ms_max: AtomicU64,
}

#[derive(Clone, Debug)]
struct Flight {
    began_ms: u64,
    /// Closed when the fetch is over; tells flights of one key apart.
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
    over: watch::Sender<()>,
}

impl Flights {
    /// Fetches that are older than `age_max` are not waited for.
    pub(crate) fn new(age_max: Duration) -> Self {
        let flights = Self { open: Mutex::default(), age_ms_max: AtomicU64::new(0) };
        flights.set_age_max(age_max);
        flights
    }

    pub(crate) fn set_age_max(&self, age_max: Duration) {
        let age_ms_max = u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX);
        self.age_ms_max.store(age_ms_max, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Flight>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins the fetch of `key`, or begins it.
    pub(crate) fn join(self: &Arc<Self>, key: &str, now_ms: u64) -> Role {
        let mut open = self.lock();
        if let Some(flight) = open.get(key)
            && now_ms.saturating_sub(flight.began_ms) <= self.age_ms_max.load(Ordering::Relaxed)
        {
            return Role::Follower(flight.over.clone());
        }
        let (sender, over) = watch::channel(());
        open.insert(key.into(), Flight { began_ms: now_ms, over });
        Role::Leader(Leader { flights: self.clone(), key: key.into(), over: sender })
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
        if open
            .get(&self.key)
            .is_some_and(|flight| flight.over.same_channel(&self.over.subscribe()))
        {
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
        // A third one, once the second is over, is not the first's to end.
        let Role::Leader(late) = flights.join("a", 10_002) else { panic!("too old again") };
        drop(second);
        let Role::Leader(third) = flights.join("a", 15_003) else { panic!("too old again") };
        drop(third);
        let Role::Leader(fourth) = flights.join("a", 15_003) else { panic!("nobody leads") };
        drop(late);
        assert!(matches!(flights.join("a", 15_004), Role::Follower(_)));
        drop(fourth);
        assert_eq!(flights.len(), 0);
    }
}
