//! Owns the places that one request holds in zones of requests under way.
//!
//! Refuses to know why a request ends. Bound: one key for each zone.

use std::sync::Arc;

use super::zone::InFlightZone;

/// Places that are given back when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    held: Vec<(Arc<InFlightZone>, Box<[u8]>)>,
}

impl InFlight {
    pub(crate) fn hold(&mut self, zone: &Arc<InFlightZone>, key: &[u8]) {
        self.held.push((zone.clone(), key.into()));
    }

    /// Holds what `other` holds, too.
    pub(crate) fn extend(&mut self, mut other: Self) {
        self.held.append(&mut other.held);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        for (zone, key) in &self.held {
            zone.leave(key);
        }
    }
}
