//! Owns the names that the house does without, each with what to write instead.
//!
//! Refuses to repeat what `clippy.toml` and the workspace lints already see through types; a name
//! is here where the folder or the file decides. Bound: one table, read once per line.

use crate::source::{Problem, Source, is_word};

/// Where a name is looked for.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// In code, tests included.
    Code,
    /// In code that is not a test.
    CodeButTests,
    /// In tests only.
    Tests,
    /// In code and comments.
    Anywhere,
}

/// A name that is forbidden except below the folders (or in the files) of `allowed`.
struct Ban {
    name: &'static str,
    place: Place,
    /// Folders where it is looked for; empty for the whole house.
    within: &'static [&'static str],
    /// Folders and files where it is at home.
    allowed: &'static [&'static str],
    instead: &'static str,
}

const fn ban(name: &'static str, place: Place, instead: &'static str) -> Ban {
    Ban { name, place, within: &[], allowed: &[], instead }
}

impl Ban {
    const fn except(self, allowed: &'static [&'static str]) -> Self {
        Self { allowed, ..self }
    }

    const fn within(self, within: &'static [&'static str]) -> Self {
        Self { within, ..self }
    }
}

/// The crates behind the wiring: they are told their settings.
const CRATES: &[&str] = &[
    "engine/base/",
    "engine/store/",
    "engine/model/",
    "engine/policy/",
    "engine/proxy/",
    "engine/api/",
    "engine/train/",
];
const MACHINE: &[&str] = &["engine/machine/"];
const PRINTS: &[&str] = &["engine/cli/", "build.rs"];
const START: &str = "start it with truststram_machine::spawn: a name, cores and an owner";
const PRINT: &str = "return the text, or log it with `tracing`; only engine/cli prints";
const SIGNAL: &str = "await a signal: a channel, a condition variable, a join";
const CONFIGURE: &str = "take it from the configuration of the crate";
const NOTE: &str = "do it, or open an issue; the code says how things are";

const BANS: &[Ban] = &[
    ban("thread::spawn", Place::Code, START).except(MACHINE),
    ban("thread::Builder", Place::Code, START).except(MACHINE),
    ban("thread::scope", Place::CodeButTests, START).except(MACHINE),
    ban("ThreadPoolBuilder", Place::CodeButTests, START).except(MACHINE),
    ban("new_multi_thread", Place::Code, "build a current-thread runtime on a machine thread"),
    ban("spawn_blocking", Place::Code, "hand the work to a thread that machine started"),
    ban("thread::sleep", Place::Code, SIGNAL),
    ban("time::sleep", Place::Tests, SIGNAL),
    ban("#[ignore", Place::Code, "make the test run, or delete it"),
    ban(", ignore)]", Place::Code, "make the test run, or delete it"),
    ban("unsafe", Place::Code, "move it to engine/machine, behind a safe function").except(&[
        "engine/machine/",
        "engine/model/src/kernels/",
        "engine/model/src/kernels.rs",
        "engine/policy/src/compiled.rs",
    ]),
    ban("anyhow", Place::CodeButTests, "use the error enum of the crate").except(&[
        "engine/main.rs",
        "engine/cli.rs",
        "engine/cli/",
        "build.rs",
    ]),
    ban("env::var", Place::CodeButTests, CONFIGURE).within(CRATES).except(&["build.rs"]),
    ban("env::var_os", Place::CodeButTests, CONFIGURE).within(CRATES).except(&["build.rs"]),
    ban("println!", Place::Code, PRINT).except(PRINTS),
    ban("print!", Place::Code, PRINT).except(PRINTS),
    ban("eprintln!", Place::Code, PRINT).except(PRINTS),
    ban("eprint!", Place::Code, PRINT).except(PRINTS),
    ban("TODO", Place::Anywhere, NOTE),
    ban("FIXME", Place::Anywhere, NOTE),
    ban("XXX", Place::Anywhere, NOTE),
];

/// Every forbidden name in `source`.
pub fn problems(source: &Source) -> Vec<Problem> {
    let bans: Vec<&Ban> = BANS.iter().filter(|ban| applies(ban, source)).collect();
    let mut found = Vec::new();
    for (index, code) in source.code.iter().enumerate() {
        let is_test = source.is_test_line(index);
        for ban in &bans {
            let here = match ban.place {
                Place::Code => contains(code, ban.name),
                Place::CodeButTests => !is_test && contains(code, ban.name),
                Place::Tests => is_test && contains(code, ban.name),
                Place::Anywhere => {
                    contains(code, ban.name) || contains(&source.comments[index], ban.name)
                }
            };
            if here {
                let what = format!("`{}` has no place here", ban.name);
                found.push(Problem::new(&source.path, index + 1, what, ban.instead));
            }
        }
    }
    found
}

fn applies(ban: &Ban, source: &Source) -> bool {
    let stands = |place: &&str| source.path.starts_with(*place) || source.name() == *place;
    (ban.within.is_empty() || ban.within.iter().any(stands)) && !ban.allowed.iter().any(stands)
}

/// Whether `name` stands in `line` as a whole: `unsafe` is not found in `unsafe_code`.
fn contains(line: &str, name: &str) -> bool {
    let joins = |left: Option<char>, right: Option<char>| {
        left.is_some_and(is_word) && right.is_some_and(is_word)
    };
    line.match_indices(name).any(|(start, _)| {
        let (before, after) = (&line[..start], &line[start + name.len()..]);
        !joins(before.chars().next_back(), name.chars().next())
            && !joins(name.chars().next_back(), after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that `text` at `path` holds exactly the `expected` names, as (line, name).
    fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
        let found = problems(&Source::new(path, text));
        assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
        for (problem, (line, name)) in found.iter().zip(expected) {
            assert_eq!(problem.line, *line, "{problem}");
            assert!(problem.text.starts_with(&format!("`{name}`")), "{problem}: not {name}");
        }
    }

    #[test]
    fn every_ban_catches_its_name() {
        for ban in BANS {
            let folder = ban.within.first().copied().unwrap_or("engine/store/");
            let file = if ban.place == Place::Tests { "tests.rs" } else { "a.rs" };
            check(&format!("{folder}src/{file}"), ban.name, &[(1, ban.name)]);
            for home in ban.allowed {
                let path =
                    if home.ends_with(".rs") { (*home).to_owned() } else { format!("{home}a.rs") };
                check(&path, ban.name, &[]);
            }
        }
    }

    #[test]
    fn places_decide() {
        let in_tests = "a\n#[cfg(test)]\nmod tests {\n    std::thread::scope(f);\n}";
        check("engine/store/src/a.rs", in_tests, &[]);
        check("engine/store/src/a.rs", "std::thread::scope(f);", &[(1, "thread::scope")]);
        check("engine/store/src/tests.rs", "thread::spawn(f);", &[(1, "thread::spawn")]);
        check("tests/it/main.rs", "use anyhow::Result;", &[]);
        check("engine/store/src/a.rs", "\nuse anyhow::Result;", &[(2, "anyhow")]);
        check("engine/proxy/src/a.rs", "tokio::time::sleep(wait).await;", &[]);
        check("tests/it/a.rs", "tokio::time::sleep(wait).await;", &[(1, "time::sleep")]);
        check("engine/config.rs", "std::env::var(name)", &[]);
        check("engine/api/src/a.rs", "std::env::var_os(name)", &[(1, "env::var_os")]);
        check("plugins/a/src/lib.rs", "unsafe { f() }", &[(1, "unsafe")]);
    }

    #[test]
    fn words_are_whole_and_literals_are_silent() {
        check("engine/api/src/a.rs", "#![deny(unsafe_code)]", &[]);
        check("engine/api/src/a.rs", "f(\"println! unsafe TODO\"); // unsafe", &[]);
        check("engine/api/src/a.rs", "// TODO: later", &[(1, "TODO")]);
        check("engine/api/src/a.rs", "// mktemp XXXXXX", &[]);
        check("engine/api/src/a.rs", "let todo = Todo::TODOS;", &[]);
        check("engine/api/src/a.rs", "eprintln!(\"x\");", &[(1, "eprintln!")]);
    }
}
