//! Owns inputs of predictions other than a list of features: values by name, tensors, a text.
//!
//! Refuses to know a model's names, so that the inference side puts values in order. Bound:
//! [`FEATURE_COUNT_MAX`] values, [`TEXT_BYTES_MAX`] of text.

use std::borrow::Cow;
use std::collections::HashSet;

use serde::Deserialize;
use serde_json::value::RawValue;
use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};
use truststram_base::{ModelId, ModelVersion, UserId};

use crate::explain::explain;
use crate::filters::invalid;
use crate::lists::{AtMost, Fields};
use crate::ports::{FieldValue, Input};
use crate::problem::Problem;
use crate::tensor::{self, TENSORS_MAX, Tail};

/// Longest name of a feature, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// A prediction that is not made from a list of features.
pub(crate) struct OtherAsk {
    pub model: ModelId,
    pub version: Option<ModelVersion>,
    pub user: Option<UserId>,
    pub input: Input,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OtherRequest<'a> {
    #[serde(borrow)]
    model_id: Cow<'a, str>,
    version: Option<u32>,
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

/// Reads a body that is no request with a list of features; what is wrong with it may be no more
/// than that list.
pub(crate) fn parse(body: &[u8]) -> Result<OtherAsk, Problem> {
    let Ok(request) = serde_json::from_slice::<OtherRequest<'_>>(body) else {
        return Err(explain(body));
    };
    let input = match (request.data, request.text) {
        (Some(data), None) if data.get().starts_with('{') => object(data.get())?,
        (None, Some(text)) => Input::Text(text_of("text", text)?),
        (Some(_), Some(_)) => return Err(both_given()),
        _ => return Err(explain(body)),
    };
    let (model, user) = ids(body, &request.model_id, request.user_id.as_deref())?;
    Ok(OtherAsk { model, version: request.version.map(ModelVersion), user, input })
}

/// Reads whom a body asks, and who asks.
pub(super) fn ids(
    body: &[u8],
    model: &str,
    user: Option<&str>,
) -> Result<(ModelId, Option<UserId>), Problem> {
    let user = user.map(UserId::new).transpose().map_err(|_| explain(body))?;
    Ok((ModelId::new(model).map_err(|_| explain(body))?, user))
}

/// A prediction is made from one thing.
pub(super) fn both_given() -> Problem {
    invalid("text", "and `data` are both given; give one of them")
}

pub(super) fn text_of(field: &str, text: Cow<'_, str>) -> Result<String, Problem> {
    match text.len() {
        1..=TEXT_BYTES_MAX => Ok(text.into_owned()),
        found => {
            Err(invalid(field, format!("must have 1 to {TEXT_BYTES_MAX} bytes, found {found}")))
        }
    }
}

fn object(text: &str) -> Result<Input, Problem> {
    let Fields(fields): Fields<'_, FEATURE_COUNT_MAX> = serde_json::from_str(text)
        .map_err(|error| invalid("data", format!("must be {}", tensor::words(&error))))?;
    if let [(name, value)] = fields.as_slice()
        && name == "inputs"
        && value.get().starts_with('[')
        && value.get()[1..].trim_ascii_start().starts_with('{')
    {
        let list: AtMost<&RawValue, TENSORS_MAX> = serde_json::from_str(value.get())
            .map_err(|error| invalid("data.inputs", tensor::words(&error)))?;
        let tensors = tensor::read_all(&list.0, &mut Tail::default(), "data.inputs")?;
        return Ok(Input::Tensors(tensors));
    }
    if fields.is_empty() {
        return Err(invalid("data", "has no field; give a value for each feature"));
    }
    let mut names = HashSet::with_capacity(fields.len());
    let mut values = Vec::with_capacity(fields.len());
    let mut left = FEATURE_COUNT_MAX;
    for (name, value) in &fields {
        let shown: String = name.chars().take(64).collect();
        let field = format!("data.{shown}");
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(invalid(&field, format!("must have 1 to {NAME_BYTES_MAX} bytes")));
        }
        if !names.insert(name.as_ref()) {
            return Err(invalid(&field, "is given twice"));
        }
        values.push((name.clone().into_owned(), field_value(&field, value.get(), &mut left)?));
    }
    Ok(Input::Named(values))
}

/// Reads one value; `left` is how many may yet come.
fn field_value(field: &str, text: &str, left: &mut usize) -> Result<FieldValue, Problem> {
    let cannot = |error: serde_json::Error| {
        invalid(field, format!("cannot be read: {}", tensor::words(&error)))
    };
    let value = match text.as_bytes().first() {
        Some(b'n') => FieldValue::Missing,
        Some(b't') => FieldValue::Bool(true),
        Some(b'f') => FieldValue::Bool(false),
        Some(b'"') => {
            FieldValue::Text(text_of(field, serde_json::from_str(text).map_err(cannot)?)?)
        }
        Some(b'{') => {
            let message = "must be a number, text, true, false, null or a list, found an object";
            return Err(invalid(field, message));
        }
        Some(b'[') => {
            let inside = text[1..].trim_ascii_start();
            if inside.starts_with('"') {
                let texts: AtMost<String, FEATURE_COUNT_MAX> =
                    serde_json::from_str(text).map_err(cannot)?;
                FieldValue::Texts(texts.0)
            } else {
                let numbers: AtMost<f64, FEATURE_COUNT_MAX> =
                    serde_json::from_str(text).map_err(cannot)?;
                FieldValue::Numbers(numbers.0)
            }
        }
        _ => FieldValue::Number(serde_json::from_str(text).map_err(cannot)?),
    };
    let taken = match &value {
        FieldValue::Numbers(numbers) => numbers.len(),
        FieldValue::Texts(texts) => texts.len(),
        _ => 1,
    };
    match left.checked_sub(taken) {
        Some(rest) => *left = rest,
        None => {
            let message = format!("is where more than {FEATURE_COUNT_MAX} values are given");
            return Err(invalid(field, message));
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(fields: &str) -> Result<Input, Problem> {
        parse(format!(r#"{{"model_id":"m",{fields}}}"#).as_bytes()).map(|ask| ask.input)
    }

    #[test]
    fn values_by_name_keep_their_order_and_kind() {
        let data = r#""data": {"b": 1.5, "a": null, "c": "x", "d": true, "e": [1, 2],
                       "f": ["p"], "inputs": [1]}"#;
        let number = |values: &[f64]| FieldValue::Numbers(values.to_vec());
        let expected = [
            ("b", FieldValue::Number(1.5)),
            ("a", FieldValue::Missing),
            ("c", FieldValue::Text("x".to_owned())),
            ("d", FieldValue::Bool(true)),
            ("e", number(&[1.0, 2.0])),
            ("f", FieldValue::Texts(vec!["p".to_owned()])),
            ("inputs", number(&[1.0])),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(input(data).unwrap(), Input::Named(expected.into()));
    }

    #[test]
    fn tensors_and_texts_are_inputs() {
        let tensors =
            r#""data":{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":[3]}]}"#;
        let Input::Tensors(tensors) = input(tensors).unwrap() else { panic!() };
        assert_eq!((tensors[0].name.as_str(), tensors[0].shape.as_slice()), ("x", &[1_u64][..]));
        assert_eq!(input(r#""text":"hé""#).unwrap(), Input::Text("hé".to_owned()));
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let check = |fields: &str, expected: &str| {
            let problem = input(fields).unwrap_err();
            assert_eq!(problem.status, 422, "{problem:?}");
            assert!(problem.detail.starts_with(expected), "{fields}: {}", problem.detail);
        };
        check(r#""data":{}"#, "data has no field");
        check(r#""data":{"a":{}}"#, "data.a must be a number, text");
        check(r#""data":{"a":[1,"b"]}"#, "data.a cannot be read: invalid type: string");
        check(r#""data":{"a":[[1]]}"#, "data.a cannot be read: invalid type: sequence");
        check(r#""data":{"a":1,"a":2}"#, "data.a is given twice");
        check(r#""data":{"":1}"#, "data. must have 1 to 256 bytes");
        check(r#""data":{"a":1e999}"#, "data.a cannot be read: number out of range");
        check(r#""data":{"a":""}"#, "data.a must have 1 to");
        check(r#""data":{"inputs":[{"name":"x"}]}"#, "data.inputs[0] is no tensor: missing field");
        check(r#""text":"""#, "text must have 1 to");
        check(r#""text":"a","data":[1]"#, "text and `data` are both given");
        check(r#""text":"a","data":{"a":1}"#, "text and `data` are both given");
        check(r#""text":null"#, "data is missing");
        check(r#""text":null,"data":7"#, "data must be a list of numbers, or an object");
        check(r#""text":null,"data":[null]"#, "data[0] must be a number, found null");
        check(r#""text":7"#, "text must be text, found a number");
        check(r#""data":7"#, "data must be a list of numbers, or an object");
        check(r#""data":{"a":1},"user_id":"""#, "user_id is empty");
        check(r#""user_id":"u""#, "data is missing");
        let many = vec!["0"; FEATURE_COUNT_MAX].join(",");
        check(&format!(r#""data":{{"a":[{many}],"b":1}}"#), "data.b is where more than 65536");
    }
}
