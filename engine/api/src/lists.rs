//! Owns lists and objects in bodies that may have so many items and no more.
//!
//! Refuses to know the items. Bound: reading stops at the first item too many, so that a list of
//! empty lists cannot take more memory than its limit allows.

use std::borrow::Cow;

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A list of at most `MAX` items.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AtMost<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for AtMost<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Items::<T, MAX>(PhantomData))
    }
}

struct Items<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = AtMost<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            if list.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            list.push(item);
        }
        Ok(AtMost(list))
    }
}

/// The fields of an object in their order, at most `MAX`, each value as its text.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a, const MAX: usize>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<const MAX: usize> Default for Fields<'_, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'a, const MAX: usize> Fields<'a, MAX> {
    /// The value of a field, if there is one; of one that is given twice the first.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// Whether there is such a field.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

impl<'de: 'a, 'a, const MAX: usize> Deserialize<'de> for Fields<'a, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs::<MAX>)
    }
}

struct Pairs<const MAX: usize>;

impl<'de, const MAX: usize> Visitor<'de> for Pairs<MAX> {
    type Value = Fields<'de, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MAX} fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((Name(name), value)) = map.next_entry()? {
            if fields.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            fields.push((name, value));
        }
        Ok(Fields(fields))
    }
}

/// A name that borrows from the body where it can.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::{AtMost, Fields};

    #[test]
    fn the_first_item_too_many_ends_it() {
        let read = serde_json::from_str::<AtMost<u8, 2>>;
        assert_eq!(read("[1,2]").unwrap().0, [1, 2]);
        let error = read("[1,2,3,nonsense").unwrap_err().to_string();
        assert!(error.contains("at most 2 items"), "{error}");
        assert!(read("7").is_err());
    }

    #[test]
    fn fields_keep_their_order_and_text() {
        let read = serde_json::from_str::<Fields<'_, 2>>;
        let fields = read(r#"{"b": [1, 2], "a\n": null}"#).unwrap();
        let shown: Vec<_> = fields.0.iter().map(|(name, text)| (&name[..], text.get())).collect();
        assert_eq!(shown, [("b", "[1, 2]"), ("a\n", "null")]);
        assert_eq!(fields.get("b").map(|text| text.get()), Some("[1, 2]"));
        assert!(!fields.has("c"));
        let error = read(r#"{"a":1,"b":2,"c":3,nonsense"#).unwrap_err().to_string();
        assert!(error.contains("at most 2 fields"), "{error}");
        assert!(read("[]").is_err());
    }
}
