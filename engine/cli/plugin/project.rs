//! Owns what the tools of authors know of a plugin: its kind, its language, where its parts are.
//!
//! Refuses to guess: a component alone needs `--kind`. Bound: one small file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Deserialize;

use super::read;
use crate::cli::Failure;

/// A kind of plugin, as authors say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PluginKind {
    /// Plans the aggregation of federated rounds.
    Aggregator,
    /// Forms batches.
    Batcher,
    /// Reduces tiles of updates.
    Kernel,
    /// Places workloads.
    Placer,
    /// Routes requests.
    Router,
    /// Selects federated clients.
    Selector,
    /// Tunes settings.
    Tuner,
}

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

impl PluginKind {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        use truststram_policy::Kind;
        match self {
            Self::Aggregator => truststram_policy::Aggregator::NAME,
            Self::Batcher => truststram_policy::Batcher::NAME,
            Self::Kernel => truststram_policy::Kernel::NAME,
            Self::Placer => truststram_policy::Placer::NAME,
            Self::Router => truststram_policy::Router::NAME,
            Self::Selector => truststram_policy::Selector::NAME,
            Self::Tuner => truststram_policy::Tuner::NAME,
        }
    }

    /// The world in `wit/`.
    pub(super) fn world(self) -> &'static str {
        if self == Self::Kernel { "kernel-plugin" } else { self.name() }
    }
}

/// The language of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
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

/// `plugin.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) name: String,
    pub(super) kind: PluginKind,
    pub(super) language: Language,
    pub(super) version: String,
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

impl Manifest {
    /// Reads the manifest of the plugin in `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, Failure> {
        let file = folder.join("plugin.toml");
        let text = String::from_utf8(read(&file)?)?;
        let manifest: Self =
            toml::from_str(&text).with_context(|| format!("{} is wrong", file.display()))?;
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if manifest.name.is_empty() || !manifest.name.bytes().all(is_word) {
            let error = anyhow!("{}: `name` takes a-z, 0-9 and `-`", file.display());
            return Err(Failure::Usage(error));
        }
        Ok(manifest)
    }

    /// Where `plugin build` puts the component.
    pub(super) fn component(&self, folder: &Path) -> PathBuf {
        folder.join("target").join(format!("{}.wasm", self.name))
    }
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
        let manifest = Manifest::read(path)?;
        let component = manifest.component(path);
        if !component.exists() {
            let shown = path.display();
            return Err(Failure::Failed(anyhow!(
                "{} is not there yet; `truststram plugin build {shown}` makes it",
                component.display()
            )));
        }
        let cases =
            Some(path.join("cases.json")).filter(|cases| fs::exists(cases).unwrap_or(false));
        let kind = kind.unwrap_or(manifest.kind);
        Ok(Self { kind, component, cases, in_folder: true })
    }
}
