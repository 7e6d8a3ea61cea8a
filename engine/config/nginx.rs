//! Owns turning an nginx.conf into a configuration of ours, with a list of what has no counterpart.
//!
//! Refuses to guess: a directive is converted as nginx means it or it is on the list. Bound: the
//! limits of `parse` for files, one route for each location.

mod cache;
mod cache_key;
mod compression;
mod http;
mod limits;
mod location;
mod logs;
mod notes;
mod parse;
mod passing;
mod protect;
mod proxy;
mod server;
mod units;
mod upstream;
mod write;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use notes::Note;
pub use parse::ParseError;

use super::raw::Raw;

/// What became of an nginx.conf.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The configuration.
    pub raw: Raw,
    /// What was not converted, or not quite, in the order of the files.
    pub notes: Vec<Note>,
    /// What was left out although it keeps somebody out: the result lets in whom the file does not.
    pub weaker: Vec<Note>,
}

impl Converted {
    /// The configuration as TOML, without what is a default.
    pub fn toml(&self) -> String {
        write::toml(&self.raw)
    }
}

/// Reads `file` with all that it includes, and converts it.
///
/// # Errors
/// The place of what is no nginx.conf, or of an include that cannot be read.
pub fn convert(file: &Path) -> Result<Converted, ParseError> {
    let directives = parse::read(file)?;
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut conversion = http::Conversion::new(folder);
    conversion.main(&directives);
    Ok(conversion.finish())
}
