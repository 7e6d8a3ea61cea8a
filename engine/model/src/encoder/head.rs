//! Owns what follows an encoder: a vector per text, or the scores of classes.
//!
//! Refuses heads other than those. Bound: a few nodes behind the encoder.

use super::build::Builder;
use super::config::{CONFIG, Family, Scores};
use super::fields::wrong;
use super::sentence::{Pooling, Sentence};
use crate::artifact::Task;
use crate::error::ModelError;
use crate::graph::{Dim, Node, Port, ValueId};
use crate::tensor::DType;

/// Most outputs of a classifier.
const CLASSES_MAX: usize = 65_536;

/// Adds the vectors of texts; `length_max` is for the description.
///
/// # Errors
/// [`ModelError::Folder`] names the tensor that does not fit.
pub fn embed(
    builder: &mut Builder<'_, '_>,
    sentence: &Sentence,
    length_max: usize,
) -> Result<Task, ModelError> {
    let is_first = sentence.pooling == Pooling::First;
    let mut x = builder.encoder(is_first)?;
    if !is_first {
        x = builder.pool("mean", x, "mean");
    }
    if sentence.normalises {
        x = builder.node("L2Normalize", "normalised", vec![Some(x)], Vec::new());
    }
    let dimension = builder.config.hidden;
    output(builder, x, "embedding", dimension);
    Ok(Task::Embed { dimension, length_max })
}

/// Adds the head of a classifier: a layer with its activation, the scores, the probabilities.
///
/// # Errors
/// [`ModelError::Folder`] names the tensor or the key that does not fit.
pub fn classify(builder: &mut Builder<'_, '_>) -> Result<Task, ModelError> {
    let config = builder.config;
    let hidden = config.hidden;
    let (inner, activation, last) = match config.family {
        Family::Bert => (builder.weights.name("pooler.dense"), "tanh", "classifier"),
        Family::DistilBert => ("pre_classifier".to_owned(), "relu", "classifier"),
        Family::Roberta => ("classifier.dense".to_owned(), "tanh", "classifier.out_proj"),
    };
    let x = builder.encoder(true)?;
    let inner = builder.weights.take_linear(&[inner], hidden, hidden)?;
    let x = builder.linear("head", x, inner, hidden, Some(activation));
    let mut classes = config.classes.clone();
    if classes.is_empty() {
        let rows = builder.weights.rows(&format!("{last}.weight")).unwrap_or(1);
        if rows > CLASSES_MAX {
            return Err(wrong(CONFIG, "id2label", "absent", format!("{rows} names")));
        }
        classes = (0..rows).map(|index| format!("LABEL_{index}")).collect();
    }
    let count = classes.len();
    let scores = builder.weights.take_linear(&[last.to_owned()], count, hidden)?;
    let x = builder.linear("scores", x, scores, hidden, None);
    let operator = match config.scores {
        Scores::Numbers => None,
        // One class of one is no choice: it is a number.
        Scores::OneOf if count == 1 => None,
        Scores::OneOf => Some("Softmax"),
        Scores::AnyOf => Some("Sigmoid"),
    };
    let Some(operator) = operator else {
        output(builder, x, "numbers", count);
        return Ok(Task::Regress);
    };
    let out = builder.graph.add_value("probabilities");
    builder.graph.nodes.push(Node {
        operator: operator.to_owned(),
        inputs: vec![Some(x)],
        outputs: vec![Some(out)],
        ..Node::default()
    });
    output(builder, out, "probabilities", count);
    Ok(Task::Classify { classes, probabilities: 0, label: None })
}

/// Names a value and makes it the output.
fn output(builder: &mut Builder<'_, '_>, value: ValueId, name: &str, columns: usize) {
    builder.graph.values[value.0 as usize].name = name.to_owned();
    let dims = Some(vec![Dim::Any, Dim::Fixed(columns)]);
    builder.graph.outputs.push(Port { value, dtype: DType::F32, dims });
}
