//! Owns the body of many predictions of texts that ask one model.
//!
//! Refuses to know tokens. A text that cannot be is an error in its place, not of the whole. Bound:
//! [`BATCH_ITEM_COUNT_MAX`] texts of [`truststram_base::limits::TEXT_BYTES_MAX`].

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use truststram_base::limits::BATCH_ITEM_COUNT_MAX;
use truststram_base::{Kind, ModelId, ModelVersion, RequestId, UserId};
use utoipa::ToSchema;

use super::input::text_of;
use crate::explain::malformed;
use crate::filters::invalid;
use crate::lists::AtMost;
use crate::options::Haste;
use crate::ports::{Ask, Input};
use crate::problem::Problem;
use crate::tensor::words;

/// Texts for one model, each answered as `text` of one prediction is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextsRequest<'a> {
    /// The model to ask.
    #[serde(borrow)]
    #[schema(value_type = String)]
    model_id: Cow<'a, str>,
    /// The version to ask; the active one if absent.
    version: Option<u32>,
    /// Who asks, kept with the predictions.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    user_id: Option<Cow<'a, str>>,
    /// At least one text.
    #[schema(value_type = Vec<String>)]
    texts: AtMost<String, BATCH_ITEM_COUNT_MAX>,
    /// It is not given together with texts.
    #[schema(ignore)]
    data: Option<IgnoredAny>,
    /// The same.
    #[schema(ignore)]
    text: Option<IgnoredAny>,
}

/// Reads the body into one [`Ask`] for each text, with ids next to each other.
pub(crate) fn parse(
    body: &[u8],
    request: RequestId,
    durable: bool,
    haste: Haste,
) -> Result<Vec<Result<Ask, Problem>>, Problem> {
    let typed: TextsRequest<'_> = serde_json::from_slice(body).map_err(|error| {
        if !error.is_data() {
            return malformed(body, &error);
        }
        let expected = "must be a list of prediction requests, or an object with `model_id` and \
                        `texts`";
        Problem::new(Kind::Invalid, format!("the body {expected}: {}", words(&error)))
    })?;
    for (name, other) in [("data", &typed.data), ("text", &typed.text)] {
        if other.is_some() {
            return Err(invalid("texts", format!("and `{name}` are both given; give one of them")));
        }
    }
    let model = ModelId::new(&typed.model_id);
    let model = model.map_err(|error| invalid("model_id", error.to_string()))?;
    let user = typed.user_id.as_deref().map(UserId::new).transpose();
    let user = user.map_err(|error| invalid("user_id", error.to_string()))?;
    let AtMost(texts) = typed.texts;
    if texts.is_empty() {
        return Err(invalid("texts", "is empty; give at least one text"));
    }
    let ask = |(index, text): (usize, String)| {
        let text = text_of(&format!("texts[{index}]"), Cow::Owned(text))?;
        Ok(Ask {
            request: RequestId(request.0.wrapping_add(index as u128)),
            model: model.clone(),
            version: typed.version.map(ModelVersion),
            user: user.clone(),
            input: Input::Text(text),
            durable,
            priority: haste.priority,
            deadline_ms: haste.deadline_ms,
        })
    };
    Ok(texts.into_iter().enumerate().map(ask).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<Result<Ask, Problem>>, Problem> {
        let haste = Haste { priority: 1, deadline_ms: None };
        parse(body.as_bytes(), RequestId(7), true, haste)
    }

    #[test]
    fn each_text_is_a_prediction_or_an_error_in_its_place() {
        let asks = read(r#"{"model_id":"m","version":3,"texts":["a","","h\u00e9"]}"#).unwrap();
        let ask = asks[2].as_ref().unwrap();
        assert_eq!((&ask.input, ask.request), (&Input::Text("hé".to_owned()), RequestId(9)));
        assert_eq!((ask.version, ask.durable), (Some(ModelVersion(3)), true));
        let detail = &asks[1].as_ref().unwrap_err().detail;
        assert!(detail.starts_with("texts[1] must have 1 to"), "{detail}");
    }

    #[test]
    fn what_is_wrong_with_the_whole_is_named() {
        let check = |body: &str, status: u16, expected: &str| {
            let problem = read(body).unwrap_err();
            assert_eq!(problem.status, status, "{problem:?}");
            assert!(problem.detail.contains(expected), "{body}: {}", problem.detail);
        };
        let with = |fields: &str| format!(r#"{{"model_id":"m",{fields}}}"#);
        check("{}", 422, "must be a list of prediction requests, or an object with `model_id`");
        check(&with(r#""texts":[]"#), 422, "texts is empty");
        check(&with(r#""texts":"a""#), 422, "expected a list of at most 1024 items");
        check(&with(r#""texts":["a",1]"#), 422, "invalid type: integer `1`, expected a string");
        check(&with(r#""texts":["a"],"data":[1]"#), 422, "texts and `data` are both given");
        check(&with(r#""texts":["a"],"text":"b""#), 422, "texts and `text` are both given");
        check(&with(r#""texts":["a"],"user_id":"""#), 422, "user_id is empty");
        check(&with(r#""texts":["a"],"txt":1"#), 422, "unknown field `txt`");
        check(r#"{"model_id":"A","texts":["a"]}"#, 422, "model_id has a character");
        let many = vec!["\"a\""; BATCH_ITEM_COUNT_MAX + 1].join(",");
        check(&with(&format!(r#""texts":[{many}]"#)), 422, "invalid length 1025");
        check(r#"{"texts":["a",]}"#, 400, "not JSON");
    }
}
