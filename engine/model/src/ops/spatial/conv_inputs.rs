//! Owns what all convolutions check of their inputs, and the columns that products take.
//!
//! Refuses channels that groups do not divide. Bound: one block of columns.

use std::ops::Range;

use super::grid::Grid;
use super::settings::Settings;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::support::Few;
use crate::program::RunError;
use crate::tensor::Shape;

/// Sizes of one convolution.
pub struct Sizes {
    /// Images.
    pub batch: usize,
    /// Independent parts of channels and features.
    pub groups: usize,
    /// Channels of the input in each group.
    pub channels: usize,
    /// Channels of the result in each group.
    pub features: usize,
    /// Where windows lie.
    pub grid: Grid,
    /// Dimensions of the result.
    pub dims: Few<usize>,
}

/// The number of groups, at least 1.
///
/// # Errors
/// [`ModelError::Unsupported`].
pub fn groups(view: &NodeView<'_>, name: &str) -> Result<usize, ModelError> {
    match view.int_or(name, 1)? {
        groups @ 1..=0xff_ffff => Ok(groups as usize),
        other => Err(view.refuse(format_args!("`{name}` {other}"))),
    }
}

impl Sizes {
    /// Of an input, weights by feature, and perhaps a bias.
    ///
    /// # Errors
    /// [`RunError::Input`] if they do not fit together.
    pub fn new(
        settings: &Settings,
        groups: usize,
        input: &Shape,
        weights: &Shape,
        bias: Option<&Shape>,
    ) -> Result<Self, RunError> {
        let wrong = || {
            let found = format!("{input} with weights {weights} in {groups} groups");
            RunError::input(found, "channels and features that fit")
        };
        let ([batch, channels, spatial @ ..], [features, depth, kernel @ ..]) =
            (&input[..], &weights[..])
        else {
            return Err(wrong());
        };
        let fits = *depth > 0
            && depth.checked_mul(groups) == Some(*channels)
            && features.is_multiple_of(groups)
            && bias.is_none_or(|bias| **bias == [*features]);
        if !fits {
            return Err(wrong());
        }
        let grid = settings.grid(spatial, kernel)?;
        let mut dims = Few::of(&[*batch, *features])?;
        let outputs = &grid.0[grid.0.len() - spatial.len()..];
        outputs.iter().try_for_each(|axis| dims.push(axis.output))?;
        let features = features / groups;
        Ok(Self { batch: *batch, groups, channels: *depth, features, grid, dims })
    }
}

/// Columns of a range of windows: for each channel and each place of the window a row with what
/// lies there for each window of the range, `zero` where nothing does.
pub fn columns<T: Copy, W: Copy>(
    values: &[T],
    grid: &Grid,
    outputs: Range<usize>,
    columns: &mut [W],
    zero: W,
    convert: impl Fn(T) -> W + Copy,
) {
    let [deep, high, wide] = grid.0;
    let (plane, row_len) = (grid.input_count(), outputs.len());
    let mut rows = columns.chunks_exact_mut(row_len);
    for channel in values.chunks_exact(plane) {
        for kernel in 0..grid.kernel_count() {
            let (kx, ky, kz) = (
                kernel % wide.kernel,
                kernel / wide.kernel % high.kernel,
                kernel / (wide.kernel * high.kernel),
            );
            let Some(row) = rows.next() else { return };
            let (within_z, within_y, within_x) =
                (deep.outputs(kz), high.outputs(ky), wide.outputs(kx));
            let mut output = outputs.start;
            while output < outputs.end {
                let (line, x) = (output / wide.output, output % wide.output);
                let len = (wide.output - x).min(outputs.end - output);
                let part = &mut row[output - outputs.start..][..len];
                output += len;
                let (z, y) = (line / high.output, line % high.output);
                if !within_z.contains(&z) || !within_y.contains(&y) {
                    part.fill(zero);
                    continue;
                }
                let first = within_x.start.clamp(x, x + len);
                let end = within_x.end.clamp(first, x + len);
                part[..first - x].fill(zero);
                part[end - x..].fill(zero);
                if first == end {
                    continue;
                }
                let from = (deep.place(z, kz) * high.input + high.place(y, ky)) * wide.input
                    + wide.place(first, kx);
                let places = &mut part[first - x..end - x];
                if wide.stride == 1 {
                    let source = &channel[from..from + places.len()];
                    places.iter_mut().zip(source).for_each(|(place, value)| {
                        *place = convert(*value);
                    });
                    continue;
                }
                let source = channel[from..].iter().step_by(wide.stride);
                places.iter_mut().zip(source).for_each(|(place, value)| *place = convert(*value));
            }
        }
    }
}
