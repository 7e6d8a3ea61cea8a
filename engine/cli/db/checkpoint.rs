//! Owns `db checkpoint`: everything that is committed goes from the log into the month files.
//!
//! Refuses to know when that is due; the store does it by itself. Bound: the rows of the log.

use serde_json::json;

use super::place::{AdminPlace, failed};
use crate::cli::{Failure, output};

pub(super) fn run(place: &AdminPlace, as_json: bool) -> Result<(), Failure> {
    let answer = place.work("/admin/v1/store/checkpoint", &json!({}), |local| {
        local.store.checkpoint().map_err(failed)?;
        let stats = local.store.stats();
        Ok(json!({ "rows_applied": stats.rows_applied, "rows_in_log": stats.rows_in_log }))
    })?;
    if as_json {
        return output::json(&answer);
    }
    output::text("everything that was committed is in the month files\n")
}
