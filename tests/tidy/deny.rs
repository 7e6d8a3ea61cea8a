//! Owns the agreement between the fences of `crates.rs` and the `wrappers` of `deny.toml`.
//!
//! Refuses to know advisories, licences and sources, which cargo-deny checks. Bound: the entries
//! of `bans.deny`, and only their wrappers inside the house.

use crate::crates::Fence;
use crate::source::Problem;

const PATH: &str = "deny.toml";

/// Every fence that `deny.toml` states otherwise or not at all.
pub fn problems(text: &str, fences: &[Fence]) -> Vec<Problem> {
    let table: toml::Table =
        text.parse().unwrap_or_else(|error| panic!("{PATH} is not TOML: {error}"));
    let bans = table.get("bans").and_then(|bans| bans.get("deny"));
    let entries = bans.and_then(toml::Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut found = Vec::new();
    for fence in fences.iter().filter(|fence| fence.is_in_deny) {
        let stem = fence.dependency.trim_end_matches('*');
        let is_open = fence.dependency.ends_with('*');
        let same = |entry: &&toml::Value| {
            let name = crate_name(entry);
            name == stem || (is_open && name.starts_with(stem))
        };
        let fenced: Vec<&toml::Value> = entries.iter().filter(same).collect();
        if fenced.is_empty() {
            let what = format!("{} is not banned", fence.dependency);
            found.push(Problem::new(PATH, 1, what, "add it with its owners as `wrappers`"));
        }
        for entry in fenced {
            let owners = owners(entry);
            // One library of a family may be named by fewer of the owners, but by no one else.
            let agrees = if is_open {
                owners.iter().all(|owner| fence.owners.contains(owner))
            } else {
                owners == sorted(fence.owners)
            };
            if !agrees {
                let what = format!("{} lets in [{}]", crate_name(entry), owners.join(", "));
                let fix = format!("FENCES of tests/tidy says [{}]", fence.owners.join(", "));
                found.push(Problem::new(PATH, line_of(text, crate_name(entry)), what, fix));
            }
        }
    }
    found
}

fn crate_name(entry: &toml::Value) -> &str {
    entry.get("crate").and_then(toml::Value::as_str).unwrap_or_default()
}

/// The wrappers that are crates of the house, sorted; libraries may wrap each other freely.
fn owners(entry: &toml::Value) -> Vec<&str> {
    let wrappers = entry.get("wrappers").and_then(toml::Value::as_array);
    let names = wrappers.into_iter().flatten().filter_map(toml::Value::as_str);
    sorted(&names.filter(|name| name.starts_with("truststram")).collect::<Vec<_>>())
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

fn line_of(text: &str, name: &str) -> usize {
    let quoted = format!("\"{name}\"");
    text.lines().position(|line| line.contains(&quoted)).map_or(1, |index| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FENCES: &[Fence] = &[
        Fence { dependency: "axum", owners: &["truststram-b", "truststram-a"], is_in_deny: true },
        Fence { dependency: "pin*", owners: &["truststram-a"], is_in_deny: true },
        Fence { dependency: "libc", owners: &["truststram-a"], is_in_deny: false },
    ];

    fn check(axum: &str, pin: &str, expected: &[&str]) {
        let entry = |name: &str, wrappers: &str| {
            format!("[[bans.deny]]\ncrate = \"{name}\"\nwrappers = [{wrappers}]\n")
        };
        let text = format!("{}{}", entry("axum", axum), entry("pin-core", pin));
        let found: Vec<String> = problems(&text, FENCES).iter().map(Problem::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (problem, word) in found.iter().zip(expected) {
            assert!(problem.starts_with(word), "{problem} does not start with {word}");
        }
    }

    #[test]
    fn wrappers_are_the_owners() {
        const BOTH: &str = "\"truststram-a\", \"truststram-b\", \"tower\"";
        check(BOTH, "\"truststram-a\"", &[]);
        check(BOTH, "\"pin-other\"", &[]);
        check("\"truststram-a\"", "", &["deny.toml:2: axum lets in [truststram-a]"]);
        check(BOTH, "\"truststram-b\"", &["deny.toml:5: pin-core lets in [truststram-b]"]);
    }

    #[test]
    fn a_missing_ban_is_seen() {
        let found = problems("[bans]\n", FENCES);
        assert_eq!(found.len(), 2, "{found:?}");
    }
}
