//! Owns the inference request of the Open Inference Protocol: one JSON object, and bytes after it.
//!
//! Refuses to know the model. Bound: [`TENSORS_MAX`] inputs and outputs; the body.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use truststram_base::{RequestId, UserId};
use utoipa::ToSchema;

use super::refusal::{Refusal, Target};
use crate::explain::{malformed, quote_non_finite};
use crate::lists::AtMost;
use crate::options::{DEADLINE_MS_MAX, Haste, priority_of_rank};
use crate::ports::TensorAsk;
use crate::tensor::{self, Parameters, TENSORS_MAX, Tail, TensorBody};

/// Longest `id`, in bytes.
const ID_BYTES_MAX: usize = 1_024;
/// Most classes that an output can be asked for.
const CLASSES_MAX: u64 = 65_536;

/// The header that gives the length of the JSON object where bytes follow it.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

/// Tensors to compute with.
#[derive(Deserialize, ToSchema)]
pub(crate) struct InferBody<'a> {
    /// Comes back with the answer.
    #[serde(borrow)]
    #[schema(value_type = Option<String>)]
    id: Option<Cow<'a, str>>,
    /// `priority` (1 goes first), `timeout` (microseconds), `binary_data_output`, `user_id`.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters<'a>>,
    /// What is computed with.
    #[serde(borrow)]
    #[schema(value_type = Vec<TensorBody<'_>>)]
    inputs: AtMost<&'a RawValue, TENSORS_MAX>,
    /// What is wanted; everything if absent.
    #[schema(value_type = Option<Vec<OutputBody<'_>>>)]
    outputs: Option<AtMost<OutputBody<'a>, TENSORS_MAX>>,
}

/// An output that is wanted.
#[derive(Deserialize, ToSchema)]
pub(crate) struct OutputBody<'a> {
    /// Which.
    #[serde(borrow)]
    #[schema(value_type = String)]
    name: Cow<'a, str>,
    /// `binary_data`, `classification`.
    #[serde(borrow)]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Parameters<'a>>,
}

/// How one output is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct OutputForm {
    /// As bytes after the JSON object.
    pub is_binary: bool,
    /// As the names of so many of the highest values; 0 for the values themselves.
    pub classes: usize,
}

/// How a request is answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Form {
    /// Comes back with the answer.
    pub id: Option<String>,
    /// For each output wanted, in the order of [`TensorAsk::outputs`].
    pub outputs: Vec<OutputForm>,
    /// For outputs that are not named.
    pub others: OutputForm,
}

/// Reads a body. `haste` is what the headers say, and holds where the body says nothing.
pub(crate) fn read(
    body: Bytes,
    headers: &HeaderMap,
    target: Target,
    request: RequestId,
    haste: Haste,
) -> Result<(TensorAsk, Form), Refusal> {
    let length = json_length(headers, body.len())?;
    let (head, tail) = match length {
        Some(length) => (body.slice(..length), body.slice(length..)),
        None => (body, Bytes::new()),
    };
    let parsed: InferBody<'_> =
        serde_json::from_slice(&head).map_err(|error| why(&head, &error))?;
    if parsed.id.as_ref().is_some_and(|id| id.len() > ID_BYTES_MAX) {
        return Err(Refusal::bad(format!("id is longer than {ID_BYTES_MAX} bytes")));
    }
    let parameters = parsed.parameters.unwrap_or_default();
    let settings = settings(&parameters, haste)?;
    let mut tail = Tail::new(tail);
    let inputs = tensor::read_all(&parsed.inputs.0, &mut tail, "inputs")?;
    if inputs.is_empty() {
        return Err(Refusal::bad("inputs is empty; give at least one tensor"));
    }
    if tail.len() > 0 {
        let left = tail.len();
        return Err(Refusal::bad(format!("{left} bytes follow those of the last input")));
    }
    let (outputs, forms) = outputs(parsed.outputs, settings.is_binary)?;
    let form = Form {
        id: parsed.id.map(Cow::into_owned),
        outputs: forms,
        others: OutputForm { is_binary: settings.is_binary, classes: 0 },
    };
    let ask = TensorAsk {
        request,
        model: target.model,
        version: target.version,
        user: settings.user,
        inputs,
        outputs,
        priority: settings.haste.priority,
        deadline_ms: settings.haste.deadline_ms,
    };
    Ok((ask, form))
}

/// What the header says of the length of the JSON object in a body of so many bytes.
fn json_length(headers: &HeaderMap, body_bytes: usize) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(JSON_LENGTH) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|value| value.trim().parse::<usize>().ok());
    let length = length.filter(|length| (1..=body_bytes).contains(length));
    length.map(Some).ok_or_else(|| {
        let error = format!("{JSON_LENGTH} must be 1 to the {body_bytes} bytes of the body");
        Refusal::bad(error)
    })
}

/// What is wrong with a body that was not read.
fn why(body: &[u8], error: &serde_json::Error) -> Refusal {
    if error.is_data() {
        return Refusal::bad(format!("the body is no inference request: {error}"));
    }
    let readable = quote_non_finite(body);
    if matches!(readable, Cow::Owned(_)) && serde_json::from_slice::<&RawValue>(&readable).is_ok() {
        let error = "the body holds NaN, Infinity or a number too large, which JSON cannot \
                     express; send that tensor with `binary_data_size`";
        return Refusal::bad(error);
    }
    Refusal::bad(malformed(body, error).detail)
}

/// What the parameters of a request say.
struct Settings {
    haste: Haste,
    is_binary: bool,
    user: Option<UserId>,
}

fn settings(parameters: &Parameters<'_>, haste: Haste) -> Result<Settings, Refusal> {
    let mut settings = Settings { haste, is_binary: false, user: None };
    let whole = |name: &str, value: &RawValue| {
        of_json::<u64>(value).ok_or_else(|| wrong(name, "must be a whole number"))
    };
    for (name, value) in &parameters.0 {
        match name.as_ref() {
            "binary_data_output" => {
                let flag = of_json(value);
                settings.is_binary = flag.ok_or_else(|| wrong(name, "must be true or false"))?;
            }
            // As Triton has it: 0 is the usual priority, and from 1 on the smaller goes first.
            "priority" => match whole(name, value)? {
                0 => {}
                rank => settings.haste.priority = priority_of_rank(rank),
            },
            "timeout" => match whole(name, value)? {
                0 => {}
                us => {
                    let ms = us.div_ceil(1_000).min(DEADLINE_MS_MAX);
                    settings.haste.deadline_ms = Some(ms);
                }
            },
            "user_id" => {
                let text: String = of_json(value).ok_or_else(|| wrong(name, "must be text"))?;
                let user = UserId::new(&text).map_err(|error| wrong(name, &error.to_string()))?;
                settings.user = Some(user);
            }
            "sequence_id" if !matches!(value.get(), "0" | "\"\"") => {
                return Err(wrong(name, "asks for a sequence, which is not supported"));
            }
            // Parameters are open to extensions, of which a server takes those that it knows.
            _ => {}
        }
    }
    Ok(settings)
}

/// The value of a parameter, if it is of this type.
fn of_json<T: for<'a> Deserialize<'a>>(value: &RawValue) -> Option<T> {
    serde_json::from_str(value.get()).ok()
}

fn wrong(name: &str, what: &str) -> Refusal {
    Refusal::bad(format!("parameters.{name} {what}"))
}

fn outputs(
    wanted: Option<AtMost<OutputBody<'_>, TENSORS_MAX>>,
    is_binary: bool,
) -> Result<(Vec<String>, Vec<OutputForm>), Refusal> {
    let wanted = wanted.unwrap_or_default().0;
    let mut names: Vec<String> = Vec::with_capacity(wanted.len());
    let mut forms = Vec::with_capacity(wanted.len());
    for (index, output) in wanted.into_iter().enumerate() {
        let at = |what: &str| Refusal::bad(format!("outputs[{index}].{what}"));
        if names.iter().any(|name| *name == output.name) {
            return Err(at(&format!("name `{}` is given twice", output.name)));
        }
        let parameters = output.parameters.unwrap_or_default();
        if parameters.has("shared_memory_region") {
            return Err(at("parameters name shared memory, which is not supported"));
        }
        let is_binary = match parameters.get("binary_data") {
            None => is_binary,
            Some(value) => {
                of_json(value).ok_or_else(|| at("parameters.binary_data must be true or false"))?
            }
        };
        let classes = match parameters.get("classification") {
            None => 0,
            Some(value) => {
                let classes =
                    of_json::<u64>(value).filter(|count| (1..=CLASSES_MAX).contains(count));
                classes.ok_or_else(|| {
                    at(&format!("parameters.classification must be 1 to {CLASSES_MAX}"))
                })?
            }
        };
        names.push(output.name.into_owned());
        forms.push(OutputForm { is_binary, classes: classes as usize });
    }
    Ok((names, forms))
}
