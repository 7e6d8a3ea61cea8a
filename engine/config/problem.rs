//! Owns how a configuration problem is named: key path, file and line, what is wrong.
//!
//! Refuses to know what a valid value is. Bound: one line per problem.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a file, counted from 1.
    File(PathBuf, usize),
    /// A file as a whole.
    WholeFile(PathBuf),
    /// A command line flag.
    Flag(&'static str),
    /// The built-in default.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::WholeFile(path) => write!(f, "{}", path.display()),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Default => write!(f, "default"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key path, for example `server.listen`; empty for a file as a whole.
    pub key: String,
    /// Where the value came from.
    pub place: Place,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() {
            return write!(f, "{}: {}", self.place, self.message);
        }
        write!(f, "{}: {}: {}", self.place, self.key, self.message)
    }
}

/// Everything that is wrong with the configuration; never empty when it is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl Problems {
    /// Adds a problem.
    pub fn add(&mut self, key: &str, place: Place, message: impl Into<String>) {
        self.0.push(Problem { key: key.to_owned(), place, message: message.into() });
    }

    /// `value`, unless there are problems.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() { Ok(value) } else { Err(self) }
    }
}
