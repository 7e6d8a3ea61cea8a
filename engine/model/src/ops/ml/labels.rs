//! Owns the names of classes: whole numbers or texts.
//!
//! Refuses to choose among them. Bound: as many as the node lists.

use crate::error::ModelError;
use crate::graph::Attribute;
use crate::graph::{Graph, Node, NodeView};
use crate::program::{Context, RunError};
use crate::tensor::{DType, Tensor};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Labels {
    /// The labels that a node lists, in one of two settings.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] if it lists none, or both.
    pub fn of(view: &NodeView<'_>, ints: &str, texts: &str) -> Result<Self, ModelError> {
        let ints = view.ints(ints)?.filter(|ints| !ints.is_empty());
        let texts = view.strings(texts)?.filter(|texts| !texts.is_empty());
        match (ints, texts) {
            (Some(ints), None) => Ok(Self::Ints(ints.to_vec())),
            (None, Some(texts)) => Ok(Self::Texts(texts.to_vec())),
            (None, None) => Err(view.refuse("no class has a label")),
            (Some(_), Some(_)) => Err(view.refuse("classes have labels of two types")),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Ints(labels) => labels.len(),
            Self::Texts(labels) => labels.len(),
        }
    }

    /// The type of a tensor of them.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Ints(_) => DType::I64,
            Self::Texts(_) => DType::String,
        }
    }

    /// As texts.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::Ints(labels) => labels.iter().map(i64::to_string).collect(),
            Self::Texts(labels) => labels.clone(),
        }
    }

    /// Makes `output` the labels of so many rows; `class` says which each has. A class that has no
    /// label leaves the row as it was.
    ///
    /// # Errors
    /// [`RunError::TooLarge`].
    pub fn write(
        &self,
        output: &mut Tensor,
        context: &Context<'_>,
        rows: usize,
        mut class: impl FnMut(usize) -> usize,
    ) -> Result<(), RunError> {
        match self {
            Self::Ints(labels) => {
                let out = context.shape_as::<i64>(output, &[rows])?;
                for (row, out) in out.iter_mut().enumerate() {
                    *out = labels.get(class(row)).copied().unwrap_or(*out);
                }
            }
            Self::Texts(labels) => {
                let out = context.shape_as::<String>(output, &[rows])?;
                for (row, out) in out.iter_mut().enumerate() {
                    if let Some(label) = labels.get(class(row)) {
                        out.clone_from(label);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The labels of the classes whose scores a graph gives: those of its last node of `ai.onnx.ml`
/// that lists any, such as a `ZipMap` or a classifier. Whole numbers are written out. None if no
/// node lists any.
pub fn class_labels(graph: &Graph) -> Option<Vec<String>> {
    graph.nodes.iter().rev().filter(|node| node.domain == "ai.onnx.ml").find_map(of_node)
}

fn of_node(node: &Node) -> Option<Vec<String>> {
    let names = match node.operator.as_str() {
        "ZipMap" | "TreeEnsembleClassifier" => ["classlabels_int64s", "classlabels_strings"],
        "LinearClassifier" | "SVMClassifier" => ["classlabels_ints", "classlabels_strings"],
        _ => return None,
    };
    let labels = names.iter().find_map(|name| match node.attributes.get(*name) {
        Some(Attribute::Ints(labels)) => Some(Labels::Ints(labels.clone())),
        Some(Attribute::Strings(labels)) => Some(Labels::Texts(labels.clone())),
        _ => None,
    });
    labels.map(|labels| labels.texts()).filter(|labels| !labels.is_empty())
}
