//! Owns the time as of the kernel's last tick, which costs less than the time itself: for timeouts
//! of seconds that are set anew for each request and seldom end.
//!
//! Refuses to be compared with other clocks. Bound: a few nanoseconds; behind by a tick, which is
//! at most 10 ms.

use crate::system_calls::coarse_time;

/// Milliseconds since an arbitrary point, as of the last tick; never goes back.
pub fn tick_ms() -> u64 {
    u64::try_from(coarse_time().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_goes_on_and_is_never_far_behind() {
        let (start, first) = (Instant::now(), tick_ms());
        let mut last = first;
        while start.elapsed() < Duration::from_millis(50) {
            let now = tick_ms();
            assert!(now >= last);
            last = now;
        }
        // However long the thread did not run before it left the loop.
        last = last.max(tick_ms());
        assert!(last - first >= 39, "{}", last - first);
        let most = start.elapsed().as_millis() as u64 + 11;
        assert!(last - first <= most, "{} of {most}", last - first);
    }
}
