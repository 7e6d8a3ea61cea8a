//! Owns `db checkpoint`, `db compact` and `db drop`: what is done to months.
//!
//! Refuses to drop anything without `--yes`. Bound: one month at a time.

use anyhow::anyhow;
use serde_json::{Value, json};

use super::place::{AdminPlace, Local, failed};
use super::{progress, shape};
use crate::cli::{Failure, output};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DropArguments {
    /// The month, as YYYYMM; `db stats` lists them.
    month: String,
    /// Do it: the month's predictions are gone for good.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    place: AdminPlace,
}

pub(super) fn checkpoint(place: &AdminPlace, as_json: bool) -> Result<(), Failure> {
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

pub(super) fn compact(place: &AdminPlace, as_json: bool) -> Result<(), Failure> {
    let answer = place.work("/admin/v1/store/compact", &json!({}), compacted)?;
    if as_json {
        return output::json(&answer);
    }
    let months = answer["months"].as_array().map(Vec::as_slice).unwrap_or_default();
    let columns = [("month", "month"), ("before", "bytes_before"), ("after", "bytes_after")];
    output::text(&shape::table(months, &columns))
}

fn compacted(local: &Local) -> Result<Value, Failure> {
    let bar = progress::endless("compacting");
    let months = local.store.compact(&mut |progress| {
        let entries = indicatif::HumanCount(progress.segments);
        bar.set_message(format!("month {}, {entries} entries", progress.month));
        bar.tick();
        true
    });
    bar.finish_and_clear();
    let row = |month: &truststram_store::CompactedMonth| {
        json!({
            "month": month.month,
            "bytes_before": month.bytes_before,
            "bytes_after": month.bytes_after,
        })
    };
    Ok(json!({ "months": months.map_err(failed)?.iter().map(row).collect::<Vec<_>>() }))
}

pub(super) fn drop_month(arguments: &DropArguments, as_json: bool) -> Result<(), Failure> {
    let month = &arguments.month;
    let is_digits = month.len() == 6 && month.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits || !("01"..="12").contains(&&month[4..]) {
        return Err(Failure::Usage(anyhow!("`{month}` is no month; write YYYYMM, such as 202611")));
    }
    if !arguments.yes {
        return Err(Failure::Refused(anyhow!(
            "this removes every prediction of {month} for good; back it up with `truststram db \
             backup` or `db export`, then say --yes"
        )));
    }
    let body = json!({ "month": month });
    let answer = arguments.place.work("/admin/v1/store/drop-month", &body, |local| {
        let dropped = local.store.drop_month(month).map_err(failed)?;
        Ok(json!({ "month": dropped.month, "rows": dropped.rows, "bytes": dropped.bytes }))
    })?;
    if as_json {
        return output::json(&answer);
    }
    let of = |key: &str| shape::cell(key, &answer[key]);
    output::text(&format!("dropped {month}: {} rows, {}\n", of("rows"), of("bytes")))
}
