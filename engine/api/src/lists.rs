//! Owns lists in bodies that may have so many items and no more.
//!
//! Refuses to know the items. Bound: reading stops at the first item too many, so that a list of
//! empty lists cannot take more memory than its limit allows.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

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

#[cfg(test)]
mod tests {
    use super::AtMost;

    #[test]
    fn the_first_item_too_many_ends_it() {
        let read = serde_json::from_str::<AtMost<u8, 2>>;
        assert_eq!(read("[1,2]").unwrap().0, [1, 2]);
        let error = read("[1,2,3,nonsense").unwrap_err().to_string();
        assert!(error.contains("at most 2 items"), "{error}");
        assert!(read("7").is_err());
    }
}
