//! Owns the reading of the command line: a command, then `--name value` pairs.
//!
//! Refuses to know which names a command has. Bound: one pass over the words.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use crate::Outcome;

/// The words of the command line.
pub struct Arguments {
    command: String,
    values: HashMap<String, String>,
}

impl Arguments {
    /// Reads all words.
    ///
    /// # Errors
    /// If a name has no value or a value no name.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Outcome<Self> {
        let command = words.next().unwrap_or_default();
        let mut values = HashMap::new();
        while let Some(word) = words.next() {
            let name = word
                .strip_prefix("--")
                .ok_or_else(|| format!("expected --name, found {word:?}"))?;
            let value = words.next().ok_or_else(|| format!("--{name} has no value"))?;
            values.insert(name.to_owned(), value);
        }
        Ok(Self { command, values })
    }

    /// The command.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The value of a name that must be there.
    ///
    /// # Errors
    /// If it is not.
    pub fn text(&self, name: &str) -> Outcome<&str> {
        Ok(self.values.get(name).ok_or_else(|| format!("--{name} is missing"))?)
    }

    /// As [`Arguments::text`], as a path.
    ///
    /// # Errors
    /// If it is missing.
    pub fn path(&self, name: &str) -> Outcome<&Path> {
        Ok(Path::new(self.text(name)?))
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// If it is missing or no such number.
    pub fn number<N: FromStr>(&self, name: &str) -> Outcome<N> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("--{name}: {text:?} is no number that fits").into())
    }

    /// A number, or `default` where it is not given.
    ///
    /// # Errors
    /// If it is no such number.
    pub fn number_or<N: FromStr>(&self, name: &str, default: N) -> Outcome<N> {
        if self.values.contains_key(name) { self.number(name) } else { Ok(default) }
    }
}
