//! Owns the decision about one request: the zones that it passes in their order, as
//! `ngx_http_limit_req_handler` and `ngx_http_limit_conn_handler` take them.
//!
//! Refuses to wait and to answer. Bound: [`USES_MAX`] zones of each kind.

use std::cell::RefCell;
use std::sync::Arc;

use super::day::DayUse;
use super::in_flight::InFlight;
use super::key::Subject;
use super::zone::{InFlightZone, Looked, RateZone};

/// Most zones of each kind that one listener or route uses.
pub(crate) const USES_MAX: usize = 8;

thread_local! {
    /// Room for the keys of one request.
    static KEYS: RefCell<[Vec<u8>; USES_MAX]> =
        const { RefCell::new([const { Vec::new() }; USES_MAX]) };
}

/// How a zone of rates is used.
#[derive(Clone, Debug)]
pub(crate) struct RateUse {
    /// The zone.
    pub(crate) zone: Arc<RateZone>,
    /// Requests above the rate that are taken before one is refused.
    pub(crate) burst: u32,
    /// Requests above the rate that do not wait; `None`: none of them waits.
    pub(crate) undelayed: Option<u32>,
}

impl RateUse {
    fn burst_millis(&self) -> u64 {
        u64::from(self.burst) * 1_000
    }

    fn delay_ms(&self, excess: u64) -> u64 {
        let free = self.undelayed.map_or(u64::MAX, |count| u64::from(count) * 1_000);
        self.zone.rate().ms_to_drain(excess.saturating_sub(free))
    }
}

/// How a zone of requests under way is used.
#[derive(Clone, Debug)]
pub(crate) struct InFlightUse {
    /// The zone.
    pub(crate) zone: Arc<InFlightZone>,
    /// Requests of one key that may be under way.
    pub(crate) at_most: u32,
}

/// The limits of a listener or a route. The default has none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    /// Zones of rates, in the order in which they are asked.
    pub(crate) rates: Vec<RateUse>,
    /// Zones of requests under way, asked after those.
    pub(crate) in_flight: Vec<InFlightUse>,
    /// Zones of days, asked last.
    pub(crate) days: Vec<DayUse>,
    /// Whether nothing is refused or made to wait, only counted.
    pub(crate) is_dry_run: bool,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// It goes on after so many milliseconds.
    Delayed(u64),
    /// It is refused; the same request has room after so many milliseconds.
    Rejected(u64),
}

/// A decision and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    /// The use that made it wait or refused it, and the excess there in thousandths.
    pub(crate) by: Option<(usize, u64)>,
    /// The excess of each use after the decision; `None` where the request has no key.
    pub(crate) excess: [Option<u64>; USES_MAX],
}

impl Limits {
    /// Whether there is nothing to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.rates.is_empty() && self.in_flight.is_empty() && self.days.is_empty()
    }

    /// Whether a request may be made to wait.
    pub(crate) fn may_wait(&self) -> bool {
        !self.is_dry_run
            && self.rates.iter().any(|part| part.undelayed.is_some_and(|free| free < part.burst))
    }

    /// The verdict about a request that a zone refuses, which leaves all zones as they were;
    /// `None`, with nothing counted, where no zone does.
    pub(crate) fn refuses(&self, subject: &Subject<'_>, now_ms: u64) -> Option<Verdict> {
        if self.is_dry_run {
            return None;
        }
        let (mut excess, mut key) = ([None; USES_MAX], Vec::new());
        for (index, part) in self.rates.iter().enumerate().take(USES_MAX) {
            part.zone.key().write(subject, &mut key);
            if key.is_empty() {
                continue;
            }
            match part.zone.look(&key, part.burst_millis(), now_ms, false) {
                Looked::Room(found) => excess[index] = Some(found),
                Looked::Over(found) => return Some(self.rejected(index, found, excess)),
            }
        }
        None
    }

    /// The verdict of the use at `index`, whose excess would be `found`.
    fn rejected(&self, index: usize, found: u64, mut excess: [Option<u64>; USES_MAX]) -> Verdict {
        let part = &self.rates[index];
        excess[index] = Some(found.saturating_sub(1_000));
        let wait_ms = part.zone.rate().ms_to_drain(found - part.burst_millis());
        let outcome = Outcome::Rejected(wait_ms + 1);
        self.count(&part.zone, outcome);
        Verdict { outcome, by: Some((index, found)), excess }
    }

    /// Decides by the rates. A zone that refuses leaves those before it as they were.
    pub(crate) fn by_rate(&self, subject: &Subject<'_>, now_ms: u64) -> Verdict {
        KEYS.with_borrow_mut(|keys| self.by_rate_with(subject, now_ms, keys))
    }

    fn by_rate_with(
        &self,
        subject: &Subject<'_>,
        now_ms: u64,
        keys: &mut [Vec<u8>; USES_MAX],
    ) -> Verdict {
        let rates = &self.rates[..self.rates.len().min(USES_MAX)];
        let mut excess = [None; USES_MAX];
        for (index, part) in rates.iter().enumerate() {
            let key = &mut keys[index];
            part.zone.key().write(subject, key);
            if key.is_empty() {
                continue;
            }
            let is_last = index + 1 == rates.len();
            match part.zone.look(key, part.burst_millis(), now_ms, is_last) {
                Looked::Room(found) => excess[index] = Some(found),
                Looked::Over(found) => return self.rejected(index, found, excess),
            }
        }
        // The last was accounted when it was looked at; the others are now, from the last back.
        let (mut delay_ms, mut by) = (0, None);
        for index in (0..rates.len()).rev() {
            let part = &rates[index];
            if excess[index].is_some() && index + 1 < rates.len() {
                excess[index] = Some(part.zone.account(&keys[index], now_ms));
            }
            let Some(found) = excess[index] else { continue };
            let wait_ms = part.delay_ms(found);
            if wait_ms > delay_ms {
                (delay_ms, by) = (wait_ms, Some((index, found)));
            }
        }
        let outcome = if delay_ms > 0 { Outcome::Delayed(delay_ms) } else { Outcome::Passed };
        for (index, part) in rates.iter().enumerate().filter(|(index, _)| excess[*index].is_some())
        {
            let is_by = by.is_some_and(|(decided, _)| decided == index);
            self.count(&part.zone, if is_by { outcome } else { Outcome::Passed });
        }
        Verdict { outcome, by, excess }
    }

    fn count(&self, zone: &RateZone, outcome: Outcome) {
        let stats = zone.stats();
        let counter = match (outcome, self.is_dry_run) {
            (Outcome::Passed, _) => &stats.passed,
            (Outcome::Delayed(_), false) => &stats.delayed,
            (Outcome::Delayed(_), true) => &stats.delayed_dry_run,
            (Outcome::Rejected(_), false) => &stats.rejected,
            (Outcome::Rejected(_), true) => &stats.rejected_dry_run,
        };
        counter.add(1);
    }

    /// Takes a place in each zone of requests under way; `None` when one has no place, and then
    /// none is taken.
    pub(crate) fn enter(&self, subject: &Subject<'_>) -> Option<InFlight> {
        let mut held = InFlight::default();
        let mut key = Vec::new();
        for part in &self.in_flight {
            part.zone.key().write(subject, &mut key);
            if key.is_empty() {
                continue;
            }
            let stats = part.zone.stats();
            if part.zone.enter(&key, part.at_most) {
                stats.passed.add(1);
                held.hold(&part.zone, &key);
            } else if self.is_dry_run {
                stats.rejected_dry_run.add(1);
            } else {
                stats.rejected.add(1);
                return None;
            }
        }
        Some(held)
    }
}
