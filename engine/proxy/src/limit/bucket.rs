//! Owns the arithmetic of one leaky bucket, as `ngx_http_limit_req_module` does it: thousandths of
//! a request, whole milliseconds, division that rounds towards zero.
//!
//! Refuses to know keys and zones. Bound: two numbers for each key.

use std::str::FromStr;

/// How fast a bucket empties, in thousandths of a request per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(u32);

/// Requests per second that a rate may have at most.
const PER_SECOND_MAX: u32 = 1_000_000;

impl Rate {
    pub(crate) fn millis_per_s(self) -> u64 {
        u64::from(self.0)
    }

    /// Milliseconds until `excess` thousandths have run out.
    pub(crate) fn ms_to_drain(self, excess: u64) -> u64 {
        excess * 1_000 / self.millis_per_s()
    }
}

/// The text is no rate such as `100r/s` or `30r/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a rate of 1 to {PER_SECOND_MAX} requests, such as 100r/s or 30r/m")]
pub struct NotARate;

impl FromStr for Rate {
    type Err = NotARate;

    fn from_str(text: &str) -> Result<Self, NotARate> {
        let (count, scale) = match text.split_once("r/") {
            Some((count, "s")) => (count, 1),
            Some((count, "m")) => (count, 60),
            _ => return Err(NotARate),
        };
        let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
        let count: u32 = count.parse().ok().filter(|_| is_number).ok_or(NotARate)?;
        if !(1..=PER_SECOND_MAX).contains(&count) {
            return Err(NotARate);
        }
        // One request a minute is 16 thousandths a second, in nginx too.
        Ok(Self(count * 1_000 / scale))
    }
}

/// What one key has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Thousandths of a request above the rate.
    pub(crate) excess: u64,
    /// When it was computed; [`NEVER`] until a request is accounted.
    last_ms: u64,
}

/// No request was accounted yet.
const NEVER: u64 = u64::MAX;
/// nginx takes a clock that seems to have gone back this far for one that went forward.
const BACK_MS: i64 = -60_000;
/// A bucket that has run out is forgotten after this time, as in nginx.
const IDLE_MS: u64 = 60_000;

impl Bucket {
    /// The bucket of a key that is new.
    pub(crate) const FRESH: Self = Self { excess: 0, last_ms: NEVER };

    fn elapsed_ms(&self, now_ms: u64) -> u64 {
        match now_ms.cast_signed().wrapping_sub(self.last_ms.cast_signed()) {
            elapsed if elapsed < BACK_MS => 1,
            elapsed => u64::try_from(elapsed).unwrap_or(0),
        }
    }

    /// The excess with one more request now.
    pub(crate) fn with_one_more(&self, rate: Rate, now_ms: u64) -> u64 {
        if self.last_ms == NEVER {
            return 0;
        }
        let drained = rate.millis_per_s().saturating_mul(self.elapsed_ms(now_ms)) / 1_000;
        (self.excess + 1_000).saturating_sub(drained)
    }

    /// Accounts one more request now.
    pub(crate) fn account(&mut self, excess: u64, now_ms: u64) {
        self.excess = excess;
        if self.last_ms == NEVER || self.elapsed_ms(now_ms) > 0 {
            self.last_ms = now_ms;
        }
    }

    /// Whether nothing would change if the bucket were forgotten.
    pub(crate) fn is_idle(&self, rate: Rate, now_ms: u64) -> bool {
        if self.last_ms == NEVER {
            return true;
        }
        let elapsed = now_ms.abs_diff(self.last_ms);
        let drained = rate.millis_per_s().saturating_mul(elapsed) / 1_000;
        elapsed >= IDLE_MS && self.excess <= drained
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_in_nginx() {
        let check = |text: &str, expected: Result<u32, NotARate>| {
            assert_eq!(text.parse::<Rate>().map(|rate| rate.0), expected, "{text}");
        };
        check("100r/s", Ok(100_000));
        check("30r/m", Ok(500));
        check("1r/m", Ok(16));
        for wrong in ["", "5", "0r/s", "+5r/s", "5r/h", "-1r/s", "1.5r/s", "9999999r/s"] {
            check(wrong, Err(NotARate));
        }
    }

    #[test]
    fn a_bucket_fills_by_requests_and_drains_by_time() {
        let rate: Rate = "10r/s".parse().unwrap();
        let mut bucket = Bucket::FRESH;
        let mut at = |now_ms: u64| {
            let excess = bucket.with_one_more(rate, now_ms);
            bucket.account(excess, now_ms);
            excess
        };
        assert_eq!(at(5_000), 0);
        assert_eq!(at(5_000), 1_000);
        assert_eq!(at(5_050), 1_500);
        assert_eq!(at(5_040), 2_500, "a clock that went back a little stands still");
        assert_eq!(at(9_000), 0);
    }
}
