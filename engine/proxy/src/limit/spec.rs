//! Owns zones and their uses before they are made, and makes them: a zone whose key, rate and
//! memory stay the same keeps what it knows.
//!
//! Refuses a use of a zone that there is not. Bound: one zone for each entry, [`USES_MAX`] uses of
//! each kind at one place.

use std::sync::Arc;

use super::bucket::Rate;
use super::key::Key;
use super::limiter::{InFlightUse, Limits, RateUse, USES_MAX};
use super::zone::{InFlightZone, RateZone};
use crate::route::spec::Fault;

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// Its name.
    pub name: String,
    /// What requests are counted by.
    pub key: Key,
    /// How fast they may come; `None`: those under way are counted.
    pub rate: Option<Rate>,
    /// Its memory.
    pub bytes_max: usize,
}

/// How a zone of rates is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateUseSpec {
    /// The name of the zone.
    pub zone: String,
    /// Requests above the rate that are taken before one is refused.
    pub burst: u32,
    /// Requests above the rate that do not wait; `None`: none of them waits.
    pub undelayed: Option<u32>,
}

/// How a zone of requests under way is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightUseSpec {
    /// The name of the zone.
    pub zone: String,
    /// Requests of one key that may be under way.
    pub at_most: u32,
}

/// What requests must pass at one place, a listener or a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UseSpec {
    /// Zones of rates, in the order in which they are asked.
    pub rates: Vec<RateUseSpec>,
    /// Zones of requests under way, asked after those.
    pub in_flight: Vec<InFlightUseSpec>,
}

/// All limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitSpec {
    /// The zones.
    pub zones: Vec<ZoneSpec>,
    /// What every request must pass, before the limits of its route.
    pub every: UseSpec,
    /// The status of requests that are refused.
    pub status: u16,
    /// Whether nothing is refused or made to wait, only counted.
    pub is_dry_run: bool,
}

impl Default for LimitSpec {
    fn default() -> Self {
        Self { zones: Vec::new(), every: UseSpec::default(), status: 429, is_dry_run: false }
    }
}

/// The zones of a table.
#[derive(Clone, Debug, Default)]
pub struct Zones {
    /// Those of rates.
    pub rates: Vec<Arc<RateZone>>,
    /// Those of requests under way.
    pub in_flight: Vec<Arc<InFlightZone>>,
}

impl Zones {
    /// Whether any counts by a field of requests.
    pub(crate) fn read_headers(&self) -> bool {
        let mut keys = self.rates.iter().map(|zone| zone.key());
        keys.any(Key::reads_headers) || self.in_flight.iter().any(|zone| zone.key().reads_headers())
    }

    /// Makes the zones of `specs`, or takes them over from `before`.
    pub(crate) fn make(specs: &[ZoneSpec], before: Option<&Self>) -> Self {
        let mut zones = Self::default();
        for spec in specs {
            let ZoneSpec { name, key, rate, bytes_max } = spec.clone();
            match rate {
                Some(rate) => {
                    let mut known = before.into_iter().flat_map(|before| &before.rates);
                    let known = known.find(|zone| zone.is_made_from(spec)).cloned();
                    let make = || Arc::new(RateZone::new(&name, key, rate, bytes_max));
                    zones.rates.push(known.unwrap_or_else(make));
                }
                None => {
                    let mut known = before.into_iter().flat_map(|before| &before.in_flight);
                    let known = known.find(|zone| zone.is_made_from(spec)).cloned();
                    let make = || Arc::new(InFlightZone::new(&name, key, bytes_max));
                    zones.in_flight.push(known.unwrap_or_else(make));
                }
            }
        }
        zones
    }

    /// The limits that stand at `place`, `gateway` or a route.
    pub(crate) fn limits(
        &self,
        place: &str,
        uses: &UseSpec,
        is_dry_run: bool,
        faults: &mut Vec<Fault>,
    ) -> Limits {
        let mut limits = Limits { is_dry_run, ..Limits::default() };
        let key = format!("{place}.limit_requests");
        let mut fail = |key: &str, message: String| faults.push(Fault::new(key, message));
        if uses.rates.len() > USES_MAX {
            fail(&key, format!("has more than {USES_MAX} entries"));
        }
        for (index, one) in uses.rates.iter().enumerate() {
            let name = &one.zone;
            match self.rates.iter().find(|zone| zone.name() == name) {
                None => {
                    fail(&key, format!("[{index}]: no zone of [[limits]] with a rate is `{name}`"));
                }
                Some(_) if uses.rates[..index].iter().any(|other| other.zone == *name) => {
                    fail(&key, format!("[{index}] repeats `{name}`"));
                }
                Some(zone) => {
                    let (burst, undelayed) = (one.burst, one.undelayed);
                    limits.rates.push(RateUse { zone: zone.clone(), burst, undelayed });
                }
            }
        }
        let key = format!("{place}.limit_in_flight");
        if uses.in_flight.len() > USES_MAX {
            fail(&key, format!("has more than {USES_MAX} entries"));
        }
        for (index, one) in uses.in_flight.iter().enumerate() {
            let name = &one.zone;
            match self.in_flight.iter().find(|zone| zone.name() == name) {
                None => {
                    let what = "no zone of [[limits]] without a rate is";
                    fail(&key, format!("[{index}]: {what} `{name}`"));
                }
                Some(_) if uses.in_flight[..index].iter().any(|other| other.zone == *name) => {
                    fail(&key, format!("[{index}] repeats `{name}`"));
                }
                Some(_) if one.at_most == 0 => fail(&key, format!("[{index}].at_most is 0")),
                Some(zone) => {
                    let at_most = one.at_most;
                    limits.in_flight.push(InFlightUse { zone: zone.clone(), at_most });
                }
            }
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, rate: Option<&str>, bytes_max: usize) -> ZoneSpec {
        let rate = rate.map(|rate| rate.parse().unwrap());
        ZoneSpec { name: name.to_owned(), key: "ip".parse().unwrap(), rate, bytes_max }
    }

    #[test]
    fn a_zone_that_stays_the_same_is_taken_over() {
        let specs = [zone("a", Some("1r/s"), 1 << 20), zone("b", None, 1 << 20)];
        let before = Zones::make(&specs, None);
        let same = Zones::make(&specs, Some(&before));
        assert!(Arc::ptr_eq(&before.rates[0], &same.rates[0]));
        assert!(Arc::ptr_eq(&before.in_flight[0], &same.in_flight[0]));
        let by_host = ZoneSpec { key: "host".parse().unwrap(), ..specs[0].clone() };
        let other = [zone("a", Some("2r/s"), 1 << 20), zone("a", Some("1r/s"), 1 << 19), by_host];
        for one in other {
            let after = Zones::make(std::slice::from_ref(&one), Some(&before));
            assert!(!Arc::ptr_eq(&before.rates[0], &after.rates[0]), "{one:?}");
        }
        let after = Zones::make(&[zone("b", None, 1 << 19)], Some(&before));
        assert!(!Arc::ptr_eq(&before.in_flight[0], &after.in_flight[0]));
    }
}
