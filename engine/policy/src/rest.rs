//! Owns the breaker of one instance: after a failure it rests, longer each time.
//!
//! Refuses to know why it failed. A good call costs no look at the clock. Bound: rests of
//! [`REST_US_FIRST`] to [`REST_US_MAX`].

const REST_US_FIRST: u64 = 1_000_000;
const REST_US_MAX: u64 = 60_000_000;
/// Good calls after which earlier failures are forgotten.
const GOOD_CALLS_TO_FORGET: u32 = 1_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    until_us: Option<u64>,
    next_us: u64,
    good_calls: u32,
}

impl Rest {
    /// Whether a call may be made; `now_us` is asked only while it rests.
    pub(crate) fn is_over(&mut self, now_us: impl FnOnce() -> u64) -> bool {
        match self.until_us {
            None => true,
            Some(until_us) if now_us() < until_us => false,
            Some(_) => {
                self.until_us = None;
                true
            }
        }
    }

    pub(crate) fn is_resting(&self) -> bool {
        self.until_us.is_some()
    }

    pub(crate) fn failed(&mut self, now_us: u64) {
        let rest_us = self.next_us.clamp(REST_US_FIRST, REST_US_MAX);
        self.until_us = Some(now_us.saturating_add(rest_us));
        self.next_us = rest_us * 2;
        self.good_calls = 0;
    }

    pub(crate) fn succeeded(&mut self) {
        if self.next_us == 0 {
            return;
        }
        self.good_calls += 1;
        if self.good_calls == GOOD_CALLS_TO_FORGET {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_double_and_are_forgotten() {
        let mut rest = Rest::default();
        let mut now_us = 5;
        for expected_us in [1, 2, 4, 8, 16, 32, 60, 60].map(|seconds| seconds * 1_000_000) {
            rest.failed(now_us);
            assert!(!rest.is_over(|| now_us + expected_us - 1));
            now_us += expected_us;
            assert!(rest.is_over(|| now_us));
            assert!(rest.is_over(|| 0), "it stays over");
        }
        (0..GOOD_CALLS_TO_FORGET).for_each(|_| rest.succeeded());
        rest.failed(now_us);
        assert!(rest.is_over(|| now_us + REST_US_FIRST));
    }
}
