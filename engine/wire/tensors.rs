//! Owns the joint of the API's tensors and the engine: inputs put in order, large batches cut into
//! requests, answers put together; and vectors compared.
//!
//! Refuses to know how tensors travel. Bound: [`BATCH_ITEM_COUNT_MAX`] rows, each request with as
//! many as its model takes at once; the queue of the thread that compares.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, try_join_all};
use truststram_api::ports::{
    Datatype, EmbedAnswer, EmbedAsk, EmbedInputs, Failure, SimilarityAsk, TensorAnswer, TensorAsk,
    TensorData, Tensors, WireTensor,
};
use truststram_base::RequestId;
use truststram_base::limits::BATCH_ITEM_COUNT_MAX;
use truststram_model::artifact::Task;
use truststram_model::encoder::TokenizedText;
use truststram_model::kernels::{Alone, Isa, cosine_similarity};
use truststram_model::tensor::Tensor;
use truststram_model::{LoadedModel, Payload};

use super::background::Background;
use super::convert::{append, slice, to_tensor, wrong};
use super::infer::{EngineInfer, Question, unsupported};
use super::sink::{Given, Reply, Wanted};

/// The input of a model that reads texts, as callers see it.
pub const TEXT_INPUT: &str = "text";

/// The engine as the API sees it for tensors.
pub struct EngineTensors {
    /// What asks models.
    pub infer: Arc<EngineInfer>,
    /// The thread that compares vectors.
    pub thread: Arc<Background>,
}

type Answered<T> = BoxFuture<'static, Result<T, Failure>>;

/// The inputs in the order of the model's signature.
pub fn ordered(model: &LoadedModel, inputs: Vec<WireTensor>) -> Result<Vec<WireTensor>, Failure> {
    let ports = &model.signature().inputs;
    if let Some(other) = inputs.iter().find(|input| ports.iter().all(|p| p.name != input.name)) {
        let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
        let reason = format!("is no input of the model; it takes {}", names.join(", "));
        return Err(wrong(format!("inputs.{}", other.name), reason));
    }
    let mut inputs: Vec<Option<WireTensor>> = inputs.into_iter().map(Some).collect();
    let mut take = |name: &str| {
        let named = |input: &&mut Option<WireTensor>| {
            input.as_ref().is_some_and(|input| input.name == name)
        };
        let input = inputs.iter_mut().find(named).and_then(Option::take);
        input.ok_or_else(|| wrong(format!("inputs.{name}"), "is missing"))
    };
    ports.iter().map(|port| take(&port.name)).collect()
}

/// The values of inputs, and whether they are a single row without the dimension of the batch.
pub fn rows_of(
    model: &LoadedModel,
    mut inputs: Vec<WireTensor>,
) -> Result<(Vec<Tensor>, bool), Failure> {
    let signature = model.signature();
    let is_row = signature.batchable
        && inputs
            .iter()
            .zip(&signature.inputs)
            .all(|(input, port)| input.shape.len() + 1 == port.dims.len() && port.dims.len() > 1);
    if is_row {
        inputs.iter_mut().for_each(|input| input.shape.insert(0, 1));
    }
    let tensors = inputs.into_iter().zip(&signature.inputs);
    let tensors: Result<Vec<Tensor>, Failure> =
        tensors.map(|(input, port)| to_tensor(input, port)).collect();
    let tensors = tensors?;
    // What was trained here was trained on finite numbers alone.
    if model.dense().is_some()
        && let Some(at) = tensors.iter().find_map(not_finite)
    {
        let place = format!("inputs.{}", signature.inputs[0].name);
        return Err(wrong(place, format!("has an element that is not finite, number {at}")));
    }
    Ok((tensors, is_row))
}

fn not_finite(tensor: &Tensor) -> Option<usize> {
    tensor.values::<f32>()?.iter().position(|value| !value.is_finite())
}

/// How many rows the inputs of a model that takes batches have.
fn row_count(inputs: &[WireTensor]) -> Result<usize, Failure> {
    let mut counts = inputs.iter().map(|input| input.shape.first().copied().unwrap_or(0));
    let rows = counts.next().unwrap_or(0);
    if counts.any(|other| other != rows) {
        return Err(wrong("inputs", "must have the same number of rows each"));
    }
    match usize::try_from(rows) {
        Ok(rows @ 1..=BATCH_ITEM_COUNT_MAX) => Ok(rows),
        _ => Err(wrong("inputs", format!("must have 1 to {BATCH_ITEM_COUNT_MAX} rows"))),
    }
}

/// The places of the outputs that are wanted; all of them where none is named.
fn outputs_of(model: &LoadedModel, names: &[String]) -> Result<Vec<usize>, Failure> {
    let ports = &model.signature().outputs;
    let place = |name: &String| {
        let found = ports.iter().position(|port| port.name == *name);
        found.ok_or_else(|| {
            let known: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
            let reason = format!("is no output of the model; it gives {}", known.join(", "));
            wrong(format!("outputs.{name}"), reason)
        })
    };
    if names.is_empty() {
        Ok((0..ports.len()).collect())
    } else {
        names.iter().map(place).collect()
    }
}

/// The texts of the one input of a model that reads texts.
pub fn texts_of(inputs: Vec<WireTensor>) -> Result<Vec<String>, Failure> {
    let place = format!("inputs.{TEXT_INPUT}");
    let [input] = <[WireTensor; 1]>::try_from(inputs)
        .map_err(|_| wrong("inputs", format!("must be one tensor, `{TEXT_INPUT}`")))?;
    let (TensorData::Strings(texts), Datatype::Bytes) = (&input.data, input.datatype) else {
        return Err(wrong(place, "must be BYTES"));
    };
    if input.name != TEXT_INPUT || !(1..=BATCH_ITEM_COUNT_MAX).contains(&texts.len()) {
        let message = format!("must be `{TEXT_INPUT}`, 1 to {BATCH_ITEM_COUNT_MAX} texts");
        return Err(wrong("inputs", message));
    }
    let text = |text: &bytes::Bytes| Some(std::str::from_utf8(text).ok()?.to_owned());
    let texts: Option<Vec<String>> = texts.iter().map(text).collect();
    texts.ok_or_else(|| wrong(place, "has a text that is not UTF-8"))
}

impl EngineTensors {
    /// The requests that the inputs become, and whether they are a single row.
    async fn payloads(
        infer: &EngineInfer,
        model: &Arc<LoadedModel>,
        inputs: Vec<WireTensor>,
    ) -> Result<(Vec<Payload>, bool), Failure> {
        if model.signature().tokens.is_some() {
            let texts = texts_of(inputs)?;
            let tokens = EngineInfer::tokens(&infer.texts, model.clone(), texts).await?;
            let payload = |TokenizedText { ids, types }| Payload::Tokens { ids, types };
            return Ok((tokens.into_iter().map(payload).collect(), false));
        }
        let inputs = ordered(model, inputs)?;
        let rows_max = model.limits().batch_max as usize;
        let ranks = inputs.iter().zip(&model.signature().inputs);
        let has_rows = ranks.clone().all(|(input, port)| input.shape.len() == port.dims.len());
        if !model.signature().batchable || !has_rows {
            let (tensors, is_row) = rows_of(model, inputs)?;
            return Ok((vec![Payload::Tensors(tensors)], is_row));
        }
        let rows = row_count(&inputs)?;
        let mut payloads = Vec::with_capacity(rows.div_ceil(rows_max));
        for from in (0..rows).step_by(rows_max) {
            let to = rows.min(from + rows_max);
            let part = inputs.iter().map(|input| slice(input, rows, from, to)).collect();
            payloads.push(Payload::Tensors(rows_of(model, part)?.0));
        }
        Ok((payloads, false))
    }

    async fn run(infer: Arc<EngineInfer>, ask: TensorAsk) -> Result<TensorAnswer, Failure> {
        let model = infer.route(&ask.model, ask.version, ask.user.as_ref())?;
        let wanted = outputs_of(&model, &ask.outputs)?;
        let (payloads, is_row) = Self::payloads(&infer, &model, ask.inputs).await?;
        let mut sent = Vec::with_capacity(payloads.len());
        let mut row = 0;
        for payload in payloads {
            let rows = match &payload {
                Payload::Tensors(tensors) => tensors[0].shape().first().copied().unwrap_or(1),
                Payload::Features(_) | Payload::Tokens { .. } => 1,
            };
            let question = Question {
                // One id per kept record, next to each other.
                request: RequestId(ask.request.0.wrapping_add(row)),
                user: ask.user.clone(),
                payload,
                wanted: Wanted::Outputs(wanted.clone()),
                durable: false,
                priority: ask.priority,
                deadline_ms: ask.deadline_ms,
            };
            row += rows as u128;
            sent.push(infer.send(&model, question)?);
        }
        let (mut outputs, mut queue_us, mut compute_us) = (Vec::new(), 0, 0);
        for Reply { given, queue_us: queued, compute_us: computed, .. } in
            try_join_all(sent).await?
        {
            let Given::Outputs(part) = given else {
                return Err(Failure::Internal { reason: "no outputs in an answer".to_owned() });
            };
            join(&mut outputs, part)?;
            queue_us = queue_us.max(queued);
            compute_us = compute_us.max(computed);
        }
        if is_row {
            for output in &mut outputs {
                output.shape.remove(0);
            }
        }
        let (version, classes) = (model.version(), model.classes().to_vec());
        Ok(TensorAnswer { version, outputs, classes, queue_us, compute_us })
    }

    async fn vectors(infer: Arc<EngineInfer>, ask: EmbedAsk) -> Result<EmbedAnswer, Failure> {
        let model = infer.route(&ask.model, ask.version, ask.user.as_ref())?;
        let (Task::Embed { .. }, Some(_)) = (&model.signature().task, model.signature().tokens)
        else {
            return Err(unsupported(&model, "it makes no vectors of texts"));
        };
        let tokens = match ask.inputs {
            EmbedInputs::Texts(texts) => {
                EngineInfer::tokens(&infer.texts, model.clone(), texts).await?
            }
            EmbedInputs::Tokens(tokens) => {
                let one = |ids| TokenizedText { ids, types: Vec::new() };
                tokens.into_iter().map(one).collect()
            }
        };
        let (mut sent, mut token_counts) = (Vec::new(), Vec::new());
        for (index, TokenizedText { ids, types }) in tokens.into_iter().enumerate() {
            token_counts.push(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            let question = Question {
                request: RequestId(ask.request.0.wrapping_add(index as u128)),
                user: ask.user.clone(),
                payload: Payload::Tokens { ids, types },
                wanted: Wanted::Vector,
                durable: false,
                priority: ask.priority,
                deadline_ms: ask.deadline_ms,
            };
            sent.push(infer.send(&model, question)?);
        }
        let vectors = try_join_all(sent).await?.into_iter().map(|reply| match reply.given {
            Given::Vector(vector) => Ok(vector),
            _ => Err(Failure::Internal { reason: "no vector in an answer".to_owned() }),
        });
        let vectors = vectors.collect::<Result<_, _>>()?;
        Ok(EmbedAnswer { version: model.version(), vectors, token_counts })
    }
}

/// Puts the rows of a part behind those that came before.
fn join(outputs: &mut Vec<WireTensor>, part: Vec<WireTensor>) -> Result<(), Failure> {
    if outputs.is_empty() {
        *outputs = part;
        return Ok(());
    }
    for (output, part) in outputs.iter_mut().zip(part) {
        append(output, part).ok_or_else(|| {
            let reason = "two parts of a batch have outputs of two shapes; ask for fewer rows";
            wrong("inputs", reason)
        })?;
    }
    Ok(())
}

impl Tensors for EngineTensors {
    fn infer(&self, ask: TensorAsk) -> Answered<TensorAnswer> {
        Self::run(self.infer.clone(), ask).boxed()
    }

    fn embed(&self, ask: EmbedAsk) -> Answered<EmbedAnswer> {
        Self::vectors(self.infer.clone(), ask).boxed()
    }

    fn similarity(&self, ask: SimilarityAsk) -> Answered<Vec<f32>> {
        let limit_ms = self.infer.deadline_ms;
        let deadline_ms = ask.deadline_ms.map_or(limit_ms, |ms| ms.min(limit_ms));
        let limit = Duration::from_millis(deadline_ms);
        let compared = self.thread.run(move || cosines(&ask));
        let limited = async move {
            let compared = tokio::time::timeout(limit, compared).await;
            compared.unwrap_or(Err(Failure::Deadline(deadline_ms)))
        };
        limited.boxed()
    }
}

/// The cosine of each row with each other one.
fn cosines(ask: &SimilarityAsk) -> Vec<f32> {
    let (a, b) = (&ask.rows_a, ask.rows_b.as_ref().unwrap_or(&ask.rows_a));
    let mut out = vec![0.0; (a.len() / ask.dimension) * (b.len() / ask.dimension)];
    let scratch = [&mut Vec::new(), &mut Vec::new()];
    cosine_similarity(Isa::detect(), &Alone, (a, b), ask.dimension, scratch, &mut out);
    out.iter_mut().for_each(|cosine| *cosine = cosine.clamp(-1.0, 1.0));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_those_of_the_formula() {
        let check = |rows_a: &[f32], rows_b: Option<&[f32]>, expected: &[f32]| {
            let (rows_a, rows_b) = (rows_a.to_vec(), rows_b.map(<[f32]>::to_vec));
            let ask =
                SimilarityAsk { rows_a, rows_b, dimension: 2, priority: 1, deadline_ms: None };
            let found = cosines(&ask);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-6;
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(near), "{found:?}");
        };
        let half = 0.5_f32.sqrt();
        check(&[1.0, 0.0, 1.0, 1.0], None, &[1.0, half, half, 1.0]);
        check(&[2.0, 0.0], Some(&[0.0, 3.0, -1.0, 0.0, 0.0, 0.0]), &[0.0, -1.0, 0.0]);
        check(&[1e30, 1e30], None, &[1.0]);
    }
}
