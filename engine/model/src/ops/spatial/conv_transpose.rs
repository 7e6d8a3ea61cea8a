//! Owns the transposed convolution: each value of the input spreads over a window of the result.
//!
//! Refuses pads that leave nothing. Bound: one pass over all windows for each pair of channels.

use super::conv_inputs::groups;
use super::grid::{Axis, Grid, SPATIAL_MAX};
use super::settings::{Around, Settings, counts};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Few, Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "ConvTranspose", conv_transpose)];

#[derive(Debug)]
struct ConvTranspose {
    settings: Settings,
    groups: usize,
    /// Places more behind the result.
    output_padding: Vec<usize>,
    /// Spatial dimensions of the result, where they are given.
    output_shape: Vec<usize>,
}

impl ConvTranspose {
    /// The grid of the convolution that this one turns round: its input is this one's result.
    fn grid(&self, dims: &[usize], kernel: &[usize]) -> Result<Grid, RunError> {
        self.settings.check(dims, kernel)?;
        let mut grid = Grid([Axis::ONE; SPATIAL_MAX]);
        let filled = SPATIAL_MAX - dims.len();
        for (index, axis) in grid.0[filled..].iter_mut().enumerate() {
            let wrong = || RunError::input(format_args!("{dims:?}"), "a result with places");
            *axis = self.axis(dims, kernel, index).ok_or_else(wrong)?;
        }
        Ok(grid)
    }

    fn axis(&self, dims: &[usize], kernel: &[usize], index: usize) -> Option<Axis> {
        let settings = &self.settings;
        let (output, kernel) = (dims[index], kernel[index]);
        let (stride, dilation) = settings.steps(index);
        let extra = self.output_padding.get(index).copied().unwrap_or(0);
        let full = output.checked_sub(1)? * stride + extra + (kernel - 1) * dilation + 1;
        let given = |index: usize| settings.pads.get(index).copied().unwrap_or(0);
        let wanted = match (self.output_shape.get(index), settings.around) {
            (Some(wanted), _) => Some(*wanted),
            // Smaller windows than steps do not reach so far, and not all agree on what then is.
            (None, Around::SameUpper | Around::SameLower) => {
                Some(output * stride).filter(|wanted| *wanted <= full).map(Some)?
            }
            (None, _) => None,
        };
        let (input, before) = match wanted {
            Some(wanted) => {
                // Of a larger result nothing is cut, and what windows do not reach is bias alone.
                let total = full.saturating_sub(wanted);
                let half = total / 2;
                let upper = settings.around == Around::SameUpper;
                (wanted, if upper { half } else { total - half })
            }
            None => {
                let before = given(index);
                (full.checked_sub(before + given(dims.len() + index))?, before)
            }
        };
        Some(Axis { input, output, kernel, stride, dilation, before, after: 0 })
    }
}

impl Operator for ConvTranspose {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (input, weights) = (inputs.need(0)?, inputs.need(1)?);
        let (shape, weight_shape) = (input.shape(), weights.shape());
        let wrong = || {
            let found = format!("{shape} with weights {weight_shape}");
            RunError::input(found, format_args!("channels in {} groups", self.groups))
        };
        let ([batch, channels, spatial @ ..], [depth, features, kernel @ ..]) =
            (&shape[..], &weight_shape[..])
        else {
            return Err(wrong());
        };
        let all = features.checked_mul(self.groups).ok_or_else(wrong)?;
        let bias = inputs.get(2).map(|bias| **bias.shape() == [all]);
        if channels != depth || !channels.is_multiple_of(self.groups) || bias == Some(false) {
            return Err(wrong());
        }
        let grid = self.grid(spatial, kernel)?;
        let mut dims = Few::of(&[*batch, all])?;
        let results = &grid.0[grid.0.len() - spatial.len()..];
        results.iter().try_for_each(|axis| dims.push(axis.input))?;
        let sizes = [channels / self.groups, *features, self.groups];
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            run(values, &grid, sizes, &dims, inputs, &mut outputs[0], context)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn run<T: Float>(
    values: &[T],
    grid: &Grid,
    [channels, features, groups]: [usize; 3],
    dims: &[usize],
    inputs: &Inputs<'_>,
    output: &mut Tensor,
    context: &mut Context<'_>,
) -> Result<(), RunError> {
    let weights = inputs.values::<T>(1)?.1;
    let bias = if inputs.get(2).is_some() { Some(inputs.values::<T>(2)?.1) } else { None };
    let out = context.shape_as::<T>(output, dims)?;
    if out.is_empty() {
        return Ok(());
    }
    let (places, windows, kernel) = (grid.input_count(), grid.output_count(), grid.kernel_count());
    let mut own: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
    let [sums, ..] = T::Wide::buffers(context.scratch, &mut own);
    for (index, out) in out.chunks_exact_mut(places).enumerate() {
        let all = features * groups;
        let (item, feature) = (index / all, index % all);
        let (group, feature_in_group) = (feature / features, feature % features);
        sums.clear();
        sums.resize(places, bias.map_or(T::Wide::ZERO, |bias| bias[feature].wide()));
        for channel in 0..channels {
            let channel = group * channels + channel;
            let values = &values[(item * channels * groups + channel) * windows..][..windows];
            let weights = &weights[(channel * features + feature_in_group) * kernel..][..kernel];
            grid.each(|window_index, window| {
                let value = values[window_index].wide();
                window.each(|place, kernel| sums[place] += value * weights[kernel].wide());
            });
        }
        out.iter_mut().zip(sums.iter()).for_each(|(out, sum)| *out = T::narrow(*sum));
    }
    Ok(())
}

fn conv_transpose(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&[
        "auto_pad",
        "dilations",
        "group",
        "kernel_shape",
        "output_padding",
        "output_shape",
        "pads",
        "strides",
    ])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &[dtype])?;
    if view.has_input(2) {
        view.dtype_among(2, &[dtype])?;
    }
    let operator = ConvTranspose {
        settings: Settings::read(view)?,
        groups: groups(view, "group")?,
        output_padding: counts(view, "output_padding", 0)?,
        output_shape: counts(view, "output_shape", 1)?,
    };
    let ranks = [&operator.output_padding, &operator.output_shape].map(Vec::len);
    let rank = ranks.into_iter().max().unwrap_or(0);
    let strides = operator.settings.strides.len().max(operator.settings.kernel.len());
    let differs = |len: usize| len > 0 && (len != rank || (strides > 0 && strides != len));
    if ranks.into_iter().any(differs) || rank > SPATIAL_MAX {
        return Err(view.refuse("its output settings are of other dimensions"));
    }
    Ok(Built::one(operator, dtype))
}
