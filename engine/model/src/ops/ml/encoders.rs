//! Owns the operators that look values up: `CategoryMapper`, `LabelEncoder` and `OneHotEncoder`.
//!
//! Refuses keys that stand twice, for runtimes differ on which counts. Bound: one lookup a value.

use std::collections::HashMap;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::Few;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Data, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("ai.onnx.ml", "CategoryMapper", category_mapper),
    ("ai.onnx.ml", "LabelEncoder", label_encoder),
    ("ai.onnx.ml", "OneHotEncoder", one_hot),
];

/// Where each key stands in its list.
#[derive(Debug)]
enum Keys {
    Texts(HashMap<String, usize>),
    /// By a number that is the same for equal keys.
    Numbers(HashMap<u64, usize>),
}

/// Keys that are numbers.
trait Key: Element {
    /// A number that is the same for equal keys only; all that are not numbers are one key.
    fn number(&self) -> u64;
}

macro_rules! keys {
    ($($type:ty: $value:ident => $number:expr),* $(,)?) => {
        $(impl Key for $type {
            fn number(&self) -> u64 {
                let $value = *self;
                $number
            }
        })*
    };
}

keys! {
    i16: value => value as u64,
    i32: value => value as u64,
    i64: value => value as u64,
    f32: value => f64::from(value).number(),
    f64: value => if value.is_nan() { f64::NAN.to_bits() } else { (value + 0.0).to_bits() },
}

impl Keys {
    /// Notes where each key stands; none if one stands twice.
    fn of(data: &Data) -> Option<Self> {
        let keys = match data {
            Data::String(keys) => {
                let keys = keys.iter().cloned().zip(0..);
                Self::Texts(keys.collect())
            }
            numbers => with_values!([I16, I32, I64, F32, F64] numbers, keys => {
                Self::Numbers(keys.iter().map(Key::number).zip(0..).collect())
            }, else return None),
        };
        (keys.len() == data.len()).then_some(keys)
    }

    /// Bytes that they hold, about: the tables and the text.
    fn bytes(&self) -> usize {
        match self {
            Self::Texts(keys) => {
                let text: usize = keys.keys().map(String::len).sum();
                text + keys.capacity() * size_of::<(String, usize)>()
            }
            Self::Numbers(keys) => keys.capacity() * size_of::<(u64, usize)>(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(keys) => keys.len(),
            Self::Numbers(keys) => keys.len(),
        }
    }

    /// Calls `put` with where each value stands among the keys, in order.
    fn find(&self, data: &Data, mut put: impl FnMut(usize, Option<usize>)) {
        match (self, data) {
            (Self::Texts(keys), Data::String(values)) => {
                for (index, value) in values.iter().enumerate() {
                    put(index, keys.get(value).copied());
                }
            }
            (Self::Numbers(keys), values) => {
                with_values!([I16, I32, I64, F32, F64] values, values => {
                    for (index, value) in values.iter().enumerate() {
                        put(index, keys.get(&value.number()).copied());
                    }
                }, else ());
            }
            _ => {}
        }
    }
}

/// Each key becomes its value, all others the same.
#[derive(Debug)]
struct Map<V> {
    keys: Keys,
    values: Vec<V>,
    other: V,
}

impl<V: Element> Operator for Map<V> {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let tensor = inputs.need(0)?;
        let out = context.shape_as::<V>(&mut outputs[0], tensor.shape())?;
        self.keys.find(tensor.data(), |index, place| {
            let value = place.and_then(|place| self.values.get(place));
            out[index].clone_from(value.unwrap_or(&self.other));
        });
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.keys.bytes() + size_of_val(&self.values[..]));
    }
}

/// A map from the keys of the input's type; `other` is the value for all other keys.
fn map(view: &NodeView<'_>, keys: &Data, values: &Data, other: Data) -> Result<Built, ModelError> {
    let dtype = view.dtype(0)?;
    if keys.dtype() != dtype {
        return Err(view.refuse(format_args!("keys of type {} for {dtype}", keys.dtype())));
    }
    if keys.len() != values.len() || keys.is_empty() {
        return Err(view.refuse(format_args!("{} keys, {} values", keys.len(), values.len())));
    }
    let keys = Keys::of(keys).ok_or_else(|| view.refuse("a key stands twice, or is none"))?;
    let dtype = values.dtype();
    with_values!([I16, I32, I64, F32, F64, String] values, values => {
        match first_like(&other, values) {
            Some(other) => Ok(Built::one(Map { keys, values: values.clone(), other }, dtype)),
            None => Err(view.refuse("the value for all other keys is of another type")),
        }
    }, else Err(view.refuse(format_args!("values of type {dtype}"))))
}

fn first_like<V: Element>(data: &Data, _like: &[V]) -> Option<V> {
    V::values(data)?.first().cloned()
}

fn texts(values: &[String]) -> Data {
    Data::String(values.to_vec())
}

fn category_mapper(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["cats_int64s", "cats_strings", "default_int64", "default_string"])?;
    let ints = Data::I64(view.ints("cats_int64s")?.unwrap_or_default().to_vec());
    let names = texts(view.strings("cats_strings")?.unwrap_or_default());
    match view.dtype_among(0, &[DType::I64, DType::String])? {
        DType::I64 => map(view, &ints, &names, default(view, DType::String)?),
        _ => map(view, &names, &ints, default(view, DType::I64)?),
    }
}

/// The value for keys that are not known, as the settings or the definition have it.
fn default(view: &NodeView<'_>, dtype: DType) -> Result<Data, ModelError> {
    Ok(match dtype {
        DType::String => texts(&[view.string("default_string")?.unwrap_or("_Unused").to_owned()]),
        DType::I64 => Data::I64(vec![view.int_or("default_int64", -1)?]),
        DType::I32 => Data::I32(vec![-1]),
        DType::I16 => Data::I16(vec![-1]),
        DType::F32 => Data::F32(vec![view.float_or("default_float", -0.0)?]),
        DType::F64 => Data::F64(vec![-0.0]),
        other => return Err(view.refuse(format_args!("values of type {other}"))),
    })
}

fn label_encoder(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let defaults = ["default_float", "default_int64", "default_string"];
    if let Some(names) = view.strings("classes_strings")? {
        view.only_attributes(&["classes_strings", "default_int64", "default_string"])?;
        let places = Data::I64((0..names.len() as i64).collect());
        return match view.dtype_among(0, &[DType::I64, DType::String])? {
            DType::I64 => map(view, &places, &texts(names), default(view, DType::String)?),
            _ => map(view, &texts(names), &places, default(view, DType::I64)?),
        };
    }
    let lists = ["keys_floats", "keys_int64s", "keys_strings", "keys_tensor"];
    let values = ["values_floats", "values_int64s", "values_strings", "values_tensor"];
    view.only_attributes(&[&lists[..], &values, &defaults, &["default_tensor"]].concat())?;
    let keys = list(view, lists)?;
    let values = list(view, values)?;
    let other = match view.tensor("default_tensor")? {
        Some(tensor) => tensor.data().clone(),
        None => default(view, values.dtype())?,
    };
    map(view, &keys, &values, other)
}

/// The one of four settings that is there: numbers, whole numbers, texts or a tensor.
fn list(view: &NodeView<'_>, names: [&str; 4]) -> Result<Data, ModelError> {
    let [floats, ints, names, tensor] = names;
    let all = [
        view.floats(floats)?.map(|values| Data::F32(values.to_vec())),
        view.ints(ints)?.map(|values| Data::I64(values.to_vec())),
        view.strings(names)?.map(texts),
        view.tensor(tensor)?.map(|tensor| tensor.data().clone()),
    ];
    // An empty list is how some exporters leave a setting out.
    let mut there = all.into_iter().flatten().filter(|data| !data.is_empty());
    match (there.next(), there.next()) {
        (Some(data), None) => Ok(data),
        _ => {
            Err(view.refuse(format_args!("not one of `{floats}`, `{ints}`, `{names}`, `{tensor}`")))
        }
    }
}

/// A row of zeros for each value, with a one where the value's category stands.
#[derive(Debug)]
struct OneHot {
    categories: Keys,
    /// Whether a value without a category has only zeros; otherwise it stops the run.
    has_zeros: bool,
}

fn one_hot(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["cats_int64s", "cats_strings", "zeros"])?;
    let known = [DType::I64, DType::I32, DType::F32, DType::F64, DType::String];
    let dtype = view.dtype_among(0, &known)?;
    let ints = view.ints("cats_int64s")?.unwrap_or_default();
    let names = view.strings("cats_strings")?.unwrap_or_default();
    let is_fit = if dtype == DType::String { ints.is_empty() } else { names.is_empty() };
    let data = if dtype == DType::String { texts(names) } else { Data::I64(ints.to_vec()) };
    if !is_fit || data.is_empty() {
        return Err(view.refuse("the categories are not of the type of the input"));
    }
    let categories = Keys::of(&data).ok_or_else(|| view.refuse("a category stands twice"))?;
    let has_zeros = view.int_or("zeros", 1)? != 0;
    Ok(Built::one(OneHot { categories, has_zeros }, DType::F32))
}

impl OneHot {
    /// Calls `put` with the category of each value. Numbers with a fraction lose it first.
    fn find(&self, data: &Data, mut put: impl FnMut(usize, Option<usize>)) {
        match (&self.categories, data) {
            (Keys::Numbers(keys), Data::F32(values)) => {
                for (index, value) in values.iter().enumerate() {
                    put(index, whole(f64::from(*value)).and_then(|key| keys.get(&key).copied()));
                }
            }
            (Keys::Numbers(keys), Data::F64(values)) => {
                for (index, value) in values.iter().enumerate() {
                    put(index, whole(*value).and_then(|key| keys.get(&key).copied()));
                }
            }
            (keys, data) => keys.find(data, put),
        }
    }
}

/// The key of a number without its fraction; none if it is no whole number of 64 bits.
fn whole(value: f64) -> Option<u64> {
    let is_inside = (i64::MIN as f64..-(i64::MIN as f64)).contains(&value);
    is_inside.then_some((value as i64).number())
}

impl Operator for OneHot {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let tensor = inputs.need(0)?;
        let count = self.categories.len();
        let mut dims = Few::new();
        for dim in tensor.shape().iter() {
            dims.push(*dim)?;
        }
        dims.push(count)?;
        let out = context.shape_as::<f32>(&mut outputs[0], &dims)?;
        out.fill(0.0);
        let mut unknown = None;
        self.find(tensor.data(), |index, place| match place {
            Some(place) => out[index * count + place] = 1.0,
            None => unknown = unknown.or(Some(index)),
        });
        match unknown {
            Some(index) if !self.has_zeros => {
                Err(RunError::input(format_args!("value {index} without a category"), "one"))
            }
            _ => Ok(()),
        }
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.categories.bytes());
    }
}
