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
    let privacy = &status["privacy"];
    let real = [
        ("privacy_epsilon", "What the models tell of any client, at most", &privacy["epsilon"]),
        ("privacy_clip_norm", "Length to which updates are shortened", &privacy["clip_norm"]),
    ];
    for (name, help, value) in real {
        if let Some(value) = value.as_f64() {
            let rows = vec![(Vec::new(), value)];
            page.gauges(&format!("truststram_federation_{name}"), help, rows)?;
        }
    }
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
