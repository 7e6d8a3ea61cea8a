//! Owns the checks of limits, and makes them.
//!
//! Refuses to know listeners. Bound: one zone for each entry.

use std::sync::Arc;

use truststram_proxy::{InFlightUse, InFlightZone, Key, Limits, Rate, RateUse, RateZone, USES_MAX};

use super::Check;
use crate::config::raw;

/// The zones of the configuration and the limits of the public listener.
#[derive(Clone, Debug, Default)]
pub struct LimitPlan {
    /// Zones of rates.
    pub rate_zones: Vec<Arc<RateZone>>,
    /// Zones of requests under way.
    pub in_flight_zones: Vec<Arc<InFlightZone>>,
    /// What the public listener asks.
    pub public: Limits,
}

impl Check<'_> {
    pub(super) fn limit_plan(&mut self, raw: &raw::Raw) -> LimitPlan {
        let mut plan = LimitPlan::default();
        for (index, zone) in raw.limits.iter().enumerate() {
            self.zone(&mut plan, &format!("limits[{index}]"), zone);
        }
        let gateway = &raw.gateway;
        plan.public.is_dry_run = gateway.limit_dry_run;
        if ![429, 503].contains(&gateway.limit_status) {
            self.fail("gateway.limit_status", "must be 429 or 503");
        }
        let (rates, in_flight) = (&gateway.limit_requests, &gateway.limit_in_flight);
        for (key, count) in [("limit_requests", rates.len()), ("limit_in_flight", in_flight.len())]
        {
            if count > USES_MAX {
                self.fail(&format!("gateway.{key}"), format!("has more than {USES_MAX} entries"));
            }
        }
        for (index, one) in rates.iter().enumerate() {
            let found = plan.rate_zones.iter().find(|zone| zone.name() == one.zone).cloned();
            let twice = rates[..index].iter().any(|other| other.zone == one.zone);
            let name = &one.zone;
            match found {
                Some(_) if twice => {
                    self.fail("gateway.limit_requests", format!("[{index}] repeats `{name}`"));
                }
                Some(zone) => {
                    let undelayed = (!one.nodelay).then_some(one.delay);
                    plan.public.rates.push(RateUse { zone, burst: one.burst, undelayed });
                }
                None => {
                    let what = format!("[{index}]: no zone of [[limits]] with a rate is `{name}`");
                    self.fail("gateway.limit_requests", what);
                }
            }
        }
        for (index, one) in in_flight.iter().enumerate() {
            let found = plan.in_flight_zones.iter().find(|zone| zone.name() == one.zone).cloned();
            let twice = in_flight[..index].iter().any(|other| other.zone == one.zone);
            let name = &one.zone;
            match found {
                Some(_) if twice => {
                    self.fail("gateway.limit_in_flight", format!("[{index}] repeats `{name}`"));
                }
                Some(zone) if one.at_most > 0 => {
                    plan.public.in_flight.push(InFlightUse { zone, at_most: one.at_most });
                }
                Some(_) => {
                    self.fail("gateway.limit_in_flight", format!("[{index}].at_most is 0"));
                }
                None => {
                    let what = "no zone of [[limits]] without a rate is";
                    self.fail("gateway.limit_in_flight", format!("[{index}]: {what} `{name}`"));
                }
            }
        }
        plan
    }

    fn zone(&mut self, plan: &mut LimitPlan, place: &str, zone: &raw::LimitZone) {
        let name = zone.name.as_str();
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(is_word) {
            self.fail(&format!("{place}.name"), "must be 1 to 64 letters, digits, `-` or `_`");
        }
        let mut names = plan.rate_zones.iter().map(|zone| zone.name());
        let mut others = plan.in_flight_zones.iter().map(|zone| zone.name());
        if names.any(|other| other == name) || others.any(|other| other == name) {
            self.fail(&format!("{place}.name"), format!("`{name}` is taken already"));
        }
        if !(1..=4_096).contains(&zone.memory_mib) {
            self.fail(&format!("{place}.memory_mib"), "must be 1 to 4096");
            return;
        }
        let bytes_max = zone.memory_mib << 20;
        let key = match zone.key.parse::<Key>() {
            Ok(key) => key,
            Err(error) => {
                return self.fail(&format!("{place}.key"), format!("`{}` {error}", zone.key));
            }
        };
        match zone.rate.as_deref().map(|rate| (rate, rate.parse::<Rate>())) {
            None => {
                plan.in_flight_zones.push(Arc::new(InFlightZone::new(name, key, bytes_max)));
            }
            Some((_, Ok(rate))) => {
                plan.rate_zones.push(Arc::new(RateZone::new(name, key, rate, bytes_max)));
            }
            Some((text, Err(error))) => {
                self.fail(&format!("{place}.rate"), format!("`{text}` {error}"));
            }
        }
    }
}
