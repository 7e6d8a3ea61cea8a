//! Feeds the rules between crates small workspaces that break them, one rule at a time.

use super::*;

const NORMAL: Kind = Kind::Normal;

/// A package in `engine/<short>` with the given dependencies; `""` is the root package.
fn package(short: &str, dependencies: &[(&str, Kind)]) -> Package {
    let named = |&(name, kind): &(&str, Kind)| Dependency { name: name.to_owned(), kind };
    let is_root = short.is_empty();
    Package {
        name: if is_root { ROOT.to_owned() } else { format!("truststram-{short}") },
        folder: if is_root { String::new() } else { format!("engine/{short}") },
        dependencies: dependencies.iter().map(named).collect(),
        has_workspace_lints: true,
    }
}

fn house(members: &str, packages: Vec<Package>) -> House {
    let manifest = format!("members = [\n{members}\n]\n");
    House { members: super::members(&manifest), packages, shared_dependencies: Vec::new() }
}

/// Asserts that exactly the `expected` words turn up, one per problem and in order.
fn check(house: &House, expected: &[&str]) {
    let found: Vec<String> = problems(house).iter().map(Problem::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (problem, word) in found.iter().zip(expected) {
        assert!(problem.contains(word), "{problem} does not mention {word}");
    }
}

const TWO_FLOORS: &str = "\"engine/base\", # floor 0\n\"engine/store\", # floor 2";

#[test]
fn members_are_listed_floor_by_floor() {
    let packages = || vec![package("base", &[]), package("store", &[]), package("", &[])];
    check(&house(TWO_FLOORS, packages()), &[]);
    let upside_down = "\"engine/store\", # floor 2\n\"engine/base\", # floor 0";
    check(&house(upside_down, packages()), &["Cargo.toml:3: member engine/base stands below"]);
    let unnamed = "\"engine/base\", # floor 0\n\"engine/store\", # second";
    check(&house(unnamed, packages()), &["Cargo.toml:3: member engine/store names no floor"]);
    let unlisted = "\"engine/base\", # floor 0";
    check(&house(unlisted, packages()), &["engine/store is built but is no listed member"]);
}

#[test]
fn a_crate_knows_only_lower_floors() {
    let with = |base: &[(&str, Kind)], store: &[(&str, Kind)]| {
        let root = package("", &[("truststram-base", NORMAL), ("truststram-store", NORMAL)]);
        house(TWO_FLOORS, vec![package("base", base), package("store", store), root])
    };
    check(&with(&[], &[("truststram-base", NORMAL)]), &[]);
    check(&with(&[], &[("truststram-store", NORMAL)]), &["engine/store/Cargo.toml:1: floor 2"]);
    check(&with(&[], &[("truststram", Kind::Development)]), &["depends on truststram,"]);
    let up = [("truststram-store", Kind::Development)];
    check(&with(&up, &[]), &["floor 0 depends on truststram-store", "base knows"]);
}

#[test]
fn heavy_dependencies_stay_behind_their_fence() {
    for fence in FENCES {
        let name = fence.dependency.replace('*', "-core");
        for kind in [Kind::Normal, Kind::Development, Kind::Build] {
            let found = fence_problems(&package("other", &[(&name, kind)]), FENCES, &[]);
            assert_eq!(found.len(), 1, "{name} as {kind:?}: {found:?}");
        }
        for owner in fence.owners {
            let short = owner.strip_prefix("truststram-").unwrap_or_default();
            assert_eq!(fence_problems(&package(short, &[(&name, NORMAL)]), FENCES, &[]), []);
        }
    }
}

#[test]
fn an_exception_holds_for_its_kind_and_goes_when_unneeded() {
    let exceptions = &[("truststram-api", "redb", Kind::Development, "a fixture")];
    let development = package("api", &[("redb", Kind::Development)]);
    assert_eq!(fence_problems(&development, FENCES, exceptions), []);
    let normal = package("api", &[("redb", NORMAL)]);
    assert_eq!(fence_problems(&normal, FENCES, exceptions).len(), 1);
    assert_eq!(stale_exceptions(&house("", vec![development]), exceptions), []);
    assert_eq!(stale_exceptions(&house("", vec![normal]), exceptions).len(), 1);
}

#[test]
fn base_knows_serde_alone() {
    let base = |name| house(TWO_FLOORS, vec![package("base", &[(name, NORMAL)])]);
    check(&base("serde"), &[]);
    check(&base("serde_json"), &["base knows serde_json"]);
}

#[test]
fn lints_and_dependencies_are_shared() {
    assert!(has_workspace_lints("[lints]\nworkspace = true"));
    assert!(!has_workspace_lints("[lints]\nworkspace = false"));
    assert!(!has_workspace_lints("[lints.rust]\nunsafe_code = \"allow\""));
    let mut careless = house(TWO_FLOORS, vec![package("store", &[("serde", NORMAL)])]);
    careless.packages[0].has_workspace_lints = false;
    check(&careless, &["engine/store/Cargo.toml:1: does not share the lints"]);

    let manifest = "[workspace.dependencies]\nserde = \"1\"\nunused = { version = \"2\" }";
    let mut wasteful = house(TWO_FLOORS, vec![package("store", &[("serde", NORMAL)])]);
    wasteful.shared_dependencies = shared_dependencies(manifest);
    check(&wasteful, &["shared dependency unused is used by no crate"]);
}

#[test]
fn the_real_workspace_is_read() {
    let house = House::read(&crate::root());
    assert!(house.members.iter().any(|member| member.folder == "engine/base"));
    assert_eq!(house.packages.len(), house.members.len() + 1, "every member and the root package");
    assert!(house.shared_dependencies.iter().any(|name| name == "serde"));
    let names_base = |package: &Package| package.dependencies.iter().any(|d| d.name == BASE);
    assert!(house.packages.iter().any(names_base), "dependencies are read");
}
