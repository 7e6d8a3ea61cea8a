//! Owns the graph as text: its nodes and names as JSON, its numbers as tensors beside it.
//!
//! JSON has no NaN and no infinity, so single floats are texts and lists of floats are tensors.
//! Refuses to know what a graph computes; [`Graph::validate`] checks the order. Bound: the text is
//! part of a header whose length is limited; each tensor is taken once by its name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::container::{Container, tensor_error};
use crate::error::ModelError;
use crate::graph::{Attribute, Dim, Graph, Node, Port, Value, ValueId};
use crate::tensor::{DType, Data, Tensor};

/// Longer lists of whole numbers are tensors.
const INLINE_COUNT_MAX: usize = 64;
/// Bytes of a value's name that the name of its tensor repeats.
const NAME_BYTES_MAX: usize = 200;

/// A graph without its numbers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphText {
    opset: u32,
    opset_ml: u32,
    values: Vec<ValueText>,
    inputs: Vec<PortText>,
    outputs: Vec<PortText>,
    nodes: Vec<NodeText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueText {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    constant: Option<TensorText>,
}

/// Where a tensor of the container is. Text lies as the JSON array of its strings, in bytes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorText {
    tensor: String,
    dtype: DType,
    dims: Vec<usize>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DimText {
    Fixed(usize),
    Named(String),
    Any,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PortText {
    value: u32,
    dtype: DType,
    dims: Option<Vec<DimText>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeText {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    domain: String,
    operator: String,
    inputs: Vec<Option<u32>>,
    outputs: Vec<Option<u32>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    attributes: BTreeMap<String, AttributeText>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AttributeText {
    Int(i64),
    /// As Rust writes an f32: the shortest text that reads back the same, or NaN, inf, -inf.
    Float(String),
    String(String),
    Ints(Vec<i64>),
    Strings(Vec<String>),
    Tensor(TensorText),
    /// A list that lies as a tensor.
    FloatsIn(TensorText),
    IntsIn(TensorText),
}

/// Tensors on their way into a container, by name.
pub type Tensors = Vec<(String, Arc<Tensor>)>;

/// Writes a graph; its numbers are added to `tensors`.
pub fn write(graph: &Graph, tensors: &mut Tensors) -> GraphText {
    let values = graph.values.iter().enumerate();
    let values = values.map(|(index, value)| {
        let short = &value.name[..value.name.floor_char_boundary(NAME_BYTES_MAX)];
        let name = || format!("value.{index}.{short}");
        let constant = value.constant.as_ref();
        let constant = constant.map(|tensor| put(tensors, name(), Arc::clone(tensor)));
        ValueText { name: value.name.clone(), constant }
    });
    let values = values.collect();
    let nodes = graph.nodes.iter().enumerate();
    let nodes = nodes.map(|(index, node)| write_node(index, node, tensors)).collect();
    GraphText {
        opset: graph.opset,
        opset_ml: graph.opset_ml,
        values,
        inputs: graph.inputs.iter().map(write_port).collect(),
        outputs: graph.outputs.iter().map(write_port).collect(),
        nodes,
    }
}

fn write_port(port: &Port) -> PortText {
    let one = |dim: &Dim| match dim {
        Dim::Fixed(count) => DimText::Fixed(*count),
        Dim::Named(name) => DimText::Named(name.clone()),
        Dim::Any => DimText::Any,
    };
    let dims = port.dims.as_ref().map(|dims| dims.iter().map(one).collect());
    PortText { value: port.value.0, dtype: port.dtype, dims }
}

fn write_node(index: usize, node: &Node, tensors: &mut Tensors) -> NodeText {
    let ids = |ids: &[Option<ValueId>]| ids.iter().map(|id| id.map(|id| id.0)).collect();
    let attributes = node.attributes.iter().map(|(key, attribute)| {
        let name = || format!("node.{index}.{key}");
        let text = match attribute {
            Attribute::Int(value) => AttributeText::Int(*value),
            Attribute::Float(value) => AttributeText::Float(format!("{value:?}")),
            Attribute::String(value) => AttributeText::String(value.clone()),
            Attribute::Strings(values) => AttributeText::Strings(values.clone()),
            Attribute::Tensor(tensor) => {
                AttributeText::Tensor(put(tensors, name(), Arc::clone(tensor)))
            }
            Attribute::Ints(values) if values.len() <= INLINE_COUNT_MAX => {
                AttributeText::Ints(values.clone())
            }
            Attribute::Ints(values) => {
                AttributeText::IntsIn(put(tensors, name(), list(values.clone())))
            }
            Attribute::Floats(values) => {
                AttributeText::FloatsIn(put(tensors, name(), list(values.clone())))
            }
        };
        (key.clone(), text)
    });
    let attributes = attributes.collect();
    NodeText {
        name: node.name.clone(),
        domain: node.domain.clone(),
        operator: node.operator.clone(),
        inputs: ids(&node.inputs),
        outputs: ids(&node.outputs),
        attributes,
    }
}

/// Values in one dimension.
fn list<T: crate::tensor::Element>(values: Vec<T>) -> Arc<Tensor> {
    let dims = [values.len()];
    Arc::new(Tensor::of(&dims, values).unwrap_or_default())
}

fn put(tensors: &mut Tensors, name: String, tensor: Arc<Tensor>) -> TensorText {
    let (dtype, dims) = (tensor.dtype(), tensor.shape().to_vec());
    let stored = match tensor.values::<String>() {
        None => tensor,
        // Strings are always JSON.
        Some(texts) => list(serde_json::to_vec(texts).unwrap_or_default()),
    };
    tensors.push((name.clone(), stored));
    TensorText { tensor: name, dtype, dims }
}

/// Reads a graph, taking its tensors out of the container. The caller validates it.
///
/// # Errors
/// Names the tensor or the node that is wrong.
pub fn read(text: GraphText, container: &mut Container<'_>) -> Result<Graph, ModelError> {
    let value = |value: ValueText| -> Result<Value, ModelError> {
        let constant = value.constant.map(|place| take(container, &place)).transpose()?;
        Ok(Value { name: value.name, constant: constant.map(Arc::new) })
    };
    let values = text.values.into_iter().map(value).collect::<Result<_, _>>()?;
    let nodes = text.nodes.into_iter().map(|node| read_node(node, container));
    let nodes = nodes.collect::<Result<_, _>>()?;
    let ports = |ports: Vec<PortText>| ports.into_iter().map(read_port).collect();
    Ok(Graph {
        opset: text.opset,
        opset_ml: text.opset_ml,
        values,
        inputs: ports(text.inputs),
        outputs: ports(text.outputs),
        nodes,
    })
}

fn read_port(port: PortText) -> Port {
    let one = |dim| match dim {
        DimText::Fixed(count) => Dim::Fixed(count),
        DimText::Named(name) => Dim::Named(name),
        DimText::Any => Dim::Any,
    };
    let dims = port.dims.map(|dims| dims.into_iter().map(one).collect());
    Port { value: ValueId(port.value), dtype: port.dtype, dims }
}

fn read_node(node: NodeText, container: &mut Container<'_>) -> Result<Node, ModelError> {
    let mut attributes = BTreeMap::new();
    for (key, text) in node.attributes {
        let attribute = match text {
            AttributeText::Int(value) => Attribute::Int(value),
            AttributeText::Float(text) => match text.parse() {
                Ok(value) => Attribute::Float(value),
                Err(_) => {
                    return Err(ModelError::Graph {
                        place: format!("attribute `{key}` of {}", node.operator),
                        found: format!("`{text}`"),
                        expected: "a number".to_owned(),
                    });
                }
            },
            AttributeText::String(value) => Attribute::String(value),
            AttributeText::Ints(values) => Attribute::Ints(values),
            AttributeText::Strings(values) => Attribute::Strings(values),
            AttributeText::Tensor(place) => Attribute::Tensor(Arc::new(take(container, &place)?)),
            AttributeText::FloatsIn(place) => match take(container, &place)?.into_data().1 {
                Data::F32(values) => Attribute::Floats(values),
                other => return Err(tensor_error(&place.tensor, other.dtype(), DType::F32)),
            },
            AttributeText::IntsIn(place) => match take(container, &place)?.into_data().1 {
                Data::I64(values) => Attribute::Ints(values),
                other => return Err(tensor_error(&place.tensor, other.dtype(), DType::I64)),
            },
        };
        attributes.insert(key, attribute);
    }
    let ids = |ids: Vec<Option<u32>>| ids.into_iter().map(|id| id.map(ValueId)).collect();
    Ok(Node {
        name: node.name,
        domain: node.domain,
        operator: node.operator,
        inputs: ids(node.inputs),
        outputs: ids(node.outputs),
        attributes,
    })
}

fn take(container: &mut Container<'_>, place: &TensorText) -> Result<Tensor, ModelError> {
    let name = &place.tensor;
    if place.dtype != DType::String {
        let stored = container.take(name, &place.dims)?;
        if stored.dtype() != place.dtype {
            return Err(tensor_error(name, stored.describe(), place.dtype));
        }
        return stored.tensor(name);
    }
    let missing = || tensor_error(name, "no place in the file", "text");
    let length = container.get(name).ok_or_else(missing)?.shape().count();
    let stored = container.take(name, &[length])?;
    let texts: Vec<String> = serde_json::from_slice(stored.bytes())
        .map_err(|source| ModelError::Json { part: "text", source: Arc::new(source) })?;
    let count = texts.len();
    let wrong =
        || tensor_error(name, format!("{count} texts"), format!("the shape {:?}", place.dims));
    Tensor::of(&place.dims, texts).ok_or_else(wrong)
}
