//! Owns what it means that one JSON document contains another, and the terms by which an index
//! finds the documents that may: PostgreSQL's `jsonb @>` and the idea of its `jsonb_path_ops`.
//!
//! A term is the hash of the way to a scalar (object keys and "in an array") and the scalar. A
//! document that contains a pattern has every term of the pattern, but not the other way round, so
//! what the terms find is compared again. A pattern without scalars has no terms.
//! Refuses to know who keeps documents. Bound: [`DOCUMENT_BYTES_MAX`], [`DEPTH_MAX`],
//! [`PATTERN_NODES_MAX`]; comparing costs at most the product of both sides' nodes.

use std::collections::BTreeSet;
use std::fmt;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub(crate) use self::json::Json;
pub use self::json::JsonProblem;

mod json;

/// Longest document or pattern, in bytes of its text.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 10;
/// Deepest nesting of a document or pattern.
pub const DEPTH_MAX: usize = 64;
/// Most scalars, arrays and objects of one pattern.
pub const PATTERN_NODES_MAX: usize = 1_024;

/// The way to the root. Every step hashes on from it.
const ROOT: u64 = 0x7472_7573_746a_736e;

/// A JSON document to look for in others.
#[derive(Clone, PartialEq)]
pub struct JsonPattern {
    json: Json,
    text: String,
}

impl JsonPattern {
    /// Reads the pattern's text. Numbers keep the value that the text states, to the last digit.
    ///
    /// # Errors
    /// If the text is no JSON or exceeds a bound of this module.
    pub fn new(text: &str) -> Result<Self, JsonProblem> {
        let json = Json::parse(text)?;
        if json.node_count() > PATTERN_NODES_MAX {
            return Err(JsonProblem::Nodes);
        }
        Ok(Self { json, text: text.to_owned() })
    }

    /// Whether the document contains this pattern, as `document @> pattern` of PostgreSQL.
    ///
    /// # Errors
    /// If the document is no JSON or exceeds a bound of this module.
    pub fn is_contained_in(&self, document: &str) -> Result<bool, JsonProblem> {
        Ok(contains(&Json::parse(document)?, &self.json))
    }

    pub(crate) fn json(&self) -> &Json {
        &self.json
    }

    /// Terms that every document which contains this pattern has; empty if nothing is known.
    pub(crate) fn terms(&self) -> BTreeSet<u64> {
        terms(&self.json)
    }
}

impl TryFrom<&serde_json::Value> for JsonPattern {
    type Error = JsonProblem;

    fn try_from(value: &serde_json::Value) -> Result<Self, JsonProblem> {
        Self::new(&value.to_string())
    }
}

impl fmt::Debug for JsonPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether `document` contains `pattern`. Beside nested containment, an array at the root contains
/// a scalar that is one of its elements; below the root it does not.
pub(crate) fn contains(document: &Json, pattern: &Json) -> bool {
    match (document, pattern) {
        (Json::Array(elements), scalar) if scalar.is_scalar() => elements.contains(scalar),
        _ => contains_nested(document, pattern),
    }
}

/// Objects contain by key, arrays as sets, scalars by value; different kinds never.
fn contains_nested(document: &Json, pattern: &Json) -> bool {
    match (document, pattern) {
        (Json::Object(document), Json::Object(pattern)) => {
            document.len() >= pattern.len()
                && pattern.iter().all(|(key, wanted)| {
                    document.get(key).is_some_and(|found| contains_nested(found, wanted))
                })
        }
        (Json::Array(document), Json::Array(pattern)) => {
            pattern.iter().all(|wanted| document.iter().any(|found| contains_nested(found, wanted)))
        }
        (document, pattern) => document.is_scalar() && document == pattern,
    }
}

/// The terms of all scalars in `json`.
pub(crate) fn terms(json: &Json) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    collect_terms(json, ROOT, &mut found);
    found
}

/// The term of a word that stands beside the documents, under a name of its own.
pub(crate) fn word_term(name: &str, word: &str) -> u64 {
    xxh3_64_with_seed(word.as_bytes(), xxh3_64_with_seed(name.as_bytes(), !ROOT))
}

fn collect_terms(json: &Json, way: u64, found: &mut BTreeSet<u64>) {
    // The first byte keeps the kinds of steps and scalars apart.
    let step = |kind: u8, bytes: &[u8]| xxh3_64_with_seed(bytes, xxh3_64_with_seed(&[kind], way));
    let term = match json {
        Json::Object(members) => {
            for (key, member) in members {
                collect_terms(member, step(b'k', key.as_bytes()), found);
            }
            return;
        }
        Json::Array(elements) => {
            let inside = step(b'a', &[]);
            elements.iter().for_each(|element| collect_terms(element, inside, found));
            return;
        }
        Json::Null => step(b'0', &[]),
        Json::Bool(value) => step(b'b', &[u8::from(*value)]),
        Json::Number(value) => step(b'n', value.to_string().as_bytes()),
        Json::String(value) => step(b's', value.as_bytes()),
    };
    found.insert(term);
}

#[cfg(test)]
pub(crate) mod tests;
