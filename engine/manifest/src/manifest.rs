//! Owns the manifest: which interface version a plugin is made for, what it is, and its settings.
//!
//! Refuses to know what a kind decides. Bound: [`SETTINGS_MAX`] settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::ManifestError;
use crate::section;
use crate::setting::Setting;

/// The version of `truststram:policy` that this crate is made for.
pub const API_VERSION: &str = "0.1.0";
/// Most settings of one plugin.
pub const SETTINGS_MAX: usize = 256;

const NAME_BYTES_MAX: usize = 64;

/// What a plugin says of itself before it is run.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of `truststram:policy` that it is made for.
    #[serde(default = "api_version")]
    pub api: String,
    /// Its name: a-z, 0-9 and `-`.
    pub name: String,
    /// What it decides.
    pub kind: String,
    /// The language that it is written in, for `plugin build`; not part of a component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Its own version.
    pub version: String,
    /// Its settings by name.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
}

fn api_version() -> String {
    API_VERSION.to_owned()
}

impl Manifest {
    /// Reads `plugin.toml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The manifest of a component; none if it has none.
    ///
    /// # Errors
    /// What is wrong with it, or that it is made for another interface.
    pub fn of_component(component: &[u8]) -> Result<Option<Self>, ManifestError> {
        let Some(body) = section::find(component)? else { return Ok(None) };
        let manifest: Self = serde_json::from_slice(body)?;
        manifest.check()?;
        Ok(Some(manifest))
    }

    /// Adds the manifest to a component that has none.
    ///
    /// # Errors
    /// If it does not fit into its section.
    pub fn attach(&self, component: &mut Vec<u8>) -> Result<(), ManifestError> {
        let body = serde_json::to_vec(&Self { language: None, ..self.clone() })?;
        if body.len() > section::SECTION_BYTES_MAX {
            let (bytes, bytes_max) = (body.len(), section::SECTION_BYTES_MAX);
            return Err(ManifestError::SectionTooLarge { bytes, bytes_max });
        }
        section::append(component, &body);
        Ok(())
    }

    /// Holds settings, the text of one JSON object, against what the plugin has.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check_settings(&self, settings_json: &str) -> Result<(), ManifestError> {
        let settings: Map<String, Value> = serde_json::from_str(settings_json)
            .map_err(|source| ManifestError::NoObject { source })?;
        for (name, value) in &settings {
            let Some(setting) = self.settings.get(name) else {
                let names: Vec<&str> = self.settings.keys().map(String::as_str).collect();
                let known = match &names[..] {
                    [] => format!("`{}` has none", self.name),
                    names => format!("known: {}", names.join(", ")),
                };
                return Err(ManifestError::UnknownSetting { setting: name.clone(), known });
            };
            if !setting.takes(value) {
                let (setting, expected) = (name.clone(), setting.expected());
                let found = value.to_string();
                return Err(ManifestError::Value { setting, found, expected });
            }
        }
        Ok(())
    }

    /// The settings as a JSON Schema (draft 2020-12).
    pub fn schema(&self) -> Value {
        json!({
            "type": "object",
            "properties": self.settings,
            "additionalProperties": false,
        })
    }

    fn check(&self) -> Result<(), ManifestError> {
        let field = |field: &str, message: String| {
            Err(ManifestError::Field { field: field.to_owned(), message })
        };
        if !is_compatible(&self.api) {
            let found = self.api.chars().take(NAME_BYTES_MAX).collect();
            return Err(ManifestError::ApiVersion { found, known: API_VERSION });
        }
        let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=NAME_BYTES_MAX).contains(&self.name.len()) || !self.name.bytes().all(is_word) {
            return field("name", format!("takes 1 to {NAME_BYTES_MAX} of a-z, 0-9 and `-`"));
        }
        if self.settings.len() > SETTINGS_MAX {
            return field("settings", format!("has more than {SETTINGS_MAX} entries"));
        }
        let faults =
            self.settings.iter().find_map(|(name, setting)| Some((name, setting.fault()?)));
        faults.map_or(Ok(()), |(name, fault)| field(&format!("settings.{name}"), fault))
    }
}

/// Whether a plugin for this version of the interface can be run. Before version 1 a minor version
/// changes what there is; a patch adds nothing that a plugin could need.
fn is_compatible(version: &str) -> bool {
    let of = |version: &str| {
        let mut parts = version.split('.').map(str::parse::<u32>);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(_patch)), None) => Some((major, minor)),
            _ => None,
        }
    };
    of(version).is_some() && of(version) == of(API_VERSION)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "mine"
        kind = "batcher"
        language = "rust"
        version = "0.1.0"
        [settings.share]
        type = "number"
        minimum = 0
        maximum = 1
        default = 0.25
        description = "Share of the target that is waited."
        [settings.full]
        type = "integer"
        minimum = 1
        [settings.mode]
        type = "string"
        enum = ["a", "b"]
        [settings.on]
        type = "boolean"
    "#;

    #[test]
    fn settings_are_held_against_the_manifest() {
        let manifest = Manifest::from_toml(GOOD).unwrap();
        let check = |settings: &str, expected: &str| match manifest.check_settings(settings) {
            Ok(()) => assert_eq!(expected, "", "{settings}"),
            Err(error) => {
                let error = error.to_string();
                assert!(!expected.is_empty() && error.contains(expected), "{settings}: {error}");
            }
        };
        check("{}", "");
        check(r#"{"share": 1, "full": 3.0, "mode": "b", "on": false}"#, "");
        check(r#"{"share": 1.5}"#, "`share` is 1.5; it must be a number from 0 to 1");
        check(r#"{"share": "1"}"#, "a number from 0 to 1");
        check(r#"{"full": 0}"#, "a whole number of at least 1");
        check(r#"{"full": 1.5}"#, "a whole number");
        check(r#"{"mode": "c"}"#, "one of \"a\", \"b\"");
        check(r#"{"on": 1}"#, "true or false");
        check(r#"{"shar": 1}"#, "unknown setting `shar`; known: full, mode, on, share");
        check("[]", "one JSON object");
        check("", "one JSON object");
    }

    #[test]
    fn a_manifest_travels_in_a_component() {
        let manifest = Manifest::from_toml(GOOD).unwrap();
        let mut component = vec![0, b'a', b's', b'm', 13, 0, 1, 0];
        assert_eq!(Manifest::of_component(&component).unwrap(), None);
        manifest.attach(&mut component).unwrap();
        let read = Manifest::of_component(&component).unwrap().unwrap();
        assert_eq!(read, Manifest { language: None, ..manifest });
        assert_eq!(read.schema()["properties"]["share"]["type"], "number");
    }

    #[test]
    fn manifests_that_are_refused() {
        let check = |from: &str, to: &str, expected: &str| {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD, "{from}");
            let error = Manifest::from_toml(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        };
        check("\"mine\"", "\"No Name\"", "`name` takes");
        check("\"mine\"", "\"\"", "`name` takes");
        check("kind =", "kinds =", "unknown field `kinds`");
        check("kind =", "api = \"0.2.0\"\nkind =", "made for version 0.2.0");
        check("kind =", "api = \"1.1.0\"\nkind =", "made for version 1.1.0");
        check("kind =", "api = \"0.1\"\nkind =", "made for version 0.1 ");
        check("default = 0.25", "default = 2", "`settings.share` has the default 2");
        check("[\"a\", \"b\"]", "[\"a\", 1]", "lists 1, which it cannot take");
        check("\"boolean\"", "\"boolean\"\nminimum = 1", "is no number");
        check("\"boolean\"", "\"flag\"", "unknown variant `flag`");
    }

    #[test]
    fn later_patches_of_the_interface_are_known() {
        let text = GOOD.replace("kind =", "api = \"0.1.7\"\nkind =");
        assert_eq!(Manifest::from_toml(&text).unwrap().api, "0.1.7");
    }
}
