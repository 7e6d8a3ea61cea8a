//! Owns the features of libraries that must stay off, whoever switches them on.
//!
//! Refuses to know versions. Bound: what cargo resolves for this platform, read without network.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::crates;
use crate::source::Problem;

/// Features that no library of ours may switch on, for features unify: as (package, feature, why).
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("wasmtime", "component-model-async", "each call of a plugin would cost four times as much"),
    ("wasmtime", "winch", "its compiler has let guests out of their memory (CVE-2026-34987)"),
    ("wasmtime", "cache", "compiled code is kept by `policy`, with a hash of its own"),
];

/// The features of every library in use, as cargo resolved them.
pub fn resolved(root: &Path) -> Vec<(String, Vec<String>)> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = crates::metadata(root, &["--filter-platform", &platform]);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names: BTreeMap<String, String> = list(&metadata["packages"])
        .iter()
        .map(|package| (text(&package["id"]), text(&package["name"])))
        .collect();
    list(&metadata["resolve"]["nodes"])
        .iter()
        .map(|node| {
            let name = names.get(&text(&node["id"])).cloned().unwrap_or_default();
            (name, list(&node["features"]).iter().map(text).collect())
        })
        .collect()
}

/// Features that are on and must not be.
pub fn problems(resolved: &[(String, Vec<String>)]) -> Vec<Problem> {
    let is_on = |package: &str, feature: &str| {
        let mut of_package = resolved.iter().filter(|(name, _)| name == package);
        of_package.any(|(_, features)| features.iter().any(|on| on == feature))
    };
    FORBIDDEN
        .iter()
        .filter(|(package, feature, _)| is_on(package, feature))
        .map(|(package, feature, why)| {
            let what = format!("`{package}` is built with `{feature}`");
            let who = format!("`cargo tree -e features -i {package}` shows who did");
            Problem::new("Cargo.toml", 1, what, format!("switch it off, {who}: {why}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forbidden_feature_is_found() {
        let features = |features: &[&str]| {
            let features = features.iter().map(|&feature| feature.to_owned()).collect();
            vec![("wasmtime".to_owned(), features)]
        };
        assert!(problems(&features(&["runtime", "component-model"])).is_empty());
        let found = problems(&features(&["runtime", "component-model-async"]));
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().contains("four times as much"), "{}", found[0]);
    }
}
