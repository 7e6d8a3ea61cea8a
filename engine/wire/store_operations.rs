//! Owns what an operator has the store do, on a thread that holds up no query.
//!
//! Refuses to know how it is done. What is not over when the process drains is ended. Bound: one
//! action after the other; those that wait by the thread's queue.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};
use truststram_api::ports::{Failure, StoreAction, StoreFailure, StoreOperations};
use truststram_base::{HistogramSnapshot, Kind};
use truststram_store::{
    BackupFormat, CompactedMonth, Finding, StoreError, StoredMonth, VerifyReport,
};

use super::background::Background;
use super::operate::Parts;

/// Tables of the figures that others keep in a materialised view.
const FIGURE_TABLES: [&str; 3] = ["totals", "hours", "minutes"];

/// The store as its operator sees it.
pub struct StoreOperator {
    /// The process, of which the store is a part.
    pub parts: Arc<Parts>,
    /// The thread that works.
    pub thread: Arc<Background>,
    /// The thread that answers questions.
    pub reader: Arc<Background>,
}

impl StoreOperations for StoreOperator {
    fn stats(&self) -> BoxFuture<'static, Result<Value, StoreFailure>> {
        let parts = self.parts.clone();
        let done = self.reader.run(move || stats_of(&parts));
        done.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }

    fn run(&self, action: StoreAction) -> BoxFuture<'static, Result<Value, StoreFailure>> {
        let parts = self.parts.clone();
        let done = self.thread.run(move || perform(&parts, &action));
        done.map(|done| done.unwrap_or_else(|failure| Err(failure.into()))).boxed()
    }
}

fn stats_of(parts: &Parts) -> Result<Value, StoreFailure> {
    let stats = parts.store.stats();
    let months = parts.store.months().map_err(failure_of)?;
    let month = |month: &StoredMonth| {
        json!({
            "month": month.month,
            "rows": month.rows,
            "bytes": month.bytes,
            "path": month.path,
        })
    };
    Ok(json!({
        "path": stats.path,
        "io": parts.store.io().to_string(),
        "file_bytes": stats.file_bytes,
        "months": stats.months,
        "month_files": months.iter().map(month).collect::<Vec<_>>(),
        "rows_queued": stats.rows_queued,
        "rows_in_log": stats.rows_in_log,
        "rows_committed": stats.rows_committed,
        "rows_applied": stats.rows_applied,
        "rows_refused": stats.rows_refused,
        "rows_dropped": parts.dropped.get(),
        "rows_lost": stats.rows_lost,
        "commits": stats.commits,
        "commit_failures": stats.commit_failures,
        "apply_failures": stats.apply_failures,
        "cache_hits": stats.cache_hits,
        "cache_misses": stats.cache_misses,
        "scrubs": stats.scrubs,
        "scrub_findings": stats.scrub_findings,
        "commit_us": spread(&stats.commit_us),
        "apply_us": spread(&stats.apply_us),
        "rows_per_commit": spread(&stats.rows_per_commit),
    }))
}

fn perform(parts: &Parts, action: &StoreAction) -> Result<Value, StoreFailure> {
    let store = &parts.store;
    let goes_on = || !parts.draining.load(Ordering::Relaxed);
    let verify = || match store.verify(&mut |_| goes_on()) {
        // What was not looked at is not known to be right.
        Ok(_) if !goes_on() => Err(Failure::Draining.into()),
        checked => checked.map_err(failure_of),
    };
    match action {
        StoreAction::Checkpoint => {
            store.checkpoint().map_err(failure_of)?;
            let stats = store.stats();
            Ok(json!({ "rows_in_log": stats.rows_in_log, "rows_applied": stats.rows_applied }))
        }
        StoreAction::Verify => verify().map(|report| verified(&report)),
        StoreAction::Refresh => verify().map(|report| refreshed(&report)),
        StoreAction::Compact => {
            let months = store.compact(&mut |_| goes_on()).map_err(failure_of)?;
            Ok(json!({ "months": months.iter().map(compacted).collect::<Vec<_>>() }))
        }
        StoreAction::Backup { path, tar } => {
            let path = backup_path(path)?;
            let format = if *tar { BackupFormat::Tar } else { BackupFormat::Directory };
            let done = store.backup(path, format, &mut |_| goes_on()).map_err(failure_of)?;
            Ok(json!({
                "path": done.path, "files": done.files, "bytes": done.bytes, "rows": done.rows,
            }))
        }
        StoreAction::DropMonth { month } => {
            let gone = store.drop_month(month).map_err(failure_of)?;
            Ok(json!({ "month": gone.month, "bytes": gone.bytes, "rows": gone.rows }))
        }
    }
}

fn compacted(month: &CompactedMonth) -> Value {
    json!({
        "month": month.month,
        "bytes_before": month.bytes_before,
        "bytes_after": month.bytes_after,
    })
}

/// Where a backup goes. The server's own directory means nothing to whoever asks.
fn backup_path(path: &str) -> Result<&Path, StoreFailure> {
    let path = Path::new(path);
    if path.is_absolute() {
        return Ok(path);
    }
    let detail = format!("`path` must be absolute, found `{}`", path.display());
    Err(StoreFailure { kind: Kind::Invalid, detail })
}

fn failure_of(error: StoreError) -> StoreFailure {
    StoreFailure { kind: error.kind(), detail: error.to_string() }
}

fn verified(report: &VerifyReport) -> Value {
    json!({
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
        "checked": checked(report),
    })
}

/// The findings about figures; the others are counted.
fn refreshed(report: &VerifyReport) -> Value {
    let is_figure = |found: &&Finding| FIGURE_TABLES.contains(&found.table);
    let (figures, others): (Vec<_>, Vec<_>) = report.findings.iter().partition(is_figure);
    json!({
        "findings": figures.into_iter().map(finding).collect::<Vec<_>>(),
        "other_findings": others.len(),
        "checked": checked(report),
    })
}

fn checked(report: &VerifyReport) -> Value {
    let checked = &report.checked;
    json!({ "segments": checked.segments, "rows": checked.rows, "bytes": checked.bytes })
}

fn finding(found: &Finding) -> Value {
    tracing::error!(%found, "the check of the store found damage");
    json!({
        "path": found.path,
        "table": found.table,
        "key": found.key,
        "problem": found.problem.to_string(),
    })
}

/// Count, mean, and the bounds below which half and 99 of 100 observations are: the ends of the
/// histogram's buckets, null where there are none or where they are beyond the last end.
fn spread(histogram: &HistogramSnapshot) -> Value {
    let mean = (histogram.count > 0).then(|| histogram.sum as f64 / histogram.count as f64);
    json!({
        "count": histogram.count,
        "mean": mean,
        "p50": bound_of(histogram, 50),
        "p99": bound_of(histogram, 99),
    })
}

fn bound_of(histogram: &HistogramSnapshot, percent: u64) -> Option<u64> {
    let rank = (histogram.count * percent).div_ceil(100).max(1);
    let mut counted = 0;
    let reached = histogram.buckets.iter().find(|(_, count)| {
        counted += count;
        counted >= rank
    });
    reached.map(|&(bound, _)| bound).filter(|&bound| bound != u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use truststram_base::Histogram;
    use truststram_store::{Problem, VerifyProgress};

    use super::*;

    #[test]
    fn the_bounds_are_ends_of_buckets() {
        let check = |values: &[u64], p50: Option<u64>, p99: Option<u64>| {
            let histogram = Histogram::new(&[10, 100]);
            values.iter().for_each(|&value| histogram.observe(value));
            let found = histogram.snapshot();
            assert_eq!((bound_of(&found, 50), bound_of(&found, 99)), (p50, p99), "{values:?}");
        };
        check(&[], None, None);
        check(&[1], Some(10), Some(10));
        check(&[1, 50], Some(10), Some(100));
        check(&[1, 1, 50, 500], Some(10), None);
        assert!(spread(&Histogram::new(&[10]).snapshot())["mean"].is_null());
    }

    #[test]
    fn a_backup_goes_to_an_absolute_path() {
        assert_eq!(backup_path("/a/b").unwrap(), Path::new("/a/b"));
        for path in ["", "b", "../b", "./b"] {
            assert_eq!(backup_path(path).unwrap_err().kind, Kind::Invalid, "{path}");
        }
    }

    #[test]
    fn a_refresh_names_figures_only_and_counts_the_rest() {
        let found = |table| Finding {
            path: PathBuf::from("p"),
            table,
            key: "k".to_owned(),
            problem: Problem::Differs,
        };
        let report = VerifyReport {
            findings: ["segments", "totals", "minutes", "users"].map(found).to_vec(),
            checked: VerifyProgress { segments: 1, rows: 2, bytes: 3 },
            ..VerifyReport::default()
        };
        let answer = refreshed(&report);
        assert_eq!(answer["findings"].as_array().unwrap().len(), 2);
        assert_eq!(answer["findings"][0]["table"], "totals");
        assert_eq!(answer["other_findings"], 2);
        let answer = verified(&report);
        assert_eq!(answer["findings"].as_array().unwrap().len(), 4);
        assert_eq!(answer["checked"], json!({ "segments": 1, "rows": 2, "bytes": 3 }));
    }
}
