//! Owns the style of the house as a test: file headers, sizes, forbidden names, crate fences.
//!
//! Refuses to know what the code does; `rustfmt` and `clippy` own what they can see. Bound: one
//! walk over the checkout and two `cargo metadata`, a second or two in all. Every problem is
//! reported at once, as `file:line: what is wrong; what to do`.

#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/deny.rs"]
mod deny;
#[path = "tidy/features.rs"]
mod features;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/walk.rs"]
mod walk;

use std::path::PathBuf;

use source::Problem;

/// The checkout: cargo and nextest name it while they run a test, whatever folder it is moved to.
fn root() -> PathBuf {
    let named = std::env::var_os("CARGO_MANIFEST_DIR");
    named.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

#[test]
fn the_house_is_tidy() {
    let root = root();
    let sources = walk::sources(&root);
    assert!(!sources.is_empty(), "no Rust file found under {}", root.display());

    let house = crates::House::read(&root);
    let mut problems: Vec<Problem> = Vec::new();
    for source in &sources {
        problems.extend(files::problems(source));
        problems.extend(names::problems(source));
    }
    problems.extend(files::stale_allowances(&sources));
    problems.extend(crates::problems(&house));
    let resolved = features::resolved(&root);
    assert!(resolved.iter().any(|(name, on)| name == "wasmtime" && !on.is_empty()));
    problems.extend(features::problems(&resolved));
    problems.extend(deny::problems(&walk::read(&root.join("deny.toml")), crates::FENCES));
    problems.sort();

    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(lines.is_empty(), "{} untidy places:\n{}", lines.len(), lines.join("\n"));
}
