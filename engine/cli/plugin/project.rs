//! Owns what the tools of authors know of a plugin: its kind, its language, where its parts are.
//!
//! Refuses to guess: a component alone needs `--kind`. Bound: one small file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::ValueEnum;
use truststram_manifest::Manifest;

use super::read;
use crate::cli::Failure;
pub(super) use crate::config::raw::PluginKind;

/// Calls `$run::<K>($arguments)` with the marker of a kind.
macro_rules! with_kind {
    ($kind:expr, $run:ident, $($argument:expr),*) => {
        match $kind {
            PluginKind::Aggregator => $run::<truststram_policy::Aggregator>($($argument),*),
            PluginKind::Batcher => $run::<truststram_policy::Batcher>($($argument),*),
            PluginKind::Kernel => $run::<truststram_policy::Kernel>($($argument),*),
            PluginKind::Placer => $run::<truststram_policy::Placer>($($argument),*),
            PluginKind::Router => $run::<truststram_policy::Router>($($argument),*),
            PluginKind::Selector => $run::<truststram_policy::Selector>($($argument),*),
            PluginKind::Tuner => $run::<truststram_policy::Tuner>($($argument),*),
        }
    };
}
pub(super) use with_kind;

/// The world of a kind in `wit/`.
pub(super) fn world(kind: PluginKind) -> &'static str {
    if kind == PluginKind::Kernel { "kernel-plugin" } else { kind.name() }
}

/// The kind of a policy that ships.
pub(super) fn kind_of_builtin(name: &str) -> Option<PluginKind> {
    let builtin = truststram_policy::builtins().find(|builtin| builtin.name == name)?;
    PluginKind::from_str(builtin.kind, false).ok()
}

/// The language of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Language {
    /// Rust, by cargo.
    Rust,
    /// Python, by componentize-py.
    Python,
    /// JavaScript, by jco or componentize-js.
    Js,
    /// C, by clang.
    C,
}

impl Language {
    /// Its name in a manifest.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Js => "js",
            Self::C => "c",
        }
    }
}

/// The folder of a plugin, by its `plugin.toml`.
#[derive(Clone, Debug)]
pub(super) struct Project {
    pub(super) manifest: Manifest,
    pub(super) kind: PluginKind,
    pub(super) language: Language,
}

/// A plugin to work on.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) kind: PluginKind,
    pub(super) component: PathBuf,
    /// Recorded cases, if there are any.
    pub(super) cases: Option<PathBuf>,
    in_folder: bool,
}

impl Project {
    /// Reads the manifest of the plugin in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let file = folder.join("plugin.toml");
        let wrong = |reason: String| Failure::Usage(anyhow!("{}: {reason}", file.display()));
        let manifest = Manifest::from_toml(&String::from_utf8(read(&file)?)?)
            .map_err(|error| wrong(error.to_string()))?;
        let kind = PluginKind::from_str(&manifest.kind, false).map_err(|_| {
            wrong(format!("`kind` is `{}`; known: {}", manifest.kind, known::<PluginKind>()))
        })?;
        let language = manifest.language.as_deref().unwrap_or_default();
        let language = Language::from_str(language, false).map_err(|_| {
            wrong(format!("`language` is `{language}`; known: {}", known::<Language>()))
        })?;
        Ok(Self { manifest, kind, language })
    }

    /// Where `plugin build` puts the component.
    pub(super) fn component(&self, folder: &Path) -> PathBuf {
        folder.join("target").join(format!("{}.wasm", self.manifest.name))
    }
}

/// The names of a choice, for messages.
fn known<T: ValueEnum>() -> String {
    let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
}

impl Subject {
    /// Where compiled code of a plugin with a folder is kept between two runs.
    pub(super) fn compiled(&self) -> Option<PathBuf> {
        self.in_folder.then(|| self.component.with_file_name("compiled"))
    }

    /// A folder with `plugin.toml`, or a component with its kind.
    pub(super) fn find(path: &Path, kind: Option<PluginKind>) -> Result<Self, Failure> {
        if !path.is_dir() {
            let kind = kind.ok_or_else(|| {
                let shown = path.display();
                Failure::Usage(anyhow!("say the kind of {shown} by --kind, or give its folder"))
            })?;
            return Ok(Self { kind, component: path.to_owned(), cases: None, in_folder: false });
        }
        let project = Project::read(path)?;
        let component = project.component(path);
        if !component.exists() {
            let shown = path.display();
            return Err(Failure::Failed(anyhow!(
                "{} is not there yet; `truststram plugin build {shown}` makes it",
                component.display()
            )));
        }
        let cases =
            Some(path.join("cases.json")).filter(|cases| fs::exists(cases).unwrap_or(false));
        let kind = kind.unwrap_or(project.kind);
        Ok(Self { kind, component, cases, in_folder: true })
    }
}
