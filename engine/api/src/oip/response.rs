//! Owns the answer of the Open Inference Protocol to an inference: JSON, and bytes after it.
//!
//! Refuses to change values. Bound: the outputs, copied once into the body.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde::Serialize;
use truststram_base::ModelId;
use utoipa::ToSchema;

use super::encoding::Encoding;
use super::refusal::Refusal;
use super::request::{Form, JSON_LENGTH};
use crate::ports::{Failure, TensorAnswer, WireTensor};
use crate::tensor::{append_json, binary, json_data, top_classes};

/// What was computed.
#[derive(ToSchema)]
#[allow(dead_code, reason = "the answer is written piece by piece; this describes it")]
pub(crate) struct InferResponse {
    /// The model that answered.
    model_name: String,
    /// The version that answered.
    model_version: String,
    /// The `id` of the request, if it had one.
    id: Option<String>,
    /// The outputs, in the order of the request.
    outputs: Vec<OutputResponse>,
}

/// An output.
#[derive(ToSchema)]
#[allow(dead_code, reason = "as above")]
pub(crate) struct OutputResponse {
    /// Which.
    name: String,
    /// The type of its elements.
    datatype: String,
    /// Its dimensions.
    shape: Vec<u64>,
    /// `binary_data_size` where its bytes follow the JSON object.
    parameters: Option<serde_json::Value>,
    /// Its elements in a flat list where they do not.
    data: Option<Vec<serde_json::Value>>,
}

/// What of an output is written in one go.
#[derive(Serialize)]
struct Head<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: &'a [u64],
}

/// Writes the answer; `packed` is how the client would like it compressed.
pub(crate) fn write(
    model: &ModelId,
    form: &Form,
    answer: TensorAnswer,
    packed: Option<Encoding>,
) -> Result<Response<Body>, Refusal> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"model_name\":");
    append_json(&mut out, &model.as_str());
    out.extend_from_slice(b",\"model_version\":");
    append_json(&mut out, &answer.version.to_string());
    if let Some(id) = &form.id {
        out.extend_from_slice(b",\"id\":");
        append_json(&mut out, id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    let mut tails: Vec<Bytes> = Vec::new();
    for (index, tensor) in answer.outputs.into_iter().enumerate() {
        let form = form.outputs.get(index).copied().unwrap_or(form.others);
        let tensor = match form.classes {
            0 => tensor,
            classes => top_classes(&tensor, classes, &answer.classes)?,
        };
        if index > 0 {
            out.push(b',');
        }
        head(&mut out, &tensor);
        if form.is_binary {
            let bytes = binary(&tensor)?;
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            append_json(&mut out, &bytes.len());
            out.push(b'}');
            tails.push(bytes);
        } else {
            out.extend_from_slice(b",\"data\":");
            json_data(&mut out, &tensor)?;
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    let json_length = out.len();
    out.reserve(tails.iter().map(Bytes::len).sum());
    tails.iter().for_each(|bytes| out.extend_from_slice(bytes));
    respond(out, (!tails.is_empty()).then_some(json_length), packed)
}

/// `{"name":…,"datatype":…,"shape":…` without the end.
fn head(out: &mut Vec<u8>, tensor: &WireTensor) {
    let WireTensor { name, datatype, shape, .. } = tensor;
    append_json(out, &Head { name, datatype: datatype.name(), shape });
    out.pop();
}

fn respond(
    body: Vec<u8>,
    json_length: Option<usize>,
    packed: Option<Encoding>,
) -> Result<Response<Body>, Refusal> {
    let body = match packed {
        None => body,
        Some(encoding) => encoding.compress(&body).map_err(|error| {
            let reason = format!("the answer cannot be compressed: {error}");
            Refusal::from(Failure::Internal { reason })
        })?,
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    let media = match json_length {
        None => "application/json",
        Some(length) => {
            headers.insert(JSON_LENGTH, HeaderValue::from(length));
            "application/octet-stream"
        }
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(encoding) = packed {
        let name = HeaderValue::from_static(encoding.name());
        headers.insert(header::CONTENT_ENCODING, name);
    }
    Ok(response)
}
