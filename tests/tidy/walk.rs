//! Owns the walk over the checkout that finds the Rust files the rules apply to.
//!
//! Refuses to follow links and to enter folders that builds write. Bound: the folders named here.

use std::fs;
use std::path::Path;

use crate::source::Source;

const FOLDERS: &[&str] = &["engine", "plugins", "tests", "benches"];
const SKIPPED_FOLDERS: &[&str] = &["target", ".work"];

/// Every Rust file of the house, by path.
pub fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        visit(root, folder, &mut found);
    }
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

/// The text of a file that the house cannot do without.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {path:?}: {error}"))
}

fn visit(root: &Path, folder: &str, found: &mut Vec<Source>) {
    // A folder that nobody has filled yet is not an error.
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries {
        let entry = entry.unwrap_or_else(|error| panic!("cannot list {folder}: {error}"));
        let kind = entry.file_type().unwrap_or_else(|error| panic!("{:?}: {error}", entry.path()));
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        if kind.is_dir() && !SKIPPED_FOLDERS.contains(&name.as_str()) {
            visit(root, &path, found);
        } else if kind.is_file() && name.ends_with(".rs") {
            found.push(Source::new(&path, &read(&root.join(&path))));
        }
    }
}

#[test]
fn the_walk_finds_this_file_and_no_build_output() {
    let sources = sources(&crate::root());
    assert!(sources.iter().any(|source| source.path == "tests/tidy/walk.rs"));
    assert!(sources.iter().all(|source| !source.path.contains("/target/")));
}
