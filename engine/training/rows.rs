//! Owns the way of a data set of the store into a training.
//!
//! Refuses to know what is trained. Rows without a label are passed over. Bound: the rows that
//! there were when the job was made.

use truststram_store::{DatasetName, Store};
use truststram_train::{Dataset, GatheredRows};

/// The first `count` rows of a data set, or all of them.
pub fn read(
    store: &Store,
    name: &DatasetName,
    count: Option<u64>,
    is_of_classes: bool,
) -> Result<Dataset, String> {
    let scan = store.scan_training(name, 0, None).map_err(|error| error.to_string())?;
    let count = count.unwrap_or(scan.row_count());
    if scan.row_count() < count {
        return Err(format!(
            "the data set `{name}` has {} rows and had {count} when the job was made",
            scan.row_count()
        ));
    }
    let mut rows = GatheredRows::default();
    for row in scan {
        let row = row.map_err(|error| error.to_string())?;
        if row.id >= count {
            break;
        }
        let Some(label) = row.label.filter(|label| !label.is_empty()) else { continue };
        let added = rows.add(&row.features, &label);
        added.map_err(|what| format!("row {} of `{name}` {what}", row.id))?;
    }
    rows.data(is_of_classes).map_err(|what| format!("the data set `{name}`: {what}"))
}
