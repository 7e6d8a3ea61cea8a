//! Owns one setting of a plugin: the values that it may take, in the words of JSON Schema (draft
//! 2020-12) of which it is a part.
//!
//! Refuses what JSON Schema has beyond flat values. Bound: one value at a time.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Which JSON type a setting has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingType {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A text.
    String,
}

/// The values that a setting may take.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Its type.
    #[serde(rename = "type")]
    pub of_type: SettingType,
    /// What it does, for the operator.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What holds where nothing is said; the plugin itself puts it in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The least number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The only values.
    #[serde(default, rename = "enum", skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<Value>,
}

impl Setting {
    /// Whether it may take `value`.
    pub fn takes(&self, value: &Value) -> bool {
        let has_type = match self.of_type {
            SettingType::Boolean => value.is_boolean(),
            // As in JSON Schema, 1.0 is a whole number.
            SettingType::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0)
            }
            SettingType::Number => value.is_number(),
            SettingType::String => value.is_string(),
        };
        let number = value.as_f64();
        let is_in_range = number.is_none_or(|number| {
            self.minimum.is_none_or(|least| number >= least)
                && self.maximum.is_none_or(|most| number <= most)
        });
        has_type && is_in_range && (self.one_of.is_empty() || self.one_of.contains(value))
    }

    /// What it may be, in words for the operator.
    pub fn expected(&self) -> String {
        if !self.one_of.is_empty() {
            let values: Vec<String> = self.one_of.iter().map(Value::to_string).collect();
            return format!("one of {}", values.join(", "));
        }
        let what = match self.of_type {
            SettingType::Boolean => "true or false",
            SettingType::Integer => "a whole number",
            SettingType::Number => "a number",
            SettingType::String => "a text",
        };
        match (self.minimum, self.maximum) {
            (None, None) => what.to_owned(),
            (Some(least), None) => format!("{what} of at least {least}"),
            (None, Some(most)) => format!("{what} of at most {most}"),
            (Some(least), Some(most)) => format!("{what} from {least} to {most}"),
        }
    }

    /// What is wrong with the setting itself.
    pub(crate) fn fault(&self) -> Option<String> {
        let is_number = matches!(self.of_type, SettingType::Integer | SettingType::Number);
        if !is_number && (self.minimum.is_some() || self.maximum.is_some()) {
            return Some("has a minimum or a maximum and is no number".to_owned());
        }
        let of_type = Self { one_of: Vec::new(), ..self.clone() };
        if let Some(value) = self.one_of.iter().find(|value| !of_type.takes(value)) {
            return Some(format!("lists {value}, which it cannot take"));
        }
        let default = self.default.as_ref().filter(|default| !self.takes(default))?;
        Some(format!("has the default {default}, and must be {}", self.expected()))
    }
}
