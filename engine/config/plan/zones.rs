//! Owns the checks of limits.
//!
//! Refuses to make them; the gateway does, and names uses of zones that there are not. Bound: one
//! zone for each entry.

use truststram_proxy::{
    Counts, DayUseSpec, InFlightUseSpec, Key, LimitSpec, Rate, RateUseSpec, UseSpec, ZoneSpec,
};

use super::Check;
use crate::config::raw;

impl Check<'_> {
    pub(super) fn limits(&mut self, raw: &raw::Raw) -> LimitSpec {
        let gateway = &raw.gateway;
        if ![429, 503].contains(&gateway.limit_status) {
            self.fail("gateway.limit_status", "must be 429 or 503");
        }
        let mut zones: Vec<ZoneSpec> = Vec::new();
        for (index, zone) in raw.limits.iter().enumerate() {
            let place = format!("limits[{index}]");
            if zones.iter().any(|other| other.name == zone.name) {
                self.fail(&format!("{place}.name"), format!("`{}` is taken already", zone.name));
            }
            zones.extend(self.zone(&place, zone));
        }
        LimitSpec {
            zones,
            every: uses(&gateway.limit_requests, &gateway.limit_in_flight, &gateway.limit_days),
            status: gateway.limit_status,
            is_dry_run: gateway.limit_dry_run,
        }
    }

    fn zone(&mut self, place: &str, zone: &raw::LimitZone) -> Option<ZoneSpec> {
        let name = zone.name.as_str();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_word) {
            self.fail(&format!("{place}.name"), "must be 1 to 64 letters, digits, `-` or `_`");
        }
        if !(1..=4_096).contains(&zone.memory_mib) {
            self.fail(&format!("{place}.memory_mib"), "must be 1 to 4096");
        }
        let key = zone.key.parse::<Key>();
        if let Err(error) = &key {
            self.fail(&format!("{place}.key"), format!("`{}` {error}", zone.key));
        }
        let rate = zone.rate.as_deref().map(|rate| (rate, rate.parse::<Rate>()));
        if let Some((text, Err(error))) = &rate {
            self.fail(&format!("{place}.rate"), format!("`{text}` {error}"));
        }
        let bytes_max = zone.memory_mib.min(4_096) << 20;
        if rate.is_some() && zone.window.is_some() {
            self.fail(&format!("{place}.window"), "cannot go with `rate`; make two zones");
        }
        let counts = match (rate.and_then(|(_, rate)| rate.ok()), zone.window) {
            (Some(rate), _) => Counts::Rate(rate),
            (None, Some(raw::LimitWindow::Day)) => Counts::Day,
            (None, None) => Counts::InFlight,
        };
        Some(ZoneSpec { name: name.to_owned(), key: key.ok()?, counts, bytes_max })
    }
}

pub(super) fn uses(
    rates: &[raw::LimitRequests],
    in_flight: &[raw::LimitInFlight],
    days: &[raw::LimitDay],
) -> UseSpec {
    let rates = rates.iter().map(|one| RateUseSpec {
        zone: one.zone.clone(),
        burst: one.burst,
        undelayed: (!one.nodelay).then_some(one.delay),
    });
    let in_flight = in_flight
        .iter()
        .map(|one| InFlightUseSpec { zone: one.zone.clone(), at_most: one.at_most });
    let days = days.iter().map(|one| DayUseSpec { zone: one.zone.clone(), at_most: one.at_most });
    UseSpec { rates: rates.collect(), in_flight: in_flight.collect(), days: days.collect() }
}
