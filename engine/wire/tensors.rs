//! Owns the joint of the API's tensors and the engine: rows of one tensor become predictions.
//!
//! Refuses what the engine has no model for: other types than FP32, texts. Bound:
//! [`BATCH_ITEM_COUNT_MAX`] rows of one tensor.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, join_all, ready};
use truststram_api::ports::{
    Ask, Datatype, EmbedAnswer, EmbedAsk, Failure, Infer, Input, SimilarityAsk, TensorAnswer,
    TensorAsk, TensorData, Tensors, WireTensor,
};
use truststram_base::limits::BATCH_ITEM_COUNT_MAX;
use truststram_base::{ModelId, RequestId};
use truststram_model::LoadedModel;
use truststram_model::artifact::Task;

use super::background::Background;
use super::infer::EngineInfer;

/// The engine as the API sees it for tensors.
pub struct EngineTensors {
    /// What makes predictions.
    pub infer: Arc<EngineInfer>,
    /// The thread that compares vectors.
    pub thread: Arc<Background>,
}

type Answered<T> = BoxFuture<'static, Result<T, Failure>>;

fn wrong(place: &str, reason: impl Into<String>) -> Failure {
    Failure::Input { place: place.to_owned(), reason: reason.into() }
}

fn unsupported(model: ModelId, reason: &str) -> Failure {
    Failure::Unsupported { model, reason: reason.to_owned() }
}

/// The rows of the one tensor that `model` takes: FP32, `[features]` or `[rows, features]`.
pub fn rows_of(model: &LoadedModel, mut inputs: Vec<WireTensor>) -> Result<Vec<Vec<f32>>, Failure> {
    let signature = model.signature();
    let (Some(port), Some(features)) = (signature.inputs.first(), signature.feature_count()) else {
        return Err(unsupported(model.id().clone(), "it takes no rows of features"));
    };
    let expected = port.name.as_str();
    let input = match (inputs.pop(), inputs.is_empty()) {
        (Some(input), true) if input.name == expected => input,
        _ => return Err(wrong("inputs", format!("must be one tensor, `{expected}`"))),
    };
    let TensorData::Raw(raw) = &input.data else {
        return Err(wrong("inputs[0].datatype", "must be FP32"));
    };
    if input.datatype != Datatype::Fp32 {
        return Err(wrong("inputs[0].datatype", "must be FP32"));
    }
    let is_right = match input.shape[..] {
        [found] => found == features as u64,
        [_, found] => found == features as u64,
        _ => false,
    };
    if !is_right || features == 0 {
        let message = format!("must be [{features}] or [rows, {features}]");
        return Err(wrong("inputs[0].shape", message));
    }
    let (chunks, _) = raw.as_chunks();
    let values: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    if let Some(at) = values.iter().position(|value| !value.is_finite()) {
        return Err(wrong("inputs[0]", format!("has an element that is not finite, number {at}")));
    }
    let rows: Vec<Vec<f32>> = values.chunks(features).map(<[f32]>::to_vec).collect();
    if rows.is_empty() || rows.len() > BATCH_ITEM_COUNT_MAX {
        let message = format!("must have 1 to {BATCH_ITEM_COUNT_MAX} rows");
        return Err(wrong("inputs[0].shape", message));
    }
    Ok(rows)
}

/// The name of the output that holds a classifier's probabilities.
fn probabilities_of(model: &LoadedModel) -> Option<String> {
    let Task::Classify { probabilities, .. } = model.signature().task else { return None };
    Some(model.signature().outputs.get(probabilities)?.name.clone())
}

impl EngineTensors {
    fn submit(&self, ask: TensorAsk) -> Result<Answered<TensorAnswer>, Failure> {
        let model = self.infer.find(&ask.model, ask.version)?;
        let name = probabilities_of(&model)
            .ok_or_else(|| unsupported(model.id().clone(), "it gives no probabilities"))?;
        if ask.outputs.iter().any(|output| *output != name) {
            return Err(wrong("outputs", format!("must be `{name}` alone")));
        }
        let is_one_row = ask.inputs.first().is_some_and(|input| input.shape.len() == 1);
        let rows = rows_of(&model, ask.inputs)?;
        let predictions = rows.into_iter().enumerate().map(|(index, features)| {
            self.infer.predict(Ask {
                // One id per kept record, next to each other.
                request: RequestId(ask.request.0.wrapping_add(index as u128)),
                model: ask.model.clone(),
                version: Some(model.version()),
                user: ask.user.clone(),
                input: Input::Features(features),
                durable: false,
                priority: ask.priority,
                deadline_ms: ask.deadline_ms,
            })
        });
        let predictions = join_all(predictions.collect::<Vec<_>>());
        let answered = async move {
            let mut raw = Vec::new();
            let (mut rows, mut classes, mut queue_us, mut compute_us) = (0, 0, 0, 0);
            for prediction in predictions.await {
                let answer = prediction?;
                classes = answer.probabilities.len() as u64;
                raw.extend(answer.probabilities.iter().flat_map(|value| value.to_le_bytes()));
                queue_us = queue_us.max(answer.queue_us);
                compute_us = compute_us.max(answer.compute_us);
                rows += 1;
            }
            let shape = if is_one_row { vec![classes] } else { vec![rows, classes] };
            let data = TensorData::Raw(raw.into());
            let output = WireTensor { name, datatype: Datatype::Fp32, shape, data };
            let (version, classes) = (model.version(), model.classes().to_vec());
            Ok(TensorAnswer { version, outputs: vec![output], classes, queue_us, compute_us })
        };
        Ok(answered.boxed())
    }
}

impl Tensors for EngineTensors {
    fn infer(&self, ask: TensorAsk) -> Answered<TensorAnswer> {
        self.submit(ask).unwrap_or_else(|failure| ready(Err(failure)).boxed())
    }

    fn embed(&self, ask: EmbedAsk) -> Answered<EmbedAnswer> {
        let refused = match self.infer.find(&ask.model, ask.version) {
            Ok(_) => unsupported(ask.model, "it gives classes, not vectors of texts"),
            Err(unknown) => unknown,
        };
        ready(Err(refused)).boxed()
    }

    fn similarity(&self, ask: SimilarityAsk) -> Answered<Vec<f32>> {
        self.thread.run(move || cosines(&ask)).boxed()
    }
}

/// The cosine of each row with each other one.
fn cosines(ask: &SimilarityAsk) -> Vec<f32> {
    let a = directions(&ask.rows_a, ask.dimension);
    let other = ask.rows_b.as_ref().map(|rows| directions(rows, ask.dimension));
    let b = other.as_ref().unwrap_or(&a);
    let mut cosines = Vec::new();
    for row in a.chunks_exact(ask.dimension) {
        cosines.extend(b.chunks_exact(ask.dimension).map(|other| {
            let products = row.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b));
            products.sum::<f64>().clamp(-1.0, 1.0) as f32
        }));
    }
    cosines
}

/// Rows of length 1; a row of zeros stays as it is.
fn directions(rows: &[f32], dimension: usize) -> Vec<f32> {
    let mut unit = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(dimension) {
        let squares = row.iter().map(|value| f64::from(*value).powi(2));
        let length = squares.sum::<f64>().sqrt();
        let scale = if length > 0.0 { length.recip() } else { 0.0 };
        unit.extend(row.iter().map(|value| (f64::from(*value) * scale) as f32));
    }
    unit
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
