//! Owns when a group as a whole is left alone: too many failures open the breaker, a few requests
//! try it later (half-open), and only if all of them succeed it closes.
//!
//! Refuses to know the time: each call is told. Bound: a few numbers.

use super::spec::{BreakerSpec, us};

/// The breaker of one group.
#[derive(Debug)]
pub(crate) struct Breaker {
    spec: BreakerSpec,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Closed { since_us: u64, requests: u32, failures: u32 },
    Open { until_us: u64 },
    HalfOpen { left: u32, passed: u32 },
}

/// How a request that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Well,
    Badly,
    /// By the client: it says nothing of the servers.
    Unknown,
}

impl Breaker {
    pub(crate) fn new(spec: BreakerSpec) -> Self {
        Self { spec, state: State::Closed { since_us: 0, requests: 0, failures: 0 } }
    }

    /// Whether a request may go on; each that may ends with [`Self::ended`].
    pub(crate) fn admits(&mut self, now_us: u64) -> bool {
        if matches!(self.state, State::Open { until_us } if now_us >= until_us) {
            self.state = State::HalfOpen { left: self.spec.probes, passed: 0 };
        }
        match &mut self.state {
            State::Closed { .. } => true,
            State::Open { .. } => false,
            State::HalfOpen { left, .. } => match left.checked_sub(1) {
                Some(fewer) => {
                    *left = fewer;
                    true
                }
                None => false,
            },
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Notes the end of a request that was let through.
    pub(crate) fn ended(&mut self, how: Ended, now_us: u64) {
        let spec = &self.spec;
        let opened = State::Open { until_us: now_us.saturating_add(us(spec.open)) };
        match &mut self.state {
            State::Closed { since_us, requests, failures } => {
                if now_us.saturating_sub(*since_us) > us(spec.window) {
                    (*since_us, *requests, *failures) = (now_us, 0, 0);
                }
                *requests += u32::from(how != Ended::Unknown);
                *failures += u32::from(how == Ended::Badly);
                let share = u64::from(*failures) * 100;
                let limit = u64::from(*requests) * u64::from(spec.failure_percent);
                if *failures > 0 && *requests >= spec.requests_min && share >= limit {
                    self.state = opened;
                }
            }
            // Let through before it opened.
            State::Open { .. } => {}
            State::HalfOpen { left, passed } => match how {
                Ended::Badly => self.state = opened,
                Ended::Unknown => *left = (*left + 1).min(spec.probes),
                Ended::Well => {
                    *passed += 1;
                    if *passed >= spec.probes {
                        self.state = State::Closed { since_us: now_us, requests: 0, failures: 0 };
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn failures_open_it_and_probes_close_it() {
        let mut breaker = Breaker::new(BreakerSpec {
            failure_percent: 50,
            requests_min: 4,
            window: Duration::from_micros(100),
            open: Duration::from_micros(1_000),
            probes: 2,
        });
        let mut run = |now_us, how| {
            let admitted = breaker.admits(now_us);
            if admitted {
                breaker.ended(how, now_us);
            }
            (admitted, breaker.is_closed())
        };
        assert_eq!(run(1, Ended::Badly), (true, true));
        assert_eq!(run(2, Ended::Badly), (true, true));
        // A window that is over counts for nothing.
        assert_eq!(run(200, Ended::Badly), (true, true));
        assert_eq!(run(201, Ended::Well), (true, true));
        assert_eq!(run(202, Ended::Unknown), (true, true));
        assert_eq!(run(203, Ended::Well), (true, true));
        assert_eq!(run(204, Ended::Badly), (true, false));
        assert_eq!(run(1_203, Ended::Well), (false, false));
        // Half-open: one probe is not enough, and one that fails opens it again.
        assert_eq!(run(1_204, Ended::Well), (true, false));
        assert_eq!(run(1_205, Ended::Badly), (true, false));
        assert_eq!(run(1_206, Ended::Well), (false, false));
        // A probe that its client ended is given to another.
        assert_eq!(run(2_205, Ended::Unknown), (true, false));
        assert_eq!(run(2_206, Ended::Well), (true, false));
        assert_eq!(run(2_207, Ended::Well), (true, true));
    }

    #[test]
    fn no_more_probes_than_allowed_run_at_once() {
        let mut breaker = Breaker::new(BreakerSpec {
            failure_percent: 1,
            requests_min: 1,
            window: Duration::from_secs(1),
            open: Duration::from_micros(10),
            probes: 1,
        });
        assert!(breaker.admits(0));
        breaker.ended(Ended::Badly, 0);
        assert!(!breaker.admits(9));
        assert!(breaker.admits(10));
        assert!(!breaker.admits(11));
        breaker.ended(Ended::Well, 12);
        assert!(breaker.admits(13) && breaker.admits(14));
    }
}
