//! Owns the metrics of the federation that runs.
//!
//! Refuses to count: they are read off its board. Bound: one row each.

use std::fmt::Error;

use serde_json::Value;

use super::Page;

/// Clients, updates and rounds; nothing where no federation runs.
pub(super) fn rows(status: &Value, page: &mut Page<'_>) -> Result<(), Error> {
    let number = |value: &Value| value.as_u64().map(|value| vec![(Vec::new(), value)]);
    let (clients, updates) = (&status["clients"], &status["updates"]);
    let gauges = [
        ("clients", "Clients that are enrolled", &clients["enrolled"]),
        ("clients_present", "Clients that were heard of lately", &clients["present"]),
        ("clients_working", "Clients that are at work", &clients["working"]),
        ("clients_waiting", "Clients that wait for a task", &clients["waiting"]),
        ("round", "The round that is collected", &status["round"]),
        ("version", "The newest version of the model", &status["version"]),
    ];
    for (name, help, value) in gauges {
        if let Some(rows) = number(value) {
            page.gauges(&format!("truststram_federation_{name}"), help, rows)?;
        }
    }
    let counters = [
        ("updates_accepted", "Updates accepted", &updates["accepted"]),
        ("updates_refused", "Updates refused", &updates["refused"]),
        ("update_bytes", "Bytes of accepted updates", &updates["bytes"]),
        ("rounds_without_model", "Rounds that kept the model", &status["rounds_without_model"]),
    ];
    for (name, help, value) in counters {
        if let Some(rows) = number(value) {
            page.counters(&format!("truststram_federation_{name}"), help, rows)?;
        }
    }
    Ok(())
}
