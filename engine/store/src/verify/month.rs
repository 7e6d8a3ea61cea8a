//! Owns the check of one month's file: rows against indexes and figures, both ways.
//!
//! Refuses to know the other files. Bound: one segment in memory, and of each segment a span and
//! a sum over its users.

use std::collections::{BTreeMap, HashMap, HashSet};

use redb::ReadableTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{Finding, OnVerifyProgress, Problem, VerifyProgress};
use crate::database_file::catch;
use crate::error::StoreError;
use crate::month::Month;
use crate::month_file::{
    Buckets, MonthSnapshot, SEGMENTS, SPANS, Span, TOTALS, USERS, open_rollup, open_span,
    open_users, total_context, user_entry,
};
use crate::rollup::{Rollup, hour_of, minute_of};
use crate::segment::{Columns, decode, user_hash};

/// What the rows of a segment call for in the indexes.
struct Called {
    model: String,
    span: Span,
    users: UserSum,
}

/// A sum over the users of a segment that does not depend on their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct UserSum {
    count: u64,
    sum: u64,
}

impl UserSum {
    fn add(&mut self, hash: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(xxh3_64_with_seed(&hash.to_le_bytes(), 1));
    }
}

/// Figures by model and hour or minute.
type Figures = HashMap<(String, i64), Rollup>;

/// The check of one month.
struct MonthCheck<'a> {
    month: Month,
    snapshot: &'a MonthSnapshot,
    segments: BTreeMap<u64, Called>,
    minutes: Figures,
    findings: Vec<Finding>,
}

impl<'a> MonthCheck<'a> {
    /// Checks everything; `None` if `on_progress` ended it.
    fn run(
        month: Month,
        snapshot: &'a MonthSnapshot,
        progress: &mut VerifyProgress,
        on_progress: OnVerifyProgress<'_>,
    ) -> Result<Option<Vec<Finding>>, StoreError> {
        let mut check = Self {
            month,
            snapshot,
            segments: BTreeMap::new(),
            minutes: HashMap::new(),
            findings: Vec::new(),
        };
        let checked = catch(|| {
            if !check.read_segments(progress, on_progress)? {
                return Ok(false);
            }
            check.compare_spans()?;
            check.compare_users()?;
            check.compare_figures()?;
            Ok(true)
        });
        match checked {
            Ok(true) => Ok(Some(check.findings)),
            Ok(false) => Ok(None),
            Err(source) => {
                let finding = Finding::of_error(snapshot.file.file.failed(source))?;
                check.findings.push(finding);
                Ok(Some(check.findings))
            }
        }
    }

    fn add(&mut self, table: &'static str, key: String, problem: Problem) {
        let path = self.snapshot.file.file.path();
        self.findings.push(Finding { path, table, key, problem });
    }

    fn read_segments(
        &mut self,
        progress: &mut VerifyProgress,
        on_progress: OnVerifyProgress<'_>,
    ) -> Result<bool, redb::Error> {
        let table = self.snapshot.transaction.open_table(SEGMENTS)?;
        let mut ends: HashMap<String, u64> = HashMap::new();
        for row in table.iter()? {
            let (key, frame) = row?;
            let last = key.value();
            progress.segments += 1;
            progress.bytes += frame.value().len() as u64;
            match decode(frame.value(), last) {
                Err(damage) => self.add("segments", last.to_string(), Problem::Damaged(damage)),
                Ok(columns) => {
                    progress.rows += columns.row_count() as u64;
                    self.read_rows(last, &columns, &mut ends);
                }
            }
            if !on_progress(progress) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_rows(&mut self, last: u64, columns: &Columns, ends: &mut HashMap<String, u64>) {
        let model = columns.model.as_str();
        let end = ends.entry(model.to_owned()).or_default();
        let ascends = columns.sequences.windows(2).all(|pair| pair[0] < pair[1]);
        let follows = columns.sequences.first().is_some_and(|&first| first >= *end);
        let is_in_month =
            columns.timestamps_us.iter().all(|&timestamp_us| Month::of(timestamp_us) == self.month);
        let has_key = columns.sequences.last() == Some(&last);
        *end = last + 1;
        if !(ascends && follows && is_in_month && has_key && last < self.snapshot.next_sequence) {
            self.add("segments", last.to_string(), Problem::Misplaced);
        }
        let mut users = UserSum::default();
        let mut seen = HashSet::new();
        for at in 0..columns.row_count() {
            let timestamp_us = columns.timestamps_us[at];
            let key = (model.to_owned(), minute_of(timestamp_us));
            let (class, confidence) = (columns.classes[at], columns.confidences[at]);
            self.minutes.entry(key).or_default().add_parts(class, confidence, timestamp_us);
            let user = columns.user(at);
            if !user.is_empty() && seen.insert(user_hash(user)) {
                users.add(user_hash(user));
            }
        }
        let span = Span {
            min_us: columns.timestamps_us.iter().copied().min().unwrap_or(i64::MAX),
            max_us: columns.timestamps_us.iter().copied().max().unwrap_or(i64::MIN),
            first_sequence: columns.sequences.first().copied().unwrap_or(0),
            row_count: u32::try_from(columns.row_count()).unwrap_or(u32::MAX),
        };
        self.segments.insert(last, Called { model: model.to_owned(), span, users });
    }

    fn compare_spans(&mut self) -> Result<(), redb::Error> {
        let table = self.snapshot.transaction.open_table(SPANS)?;
        let mut seen = HashSet::new();
        for row in table.iter()? {
            let (key, frame) = row?;
            let (model, last) = key.value();
            let problem = match (open_span((model, last), frame.value()), self.segments.get(&last))
            {
                (Err(damage), _) => Some(Problem::Damaged(damage)),
                (Ok(_), None) => Some(Problem::IndexExtra),
                (Ok(_), Some(called)) if called.model != model => Some(Problem::IndexExtra),
                (Ok(span), Some(called)) if called.span != span => Some(Problem::Differs),
                (Ok(_), Some(_)) => None,
            };
            seen.insert((model.to_owned(), last));
            if let Some(problem) = problem {
                self.add("spans", format!("({model}, {last})"), problem);
            }
        }
        let lacking: Vec<String> = self
            .segments
            .iter()
            .filter(|(last, called)| !seen.contains(&(called.model.clone(), **last)))
            .map(|(last, called)| format!("({}, {last})", called.model))
            .collect();
        lacking.into_iter().for_each(|key| self.add("spans", key, Problem::IndexLacks));
        Ok(())
    }

    fn compare_users(&mut self) -> Result<(), redb::Error> {
        let table = self.snapshot.transaction.open_table(USERS)?;
        let mut found: BTreeMap<u64, UserSum> = BTreeMap::new();
        for row in table.iter()? {
            let (key, frame) = row?;
            let (bucket, run) = key.value();
            match open_users((bucket, run), frame.value()) {
                Err(damage) => {
                    self.add("users", format!("({bucket}, {run})"), Problem::Damaged(damage));
                }
                Ok(entries) => {
                    if !entries.is_sorted() {
                        self.add("users", format!("({bucket}, {run})"), Problem::Misplaced);
                    }
                    for entry in entries {
                        let (hash, segment) = user_entry(entry, run);
                        found.entry(segment).or_default().add(hash);
                    }
                }
            }
        }
        let differing: Vec<u64> = self
            .segments
            .iter()
            .filter(|(last, called)| found.remove(last).unwrap_or_default() != called.users)
            .map(|(last, _)| *last)
            .collect();
        for last in differing {
            self.add("users", format!("of segment {last}"), Problem::Differs);
        }
        for (last, _) in found {
            self.add("users", format!("of segment {last}"), Problem::IndexExtra);
        }
        Ok(())
    }

    fn compare_figures(&mut self) -> Result<(), redb::Error> {
        let mut hours: Figures = HashMap::new();
        let mut totals: HashMap<String, Rollup> = HashMap::new();
        for ((model, minute), rollup) in &self.minutes {
            hours.entry((model.clone(), hour_of(*minute))).or_default().add(rollup);
            totals.entry(model.clone()).or_default().add(rollup);
        }
        let minutes = std::mem::take(&mut self.minutes);
        self.compare_buckets(Buckets::Hours, hours)?;
        self.compare_buckets(Buckets::Minutes, minutes)?;
        let table = self.snapshot.transaction.open_table(TOTALS)?;
        for row in table.iter()? {
            let (key, frame) = row?;
            let model = key.value();
            let stored = open_rollup(total_context(model), frame.value());
            let problem = match (stored, totals.remove(model)) {
                (Err(damage), _) => Some(Problem::Damaged(damage)),
                (Ok(_), None) => Some(Problem::IndexExtra),
                (Ok(stored), Some(counted)) => (stored != counted).then_some(Problem::Differs),
            };
            if let Some(problem) = problem {
                self.add("totals", model.to_owned(), problem);
            }
        }
        for (model, _) in totals {
            self.add("totals", model, Problem::IndexLacks);
        }
        Ok(())
    }

    fn compare_buckets(&mut self, of: Buckets, mut counted: Figures) -> Result<(), redb::Error> {
        let table = self.snapshot.transaction.open_table(of.table())?;
        for row in table.iter()? {
            let (key, frame) = row?;
            let (model, bucket) = key.value();
            let stored = open_rollup(of.context(model, bucket), frame.value());
            let problem = match (stored, counted.remove(&(model.to_owned(), bucket))) {
                (Err(damage), _) => Some(Problem::Damaged(damage)),
                (Ok(_), None) => Some(Problem::IndexExtra),
                (Ok(stored), Some(counted)) => (stored != counted).then_some(Problem::Differs),
            };
            if let Some(problem) = problem {
                self.add(of.name(), format!("({model}, {bucket})"), problem);
            }
        }
        for (model, bucket) in counted.into_keys() {
            self.add(of.name(), format!("({model}, {bucket})"), Problem::IndexLacks);
        }
        Ok(())
    }
}

/// Checks every month of `months`.
pub(crate) fn verify_months(
    months: Vec<(Month, MonthSnapshot)>,
    on_progress: OnVerifyProgress<'_>,
) -> Result<(Vec<Finding>, VerifyProgress), StoreError> {
    let mut progress = VerifyProgress::default();
    let mut findings = Vec::new();
    for (month, snapshot) in months {
        match MonthCheck::run(month, &snapshot, &mut progress, on_progress)? {
            Some(found) => findings.extend(found),
            None => break,
        }
    }
    Ok((findings, progress))
}
