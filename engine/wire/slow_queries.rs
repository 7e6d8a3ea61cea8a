//! Owns the log of slow queries: PostgreSQL's `log_min_duration_statement`.
//!
//! Refuses to know what is asked. Time in the queue is not counted. Bound: one line per query.

use std::sync::Arc;

use truststram_base::Clock;

/// How a query went, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The way to the rows, in words.
    pub plan: String,
    /// Rows that were answered.
    pub rows: u64,
}

/// Watches queries.
pub struct SlowQueries {
    clock: Arc<dyn Clock>,
    slow_us: u64,
}

impl SlowQueries {
    /// Logs queries that take `slow_ms` milliseconds or longer.
    pub fn new(clock: Arc<dyn Clock>, slow_ms: u64) -> Self {
        Self { clock, slow_us: slow_ms.saturating_mul(1_000) }
    }

    /// Runs a query, and logs it if it was slow; `account` is asked only then.
    ///
    /// # Errors
    /// Those of the query, which are logged too if it was slow.
    pub fn watch<T, E>(
        &self,
        what: &str,
        query: impl FnOnce() -> Result<T, E>,
        account: impl FnOnce(&T) -> Account,
    ) -> Result<T, E> {
        let start_us = self.clock.monotonic_us();
        let result = query();
        let took_us = self.clock.monotonic_us().saturating_sub(start_us);
        if took_us >= self.slow_us {
            let account = match &result {
                Ok(found) => account(found),
                Err(_) => Account { plan: "it failed".to_owned(), rows: 0 },
            };
            let duration_ms = took_us as f64 / 1e3;
            tracing::warn!(
                query = what,
                duration_ms,
                plan = account.plan,
                rows = account.rows,
                "slow query"
            );
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use truststram_base::ManualClock;

    use super::*;

    #[test]
    fn only_slow_queries_are_asked_for_an_account() {
        let clock = Arc::new(ManualClock::at(0));
        let queries = SlowQueries::new(clock.clone(), 10);
        let check = |took_us: i64, fails: bool, is_asked: bool| {
            let asked = Cell::new(false);
            let query = || {
                clock.advance(took_us);
                if fails { Err(()) } else { Ok(3_u64) }
            };
            let found = queries.watch("test", query, |&rows| {
                asked.set(true);
                Account { plan: String::new(), rows }
            });
            assert_eq!(found.is_err(), fails);
            assert_eq!(asked.get(), is_asked, "{took_us} us");
        };
        check(9_999, false, false);
        check(10_000, false, true);
        check(10_000, true, false);
    }
}
