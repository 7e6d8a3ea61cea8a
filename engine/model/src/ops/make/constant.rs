//! Owns constants: given ones, and one value for a whole shape.
//!
//! Refuses sparse ones. Bound: one copy.

use std::sync::Arc;

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Number, dtype_setting, few_ints};
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Data, Element, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[
    ("", "Constant", constant),
    ("", "ConstantOfShape", constant_of_shape),
    ("", "EyeLike", eye_like),
];

/// The same in every run.
#[derive(Debug)]
struct Constant(Arc<Tensor>);

impl Operator for Constant {
    fn run(
        &self,
        _inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        with_values!(self.0.data(), values => {
            context.shape_as(&mut outputs[0], self.0.shape())?.clone_from_slice(values);
        });
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        report.add_heap(self.0.bytes());
    }
}

fn constant(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let known = [
        "value",
        "value_int",
        "value_ints",
        "value_float",
        "value_floats",
        "value_string",
        "value_strings",
    ];
    let known = if view.opset() >= 12 { &known[..] } else { &known[..1] };
    view.only_attributes(known)?;
    if view.node().attributes.len() != 1 {
        return Err(view.refuse("it has not one value"));
    }
    let list = |count: usize, data: Data| Tensor::new(&[count], data).map(Arc::new);
    let tensor = if let Some(tensor) = view.tensor("value")? {
        Some(Arc::clone(tensor))
    } else if let Some(value) = view.int("value_int")? {
        Some(Arc::new(Tensor::scalar(value)))
    } else if let Some(value) = view.float("value_float")? {
        Some(Arc::new(Tensor::scalar(value)))
    } else if let Some(value) = view.string("value_string")? {
        Some(Arc::new(Tensor::scalar(value.to_owned())))
    } else if let Some(values) = view.ints("value_ints")? {
        list(values.len(), Data::I64(values.to_vec()))
    } else if let Some(values) = view.floats("value_floats")? {
        list(values.len(), Data::F32(values.to_vec()))
    } else if let Some(values) = view.strings("value_strings")? {
        list(values.len(), Data::String(values.to_vec()))
    } else {
        None
    };
    let tensor = tensor.ok_or_else(|| view.refuse("it has no value"))?;
    let dtype = tensor.dtype();
    Ok(Built::one(Constant(tensor), dtype))
}

/// One value for each place of the shape that the input lists.
#[derive(Debug)]
struct ConstantOfShape(Arc<Tensor>);

impl Operator for ConstantOfShape {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let wanted = few_ints(inputs, 0)?.unwrap_or_default();
        let mut dims = Few::<usize>::new();
        for dim in wanted.iter() {
            let dim = usize::try_from(*dim);
            dims.push(dim.map_err(|_| RunError::input(format!("{:?}", &*wanted), "dimensions"))?)?;
        }
        with_values!(self.0.data(), values => {
            fill(values, context.shape_as(&mut outputs[0], &dims)?);
        });
        Ok(())
    }
}

fn fill<T: Element>(values: &[T], out: &mut [T]) {
    if let [value] = values {
        out.fill(value.clone());
    }
}

fn constant_of_shape(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["value"])?;
    view.dtype_among(0, &[DType::I64])?;
    let value = match view.tensor("value")? {
        Some(value) if value.count() == 1 => Arc::clone(value),
        Some(_) => return Err(view.refuse("`value` is not one value")),
        None => Arc::new(Tensor::scalar(0f32)),
    };
    let dtype = value.dtype();
    Ok(Built::one(ConstantOfShape(value), dtype))
}

/// Ones on a diagonal, of the shape of the input.
#[derive(Debug)]
struct EyeLike {
    dtype: DType,
    diagonal: i64,
}

impl Operator for EyeLike {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let shape = inputs.need(0)?.shape();
        let [rows, columns] = shape[..] else {
            return Err(RunError::input(shape, "two dimensions"));
        };
        context.shape(&mut outputs[0], self.dtype, shape)?;
        let ones = (0..rows).filter_map(|row| {
            let column = usize::try_from((row as i64).checked_add(self.diagonal)?).ok()?;
            (column < columns).then_some(row * columns + column)
        });
        if let Data::Bool(out) = outputs[0].data_mut() {
            out.fill(false);
            ones.for_each(|place| out[place] = true);
            return Ok(());
        }
        with_values!([F32, F64, F16, Bf16, I8, I16, I32, I64, U8, U16, U32, U64]
            outputs[0].data_mut(), out => {
                out.fill(Default::default());
                ones.for_each(|place| out[place] = Number::from_f64(1.0));
                Ok(())
            }, else Err(RunError::input(self.dtype, "numbers")))
    }
}

fn eye_like(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["dtype", "k"])?;
    let dtype = dtype_setting(view, "dtype")?.map_or_else(|| view.dtype(0), Ok)?;
    if dtype == DType::String {
        return Err(view.refuse("text has no ones"));
    }
    Ok(Built::one(EyeLike { dtype, diagonal: view.int_or("k", 0)? }, dtype))
}
