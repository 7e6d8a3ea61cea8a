//! Owns what can be wrong with a manifest, and with settings that are held against one.
//!
//! Refuses to know where the manifest came from. Bound: one enum.

use truststram_base::Kind;

/// What is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file is no TOML of the expected form.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// The section of a component is no JSON of the expected form.
    #[error("the section `truststram:manifest` cannot be read: {0}")]
    Section(#[from] serde_json::Error),
    /// The section is larger than the limit.
    #[error("the section `truststram:manifest` has {bytes} bytes, more than {bytes_max}")]
    SectionTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The component has two of them.
    #[error("the component has two sections `truststram:manifest`")]
    TwoSections,
    /// The plugin is made for an interface that this version does not have.
    #[error("made for version {found} of `truststram:policy`; this server has {known}")]
    ApiVersion {
        /// What it is made for.
        found: String,
        /// What there is.
        known: &'static str,
    },
    /// A field of the manifest has a value that cannot be.
    #[error("`{field}` {message}")]
    Field {
        /// The field, with its path.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// The settings are not one JSON object.
    #[error("the settings must be one JSON object: {source}")]
    NoObject {
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A setting that the plugin does not have.
    #[error("unknown setting `{setting}`; {known}")]
    UnknownSetting {
        /// The setting.
        setting: String,
        /// The names that there are.
        known: String,
    },
    /// A value that the setting cannot take.
    #[error("setting `{setting}` is {found}; it must be {expected}")]
    Value {
        /// The setting.
        setting: String,
        /// The value.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl ManifestError {
    /// What the error means to its receiver.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Toml(_) | Self::Section(_) | Self::TwoSections => Kind::Malformed,
            Self::SectionTooLarge { .. } => Kind::TooLarge,
            Self::ApiVersion { .. }
            | Self::Field { .. }
            | Self::NoObject { .. }
            | Self::UnknownSetting { .. }
            | Self::Value { .. } => Kind::Invalid,
        }
    }
}
