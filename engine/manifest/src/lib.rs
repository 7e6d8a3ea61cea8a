//! Floor 1: what a plugin says of itself before it is run.
//!
//! Owns the manifest: the file `plugin.toml` of an author, the section of a component that it
//! becomes, and the check of settings against it. Refuses to run or compile anything. Bound:
//! [`SECTION_BYTES_MAX`] and [`SETTINGS_MAX`].

mod error;
mod manifest;
mod section;
mod setting;

pub use error::ManifestError;
pub use manifest::{API_VERSION, Manifest, SETTINGS_MAX};
pub use section::{SECTION_BYTES_MAX, SECTION_NAME};
pub use setting::{Setting, SettingType};
