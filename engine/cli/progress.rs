//! Owns the bars of work that takes long; on standard error, and only on a terminal.
//!
//! Refuses to know what is done. Bound: one bar at a time.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `total` bytes.
pub(super) fn bytes(label: &'static str, total: u64) -> ProgressBar {
    styled(total, label, "{prefix} {bar:30} {binary_bytes}/{binary_total_bytes}  {eta} left  {msg}")
}

/// A bar over `total` rows.
pub(super) fn rows(label: &'static str, total: u64) -> ProgressBar {
    styled(total, label, "{prefix} {bar:30} {human_pos}/{human_len} rows  {eta} left")
}

/// A bar over `total` steps.
pub(super) fn steps(label: &'static str, total: u64) -> ProgressBar {
    styled(total, label, "{prefix} {bar:30} {human_pos}/{human_len} steps  {eta} left  {msg}")
}

/// A bar over `total` rounds at most; the message is the accuracy.
pub(super) fn rounds(label: &'static str, total: u64) -> ProgressBar {
    styled(total, label, "{prefix} {bar:30} round {pos}/{len}  accuracy {msg}  {elapsed}")
}

/// Work whose end is not known before.
pub(super) fn endless(label: &'static str) -> ProgressBar {
    styled(0, label, "{prefix} {spinner} {elapsed}  {msg}")
}

fn styled(total: u64, label: &'static str, style: &str) -> ProgressBar {
    let bar = ProgressBar::new(total).with_prefix(label);
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
