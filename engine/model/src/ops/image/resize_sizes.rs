//! Owns the sizes of a resized tensor: from scales or sizes, for all axes or some.
//!
//! Refuses both and neither. Bound: the dimensions of a tensor.

use super::resize_taps::Scaled;
use crate::ops::support::{Few, few_ints, number_at, unique_axes};
use crate::program::{Inputs, RunError};
use crate::tensor::{Shape, Tensor};

/// How sizes are kept in proportion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Policy {
    /// They are not.
    Stretch,
    /// None becomes larger than wanted.
    NotLarger,
    /// None becomes smaller than wanted.
    NotSmaller,
}

/// Where sizes come from.
#[derive(Debug)]
pub struct Sizes {
    /// Scales where they are a setting.
    pub given: Option<Vec<f32>>,
    /// The inputs of regions, scales and sizes, if there are such.
    pub inputs: [Option<usize>; 3],
    /// Which axes they are of.
    pub axes: Option<Vec<i64>>,
    /// How sizes are kept in proportion.
    pub policy: Policy,
}

/// The numbers of an input; none if it is absent or empty.
fn numbers(inputs: &Inputs<'_>, index: Option<usize>) -> Result<Option<Few<f64>>, RunError> {
    let found = index.and_then(|index| inputs.get(index)).filter(|tensor| tensor.count() > 0);
    let Some(tensor) = found else { return Ok(None) };
    let mut few = Few::<f64>::new();
    for place in 0..tensor.count() {
        let wrong = || RunError::input(tensor.dtype(), "numbers");
        few.push(number_at(tensor.data(), place).ok_or_else(wrong)?)?;
    }
    Ok(Some(few))
}

impl Sizes {
    /// The axes of an input and of its result.
    ///
    /// # Errors
    /// [`RunError::Input`] if they cannot be told.
    pub fn scaled(&self, inputs: &Inputs<'_>, shape: &Shape) -> Result<Few<Scaled>, RunError> {
        let mut all = Few::<Scaled>::new();
        for dim in shape.iter() {
            all.push(Scaled { input: *dim, output: *dim, scale: 1.0, region: [0.0, 1.0] })?;
        }
        let axes = match &self.axes {
            Some(axes) => unique_axes(axes, shape.len())?,
            None => {
                let mut axes = Few::<usize>::new();
                (0..shape.len()).try_for_each(|axis| axes.push(axis))?;
                axes
            }
        };
        let [region, scales, sizes] = self.inputs;
        let scales = match &self.given {
            Some(scales) => {
                let mut few = Few::<f64>::new();
                scales.iter().try_for_each(|scale| few.push(f64::from(*scale)))?;
                Some(few)
            }
            None => numbers(inputs, scales)?,
        };
        let sizes = match sizes.and_then(|index| inputs.get(index).map(|found| (index, found))) {
            Some((index, found)) if found.count() > 0 => few_ints(inputs, index)?,
            _ => None,
        };
        match (scales, sizes) {
            (Some(scales), None) => by_scales(&mut all, &axes, &scales)?,
            (None, Some(sizes)) => self.by_sizes(&mut all, &axes, &sizes)?,
            _ => return Err(RunError::input("scales and sizes, or none", "one of the two")),
        }
        if let Some(region) = numbers(inputs, region)? {
            if region.len() != 2 * axes.len() {
                return Err(RunError::input(format_args!("a region {:?}", &*region), "two each"));
            }
            for (index, axis) in axes.iter().enumerate() {
                all[*axis].region = [region[index], region[axes.len() + index]];
            }
        }
        let is_empty = |axis: &Scaled| axis.input == 0 && axis.output > 0;
        match all.iter().any(is_empty) {
            true => Err(RunError::input(shape, "pixels along each axis")),
            false => Ok(all),
        }
    }

    fn by_sizes(
        &self,
        all: &mut Few<Scaled>,
        axes: &[usize],
        sizes: &[i64],
    ) -> Result<(), RunError> {
        let wrong = || RunError::input(format_args!("sizes {sizes:?}"), "one of each axis");
        if sizes.len() != axes.len() {
            return Err(wrong());
        }
        let (mut smallest, mut largest) = (f64::INFINITY, 0f64);
        for (axis, size) in axes.iter().zip(sizes) {
            let axis = &mut all[*axis];
            axis.output = usize::try_from(*size).map_err(|_| wrong())?;
            axis.scale = axis.output as f64 / axis.input as f64;
            smallest = smallest.min(axis.scale);
            largest = largest.max(axis.scale);
        }
        let scale = match self.policy {
            Policy::Stretch => return Ok(()),
            Policy::NotLarger => smallest,
            Policy::NotSmaller => largest,
        };
        for axis in axes {
            let axis = &mut all[*axis];
            axis.scale = scale;
            axis.output = (scale * axis.input as f64 + 0.5).floor() as usize;
        }
        Ok(())
    }
}

fn by_scales(all: &mut Few<Scaled>, axes: &[usize], scales: &[f64]) -> Result<(), RunError> {
    let fits =
        scales.len() == axes.len() && scales.iter().all(|scale| scale.is_finite() && *scale > 0.0);
    if !fits {
        return Err(RunError::input(format_args!("scales {scales:?}"), "one above 0 of each axis"));
    }
    for (axis, scale) in axes.iter().zip(scales) {
        let axis = &mut all[*axis];
        axis.scale = *scale;
        axis.output = (scale * axis.input as f64).floor() as usize;
    }
    Ok(())
}

/// Dimensions of the result.
///
/// # Errors
/// [`RunError::Input`] for too many.
pub fn output_dims(all: &[Scaled]) -> Result<Few<usize>, RunError> {
    let mut dims = Few::<usize>::new();
    all.iter().try_for_each(|axis| dims.push(axis.output))?;
    Ok(dims)
}

/// Elements that the largest result along the way has, each axis done after the other.
pub fn count_max(input: &Tensor, all: &[Scaled]) -> Option<usize> {
    let mut count = input.count();
    let mut largest = count;
    for axis in all.iter().filter(|axis| axis.input > 0) {
        count = (count / axis.input).checked_mul(axis.output)?;
        largest = largest.max(count);
    }
    Some(largest)
}
