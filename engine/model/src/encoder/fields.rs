//! Owns the typed access to the fields of a folder's JSON files.
//!
//! Refuses to know what fields mean. Bound: one complaint, the first, with file, key and what was
//! expected.

use serde_json::{Map, Value};

use crate::error::ModelError;

/// One JSON file.
#[derive(Debug)]
pub struct Fields<'a> {
    file: &'a str,
    fields: Map<String, Value>,
}

/// The complaint about a place in a file of the folder.
pub fn wrong(file: &str, key: &str, found: impl ToString, expected: impl ToString) -> ModelError {
    ModelError::Folder {
        file: file.to_owned(),
        key: key.to_owned(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

impl<'a> Fields<'a> {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is no JSON object.
    pub fn parse(file: &'a str, bytes: &[u8]) -> Result<Self, ModelError> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self { file, fields }),
            Ok(_) => Err(wrong(file, "", "another JSON value", "an object")),
            Err(error) => Err(wrong(file, "", error, "a JSON object")),
        }
    }

    /// A field; null counts as absent.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// The complaint about a field.
    pub fn wrong(&self, key: &str, expected: impl ToString) -> ModelError {
        let found = match self.get(key) {
            None => "absent".to_owned(),
            Some(Value::Array(list)) => format!("a list of {}", list.len()),
            Some(Value::Object(fields)) => format!("an object of {}", fields.len()),
            Some(value) => value.to_string().chars().take(100).collect(),
        };
        wrong(self.file, key, found, expected)
    }

    /// A whole number from `least` to `most`, if it is there.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is something else.
    pub fn count(&self, key: &str, least: u64, most: u64) -> Result<Option<usize>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let fits = value.as_u64().filter(|count| (least..=most).contains(count));
        match fits.map(usize::try_from) {
            Some(Ok(count)) => Ok(Some(count)),
            _ => Err(self.wrong(key, format_args!("a whole number from {least} to {most}"))),
        }
    }

    /// A whole number from `least` to `most`, which must be there.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is absent or something else.
    pub fn need(&self, key: &str, least: u64, most: u64) -> Result<usize, ModelError> {
        let expected = format_args!("a whole number from {least} to {most}");
        self.count(key, least, most)?.ok_or_else(|| self.wrong(key, expected))
    }

    /// Text, if it is there.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is something else.
    pub fn text(&self, key: &str) -> Result<Option<&str>, ModelError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "text"))
    }

    /// A truth value; absent is false.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is something else.
    pub fn flag(&self, key: &str) -> Result<bool, ModelError> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.wrong(key, "true or false"))
    }

    /// Refuses the file if a flag is set, for what it asks for is not computed.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the flag.
    pub fn refuse_flags(&self, keys: &[&str]) -> Result<(), ModelError> {
        match keys.iter().find(|key| !matches!(self.flag(key), Ok(false))) {
            None => Ok(()),
            Some(key) => Err(self.wrong(key, "false; nothing else is computed")),
        }
    }
}
