//! Owns the settings that all windows share: sizes, strides, dilations and pads.
//!
//! Refuses pads together with automatic ones. Bound: each setting below [`SETTING_MAX`].

use super::grid::{Axis, Grid, SPATIAL_MAX};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::program::RunError;

/// No size, stride, dilation or pad is larger.
const SETTING_MAX: i64 = 1 << 24;
/// No dimension is larger.
const DIM_MAX: usize = 1 << 40;

/// What lies around the input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Around {
    /// The pads that are given.
    Pads,
    /// As many as a result of input divided by stride needs, an odd one behind.
    SameUpper,
    /// The same, an odd one in front.
    SameLower,
    /// Nothing.
    Valid,
}

/// See the module. Lists are of all spatial dimensions or empty, for ones and zeros.
#[derive(Debug)]
pub struct Settings {
    /// Places of the window.
    pub kernel: Vec<usize>,
    /// How far apart windows begin.
    pub strides: Vec<usize>,
    /// How far apart places of a window lie.
    pub dilations: Vec<usize>,
    /// Before all dimensions, then behind all.
    pub pads: Vec<usize>,
    /// What lies around.
    pub around: Around,
    /// Whether the last window may begin within the input and end behind its padding.
    pub ceil: bool,
}

/// A setting of whole numbers from `min` on; empty if it is not there.
pub fn counts(view: &NodeView<'_>, name: &str, min: i64) -> Result<Vec<usize>, ModelError> {
    let values = view.ints(name)?.unwrap_or_default();
    let fits = values.len() <= 2 * SPATIAL_MAX
        && values.iter().all(|value| (min..SETTING_MAX).contains(value));
    match fits {
        true => Ok(values.iter().map(|value| *value as usize).collect()),
        false => Err(view.refuse(format_args!("`{name}` {values:?} is not computed"))),
    }
}

impl Settings {
    /// Reads the settings, whose names are those of all such operators.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`].
    pub fn read(view: &NodeView<'_>) -> Result<Self, ModelError> {
        let around = match view.string("auto_pad")?.unwrap_or("NOTSET") {
            "NOTSET" | "" => Around::Pads,
            "SAME_UPPER" => Around::SameUpper,
            "SAME_LOWER" => Around::SameLower,
            "VALID" => Around::Valid,
            other => return Err(view.refuse(format_args!("`auto_pad` {other} is not known"))),
        };
        let pads = counts(view, "pads", 0)?;
        if around != Around::Pads && pads.iter().any(|pad| *pad > 0) {
            return Err(view.refuse("it has `pads` and `auto_pad`"));
        }
        let settings = Self {
            kernel: counts(view, "kernel_shape", 1)?,
            strides: counts(view, "strides", 1)?,
            dilations: counts(view, "dilations", 1)?,
            pads,
            around,
            ceil: view.int_or("ceil_mode", 0)? != 0,
        };
        let lens = [settings.kernel.len(), settings.strides.len(), settings.dilations.len()];
        let rank = lens.iter().copied().chain([settings.pads.len().div_ceil(2)]).max();
        let same = |len: usize| len == 0 || Some(len) == rank;
        if !lens.into_iter().all(same) || !(settings.pads.len().is_multiple_of(2)) {
            return Err(view.refuse("its window has different numbers of dimensions"));
        }
        if !same(settings.pads.len() / 2) {
            return Err(view.refuse("its pads are of other dimensions"));
        }
        Ok(settings)
    }

    /// The grid over an input with these spatial dimensions; `kernel` is the window's.
    ///
    /// # Errors
    /// [`RunError::Input`] if the window does not fit.
    pub fn grid(&self, dims: &[usize], kernel: &[usize]) -> Result<Grid, RunError> {
        self.check(dims, kernel)?;
        let mut grid = Grid([Axis::ONE; SPATIAL_MAX]);
        let filled = SPATIAL_MAX - dims.len();
        for (index, axis) in grid.0[filled..].iter_mut().enumerate() {
            *axis = self.axis(dims, kernel, index)?;
        }
        Ok(grid)
    }

    /// That there are as many dimensions in all lists, and not too large ones.
    ///
    /// # Errors
    /// [`RunError::Input`].
    pub fn check(&self, dims: &[usize], kernel: &[usize]) -> Result<(), RunError> {
        let rank = dims.len();
        let same = |len: usize| len == 0 || len == rank;
        let fits = (1..=SPATIAL_MAX).contains(&rank)
            && kernel.len() == rank
            && (self.kernel.is_empty() || self.kernel == kernel)
            && [self.strides.len(), self.dilations.len()].into_iter().all(same)
            && (self.pads.is_empty() || self.pads.len() == 2 * rank)
            && dims.iter().all(|dim| (1..DIM_MAX).contains(dim))
            && kernel.iter().all(|size| (1..SETTING_MAX as usize).contains(size));
        let places = kernel.iter().try_fold(1usize, |count, size| count.checked_mul(*size));
        match fits && places.is_some_and(|places| places < DIM_MAX) {
            true => Ok(()),
            false => Err(RunError::input(
                format_args!("a window of {kernel:?} over {dims:?}"),
                format_args!("up to {SPATIAL_MAX} dimensions, as the settings say"),
            )),
        }
    }

    /// Stride and dilation along a dimension.
    pub fn steps(&self, index: usize) -> (usize, usize) {
        let of = |list: &[usize]| list.get(index).copied().unwrap_or(1);
        (of(&self.strides), of(&self.dilations))
    }

    fn axis(&self, dims: &[usize], kernel: &[usize], index: usize) -> Result<Axis, RunError> {
        let (input, kernel) = (dims[index], kernel[index]);
        let (stride, dilation) = self.steps(index);
        let covered = (kernel - 1) * dilation + 1;
        let given = |index: usize| self.pads.get(index).copied().unwrap_or(0);
        let (before, after) = match self.around {
            Around::Pads => (given(index), given(dims.len() + index)),
            Around::Valid => (0, 0),
            Around::SameUpper | Around::SameLower => {
                let output = input.div_ceil(stride);
                let needed = (output.saturating_sub(1) * stride + covered).saturating_sub(input);
                let half = needed / 2;
                let upper = self.around == Around::SameUpper;
                if upper { (half, needed - half) } else { (needed - half, half) }
            }
        };
        let padded = input + before + after;
        let Some(room) = padded.checked_sub(covered) else {
            let found = format_args!("{padded} places with padding").to_string();
            return Err(RunError::input(found, format_args!("{covered}, as the window covers")));
        };
        let mut output = room / stride + 1;
        let ceil = self.ceil && self.around == Around::Pads;
        if ceil && !room.is_multiple_of(stride) && output * stride < input + before {
            output += 1;
        }
        Ok(Axis { input, output, kernel, stride, dilation, before, after })
    }
}
