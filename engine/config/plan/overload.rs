//! Owns the checks of what is done when more comes than can be done.
//!
//! Refuses to do it. Bound: one section.

use std::time::Duration;

use truststram_proxy::{Key, OverloadSpec, Strain};

use super::Check;
use crate::config::raw;

/// Most requests under way.
const IN_FLIGHT_MAX: usize = 10_000_000;
/// Most requests that wait.
const WAIT_MAX: usize = 10_000;
const WAIT_MS_MAX: u64 = 3_600_000;

impl Check<'_> {
    /// `None` where nothing is limited.
    pub(super) fn overload(&mut self, raw: &raw::Raw) -> Option<OverloadSpec> {
        let section = &raw.overload;
        let mut percent = |name: &str, value: u32| {
            if value > 100 {
                self.fail(&format!("overload.{name}"), "must be 0 to 100");
            }
            Some(value).filter(|value| *value > 0)
        };
        let strain_max = Strain {
            cpu_percent: percent("cpu_percent", section.cpu_percent),
            memory_percent: percent("memory_percent", section.memory_percent),
            io_percent: percent("io_percent", section.io_percent),
            queue_ms: Some(section.queue_ms).filter(|ms| *ms > 0),
        };
        if section.in_flight_max > IN_FLIGHT_MAX {
            self.fail("overload.in_flight_max", format!("must be at most {IN_FLIGHT_MAX}"));
        }
        if section.wait_max > WAIT_MAX {
            self.fail("overload.wait_max", format!("must be at most {WAIT_MAX}"));
        }
        if !(1..=WAIT_MS_MAX).contains(&section.wait_ms) {
            self.fail("overload.wait_ms", format!("must be 1 to {WAIT_MS_MAX}"));
        }
        let queue_key = match section.wait_key.parse::<Key>() {
            Ok(key) => key,
            Err(error) => {
                self.fail("overload.wait_key", format!("`{}` {error}", section.wait_key));
                return None;
            }
        };
        let is_any = section.in_flight_max > 0 || strain_max != Strain::default();
        is_any.then(|| OverloadSpec {
            strain_max,
            in_flight_max: section.in_flight_max,
            queue_max: section.wait_max,
            queue_wait: Duration::from_millis(section.wait_ms),
            queue_key,
        })
    }
}

pub(super) fn priority(route: &raw::Route) -> truststram_proxy::RoutePriority {
    match route.priority {
        raw::Priority::Low => truststram_proxy::RoutePriority::Low,
        raw::Priority::Normal => truststram_proxy::RoutePriority::Normal,
        raw::Priority::High => truststram_proxy::RoutePriority::High,
    }
}
