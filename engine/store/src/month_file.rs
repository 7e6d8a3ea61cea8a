//! Owns the tables of one month of predictions. The file is self-contained, so that no commit
//! ever needs two files to agree.
//!
//! ```text
//! segments   last_sequence             -> envelope(segment)
//! spans      (model, last_sequence)    -> envelope(min_us i64, max_us i64, first_sequence u64,
//!                                         row_count u32)
//! users      (bucket u8, run)          -> envelope(entries: user hash u64, run - last_sequence of
//!                                         a segment u32; ascending)
//! totals     model                     -> envelope(figures)
//! hours      (model, hour i64)         -> envelope(figures)
//! minutes    (model, minute i64)       -> envelope(figures)
//! about      "next_sequence"           -> envelope(u64): all rows of this month below it are here
//! ```
//!
//! Rows come in runs, a turn of the log at a time; a run is named by its last sequence. A span
//! lets a reader skip a segment by time without opening it. The users of a run are divided by the
//! first byte of their hash, so that finding a user reads one small value per run, and writing a
//! run adds a few hundred entries however many users it has. The figures change in the transaction
//! that adds the rows, so that they are never stale.
//! Refuses to know the log and queries. Bound: one transaction per run.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};
use truststram_base::ModelId;

use crate::database_file::{ABOUT, DatabaseFile, OpenDatabase, catch, put_number, read_number};
use crate::disk::Disk;
use crate::envelope::{self, HEADER_BYTES};
use crate::error::{Damage, StoreError};
use crate::fields::Fields;
use crate::memory::ModelRollups;
use crate::rollup::{ROLLUP_BYTES, Rollup, hour_of};
use crate::row::Row;
use crate::segment::{Packer, Sealed};

pub(crate) const SEGMENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("segments");
pub(crate) const SPANS: TableDefinition<(&str, u64), &[u8]> = TableDefinition::new("spans");
pub(crate) const USERS: TableDefinition<(u8, u64), &[u8]> = TableDefinition::new("users");
pub(crate) const TOTALS: TableDefinition<&str, &[u8]> = TableDefinition::new("totals");
pub(crate) const HOURS: TableDefinition<(&str, i64), &[u8]> = TableDefinition::new("hours");
pub(crate) const MINUTES: TableDefinition<(&str, i64), &[u8]> = TableDefinition::new("minutes");

pub(crate) const NEXT_SEQUENCE: &str = "next_sequence";

/// Separate the contexts of values whose keys look alike.
const TOTAL_CONTEXT: &str = "total";
const HOUR_CONTEXT: &str = "hour";
const MINUTE_CONTEXT: &str = "minute";
const SPAN_CONTEXT: &str = "span";
const USERS_CONTEXT: &str = "users";

/// Bytes of one entry of a value in `users`.
pub(crate) const USER_ENTRY_BYTES: usize = size_of::<u64>() + size_of::<u32>();
const SPAN_BODY_BYTES: usize = 3 * size_of::<u64>() + size_of::<u32>();

/// The rows of one run that belong to this month, and their figures.
pub(crate) struct Run<'a> {
    /// By model; ascending.
    pub(crate) rows: BTreeMap<ModelId, Vec<Arc<Row>>>,
    pub(crate) rollups: HashMap<&'a ModelId, &'a ModelRollups>,
    /// The sequence after the last row of the whole turn.
    pub(crate) next_sequence: u64,
}

/// One month of predictions.
pub(crate) struct MonthFile {
    pub(crate) file: DatabaseFile,
    /// Held while the file's rows change.
    pub(crate) writing: Mutex<()>,
}

impl MonthFile {
    pub(crate) fn new(path: PathBuf, cache_bytes: usize, disk: Arc<dyn Disk>) -> Self {
        let file = DatabaseFile::new(path, cache_bytes, disk, create_tables);
        Self { file, writing: Mutex::new(()) }
    }

    /// Adds a run and syncs, unless it is here already.
    pub(crate) fn apply(&self, run: &Run<'_>, packer: &mut Packer) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let next_sequence = self.next_sequence()?;
        if next_sequence >= run.next_sequence {
            return Ok(());
        }
        // A turn of the log is moved whole or not at all. Should that ever not hold, its rows would
        // be here twice, or be left out.
        let is_split =
            |rows: &Vec<Arc<Row>>| rows.first().is_some_and(|first| first.sequence < next_sequence);
        if let Some(model) =
            run.rows.iter().find(|(_, rows)| is_split(rows)).map(|(model, _)| model)
        {
            let key = format!("{model}, below {next_sequence}");
            return Err(self.file.corrupt("next_sequence", key, Damage::Value));
        }
        let mut segments = Vec::new();
        for (model, rows) in &run.rows {
            segments.extend(packer.pack(model, rows).map_err(|source| StoreError::Io {
                action: "compress rows for",
                path: self.file.path(),
                source,
            })?);
        }
        segments.sort_unstable_by_key(|segment| segment.last_sequence);
        let damage = self.file.with(|database| {
            let mut transaction = database.begin_write()?;
            // The next opening after a crash then need not walk the whole file.
            transaction.set_quick_repair(true);
            insert_segments(&transaction, &segments)?;
            if let Err(damage) = add_rollups(&transaction, run)? {
                return Ok(Some(damage));
            }
            let mut about = transaction.open_table(ABOUT)?;
            put_number(&mut about, NEXT_SEQUENCE, run.next_sequence)?;
            drop(about);
            transaction.commit()?;
            Ok(None)
        })?;
        match damage {
            None => Ok(()),
            Some((table, key, damage)) => Err(self.file.corrupt(table, key, damage)),
        }
    }

    /// A number above every sequence that is in this file.
    pub(crate) fn next_sequence(&self) -> Result<u64, StoreError> {
        Ok(self.file.number(NEXT_SEQUENCE)?.unwrap_or(0))
    }

    /// What the last run left, with the sequence up to which it is complete.
    pub(crate) fn snapshot(self: &Arc<Self>) -> Result<MonthSnapshot, StoreError> {
        let (database, transaction) = self.file.begin_read()?;
        let next = catch(|| read_number(&transaction, NEXT_SEQUENCE));
        let next_sequence = next
            .map_err(|source| self.file.failed(source))?
            .transpose()
            .map_err(|damage| self.file.corrupt("about", NEXT_SEQUENCE.to_owned(), damage))?;
        Ok(MonthSnapshot {
            file: Arc::clone(self),
            database,
            transaction,
            next_sequence: next_sequence.unwrap_or(0),
        })
    }
}

/// One state of a month's file.
pub(crate) struct MonthSnapshot {
    pub(crate) file: Arc<MonthFile>,
    /// Open as long as somebody reads, whatever becomes of the file.
    pub(crate) database: Arc<OpenDatabase>,
    pub(crate) transaction: ReadTransaction,
    /// All rows of the month below this sequence are in the file.
    pub(crate) next_sequence: u64,
}

impl MonthSnapshot {
    /// The figures of `model` over the whole month.
    pub(crate) fn total(&self, model: &str) -> Result<Rollup, StoreError> {
        let frame = self.read(|transaction| {
            let table = transaction.open_table(TOTALS)?;
            Ok(table.get(model)?.map(|frame| frame.value().to_vec()))
        })?;
        frame.map_or(Ok(Rollup::default()), |frame| {
            open_rollup(total_context(model), &frame)
                .map_err(|damage| self.file.file.corrupt("totals", model.to_owned(), damage))
        })
    }

    /// Rows of the month, by its figures.
    pub(crate) fn rows(&self) -> Result<u64, StoreError> {
        let models = self.models()?;
        models.iter().map(|model| Ok(self.total(model.as_str())?.rows)).sum()
    }

    /// The models that have rows in this month.
    pub(crate) fn models(&self) -> Result<Vec<ModelId>, StoreError> {
        let names = self.read(|transaction| {
            let table = transaction.open_table(TOTALS)?;
            let names = table.iter()?.map(|row| Ok(row?.0.value().to_owned()));
            names.collect::<Result<Vec<String>, redb::Error>>()
        })?;
        let model = |name: String| {
            ModelId::new(&name).map_err(|_| self.file.file.corrupt("totals", name, Damage::Value))
        };
        names.into_iter().map(model).collect()
    }

    /// Adds the figures of the hours, or minutes, `from` to `to` (exclusive) to `sum`.
    pub(crate) fn add_rollups(
        &self,
        of: Buckets,
        model: &str,
        (from, to): (i64, i64),
        sum: &mut Rollup,
    ) -> Result<u64, StoreError> {
        let frames = self.read(|transaction| {
            let table = transaction.open_table(of.table())?;
            let mut frames = Vec::new();
            for row in table.range((model, from)..(model, to))? {
                let (key, frame) = row?;
                frames.push((key.value().1, frame.value().to_vec()));
            }
            Ok(frames)
        })?;
        for (bucket, frame) in &frames {
            let rollup = open_rollup(of.context(model, *bucket), frame).map_err(|damage| {
                self.file.file.corrupt(of.name(), format!("({model}, {bucket})"), damage)
            })?;
            sum.add(&rollup);
        }
        Ok(frames.len() as u64)
    }

    /// Reads, and has the file reopened where that fails.
    pub(crate) fn read<T>(
        &self,
        operation: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        operation(&self.transaction).map_err(|source| self.file.file.failed(source))
    }
}

/// The two tables of figures by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buckets {
    Hours,
    Minutes,
}

impl Buckets {
    pub(crate) fn table(self) -> TableDefinition<'static, (&'static str, i64), &'static [u8]> {
        match self {
            Self::Hours => HOURS,
            Self::Minutes => MINUTES,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hours => "hours",
            Self::Minutes => "minutes",
        }
    }

    pub(crate) fn context(self, model: &str, bucket: i64) -> u64 {
        let name = match self {
            Self::Hours => HOUR_CONTEXT,
            Self::Minutes => MINUTE_CONTEXT,
        };
        envelope::context(&[name, model], bucket.cast_unsigned())
    }
}

/// When the rows of a segment were made, and which they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min_us: i64,
    pub(crate) max_us: i64,
    pub(crate) first_sequence: u64,
    pub(crate) row_count: u32,
}

/// Reads the value of a span.
pub(crate) fn open_span((model, last): (&str, u64), frame: &[u8]) -> Result<Span, Damage> {
    let body = envelope::open(envelope::context(&[SPAN_CONTEXT, model], last), frame)?;
    let mut fields = Fields::new(body);
    let span = Span {
        min_us: i64::from_le_bytes(fields.array()?),
        max_us: i64::from_le_bytes(fields.array()?),
        first_sequence: u64::from_le_bytes(fields.array()?),
        row_count: u32::from_le_bytes(fields.array()?),
    };
    if fields.is_empty() { Ok(span) } else { Err(Damage::Length) }
}

/// The entries of a value in `users`: user hash and last sequence of a segment, ascending by hash.
pub(crate) fn open_users(
    (bucket, run): (u8, u64),
    frame: &[u8],
) -> Result<&[[u8; USER_ENTRY_BYTES]], Damage> {
    let body = envelope::open(users_context(bucket, run), frame)?;
    match body.as_chunks() {
        (entries, []) => Ok(entries),
        _ => Err(Damage::Length),
    }
}

/// The parts of an entry in `users` of the run.
pub(crate) fn user_entry(entry: &[u8; USER_ENTRY_BYTES], run: u64) -> (u64, u64) {
    let (hash, back) = entry.split_at(size_of::<u64>());
    let hash = u64::from_be_bytes(hash.try_into().unwrap_or_default());
    let back = u32::from_be_bytes(back.try_into().unwrap_or_default());
    (hash, run.saturating_sub(back.into()))
}

/// The bucket of a user.
pub(crate) fn bucket_of(hash: u64) -> u8 {
    hash.to_be_bytes()[0]
}

/// Reads figures.
pub(crate) fn open_rollup(context: u64, frame: &[u8]) -> Result<Rollup, Damage> {
    Rollup::from_bytes(envelope::open(context, frame)?)
}

/// The context of a model's figures over the whole month.
pub(crate) fn total_context(model: &str) -> u64 {
    envelope::context(&[TOTAL_CONTEXT, model], 0)
}

fn users_context(bucket: u8, run: u64) -> u64 {
    envelope::context(&[USERS_CONTEXT], run ^ (u64::from(bucket) << 56))
}

fn create_tables(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(SEGMENTS)?;
    transaction.open_table(SPANS)?;
    transaction.open_table(USERS)?;
    transaction.open_table(TOTALS)?;
    transaction.open_table(HOURS)?;
    transaction.open_table(MINUTES)?;
    Ok(())
}

fn insert_segments(transaction: &WriteTransaction, batch: &[Sealed]) -> Result<(), redb::Error> {
    let mut segments = transaction.open_table(SEGMENTS)?;
    let mut spans = transaction.open_table(SPANS)?;
    let run = batch.last().map_or(0, |segment| segment.last_sequence);
    let mut users: BTreeMap<u8, Vec<[u8; USER_ENTRY_BYTES]>> = BTreeMap::new();
    for segment in batch {
        let key = (segment.model.as_str(), segment.last_sequence);
        segments.insert(segment.last_sequence, &segment.frame[..])?;
        spans.insert(key, &seal_span(key, segment)[..])?;
        let back = u32::try_from(run - segment.last_sequence).unwrap_or(u32::MAX);
        for &hash in &segment.users {
            let mut entry = [0; USER_ENTRY_BYTES];
            // Big endian, so that entries compare like their numbers.
            entry[..8].copy_from_slice(&hash.to_be_bytes());
            entry[8..].copy_from_slice(&back.to_be_bytes());
            users.entry(bucket_of(hash)).or_default().push(entry);
        }
    }
    let mut table = transaction.open_table(USERS)?;
    for (bucket, mut entries) in users {
        entries.sort_unstable();
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend_from_slice(entries.as_flattened());
        envelope::seal(users_context(bucket, run), &mut frame);
        table.insert((bucket, run), &frame[..])?;
    }
    Ok(())
}

fn seal_span((model, last): (&str, u64), segment: &Sealed) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEADER_BYTES + SPAN_BODY_BYTES);
    frame.resize(HEADER_BYTES, 0);
    frame.extend_from_slice(&segment.min_us.to_le_bytes());
    frame.extend_from_slice(&segment.max_us.to_le_bytes());
    frame.extend_from_slice(&segment.first_sequence.to_le_bytes());
    frame.extend_from_slice(&segment.row_count.to_le_bytes());
    envelope::seal(envelope::context(&[SPAN_CONTEXT, model], last), &mut frame);
    frame
}

/// Where damage was met: table and key.
type Found = (&'static str, String, Damage);

/// Adds the run's figures to those in the file; nothing may be committed after damage.
fn add_rollups(
    transaction: &WriteTransaction,
    run: &Run<'_>,
) -> Result<Result<(), Found>, redb::Error> {
    let mut totals = transaction.open_table(TOTALS)?;
    let mut hours = transaction.open_table(HOURS)?;
    let mut minutes = transaction.open_table(MINUTES)?;
    for (model, rollups) in &run.rollups {
        let model = model.as_str();
        let old = totals.get(model)?.map(|old| old.value().to_vec());
        match sum_frame(old, total_context(model), &rollups.total) {
            Ok(frame) => drop(totals.insert(model, &frame[..])?),
            Err(damage) => return Ok(Err(("totals", model.to_owned(), damage))),
        }
        let mut by_hour: BTreeMap<i64, Rollup> = BTreeMap::new();
        for (&minute, rollup) in &rollups.minutes {
            by_hour.entry(hour_of(minute)).or_default().add(rollup);
        }
        for (of, table, buckets) in [
            (Buckets::Hours, &mut hours, &by_hour),
            (Buckets::Minutes, &mut minutes, &rollups.minutes),
        ] {
            if let Err(damage) = add_buckets(table, of, model, buckets)? {
                return Ok(Err(damage));
            }
        }
    }
    Ok(Ok(()))
}

fn add_buckets(
    table: &mut Table<'_, (&str, i64), &[u8]>,
    of: Buckets,
    model: &str,
    buckets: &BTreeMap<i64, Rollup>,
) -> Result<Result<(), Found>, redb::Error> {
    for (&bucket, rollup) in buckets {
        let old = table.get((model, bucket))?.map(|old| old.value().to_vec());
        match sum_frame(old, of.context(model, bucket), rollup) {
            Ok(frame) => drop(table.insert((model, bucket), &frame[..])?),
            Err(damage) => return Ok(Err((of.name(), format!("({model}, {bucket})"), damage))),
        }
    }
    Ok(Ok(()))
}

fn sum_frame(
    old: Option<Vec<u8>>,
    context: u64,
    more: &Rollup,
) -> Result<[u8; HEADER_BYTES + ROLLUP_BYTES], Damage> {
    let mut sum = *more;
    if let Some(old) = old {
        sum.add(&open_rollup(context, &old)?);
    }
    Ok(envelope::frame(context, &sum.to_bytes()))
}
