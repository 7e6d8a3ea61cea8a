//! Owns the rules between crates: floors, fences around heavy dependencies, shared lints.
//!
//! Refuses to know transitive dependencies, which `deny.toml` fences with the same table. Bound:
//! the direct dependencies of the workspace, development and build ones included.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::source::Problem;
use crate::walk;

/// The root package: the only one that may know all crates.
const ROOT: &str = "truststram";
const BASE: &str = "truststram-base";

/// Dependencies that may be named by their owners alone.
pub struct Fence {
    /// A package name; a trailing `*` stands for any ending.
    pub dependency: &'static str,
    /// The workspace crates that may name it.
    pub owners: &'static [&'static str],
    /// Whether `deny.toml` fences it as well; it cannot where most libraries use it too.
    pub is_in_deny: bool,
}

const fn fence(dependency: &'static str, owners: &'static [&'static str]) -> Fence {
    Fence { dependency, owners, is_in_deny: true }
}

/// One crate per heavy dependency, so that the compiler keeps the walls.
pub const FENCES: &[Fence] = &[
    fence("redb", &["truststram-store"]),
    fence("candle-core", &["truststram-train"]),
    fence("candle-nn", &["truststram-train"]),
    fence("wasmtime", &["truststram-policy"]),
    fence("pingora*", &["truststram-proxy"]),
    // The proxy calls the router of `api` in process, as a service: it names the type, no route.
    fence("axum", &["truststram-api", "truststram-proxy"]),
    fence("io-uring", &["truststram-machine"]),
    fence("mimalloc", &[ROOT]),
    fence("libmimalloc-sys", &["truststram-machine"]),
    fence("parquet", &["truststram-exchange"]),
    // `exchange` reads and writes columns by themselves and does without 11 libraries.
    fence("arrow*", &[]),
    Fence { dependency: "libc", owners: &["truststram-machine"], is_in_deny: false },
    // Unmaintained and wrong on hosts with gaps in their node numbers: machine reads sysfs.
    fence("numa-rs", &[]),
];

/// Fenced dependencies that a crate may name all the same, as (crate, dependency, kind, reason).
const EXCEPTIONS: &[(&str, &str, Kind, &str)] = &[];

/// How a crate depends on another.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Normal,
    Development,
    Build,
}

/// One direct dependency as a manifest names it.
#[derive(Debug, PartialEq)]
struct Dependency {
    name: String,
    kind: Kind,
}

/// One package of the workspace.
struct Package {
    name: String,
    /// Folder inside the checkout; empty for the root package.
    folder: String,
    dependencies: Vec<Dependency>,
    has_workspace_lints: bool,
}

impl Package {
    fn manifest(&self) -> String {
        let separator = if self.folder.is_empty() { "" } else { "/" };
        format!("{}{separator}Cargo.toml", self.folder)
    }
}

/// One line of `members` in the root manifest.
struct Member {
    line: usize,
    folder: String,
    floor: Option<u32>,
}

/// The workspace as its manifests state it.
pub struct House {
    members: Vec<Member>,
    packages: Vec<Package>,
    shared_dependencies: Vec<String>,
}

impl House {
    /// Reads the manifests and asks cargo for the rest.
    pub fn read(root: &Path) -> Self {
        let metadata = metadata(root, &["--no-deps"]);
        let manifest = walk::read(&root.join("Cargo.toml"));
        let listed = metadata["packages"].as_array().expect("metadata lists packages");
        Self {
            members: members(&manifest),
            packages: listed.iter().map(|package| read_package(root, package)).collect(),
            shared_dependencies: shared_dependencies(&manifest),
        }
    }

    fn floor(&self, package: &Package) -> Option<u32> {
        self.members.iter().find(|member| member.folder == package.folder)?.floor
    }
}

/// What the cargo that runs this test says of the workspace, without network.
pub fn metadata(root: &Path, arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(arguments)
        .current_dir(root)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", env!("CARGO")));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata failed: {errors}");
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON")
}

fn read_package(root: &Path, package: &Value) -> Package {
    let text = |value: &Value| value.as_str().expect("metadata names packages").to_owned();
    let manifest = text(&package["manifest_path"]);
    let folder = Path::new(&manifest).parent().expect("a manifest stands in a folder");
    let root = root.canonicalize().expect("the checkout exists");
    let folder = folder.strip_prefix(&root).expect("members stand inside the checkout");
    let listed = package["dependencies"].as_array().expect("metadata lists dependencies");
    let dependencies = listed.iter().map(|dependency| Dependency {
        name: text(&dependency["name"]),
        kind: match dependency["kind"].as_str() {
            Some("dev") => Kind::Development,
            Some("build") => Kind::Build,
            _ => Kind::Normal,
        },
    });
    Package {
        name: text(&package["name"]),
        folder: folder.to_string_lossy().into_owned(),
        dependencies: dependencies.collect(),
        has_workspace_lints: has_workspace_lints(&walk::read(Path::new(&manifest))),
    }
}

fn parse(manifest: &str) -> toml::Table {
    manifest.parse().unwrap_or_else(|error| panic!("a manifest is not TOML: {error}"))
}

fn has_workspace_lints(manifest: &str) -> bool {
    let table = parse(manifest);
    let flag = table.get("lints").and_then(|lints| lints.get("workspace"));
    flag.and_then(toml::Value::as_bool) == Some(true)
}

fn shared_dependencies(manifest: &str) -> Vec<String> {
    let table = parse(manifest);
    let shared = table.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let shared = shared.and_then(toml::Value::as_table);
    shared.map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

/// The lines of `members = [...]`, read as text since the floors stand in comments.
fn members(manifest: &str) -> Vec<Member> {
    let lines = manifest.lines().enumerate();
    let inside = lines
        .skip_while(|(_, line)| !line.starts_with("members"))
        .skip(1)
        .take_while(|(_, line)| !line.starts_with(']'));
    inside
        .filter_map(|(index, line)| {
            let mut parts = line.split('"');
            let folder = parts.nth(1)?.to_owned();
            let note = parts.next().and_then(|rest| rest.split_once("# floor "));
            let floor = note.and_then(|(_, floor)| floor.trim().parse().ok());
            Some(Member { line: index + 1, folder, floor })
        })
        .collect()
}

/// Everything wrong between the crates of `house`.
pub fn problems(house: &House) -> Vec<Problem> {
    let mut found = member_problems(house);
    for package in &house.packages {
        found.extend(floor_problems(house, package));
        found.extend(fence_problems(package, FENCES, EXCEPTIONS));
        found.extend(base_problems(package));
        if !package.has_workspace_lints {
            let fix = "add `[lints]` with `workspace = true`";
            found.push(Problem::new(&package.manifest(), 1, "does not share the lints", fix));
        }
    }
    found.extend(unused_problems(house));
    found.extend(stale_exceptions(house, EXCEPTIONS));
    found
}

fn member_problems(house: &House) -> Vec<Problem> {
    let problem =
        |line: usize, what: String, fix: &str| Problem::new("Cargo.toml", line, what, fix);
    let mut found = Vec::new();
    let mut floor_above = 0;
    for member in &house.members {
        let Some(floor) = member.floor else {
            let what = format!("member {} names no floor", member.folder);
            found.push(problem(member.line, what, "write `# floor N` behind it"));
            continue;
        };
        if floor < floor_above {
            let what = format!("member {} stands below floor {floor_above}", member.folder);
            found.push(problem(member.line, what, "list members floor by floor"));
        }
        floor_above = floor_above.max(floor);
    }
    for package in house.packages.iter().filter(|package| package.name != ROOT) {
        if !house.members.iter().any(|member| member.folder == package.folder) {
            let what = format!("{} is built but is no listed member", package.folder);
            found.push(problem(1, what, "list it under `members` with its floor"));
        }
    }
    found
}

fn floor_problems(house: &House, package: &Package) -> Vec<Problem> {
    // The root knows all; a member without a floor is reported where it is listed.
    let Some(floor) = house.floor(package) else { return Vec::new() };
    let inside = package.dependencies.iter().filter_map(|dependency| {
        let other = house.packages.iter().find(|other| other.name == dependency.name)?;
        // The root stands above every floor.
        let above = if other.name == ROOT { u32::MAX } else { house.floor(other)? };
        (above >= floor).then(|| {
            let what = format!("floor {floor} depends on {}, which is not below it", other.name);
            let fix = "join the two in engine/wire through a port, or move the shared type down";
            Problem::new(&package.manifest(), 1, what, fix)
        })
    });
    inside.collect()
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

fn fence_problems(
    package: &Package,
    fences: &[Fence],
    exceptions: &[(&str, &str, Kind, &str)],
) -> Vec<Problem> {
    let mut found = Vec::new();
    for dependency in &package.dependencies {
        let is_excepted = exceptions.iter().any(|(owner, name, kind, _)| {
            *owner == package.name && *name == dependency.name && *kind == dependency.kind
        });
        let fences = fences.iter().filter(|fence| matches(fence.dependency, &dependency.name));
        for fence in fences.filter(|fence| !fence.owners.contains(&package.name.as_str())) {
            if !is_excepted {
                let what = format!("{} is fenced off from {}", dependency.name, package.name);
                let fix = match fence.owners {
                    [] => "nobody may use it: do without".to_owned(),
                    owners => format!("go through {}", owners.join(" or ")),
                };
                found.push(Problem::new(&package.manifest(), 1, what, fix));
            }
        }
    }
    found
}

fn base_problems(package: &Package) -> Vec<Problem> {
    let dependencies = package.dependencies.iter().filter(|_| package.name == BASE);
    let foreign = dependencies.filter(|dependency| dependency.name != "serde");
    foreign
        .map(|dependency| {
            let what = format!("base knows {}", dependency.name);
            Problem::new(&package.manifest(), 1, what, "base knows serde alone: move the code up")
        })
        .collect()
}

fn unused_problems(house: &House) -> Vec<Problem> {
    let is_used = |name: &String| {
        house.packages.iter().any(|package| package.dependencies.iter().any(|d| d.name == *name))
    };
    let unused = house.shared_dependencies.iter().filter(|name| !is_used(name));
    unused
        .map(|name| {
            let what = format!("shared dependency {name} is used by no crate");
            Problem::new("Cargo.toml", 1, what, "remove it from [workspace.dependencies]")
        })
        .collect()
}

fn stale_exceptions(house: &House, exceptions: &[(&str, &str, Kind, &str)]) -> Vec<Problem> {
    let is_needed = |owner: &str, name: &str, kind: Kind| {
        let package = house.packages.iter().find(|package| package.name == owner);
        let wanted = Dependency { name: name.to_owned(), kind };
        package.is_some_and(|package| package.dependencies.contains(&wanted))
    };
    let stale = exceptions.iter().filter(|(owner, name, kind, _)| !is_needed(owner, name, *kind));
    stale
        .map(|(owner, name, ..)| {
            let what = format!("{owner} needs no exception for {name}");
            Problem::new("tests/tidy/crates.rs", 1, what, "remove it from EXCEPTIONS")
        })
        .collect()
}

#[cfg(test)]
#[path = "crates/tests.rs"]
mod tests;
