//! Owns the operator that adds columns of windows up to an image.
//!
//! Refuses columns that are not those of its windows. Bound: one pass over the columns.

use super::grid::Grid;
use super::settings::{Around, Settings, counts};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Few, Float, Wide, few_ints};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "Col2Im", col2im)];

#[derive(Debug)]
struct Col2Im(Settings);

fn sizes(inputs: &Inputs<'_>, index: usize) -> Result<Few<usize>, RunError> {
    let mut sizes = Few::<usize>::new();
    for size in few_ints(inputs, index)?.unwrap_or_default().iter() {
        let wrong = |_| RunError::input(format_args!("size {size}"), "sizes from 1 on");
        sizes.push(usize::try_from(*size).map_err(wrong)?)?;
    }
    Ok(sizes)
}

fn run<T: Float>(
    values: &[T],
    grid: &Grid,
    dims: &[usize],
    output: &mut Tensor,
    context: &mut Context<'_>,
) -> Result<(), RunError> {
    let out = context.shape_as::<T>(output, dims)?;
    if out.is_empty() {
        return Ok(());
    }
    let (places, windows) = (grid.input_count(), grid.output_count());
    let planes = values.chunks_exact(grid.kernel_count() * windows);
    let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
    let [sums, ..] = T::Wide::buffers(context.scratch, &mut own);
    for (out, values) in out.chunks_exact_mut(places).zip(planes) {
        sums.clear();
        sums.resize(places, T::Wide::ZERO);
        grid.each(|index, window| {
            window.each(|place, kernel| sums[place] += values[kernel * windows + index].wide());
        });
        out.iter_mut().zip(sums.iter()).for_each(|(out, sum)| *out = T::narrow(*sum));
    }
    Ok(())
}

impl Operator for Col2Im {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let (image, block) = (sizes(inputs, 1)?, sizes(inputs, 2)?);
        let grid = self.0.grid(&image, &block)?;
        let wrong = || {
            RunError::input(format_args!("columns {}", input.shape()), format!("of {:?}", &*image))
        };
        let [batch, rows, columns] = input.shape()[..] else { return Err(wrong()) };
        if columns != grid.output_count() || !rows.is_multiple_of(grid.kernel_count()) {
            return Err(wrong());
        }
        let mut dims = Few::of(&[batch, rows / grid.kernel_count()])?;
        image.iter().try_for_each(|dim| dims.push(*dim))?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            run(values, &grid, &dims, &mut outputs[0], context)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn col2im(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["dilations", "pads", "strides"])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    for index in 1..3 {
        view.dtype_among(index, &[DType::I64])?;
    }
    let settings = Settings {
        kernel: Vec::new(),
        strides: counts(view, "strides", 1)?,
        dilations: counts(view, "dilations", 1)?,
        pads: counts(view, "pads", 0)?,
        around: Around::Pads,
        ceil: false,
    };
    Ok(Built::one(Col2Im(settings), dtype))
}
