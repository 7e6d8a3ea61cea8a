//! Owns the copying of one month's tables into a new file, in the order of their keys.
//!
//! A new file has no holes: redb never gives pages back to the file system while it runs, and its
//! file doubles as it grows. Refuses to know where the file goes.
//! Bound: [`TRANSACTION_ENTRIES`] entries per transaction.

use redb::{Database, Durability, Key, ReadTransaction, ReadableTable, TableDefinition, Value};

use crate::database_file::{ABOUT, read_number};
use crate::month_file::{HOURS, MINUTES, NEXT_SEQUENCE, SEGMENTS, SPANS, TOTALS, USERS};

/// Entries of one transaction; it holds their pages in memory.
const TRANSACTION_ENTRIES: usize = 2_000;

/// Told of entries copied; says whether to go on.
pub(super) type OnEntries<'a> = &'a mut dyn FnMut(u64) -> bool;

/// Copies everything; `false` if it was ended.
pub(super) fn copy_all(
    from: &ReadTransaction,
    to: &Database,
    on_entries: OnEntries<'_>,
) -> Result<bool, redb::Error> {
    Ok(copy_table(from, to, SEGMENTS, |_| true, on_entries)?
        && copy_table(from, to, SPANS, |_| true, on_entries)?
        && copy_table(from, to, USERS, |_| true, on_entries)?
        && copy_figures(from, to, on_entries)?
        && finish(from, to)?)
}

/// Copies what came after the sequence `after`, and all figures again.
pub(super) fn copy_tail(
    from: &ReadTransaction,
    to: &Database,
    after: u64,
) -> Result<(), redb::Error> {
    let on_entries: OnEntries<'_> = &mut |_| true;
    copy_table(from, to, SEGMENTS, |last| last >= after, on_entries)?;
    copy_table(from, to, SPANS, |(_, last)| last >= after, on_entries)?;
    copy_table(from, to, USERS, |(_, run)| run >= after, on_entries)?;
    copy_figures(from, to, on_entries)?;
    finish(from, to)?;
    Ok(())
}

fn copy_figures(
    from: &ReadTransaction,
    to: &Database,
    on_entries: OnEntries<'_>,
) -> Result<bool, redb::Error> {
    Ok(copy_table(from, to, TOTALS, |_| true, on_entries)?
        && copy_table(from, to, HOURS, |_| true, on_entries)?
        && copy_table(from, to, MINUTES, |_| true, on_entries)?)
}

fn copy_table<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &Database,
    definition: TableDefinition<'_, K, V>,
    is_wanted: impl Fn(K::SelfType<'_>) -> bool,
    on_entries: OnEntries<'_>,
) -> Result<bool, redb::Error> {
    let source = from.open_table(definition)?;
    let mut entries = source.iter()?;
    let mut is_done = false;
    while !is_done {
        let mut transaction = to.begin_write()?;
        // Only the last transaction of a copy needs to be on the disk.
        transaction.set_durability(Durability::None)?;
        let mut table = transaction.open_table(definition)?;
        let mut count = 0;
        while count < TRANSACTION_ENTRIES {
            let Some(entry) = entries.next() else {
                is_done = true;
                break;
            };
            let (key, value) = entry?;
            if is_wanted(key.value()) {
                table.insert(key.value(), value.value())?;
                count += 1;
            }
        }
        drop(table);
        transaction.commit()?;
        if !on_entries(count as u64) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Says up to which sequence the copy is complete, and makes all of it durable.
fn finish(from: &ReadTransaction, to: &Database) -> Result<bool, redb::Error> {
    let mut transaction = to.begin_write()?;
    transaction.set_quick_repair(true);
    let mut about = transaction.open_table(ABOUT)?;
    if let Some(Ok(next_sequence)) = read_number(from, NEXT_SEQUENCE)? {
        crate::database_file::put_number(&mut about, NEXT_SEQUENCE, next_sequence)?;
    }
    drop(about);
    transaction.commit()?;
    Ok(true)
}
