//! Owns the headers that say how urgent a request is: `x-priority` and `x-deadline-ms`.
//!
//! Refuses to know what they do. Bound: two numbers.

use http::{HeaderMap, HeaderName};
use utoipa::IntoParams;

use crate::filters::invalid;
use crate::ports::{PRIORITY_DEFAULT, PRIORITY_MAX};
use crate::problem::Problem;

const DEADLINE: &str = "x-deadline-ms";
const PRIORITY: &str = "x-priority";
/// The longest that a caller may wait, in milliseconds: an hour.
pub(crate) const DEADLINE_MS_MAX: u64 = 3_600_000;

/// How urgent a request is.
#[derive(Clone, Copy, Debug, PartialEq, IntoParams)]
#[into_params(parameter_in = Header)]
pub(crate) struct Haste {
    /// 0 can wait, 1 is usual, 3 goes first.
    #[param(rename = "x-priority", required = false, maximum = 3, default = 1)]
    pub priority: u8,
    /// Milliseconds that the caller waits; as the server is configured if absent.
    #[param(rename = "x-deadline-ms", minimum = 1, maximum = 3_600_000)]
    pub deadline_ms: Option<u64>,
}

/// Reads the headers.
pub(crate) fn haste(headers: &HeaderMap) -> Result<Haste, Problem> {
    let number = |name: &'static str, min: u64, max: u64| -> Result<Option<u64>, Problem> {
        let Some(value) = headers.get(HeaderName::from_static(name)) else { return Ok(None) };
        let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
        let number = number.filter(|number| (min..=max).contains(number));
        let message = || format!("must be a whole number, {min} to {max}");
        number.map(Some).ok_or_else(|| invalid(name, message()))
    };
    let priority = number(PRIORITY, 0, u64::from(PRIORITY_MAX))?;
    let priority = priority.and_then(|priority| u8::try_from(priority).ok());
    let deadline_ms = number(DEADLINE, 1, DEADLINE_MS_MAX)?;
    Ok(Haste { priority: priority.unwrap_or(PRIORITY_DEFAULT), deadline_ms })
}

/// The priority for a rank as Triton counts them: 1 goes first, and none has no end.
pub(crate) fn priority_of_rank(rank: u64) -> u8 {
    let behind = u8::try_from(rank.saturating_sub(1)).unwrap_or(u8::MAX);
    PRIORITY_MAX.saturating_sub(behind)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn numbers_within_their_limits() {
        let read = |name: &'static str, value: &str| {
            let name = HeaderName::from_static(name);
            haste(&HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]))
        };
        let usual = Haste { priority: PRIORITY_DEFAULT, deadline_ms: None };
        assert_eq!(haste(&HeaderMap::new()).unwrap(), usual);
        assert_eq!(read(PRIORITY, "3").unwrap().priority, 3);
        assert_eq!(read(DEADLINE, " 250 ").unwrap().deadline_ms, Some(250));
        for (name, value) in [(PRIORITY, "4"), (PRIORITY, "-1"), (DEADLINE, "0"), (DEADLINE, "x")] {
            let problem = read(name, value).unwrap_err();
            assert!(problem.detail.starts_with(name), "{problem:?}");
        }
        let ranks: Vec<u8> = [1, 2, 3, 4, 5, u64::MAX].map(priority_of_rank).into();
        assert_eq!(ranks, [3, 2, 1, 0, 0, 0]);
    }
}
