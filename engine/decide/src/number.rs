//! Owns how numbers that may be none are written down: in JSON, which has no word for them, as
//! `"NaN"`, `"Infinity"` and `"-Infinity"`, the words of the JSON mapping of Protocol Buffers; in
//! binary formats as they are.
//!
//! Refuses to know what a number stands for. Bound: one number at a time.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A floating-point number.
pub trait Number: Copy + Serialize + for<'a> Deserialize<'a> {
    /// As the widest.
    fn wide(self) -> f64;
    /// From the widest, rounded to the nearest.
    fn narrow(wide: f64) -> Self;
}

impl Number for f32 {
    fn wide(self) -> f64 {
        self.into()
    }

    fn narrow(wide: f64) -> Self {
        wide as Self
    }
}

impl Number for f64 {
    fn wide(self) -> f64 {
        self
    }

    fn narrow(wide: f64) -> Self {
        wide
    }
}

/// Writes one number.
pub fn serialize<T: Number, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let wide = number.wide();
    match () {
        () if wide.is_finite() || !serializer.is_human_readable() => number.serialize(serializer),
        () if wide.is_nan() => serializer.serialize_str("NaN"),
        () if wide > 0.0 => serializer.serialize_str("Infinity"),
        () => serializer.serialize_str("-Infinity"),
    }
}

/// Reads one number.
pub fn deserialize<'a, T: Number, D: Deserializer<'a>>(deserializer: D) -> Result<T, D::Error> {
    if !deserializer.is_human_readable() {
        return T::deserialize(deserializer);
    }
    deserializer.deserialize_any(Word(PhantomData))
}

struct Word<T>(PhantomData<T>);

impl<T: Number> Visitor<'_> for Word<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        Ok(T::narrow(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Ok(T::narrow(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Ok(T::narrow(value as f64))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<T, E> {
        match value {
            "NaN" => Ok(T::narrow(f64::NAN)),
            "Infinity" => Ok(T::narrow(f64::INFINITY)),
            "-Infinity" => Ok(T::narrow(f64::NEG_INFINITY)),
            _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
        }
    }
}

/// Columns of such numbers.
pub mod list {
    use super::{Deserialize, Deserializer, Number, Serialize, Serializer};

    /// One entry of a column.
    #[derive(Deserialize, Serialize)]
    #[serde(bound = "T: Number")]
    struct Entry<T: Number>(#[serde(with = "super")] T);

    /// Writes a column.
    pub fn serialize<T: Number, S: Serializer>(
        numbers: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.iter().map(|number| Entry(*number)))
    }

    /// Reads a column.
    pub fn deserialize<'a, T: Number, D: Deserializer<'a>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let entries = Vec::<Entry<T>>::deserialize(deserializer)?;
        Ok(entries.into_iter().map(|entry| entry.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize, Serialize)]
    struct Row {
        #[serde(with = "crate::number")]
        one: f64,
        #[serde(with = "crate::number::list")]
        many: Vec<f32>,
    }

    #[test]
    fn numbers_that_are_none_have_words() {
        let row = Row {
            one: f64::NEG_INFINITY,
            many: vec![0.1, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, f32::MAX],
        };
        let text = serde_json::to_string(&row).unwrap();
        assert!(text.contains(r#""one":"-Infinity","many":[0.1,"NaN","Infinity","#), "{text}");
        let read: Row = serde_json::from_str(&text).unwrap();
        assert_eq!(read.one, row.one);
        let bits = |many: &[f32]| many.iter().map(|n| n.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read.many), bits(&row.many));
        let whole: Row = serde_json::from_str(r#"{"one": -3, "many": [7]}"#).unwrap();
        assert_eq!((whole.one, whole.many[0]), (-3.0, 7.0));
        for wrong in [r#"{"one": "nan", "many": []}"#, r#"{"one": null, "many": []}"#] {
            let error = serde_json::from_str::<Row>(wrong).unwrap_err().to_string();
            assert!(error.contains("a number, \"NaN\""), "{error}");
        }
    }
}
