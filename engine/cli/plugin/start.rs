//! Owns what a new plugin starts as, in each language and for each kind: a worked plugin of
//! `plugins/examples/` or a template of `plugins/templates/`, all of which the tests build.
//!
//! Refuses to write files. Bound: a few texts, compiled in.

use super::project::{Language, PluginKind};

/// What stands for the name in a template.
const TEMPLATE: &str = "{{name}}";

type File = (&'static str, &'static str);

macro_rules! source {
    ($($part:expr),*) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/plugins/", $($part),*))
    };
}

macro_rules! example {
    ($folder:literal: $($file:literal),*) => {
        &[$(($file, source!("examples/", $folder, "/", $file))),*]
    };
}

/// Worked plugins, whose folder's name stands for the name of the new one.
const EXAMPLES: [(Language, PluginKind, &str, &[File]); 5] = [
    (
        Language::Rust,
        PluginKind::Batcher,
        "rust-batcher",
        example!("rust-batcher": "plugin.toml", "Cargo.toml", "src/lib.rs", "cases.json"),
    ),
    (
        Language::Rust,
        PluginKind::Kernel,
        "rust-kernel",
        example!(
            "rust-kernel":
            "plugin.toml", "Cargo.toml", ".cargo/config.toml", "src/lib.rs", "cases.json"
        ),
    ),
    (
        Language::Python,
        PluginKind::Batcher,
        "python-batcher",
        example!("python-batcher": "plugin.toml", "plugin.py", "cases.json"),
    ),
    (
        Language::Js,
        PluginKind::Batcher,
        "js-batcher",
        example!("js-batcher": "plugin.toml", "plugin.js", "cases.json"),
    ),
    (
        Language::C,
        PluginKind::Batcher,
        "c-batcher",
        example!("c-batcher": "plugin.toml", "plugin.c", "cases.json"),
    ),
];

/// The templates of a kind: its settings, recorded cases, and its source in each language.
struct Templates {
    kind: PluginKind,
    settings: &'static str,
    cases: &'static str,
    rust: &'static str,
    python: &'static str,
    js: &'static str,
    c: &'static str,
}

macro_rules! templates {
    ($kind:ident, $name:literal, $settings:expr, $cases:expr, $rust:expr) => {
        Templates {
            kind: PluginKind::$kind,
            settings: $settings,
            cases: $cases,
            rust: $rust,
            python: source!("templates/python/kinds/", $name, ".py"),
            js: source!("templates/js/kinds/", $name, ".js"),
            c: source!("templates/c/kinds/", $name, ".c"),
        }
    };
    ($kind:ident, $name:literal) => {
        templates!(
            $kind,
            $name,
            source!("templates/settings/", $name, ".toml"),
            source!("templates/cases/", $name, ".json"),
            source!("templates/rust/kinds/", $name, ".rs")
        )
    };
}

const TEMPLATES: [Templates; 6] = [
    templates!(Aggregator, "aggregator"),
    templates!(
        Kernel,
        "kernel",
        "",
        source!("examples/rust-kernel/cases.json"),
        source!("examples/rust-kernel/src/lib.rs")
    ),
    templates!(Placer, "placer"),
    templates!(Router, "router"),
    templates!(Selector, "selector"),
    templates!(Tuner, "tuner"),
];

/// The files of a new plugin `name`, with their paths in its folder.
pub(super) fn files(language: Language, kind: PluginKind, name: &str) -> Vec<(String, String)> {
    let named = |example: &str, (path, text): (&str, &str)| {
        let text = text.replace("../../../wit/since_v0.1.0", "wit").replace(example, name);
        (path.to_owned(), text)
    };
    let mut worked = EXAMPLES.iter().filter(|example| (example.0, example.1) == (language, kind));
    if let Some((_, _, example, files)) = worked.next() {
        return files.iter().map(|file| named(example, *file)).collect();
    }
    let Some(templates) = TEMPLATES.iter().find(|templates| templates.kind == kind) else {
        return Vec::new();
    };
    let manifest = format!(
        "name = \"{name}\"\nkind = \"{}\"\nlanguage = \"{}\"\nversion = \"0.1.0\"\n",
        kind.name(),
        language.name(),
    );
    let gap = if templates.settings.is_empty() { "" } else { "\n" };
    let mut files = vec![("plugin.toml".to_owned(), manifest + gap + templates.settings)];
    let sources: &[File] = match language {
        Language::Rust => {
            &[("Cargo.toml", source!("templates/rust/Cargo.toml")), ("src/lib.rs", templates.rust)]
        }
        Language::Python => &[("plugin.py", templates.python)],
        Language::Js => &[("plugin.js", templates.js)],
        Language::C => &[("plugin.c", templates.c)],
    };
    files.extend(sources.iter().map(|file| named(TEMPLATE, *file)));
    files.push(("cases.json".to_owned(), templates.cases.to_owned()));
    files
}
