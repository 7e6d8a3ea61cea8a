//! Owns what is known of one server: its failures (nginx's `max_fails` and `fail_timeout`), its
//! checks, its return (slow start) and its latency.
//!
//! Refuses to know the time: each call is told. Bound: a few numbers.

/// When failures take a server out, microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailLimits {
    pub(crate) max_fails: u32,
    pub(crate) fail_timeout_us: u64,
    /// Whether checks have a say.
    pub(crate) is_checked: bool,
}

/// How fast old latencies are forgotten, microseconds.
const DECAY_US: f64 = 10e6;

/// What a server costs before anything is known of it, microseconds, for each request that is open.
const UNKNOWN_US: f64 = 1e6;

/// What is known of one server.
#[derive(Debug)]
pub(crate) struct Health {
    fails: u32,
    failed_us: u64,
    checked_us: u64,
    /// What the checks say.
    is_up: bool,
    /// Checks in a row that say otherwise.
    streak: u32,
    returned_us: Option<u64>,
    latency_us: f64,
    measured_us: u64,
}

impl Health {
    pub(crate) fn new() -> Self {
        Self {
            fails: 0,
            failed_us: 0,
            checked_us: 0,
            is_up: true,
            streak: 0,
            returned_us: None,
            latency_us: 0.0,
            measured_us: 0,
        }
    }

    /// Whether checks let it be asked.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up
    }

    /// Whether it may be asked now. After its rest a single request tries it: [`Self::chosen`]
    /// starts the rest anew for all others.
    pub(crate) fn allows(&self, limits: FailLimits, now_us: u64) -> bool {
        let rests = limits.max_fails > 0
            && self.fails >= limits.max_fails
            && now_us.saturating_sub(self.checked_us) <= limits.fail_timeout_us;
        (self.is_up || !limits.is_checked) && !rests
    }

    /// Notes that a request goes there. Where it is the last resort, an answer ends its rest.
    pub(crate) fn chosen(&mut self, limits: FailLimits, now_us: u64) {
        let is_over = now_us.saturating_sub(self.checked_us) > limits.fail_timeout_us;
        if is_over || !self.allows(limits, now_us) {
            self.checked_us = now_us.max(self.failed_us.saturating_add(1));
        }
    }

    /// Notes a success; one that began after the last failure makes up for all.
    pub(crate) fn succeeded(&mut self, limits: FailLimits, now_us: u64) {
        if self.fails > 0 && self.failed_us < self.checked_us {
            if limits.max_fails > 0 && self.fails >= limits.max_fails {
                self.returned_us = Some(now_us);
            }
            self.fails = 0;
        }
    }

    /// Notes a failure.
    pub(crate) fn failed(&mut self, now_us: u64) {
        self.fails = self.fails.saturating_add(1);
        self.failed_us = now_us;
        self.checked_us = now_us;
    }

    /// Notes a check; returns whether the server came back or went with it.
    pub(crate) fn checked(&mut self, passed: bool, rise: u32, fall: u32, now_us: u64) -> bool {
        if passed == self.is_up {
            self.streak = 0;
            return false;
        }
        self.streak += 1;
        if self.streak < if passed { rise } else { fall } {
            return false;
        }
        self.is_up = passed;
        self.streak = 0;
        if passed {
            self.returned_us = Some(now_us);
            self.fails = 0;
        }
        true
    }

    /// Its weight now, in hundredths: a share that grows with the time since it came back.
    pub(crate) fn weight(&self, weight: u32, slow_start_us: u64, now_us: u64) -> i64 {
        let full = i64::from(weight) * 100;
        let Some(returned_us) = self.returned_us.filter(|_| slow_start_us > 0) else { return full };
        let since = now_us.saturating_sub(returned_us);
        if since >= slow_start_us {
            return full;
        }
        let share = since as f64 / slow_start_us as f64;
        ((full as f64 * share) as i64).max(1)
    }

    /// Notes how long an answer took to begin. A peak counts at once and fades with time (the peak
    /// EWMA of Finagle).
    pub(crate) fn measured(&mut self, latency_us: u64, now_us: u64) {
        let latency_us = latency_us as f64;
        let faded = self.faded(now_us);
        let kept = (-(now_us.saturating_sub(self.measured_us) as f64) / DECAY_US).exp();
        self.latency_us = if latency_us > faded || self.measured_us == 0 {
            latency_us
        } else {
            self.latency_us * kept + latency_us * (1.0 - kept)
        };
        self.measured_us = now_us.max(1);
    }

    /// Notes that an answer would have taken longer than this to begin.
    pub(crate) fn measured_at_least(&mut self, latency_us: u64, now_us: u64) {
        if latency_us as f64 > self.faded(now_us) {
            self.measured(latency_us, now_us);
        }
    }

    fn faded(&self, now_us: u64) -> f64 {
        let age_us = now_us.saturating_sub(self.measured_us) as f64;
        self.latency_us * (-age_us / DECAY_US).exp()
    }

    /// What one more request there would cost, with so many open.
    pub(crate) fn cost(&self, open: u64, now_us: u64) -> f64 {
        let open = open as f64;
        if self.measured_us == 0 {
            // Nothing is known: try it, but not with everything at once.
            return UNKNOWN_US * open;
        }
        self.faded(now_us) * (open + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FailLimits = FailLimits { max_fails: 2, fail_timeout_us: 100, is_checked: true };

    #[test]
    fn failures_within_the_time_limit_give_a_server_a_rest() {
        let mut health = Health::new();
        health.chosen(LIMITS, 1_000);
        health.failed(1_001);
        assert!(health.allows(LIMITS, 1_002));
        health.failed(1_010);
        assert!(!health.allows(LIMITS, 1_110));
        // The rest is over: one request tries, the others stay away.
        assert!(health.allows(LIMITS, 1_111));
        health.chosen(LIMITS, 1_111);
        assert!(!health.allows(LIMITS, 1_112));
        health.failed(1_120);
        assert!(!health.allows(LIMITS, 1_200));
        health.chosen(LIMITS, 1_221);
        health.succeeded(LIMITS, 1_222);
        assert!(health.allows(LIMITS, 1_223));
        // The last resort that answers is one no longer.
        health.failed(1_224);
        health.failed(1_225);
        assert!(!health.allows(LIMITS, 1_226));
        health.chosen(LIMITS, 1_226);
        assert!(!health.allows(LIMITS, 1_227));
        health.succeeded(LIMITS, 1_228);
        assert!(health.allows(LIMITS, 1_229));
        // No limit, no rest.
        let never = FailLimits { max_fails: 0, ..LIMITS };
        health.failed(1_230);
        health.failed(1_231);
        assert!(!health.allows(LIMITS, 1_232) && health.allows(never, 1_232));
    }

    #[test]
    fn a_success_that_began_before_the_failure_makes_up_for_nothing() {
        let mut health = Health::new();
        health.chosen(LIMITS, 1_000);
        health.failed(1_010);
        health.succeeded(LIMITS, 1_011);
        health.failed(1_012);
        assert!(!health.allows(LIMITS, 1_013));
    }

    #[test]
    fn checks_count_in_a_row() {
        let mut health = Health::new();
        let passes = [false, true, false, false, true, true, false, true, true, true];
        let ups = [true, true, true, false, false, false, false, false, false, true];
        for (index, (passed, up)) in passes.into_iter().zip(ups).enumerate() {
            let was = health.is_up();
            let changed = health.checked(passed, 3, 2, index as u64);
            assert_eq!((health.is_up(), changed), (up, was != up), "check {index}");
        }
    }

    #[test]
    fn without_checks_what_they_said_counts_for_nothing() {
        let mut health = Health::new();
        health.checked(false, 1, 1, 10);
        assert!(!health.allows(LIMITS, 20));
        let unchecked = FailLimits { is_checked: false, ..LIMITS };
        assert!(health.allows(unchecked, 20));
        health.failed(30);
        health.failed(31);
        assert!(!health.allows(unchecked, 32));
    }

    #[test]
    fn a_server_that_came_back_gets_its_share_slowly() {
        let mut health = Health::new();
        assert_eq!(health.weight(3, 1_000, 5), 300);
        health.checked(false, 1, 1, 10);
        health.checked(true, 1, 1, 100);
        assert_eq!(health.weight(3, 1_000, 100), 1);
        assert_eq!(health.weight(3, 1_000, 600), 150);
        assert_eq!(health.weight(3, 1_000, 1_100), 300);
        assert_eq!(health.weight(3, 0, 100), 300);
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let mut health = Health::new();
        assert!(health.cost(0, 5) < 1.0 && health.cost(1, 5) > 1e5);
        health.measured(1_000, 10);
        assert!((health.cost(0, 10) - 1_000.0).abs() < 1.0);
        assert!((health.cost(2, 10) - 3_000.0).abs() < 1.0);
        health.measured(50_000, 20);
        assert!((health.cost(0, 20) - 50_000.0).abs() < 1.0);
        // A good answer right after does not hide the peak; ten seconds do, by a factor of e.
        health.measured(1_000, 30);
        assert!(health.cost(0, 30) > 49_000.0);
        let later = health.cost(0, 10_000_030);
        assert!((17_000.0..19_000.0).contains(&later), "{later}");
        // What is known to take longer counts; what may is no news.
        health.measured_at_least(10_000, 10_000_030);
        assert!((health.cost(0, 10_000_030) - later).abs() < 1.0);
        health.measured_at_least(90_000, 10_000_030);
        assert!((health.cost(0, 10_000_030) - 90_000.0).abs() < 1.0);
    }
}
