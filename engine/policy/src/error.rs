//! Owns why a plugin cannot be put to use.
//!
//! Refuses to know failures of single calls; those are a `Refusal`. Bound: one enum.

use std::path::PathBuf;

use truststram_base::Kind;
use truststram_machine::MachineError;
use truststram_manifest::ManifestError;

/// Why a plugin, or the host of plugins, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// No policy of this name and kind ships.
    #[error("plugin `{plugin}`: no built-in {kind} is named `{builtin}`; known: {known}")]
    UnknownBuiltin {
        /// The plugin.
        plugin: String,
        /// What was asked for.
        builtin: String,
        /// Its kind.
        kind: &'static str,
        /// What there is.
        known: String,
    },
    /// The file cannot be read.
    #[error("plugin `{plugin}`: cannot read {}: {source}", path.display())]
    Read {
        /// The plugin.
        plugin: String,
        /// Its file.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The component is larger than the limit.
    #[error("plugin `{plugin}`: the component has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// The plugin.
        plugin: String,
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The bytes are no component that can be compiled.
    #[error("plugin `{plugin}`: not a WASM component: {source:#}")]
    NotAComponent {
        /// The plugin.
        plugin: String,
        /// What the compiler said.
        source: wasmtime::Error,
    },
    /// The component wants something that plugins do not get.
    #[error("plugin `{plugin}`: imports `{import}`; a plugin may import only {allowed}")]
    Import {
        /// The plugin.
        plugin: String,
        /// What it imports.
        import: String,
        /// What it may import.
        allowed: &'static str,
    },
    /// The component lacks what its kind exports.
    #[error("plugin `{plugin}`: does not export `{export}`, which a {kind} must")]
    MissingExport {
        /// The plugin.
        plugin: String,
        /// What is missing.
        export: &'static str,
        /// Its kind.
        kind: &'static str,
    },
    /// The component exports the right names with other types, or cannot be started.
    #[error("plugin `{plugin}`: cannot be started: {source:#}")]
    Instantiate {
        /// The plugin.
        plugin: String,
        /// What the host said.
        source: wasmtime::Error,
    },
    /// Its manifest is wrong, or asks for what this version does not have, or does not allow the
    /// settings.
    #[error("plugin `{plugin}`: {source}")]
    Manifest {
        /// The plugin.
        plugin: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// The plugin refused its settings.
    #[error("plugin `{plugin}`: refuses its settings: {message}")]
    Settings {
        /// The plugin.
        plugin: String,
        /// What the plugin said.
        message: String,
    },
    /// The host itself cannot be set up.
    #[error("the plugin host cannot be set up: {0:#}")]
    Host(wasmtime::Error),
    /// A thread of the host could not be started or ended badly.
    #[error("the plugin host: {0}")]
    Machine(#[from] MachineError),
}

impl PolicyError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::UnknownBuiltin { .. } => Kind::NotFound,
            Self::Read { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => Kind::NotFound,
                _ => Kind::Internal,
            },
            Self::TooLarge { .. } => Kind::TooLarge,
            Self::NotAComponent { .. } => Kind::Malformed,
            Self::Import { .. }
            | Self::MissingExport { .. }
            | Self::Instantiate { .. }
            | Self::Settings { .. } => Kind::Invalid,
            Self::Manifest { source, .. } => source.kind(),
            Self::Host(_) => Kind::Internal,
            Self::Machine(source) => source.kind(),
        }
    }
}
