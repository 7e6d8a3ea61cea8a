//! Owns zones and their uses before they are made, and makes them: a zone whose key, rate and
//! memory stay the same keeps what it knows.
//!
//! Refuses a use of a zone that there is not. Bound: one zone for each entry, [`USES_MAX`] uses of
//! each kind at one place.

use std::sync::Arc;

use super::bucket::Rate;
use super::day::{DayUse, DayZone};
use super::key::Key;
use super::limiter::{InFlightUse, Limits, RateUse, USES_MAX};
use super::zone::{InFlightZone, RateZone};
use crate::route::spec::Fault;

/// Most requests of a day.
const PER_DAY_MAX: u64 = 1_000_000_000_000;

/// What a zone counts of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counts {
    /// How fast they come.
    Rate(Rate),
    /// How many are under way.
    InFlight,
    /// How many came on a day of UTC.
    Day,
}

/// A zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneSpec {
    /// Its name.
    pub name: String,
    /// What requests are counted by.
    pub key: Key,
    /// What of them is counted.
    pub counts: Counts,
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

/// How a zone of days is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DayUseSpec {
    /// The name of the zone.
    pub zone: String,
    /// Requests of one key that a day has.
    pub at_most: u64,
}

/// What requests must pass at one place, a listener or a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UseSpec {
    /// Zones of rates, in the order in which they are asked.
    pub rates: Vec<RateUseSpec>,
    /// Zones of requests under way, asked after those.
    pub in_flight: Vec<InFlightUseSpec>,
    /// Zones of days, asked last.
    pub days: Vec<DayUseSpec>,
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
    /// Those of days.
    pub days: Vec<Arc<DayZone>>,
}

impl Zones {
    /// Whether any counts by a field of requests.
    pub(crate) fn read_headers(&self) -> bool {
        let rates = self.rates.iter().map(|zone| zone.key());
        let in_flight = self.in_flight.iter().map(|zone| zone.key());
        let mut keys = rates.chain(in_flight).chain(self.days.iter().map(|zone| zone.key()));
        keys.any(Key::reads_headers)
    }

    /// Makes the zones of `specs`, or takes them over from `before`.
    pub(crate) fn make(specs: &[ZoneSpec], before: Option<&Self>) -> Self {
        let mut zones = Self::default();
        for spec in specs {
            let ZoneSpec { name, key, counts, bytes_max } = spec.clone();
            match counts {
                Counts::Rate(rate) => {
                    let mut known = before.into_iter().flat_map(|before| &before.rates);
                    let known = known.find(|zone| zone.is_made_from(spec)).cloned();
                    let make = || Arc::new(RateZone::new(&name, key, rate, bytes_max));
                    zones.rates.push(known.unwrap_or_else(make));
                }
                Counts::InFlight => {
                    let mut known = before.into_iter().flat_map(|before| &before.in_flight);
                    let known = known.find(|zone| zone.is_made_from(spec)).cloned();
                    let make = || Arc::new(InFlightZone::new(&name, key, bytes_max));
                    zones.in_flight.push(known.unwrap_or_else(make));
                }
                Counts::Day => {
                    let mut known = before.into_iter().flat_map(|before| &before.days);
                    let known = known.find(|zone| zone.is_made_from(spec)).cloned();
                    let make = || Arc::new(DayZone::new(&name, key, bytes_max));
                    zones.days.push(known.unwrap_or_else(make));
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
        let names: Vec<&str> = uses.rates.iter().map(|one| one.zone.as_str()).collect();
        let find = |name: &str| self.rates.iter().find(|zone| zone.name() == name).cloned();
        for (index, zone) in used(&names, find, "with a rate", &key, faults) {
            let RateUseSpec { burst, undelayed, .. } = uses.rates[index];
            limits.rates.push(RateUse { zone, burst, undelayed });
        }
        limits.in_flight = self.in_flight_uses(place, &uses.in_flight, faults);
        limits.days = self.day_uses(place, &uses.days, faults);
        limits
    }

    fn in_flight_uses(
        &self,
        place: &str,
        uses: &[InFlightUseSpec],
        faults: &mut Vec<Fault>,
    ) -> Vec<InFlightUse> {
        let key = format!("{place}.limit_in_flight");
        let names: Vec<&str> = uses.iter().map(|one| one.zone.as_str()).collect();
        let find = |name: &str| self.in_flight.iter().find(|zone| zone.name() == name).cloned();
        let zones = used(&names, find, "without a rate", &key, faults);
        let zones = zones.into_iter().filter_map(|(index, zone)| {
            let at_most = uses[index].at_most;
            if at_most == 0 {
                faults.push(Fault::new(&*key, format!("[{index}].at_most is 0")));
            }
            (at_most > 0).then_some(InFlightUse { zone, at_most })
        });
        zones.collect()
    }

    fn day_uses(&self, place: &str, uses: &[DayUseSpec], faults: &mut Vec<Fault>) -> Vec<DayUse> {
        let key = format!("{place}.limit_days");
        let names: Vec<&str> = uses.iter().map(|one| one.zone.as_str()).collect();
        let find = |name: &str| self.days.iter().find(|zone| zone.name() == name).cloned();
        let zones = used(&names, find, "with `window = \"day\"`", &key, faults);
        let zones = zones.into_iter().filter_map(|(index, zone)| {
            let at_most = uses[index].at_most;
            let is_number = (1..=PER_DAY_MAX).contains(&at_most);
            if !is_number {
                let message = format!("[{index}].at_most must be 1 to {PER_DAY_MAX}");
                faults.push(Fault::new(&*key, message));
            }
            is_number.then_some(DayUse { zone, at_most })
        });
        zones.collect()
    }
}

/// The zones of these names with their places in the list; a name that is unknown or comes again is
/// a fault of `key`.
fn used<Z>(
    names: &[&str],
    find: impl Fn(&str) -> Option<Z>,
    which: &str,
    key: &str,
    faults: &mut Vec<Fault>,
) -> Vec<(usize, Z)> {
    let mut fail = |message: String| faults.push(Fault::new(key, message));
    if names.len() > USES_MAX {
        fail(format!("has more than {USES_MAX} entries"));
    }
    let mut zones = Vec::new();
    for (index, name) in names.iter().enumerate() {
        match find(name) {
            None => fail(format!("[{index}]: no zone of [[limits]] {which} is `{name}`")),
            Some(_) if names[..index].contains(name) => {
                fail(format!("[{index}] repeats `{name}`"));
            }
            Some(zone) => zones.push((index, zone)),
        }
    }
    zones
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str, rate: Option<&str>, bytes_max: usize) -> ZoneSpec {
        let rate = rate.map(|rate| rate.parse().unwrap());
        let counts = rate.map_or(Counts::InFlight, Counts::Rate);
        ZoneSpec { name: name.to_owned(), key: "ip".parse().unwrap(), counts, bytes_max }
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
