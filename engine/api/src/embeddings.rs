//! Owns `POST /v1/embeddings` in the shape of OpenAI's interface, errors included.
//!
//! Refuses to know how texts are embedded. Bound: [`INPUTS_MAX`] inputs of [`TEXT_BYTES_MAX`] bytes
//! or [`TOKENS_MAX`] tokens each.

mod refusal;

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use truststram_base::limits::TEXT_BYTES_MAX;
use truststram_base::{ModelId, UserId};
use utoipa::ToSchema;

use crate::filters::json;
use crate::lists::AtMost;
use crate::options::{self, Haste};
use crate::ports::{EmbedAnswer, EmbedAsk, EmbedInputs};
use crate::predict::{json_body, request_id};
use crate::router::{Ports, Shared};
use crate::tensor::words;

pub(crate) use refusal::{OpenAiError, Refusal};

/// Most inputs of one request.
const INPUTS_MAX: usize = 2_048;
/// Most tokens of one input.
const TOKENS_MAX: usize = 65_536;
/// Most tokens of one request.
const ALL_TOKENS_MAX: usize = 1 << 20;

/// Texts to embed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingsRequest<'a> {
    /// A text, a list of texts, a list of tokens, or a list of such lists.
    #[serde(borrow)]
    #[schema(value_type = EmbeddingsInput)]
    input: &'a RawValue,
    /// The model to ask.
    #[serde(borrow)]
    #[schema(value_type = String)]
    model: Cow<'a, str>,
    /// `float` for lists of numbers, `base64` for their little-endian bytes; `float` if absent.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    encoding_format: Option<Cow<'a, str>>,
    /// Not supported: vectors have as many dimensions as the model gives them.
    dimensions: Option<u64>,
    /// Who asks.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    user: Option<Cow<'a, str>>,
}

/// What is embedded.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "it describes what `inputs` reads")]
pub(crate) enum EmbeddingsInput {
    /// One text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// One text in tokens.
    Tokens(Vec<u32>),
    /// Texts in tokens.
    TokenLists(Vec<Vec<u32>>),
}

/// Texts embedded.
#[derive(Serialize, ToSchema)]
pub(crate) struct EmbeddingsResponse {
    /// `list`.
    object: &'static str,
    /// One per input, in order.
    data: Vec<Embedding>,
    /// The model that answered.
    model: String,
    /// What it took.
    usage: Usage,
}

/// One input embedded.
#[derive(Serialize, ToSchema)]
pub(crate) struct Embedding {
    /// `embedding`.
    object: &'static str,
    /// The place of the input, counted from 0.
    index: usize,
    /// The vector, in the form that was asked for.
    embedding: Vector,
}

/// A vector in the form that was asked for.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Vector {
    /// Numbers.
    Floats(Vec<f32>),
    /// Little-endian 32-bit floats in base64.
    Base64(String),
}

/// How much was read.
#[derive(Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens of all inputs.
    prompt_tokens: u64,
    /// The same, as nothing is generated.
    total_tokens: u64,
}

/// Embed texts.
#[utoipa::path(post, path = "/v1/embeddings", tag = "embeddings",
    params(Haste),
    request_body = EmbeddingsRequest<'_>,
    responses(
        (status = 200, description = "One vector per input, in order", body = EmbeddingsResponse),
        (status = 400, description = "The request is not right", body = OpenAiError),
        (status = 404, description = "No such model", body = OpenAiError),
        (status = 413, description = "The body is larger than the limit", body = OpenAiError),
        (status = 415, description = "The body is not called JSON", body = OpenAiError),
        (status = 503, description = "A queue is full; see Retry-After", body = OpenAiError),
        (status = 504, description = "No answer within the deadline", body = OpenAiError),
    ))]
pub(crate) async fn embed(State(ports): State<Shared>, request: Request<Body>) -> Response<Body> {
    answer(&ports, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(ports: &Ports, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let haste = options::haste(request.headers())?;
    let id = request_id(&request);
    let body = json_body(request).await?;
    let parsed: EmbeddingsRequest<'_> = serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("the body cannot be read: {error}")))?;
    let bad = |param, message: String| Refusal::bad(message).of_param(param);
    let is_base64 = match parsed.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            let message = "encoding_format must be `float` or `base64`".to_owned();
            return Err(bad("encoding_format", message));
        }
    };
    if parsed.dimensions.is_some() {
        let message = "dimensions is not supported: leave it out and take the model's own";
        return Err(bad("dimensions", message.to_owned()));
    }
    let user = match parsed.user.as_deref() {
        None | Some("") => None,
        Some(user) => {
            let user = UserId::new(user);
            Some(user.map_err(|error| bad("user", format!("user {error}")))?)
        }
    };
    let inputs = inputs(parsed.input.get())?;
    // What can be no id is not found.
    let model = ModelId::new(&parsed.model).map_err(|_| Refusal::no_model(&parsed.model))?;
    let ask = EmbedAsk {
        request: id,
        model: model.clone(),
        version: None,
        user,
        inputs,
        priority: haste.priority,
        deadline_ms: haste.deadline_ms,
    };
    let EmbedAnswer { vectors, token_counts, .. } = ports.tensors.embed(ask).await?;
    let vector = |(index, vector): (usize, Vec<f32>)| {
        let embedding =
            if is_base64 { Vector::Base64(base64(&vector)) } else { Vector::Floats(vector) };
        Embedding { object: "embedding", index, embedding }
    };
    let tokens = token_counts.iter().map(|&count| u64::from(count)).sum();
    Ok(json(&EmbeddingsResponse {
        object: "list",
        data: vectors.into_iter().enumerate().map(vector).collect(),
        model: model.into(),
        usage: Usage { prompt_tokens: tokens, total_tokens: tokens },
    }))
}

fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Reads the four forms of `input`.
fn inputs(text: &str) -> Result<EmbedInputs, Refusal> {
    let bad = |message: String| Refusal::bad(message).of_param("input");
    let cannot = |error: serde_json::Error| bad(format!("input: {}", words(&error)));
    let inside = text.strip_prefix('[').map(str::trim_ascii_start);
    let inputs = match (text.as_bytes().first(), inside.and_then(|inside| inside.bytes().next())) {
        (Some(b'"'), _) => EmbedInputs::Texts(vec![serde_json::from_str(text).map_err(cannot)?]),
        (_, Some(b'"')) => {
            let texts: AtMost<String, INPUTS_MAX> = serde_json::from_str(text).map_err(cannot)?;
            EmbedInputs::Texts(texts.0)
        }
        (_, Some(b'[')) => {
            let lists: AtMost<AtMost<u32, TOKENS_MAX>, INPUTS_MAX> =
                serde_json::from_str(text).map_err(cannot)?;
            EmbedInputs::Tokens(lists.0.into_iter().map(|list| list.0).collect())
        }
        (_, Some(b']')) => return Err(bad("input is empty; give at least one text".to_owned())),
        (_, Some(_)) => {
            let tokens: AtMost<u32, TOKENS_MAX> = serde_json::from_str(text).map_err(cannot)?;
            EmbedInputs::Tokens(vec![tokens.0])
        }
        _ => {
            let message = "input must be a text, a list of texts, or a list of tokens";
            return Err(bad(message.to_owned()));
        }
    };
    let (lengths, length_max, unit): (Vec<usize>, _, _) = match &inputs {
        EmbedInputs::Texts(texts) => {
            (texts.iter().map(String::len).collect(), TEXT_BYTES_MAX, "bytes")
        }
        EmbedInputs::Tokens(lists) => (lists.iter().map(Vec::len).collect(), TOKENS_MAX, "tokens"),
    };
    let is_wrong = |(_, length): &(usize, &usize)| !(1..=length_max).contains(*length);
    if let Some((index, found)) = lengths.iter().enumerate().find(is_wrong) {
        return Err(bad(format!("input[{index}] must have 1 to {length_max} {unit}, has {found}")));
    }
    let all: usize = lengths.iter().sum();
    if matches!(inputs, EmbedInputs::Tokens(_)) && all > ALL_TOKENS_MAX {
        return Err(bad(format!("input has {all} tokens, more than {ALL_TOKENS_MAX}")));
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_forms_of_input() {
        let check = |text: &str, expected: EmbedInputs| assert_eq!(inputs(text).unwrap(), expected);
        let texts = |texts: &[&str]| EmbedInputs::Texts(texts.iter().map(|&t| t.into()).collect());
        check(r#""a""#, texts(&["a"]));
        check(r#"[ "a", "b"]"#, texts(&["a", "b"]));
        check("[1,2]", EmbedInputs::Tokens(vec![vec![1, 2]]));
        check("[[1],[2,3]]", EmbedInputs::Tokens(vec![vec![1], vec![2, 3]]));
    }

    #[test]
    fn what_is_wrong_names_its_place() {
        let check = |text: &str, expected: &str| {
            let refusal = inputs(text).unwrap_err();
            let message = refusal.message();
            assert!(message.starts_with(expected), "{text}: {message}");
        };
        check("[]", "input is empty");
        check(r#""""#, "input[0] must have 1 to");
        check(r#"["a",""]"#, "input[1] must have 1 to");
        check("[[1],[]]", "input[1] must have 1 to 65536 tokens");
        check("[-1]", "input: invalid value: integer `-1`");
        check(r#"["a",1]"#, "input: invalid type: integer `1`");
        check("7", "input must be a text");
        check("{}", "input must be a text");
        check("null", "input must be a text");
        check(&format!("[{}]", vec!["\"a\""; 2_049].join(",")), "input: invalid length 2049");
    }

    #[test]
    fn base64_is_of_little_endian_floats() {
        assert_eq!(base64(&[1.0, -2.0]), "AACAPwAAAMA=");
    }
}
