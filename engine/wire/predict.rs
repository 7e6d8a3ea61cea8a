//! Owns the joint of predictions and the engine: what was given becomes one row or one text of the
//! model, and a class comes back.
//!
//! Refuses to know batches and threads. Bound: the items of one body; one job makes the tokens of
//! all its texts.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use truststram_api::ports::{Answer, Ask, Failure, FieldValue, Infer, Input, WireTensor};
use truststram_model::artifact::{SignaturePort, Task};
use truststram_model::encoder::TokenizedText;
use truststram_model::tensor::{DType, Tensor};
use truststram_model::{LoadedModel, Payload};

use super::convert::wrong;
use super::infer::{EngineInfer, Question, tokens_of, unsupported};
use super::sink::{Given, Outcome, Reply, Wanted};
use super::tensors::{TEXT_INPUT, ordered, rows_of, texts_of};

/// What a prediction is made from.
enum Source {
    /// What the engine reads.
    Ready(Payload),
    /// A text, whose tokens are not made yet.
    Text(String),
}

/// A prediction and the version that makes it.
struct Prepared {
    model: Arc<LoadedModel>,
    source: Source,
    ask: Ask,
}

/// The engine behind the port of predictions.
pub struct Predictions(pub Arc<EngineInfer>);

impl Infer for Predictions {
    fn predict(&self, ask: Ask) -> BoxFuture<'static, Result<Answer, Failure>> {
        one(self.0.clone(), ask).boxed()
    }

    fn predict_all(&self, asks: Vec<Ask>) -> BoxFuture<'static, Vec<Result<Answer, Failure>>> {
        all(self.0.clone(), asks).boxed()
    }
}

async fn one(infer: Arc<EngineInfer>, ask: Ask) -> Result<Answer, Failure> {
    let Prepared { model, source, ask } = prepare(&infer, ask)?;
    let payload = match source {
        Source::Ready(payload) => payload,
        Source::Text(text) => {
            let reader = model.clone();
            let bytes = text.len();
            let tokenize = move || tokens_of(&reader, TEXT_INPUT, &text);
            payload_of(EngineInfer::with_texts(&infer.texts, bytes, tokenize).await??)
        }
    };
    class(infer.send(&model, question(ask, payload))?.await)
}

/// Queues all before the first answer is awaited, so that they share batches.
async fn all(infer: Arc<EngineInfer>, asks: Vec<Ask>) -> Vec<Result<Answer, Failure>> {
    let mut prepared: Vec<Result<Prepared, Failure>> =
        asks.into_iter().map(|ask| prepare(&infer, ask)).collect();
    let texts: Vec<(Arc<LoadedModel>, String)> = prepared
        .iter_mut()
        .flatten()
        .filter_map(|prepared| match &mut prepared.source {
            Source::Ready(_) => None,
            Source::Text(text) => Some((prepared.model.clone(), std::mem::take(text))),
        })
        .collect();
    let mut tokens = Ok(Vec::new().into_iter());
    if !texts.is_empty() {
        let bytes = texts.iter().map(|(_, text)| text.len()).sum();
        let tokenize = move || {
            let made = texts.iter().map(|(model, text)| tokens_of(model, TEXT_INPUT, text));
            made.collect::<Vec<Result<TokenizedText, Failure>>>()
        };
        let made = EngineInfer::with_texts(&infer.texts, bytes, tokenize).await;
        tokens = made.map(Vec::into_iter);
    }
    let send = |prepared: Result<Prepared, Failure>| {
        let Prepared { model, source, ask } = prepared?;
        let payload = match source {
            Source::Ready(payload) => payload,
            Source::Text(_) => {
                let tokens = tokens.as_mut().map_err(|failure| failure.clone())?;
                payload_of(tokens.next().ok_or(Failure::Draining)??)
            }
        };
        infer.send(&model, question(ask, payload))
    };
    let sent: Vec<_> = prepared.into_iter().map(send).collect();
    join_all(sent.into_iter().map(async |sent| class(sent?.await))).await
}

/// Finds who answers, and brings what was given into its form.
fn prepare(infer: &EngineInfer, mut ask: Ask) -> Result<Prepared, Failure> {
    let model = infer.route(&ask.model, ask.version, ask.user.as_ref())?;
    let takes_texts = model.signature().tokens.is_some();
    if !matches!(model.signature().task, Task::Classify { .. }) {
        let reason = match takes_texts {
            true => "it gives vectors of texts and no classes; POST /v1/embeddings gives them",
            false => "it gives no classes; POST /v2/models/{id}/infer gives its outputs",
        };
        return Err(unsupported(&model, reason));
    }
    let input = std::mem::replace(&mut ask.input, Input::Features(Vec::new()));
    let source = match takes_texts {
        true => Source::Text(text_of(&model, input)?),
        false => Source::Ready(row_of(&model, input)?),
    };
    Ok(Prepared { model, source, ask })
}

/// The text for a model that reads one.
fn text_of(model: &LoadedModel, input: Input) -> Result<String, Failure> {
    let other = || other_input(model, "texts: give `text` in the place of `data`".to_owned());
    match input {
        Input::Text(text) => Ok(text),
        Input::Named(fields) => match <[(String, FieldValue); 1]>::try_from(fields) {
            Ok([(name, FieldValue::Text(text))]) if name == TEXT_INPUT => Ok(text),
            _ => Err(other()),
        },
        Input::Tensors(tensors) => one_row(model, texts_of(tensors)?),
        Input::Features(_) => Err(other()),
    }
}

/// One row for a model that reads numbers, or values by the names of its inputs.
fn row_of(model: &LoadedModel, input: Input) -> Result<Payload, Failure> {
    Ok(match input {
        Input::Features(features) => Payload::Features(features),
        Input::Tensors(tensors) => Payload::Tensors(tensors_of(model, tensors)?),
        Input::Named(fields) => Payload::Tensors(columns(model, fields)?),
        Input::Text(_) => {
            let takes = match model.signature().feature_count() {
                Some(count) => format!("numbers: give {count} of them as `data`, not a text"),
                None => "values of its inputs: give them as `data`, not a text".to_owned(),
            };
            return Err(other_input(model, takes));
        }
    })
}

fn tensors_of(model: &LoadedModel, tensors: Vec<WireTensor>) -> Result<Vec<Tensor>, Failure> {
    let (tensors, _) = rows_of(model, ordered(model, tensors)?)?;
    match tensors.iter().all(|tensor| tensor.shape().first() == Some(&1)) {
        true => Ok(tensors),
        false => Err(many_rows(model)),
    }
}

fn one_row<T>(model: &LoadedModel, rows: Vec<T>) -> Result<T, Failure> {
    <[T; 1]>::try_from(rows).map(|[row]| row).map_err(|_| many_rows(model))
}

fn many_rows(model: &LoadedModel) -> Failure {
    unsupported(model, "a prediction is made from one row; /v2 takes more")
}

fn other_input(model: &LoadedModel, takes: String) -> Failure {
    Failure::OtherInput { model: model.id().clone(), takes }
}

fn payload_of(TokenizedText { ids, types }: TokenizedText) -> Payload {
    Payload::Tokens { ids, types }
}

fn question(ask: Ask, payload: Payload) -> Question {
    Question {
        request: ask.request,
        user: ask.user,
        payload,
        wanted: Wanted::Class,
        durable: ask.durable,
        priority: ask.priority,
        deadline_ms: ask.deadline_ms,
    }
}

fn class(outcome: Outcome) -> Result<Answer, Failure> {
    match outcome? {
        Reply { given: Given::Class(answer), .. } => Ok(answer),
        reply => Err(Failure::Internal { reason: format!("no class but {reply:?}") }),
    }
}

/// One row of a model that has an input per column, by the names of its inputs.
fn columns(
    model: &LoadedModel,
    mut fields: Vec<(String, FieldValue)>,
) -> Result<Vec<Tensor>, Failure> {
    let inputs = &model.signature().inputs;
    let is_column = |port: &SignaturePort| matches!(port.dims[..], [-1 | 1] | [-1 | 1, 1]);
    if inputs.len() < 2 || !inputs.iter().all(is_column) {
        return Err(unsupported(model, "its features have no names; give them as a list"));
    }
    let mut row = Vec::with_capacity(inputs.len());
    for port in inputs {
        let place = format!("data.{}", port.name);
        let at = fields.iter().position(|(name, _)| *name == port.name);
        let (_, value) = at
            .map(|at| fields.swap_remove(at))
            .ok_or_else(|| wrong(place.clone(), "is missing"))?;
        let dims = vec![1; port.dims.len()];
        let number = match value {
            FieldValue::Missing => Some(f64::NAN),
            FieldValue::Bool(value) => Some(f64::from(u8::from(value))),
            FieldValue::Number(value) => Some(value),
            FieldValue::Numbers(_) | FieldValue::Texts(_) | FieldValue::Text(_) => None,
        };
        let tensor = match (port.dtype, number, value) {
            (DType::F32, Some(number), _) => Tensor::of(&dims, vec![number as f32]),
            (DType::F64, Some(number), _) => Tensor::of(&dims, vec![number]),
            (DType::I64, Some(number), _) if number.fract() == 0.0 && number.abs() < 9e15 => {
                Tensor::of(&dims, vec![number as i64])
            }
            (DType::Bool, Some(_), FieldValue::Bool(value)) => Tensor::of(&dims, vec![value]),
            (DType::String, None, FieldValue::Text(text)) => Tensor::of(&dims, vec![text]),
            _ => None,
        };
        let expected = || wrong(place, format!("must be one value of {}", port.dtype));
        row.push(tensor.ok_or_else(expected)?);
    }
    match fields.first() {
        None => Ok(row),
        Some((name, _)) => Err(wrong(format!("data.{name}"), "is no input of the model")),
    }
}
