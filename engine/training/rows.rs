//! Owns the way of a data set of the store into a training.
//!
//! Refuses to know what is trained. Rows without a label are passed over. Bound: the rows that
//! there were when the job was made, packed on disk.

use std::path::Path;

use truststram_store::{DatasetName, Store};
use truststram_train::{Dataset, Packer};

/// The first `count` rows of a data set, or all of them, packed into a file at `place` that has no
/// name any more.
pub fn read(
    store: &Store,
    name: &DatasetName,
    count: Option<u64>,
    (place, is_of_classes): (&Path, bool),
) -> Result<Dataset, String> {
    let scan = store.scan_training(name, 0, None).map_err(|error| error.to_string())?;
    let count = count.unwrap_or(scan.row_count());
    if scan.row_count() < count {
        return Err(format!(
            "the data set `{name}` has {} rows and had {count} when the job was made",
            scan.row_count()
        ));
    }
    let mut packer = Packer::create(place, is_of_classes).map_err(|error| error.to_string())?;
    for row in scan {
        let row = row.map_err(|error| error.to_string())?;
        if row.id >= count {
            break;
        }
        let Some(label) = row.label.filter(|label| !label.is_empty()) else { continue };
        let added = packer.add(&row.features, &label);
        added.map_err(|error| format!("row {} of `{name}`: {error}", row.id))?;
    }
    packer.finish().map_err(|error| error.to_string())
}
