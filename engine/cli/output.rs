//! Owns what is printed: tables for people, JSON for programs, errors on standard error.
//!
//! Refuses to know what is said. Bound: a table is held in memory before it is printed.

use std::io::{ErrorKind, Write};

use super::Failure;

/// Prints `text` on standard output. A reader that has gone, such as `head`, is no error.
pub(super) fn text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints `value` as a line of JSON.
pub(super) fn json(value: &serde_json::Value) -> Result<(), Failure> {
    text(&format!("{value}\n"))
}

/// Prints a remark for people on standard error.
pub(super) fn remark(words: &str) {
    // Nothing can be done where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// Prints an error with what led to it.
pub(super) fn error(error: &anyhow::Error, code: u8, as_json: bool) {
    if as_json {
        let lines: Vec<String> = error.to_string().lines().map(str::to_owned).collect();
        remark(&serde_json::json!({ "error": lines, "exit_code": code }).to_string());
    } else {
        remark(&format!("error: {error:#}"));
    }
}

/// Rows of text in columns as wide as their widest cell; `heads` come first.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        widest.max(heads[column].chars().count())
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = line(&mut heads.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows =
            vec![vec!["digits".to_owned(), "1".to_owned()], vec!["a".to_owned(), "12".to_owned()]];
        assert_eq!(table(&["id", "version"], &rows), "id      version\ndigits  1\na       12\n");
    }
}
