//! Owns reading everything of a data set and comparing it: blocks with extents, both with the
//! totals.
//!
//! Refuses to know what is to be done about it. Bound: one block of rows in memory.

use redb::ReadTransaction;

use super::{
    BLOCKS, DATASETS, DatasetName, EXTENTS, Extent, Totals, block, decode_totals, every_block,
};
use crate::disagreement::{Disagreement, Found};
use crate::error::StoreError;
use crate::stop::Stop;

/// Everything of a data set that does not agree.
pub(super) fn run(
    transaction: &ReadTransaction,
    name: &DatasetName,
) -> Result<Vec<Disagreement>, Stop> {
    let mut found = Found::default();
    let stored = transaction
        .open_table(DATASETS)?
        .get(name.as_str())?
        .map(|frame| decode_totals(name.as_str(), frame.value()));
    let (counted, has_holes) = read_blocks(transaction, name, &mut found)?;
    let key = name.as_str().to_owned();
    let table = "datasets";
    match stored {
        // What cannot be read cannot be counted, and is reported already.
        Some(Ok(stored)) if stored == counted || has_holes => {}
        Some(Ok(_)) => found.add(Disagreement::Differs { table, key }),
        Some(Err(damage)) => found.add(Disagreement::Damaged { table, key, damage }),
        None if counted == Totals::default() && found.0.is_empty() => {
            return Err(StoreError::DatasetUnknown { name: name.clone() }.into());
        }
        None => found.add(Disagreement::Missing { table, key }),
    }
    Ok(found.0)
}

/// What the blocks add up to, and whether some of them could not be read.
fn read_blocks(
    transaction: &ReadTransaction,
    name: &DatasetName,
    found: &mut Found,
) -> Result<(Totals, bool), Stop> {
    let (extents, blocks) = (transaction.open_table(EXTENTS)?, transaction.open_table(BLOCKS)?);
    let text = |id: u64| format!("{:?}", (name.as_str(), id));
    let mut counted = Totals::default();
    let mut has_holes = false;
    let mut next_id = 0;
    for entry in blocks.range(every_block(name))? {
        let (key, frame) = entry?;
        let (_, first_id) = key.value();
        if first_id != next_id && !has_holes {
            found.add(Disagreement::Missing { table: "blocks", key: text(next_id) });
            has_holes = true;
        }
        let rows = match block::decode((name.as_str(), first_id), frame.value()) {
            Ok(rows) => rows,
            Err(damage) => {
                has_holes = true;
                found.add(Disagreement::Damaged { table: "blocks", key: text(first_id), damage });
                continue;
            }
        };
        counted.add_block(frame.value());
        rows.iter().for_each(|row| counted.add(row));
        next_id = first_id + u64::try_from(rows.len()).unwrap_or(u64::MAX);
        let (table, key) = ("extents", text(first_id));
        match extents.get((name.as_str(), first_id))? {
            None => found.add(Disagreement::Missing { table, key }),
            Some(extent) => match Extent::decode((name.as_str(), first_id), extent.value()) {
                Ok(extent) if extent == Extent::of(&rows) => {}
                Ok(_) => found.add(Disagreement::Differs { table, key }),
                Err(damage) => found.add(Disagreement::Damaged { table, key, damage }),
            },
        }
    }
    for entry in extents.range(every_block(name))? {
        let (key, _) = entry?;
        let (_, first_id) = key.value();
        if blocks.get((name.as_str(), first_id))?.is_none() {
            found.add(Disagreement::Stray { table: "extents", key: text(first_id) });
        }
    }
    Ok((counted, has_holes))
}
