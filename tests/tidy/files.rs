//! Owns the rules on a file as a whole: header, length, width, tables of contents, error enums.
//!
//! Refuses to judge names (`names.rs`) and crates (`crates.rs`). Bound: one file at a time.

use crate::source::{Problem, Source};

const LINE_COUNT_RIGHT: usize = 450;
const LINE_COUNT_MAX: usize = 800;
const COLUMN_COUNT_MAX: usize = 100;

/// Files that may pass `LINE_COUNT_RIGHT` but never `LINE_COUNT_MAX`, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// Everything wrong with the shape of `source`.
pub fn problems(source: &Source) -> Vec<Problem> {
    let mut found = Vec::new();
    found.extend(header(source));
    found.extend(length(source, LONG_FILES));
    found.extend(width(source));
    found.extend(table_of_contents(source));
    found.extend(error_enum(source));
    found
}

/// Entries of the allow-list that no file needs any more.
pub fn stale_allowances(sources: &[Source]) -> Vec<Problem> {
    stale(sources, LONG_FILES)
}

fn stale(sources: &[Source], allowed: &[(&str, &str)]) -> Vec<Problem> {
    let needed = |path: &str| {
        sources.iter().any(|source| source.path == path && source.lines.len() > LINE_COUNT_RIGHT)
    };
    let unneeded = allowed.iter().filter(|(path, _)| !needed(path));
    unneeded
        .map(|(path, _)| Problem::new(path, 1, "needs no place in LONG_FILES", "remove its entry"))
        .collect()
}

fn header(source: &Source) -> Option<Problem> {
    // What authors begin with is written as an author would, not as the house does.
    if ["plugins/templates/", "plugins/examples/"]
        .iter()
        .any(|folder| source.path.starts_with(folder))
    {
        return None;
    }
    let lines = source.lines.iter().take_while(|line| line.starts_with("//!"));
    let written: Vec<&str> =
        lines.map(|line| line[3..].trim()).filter(|line| !line.is_empty()).collect();
    let is_test = source.is_test_file();
    if written.len() < if is_test { 1 } else { 2 } {
        let fix = "open it with `//!` lines: what it owns, what it refuses to know, its bound";
        return Some(Problem::new(&source.path, 1, "has no header", fix));
    }
    if is_test || !source.path.starts_with("engine/") {
        return None;
    }
    let text = written.join(" ").to_lowercase();
    let missing: Vec<&str> =
        ["owns", "refuses", "bound"].into_iter().filter(|word| !text.contains(word)).collect();
    if missing.is_empty() {
        return None;
    }
    let what = format!("its header does not say: {}", missing.join(", "));
    let fix = "state `Owns …`, `Refuses …` and `Bound: …`";
    Some(Problem::new(&source.path, 1, what, fix))
}

fn length(source: &Source, allowed: &[(&str, &str)]) -> Option<Problem> {
    let count = source.lines.len();
    let is_allowed = allowed.iter().any(|(path, _)| *path == source.path);
    let limit = if is_allowed { LINE_COUNT_MAX } else { LINE_COUNT_RIGHT };
    let what = format!("{count} lines, more than {limit}");
    let fix = "split it by subject (or list it in LONG_FILES of tests/tidy/files.rs with a reason)";
    (count > limit).then(|| Problem::new(&source.path, count, what, fix))
}

/// Columns are counted as characters; a line with a link may be longer, since a link cannot break.
fn width(source: &Source) -> Vec<Problem> {
    let lines = source.lines.iter().enumerate();
    let wide = lines.filter(|(_, line)| line.chars().count() > COLUMN_COUNT_MAX);
    wide.filter(|(_, line)| !line.contains("https://"))
        .map(|(index, line)| {
            let what = format!("{} columns, more than {COLUMN_COUNT_MAX}", line.chars().count());
            Problem::new(&source.path, index + 1, what, "break the line")
        })
        .collect()
}

/// `lib.rs` and `mod.rs` of engine crates list modules; the root's `lib.rs` wires the `App`.
fn table_of_contents(source: &Source) -> Option<Problem> {
    let is_contents = source.path.starts_with("engine/")
        && source.path != "engine/lib.rs"
        && matches!(source.name(), "lib.rs" | "mod.rs");
    if !is_contents {
        return None;
    }
    let index = source.code.iter().position(|line| {
        line.split(|character| !crate::source::is_word(character)).any(|word| word == "fn")
    })?;
    let what = format!("{} is a table of contents and holds a function", source.name());
    Some(Problem::new(&source.path, index + 1, what, "move it to a module named for its subject"))
}

/// `error.rs` of a crate classifies its errors, and no error anywhere is a bare text.
fn error_enum(source: &Source) -> Vec<Problem> {
    if !source.path.starts_with("engine/") {
        return Vec::new();
    }
    let mut found = Vec::new();
    let is_home = source.path.ends_with("/src/error.rs");
    if is_home && !source.code.iter().any(|line| line.contains("fn kind(")) {
        let fix = "add `pub fn kind(&self) -> truststram_base::Kind`";
        found.push(Problem::new(&source.path, 1, "an error without a kind", fix));
    }
    let mut is_variant = false;
    for (index, line) in source.code.iter().map(|line| line.trim()).enumerate() {
        if is_variant && line.ends_with("(String),") {
            let fix = "name what, where and what to do as fields";
            let what = "an error variant that is a bare String";
            found.push(Problem::new(&source.path, index + 1, what, fix));
        }
        is_variant = line.starts_with("#[error(");
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "//! Owns a.\n//!\n//! Refuses to know b. Bound: c.\n";

    /// Asserts that the rules find exactly the `expected` places and words, in order.
    fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = problems(&Source::new(path, text));
        assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
        for (problem, (line, word)) in found.iter().zip(expected) {
            assert_eq!(problem.line, *line, "{problem}");
            assert!(problem.text.contains(word), "{problem} does not mention {word}");
        }
    }

    #[test]
    fn headers_say_what_a_file_owns_refuses_and_is_bound_by() {
        check("engine/a/src/b.rs", HEADER, &[]);
        check("engine/a/src/b.rs", "fn f() {}\n", &[(1, "no header")]);
        check("engine/a/src/b.rs", "//! Owns it, refuses it, bound.\n", &[(1, "no header")]);
        check("engine/a/src/b.rs", "//! Owns a.\n//! B.\n", &[(1, "refuses, bound")]);
        check("engine/a/src/b.rs", "\n//! Owns a.\n//! Refuses. Bound.\n", &[(1, "no header")]);
        check("engine/a/src/b/tests.rs", "//! Tests b.\n", &[]);
        check("plugins/a/src/lib.rs", "//! A plugin.\n//! It does b.\nfn f() {}\n", &[]);
        check("plugins/a/src/lib.rs", "//! A plugin.\n", &[(1, "no header")]);
    }

    #[test]
    fn files_and_lines_end_in_time() {
        let long = |count: usize| format!("{HEADER}{}", "x\n".repeat(count - 3));
        check("engine/a/src/b.rs", &long(450), &[]);
        check("engine/a/src/b.rs", &long(451), &[(451, "more than 450")]);
        let wide = |line: &str| format!("{HEADER}{line}\n");
        check("engine/a/src/b.rs", &wide(&"é".repeat(100)), &[]);
        check("engine/a/src/b.rs", &wide(&"é".repeat(101)), &[(4, "101 columns")]);
        check("engine/a/src/b.rs", &wide(&format!("// https://{}", "x".repeat(99))), &[]);
    }

    #[test]
    fn long_files_need_a_reason_and_lose_it_when_they_shrink() {
        let source = |count: usize| Source::new("a.rs", &"x\n".repeat(count));
        let allowed: &[(&str, &str)] = &[("a.rs", "one table")];
        assert_eq!(length(&source(800), allowed), None);
        assert!(length(&source(801), allowed).is_some());
        assert_eq!(stale(&[source(451)], allowed), []);
        assert_eq!(stale(&[source(450)], allowed).len(), 1);
        assert_eq!(stale(&[], allowed).len(), 1);
    }

    #[test]
    fn lib_files_are_tables_of_contents() {
        let text = format!("{HEADER}mod a;\npub fn f() {{}}\n");
        check("engine/a/src/lib.rs", &text, &[(5, "table of contents")]);
        check("engine/a/src/b/mod.rs", &text, &[(5, "table of contents")]);
        check("engine/lib.rs", &text, &[]);
        check("engine/a/src/lib.rs", &format!("{HEADER}// fn\npub use a::fn_name;\n"), &[]);
    }

    #[test]
    fn errors_have_a_kind_and_no_bare_strings() {
        let text = |body: &str| format!("{HEADER}{body}");
        let kind = "fn kind(&self) -> Kind {}\n";
        check("engine/a/src/error.rs", &text(kind), &[]);
        check("engine/a/src/error.rs", HEADER, &[(1, "without a kind")]);
        let bare = "    #[error(\"it failed\")]\n    Io(String),\n    Named { path: String },\n";
        let with_bare = text(&format!("{kind}{bare}"));
        check("engine/a/src/error.rs", &with_bare, &[(6, "bare String")]);
        check("engine/a/src/ports.rs", &text(bare), &[(5, "bare String")]);
        check("engine/a/src/ports.rs", &text("    Text(String),\n"), &[]);
    }
}
