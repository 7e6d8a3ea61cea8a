//! Owns where windows lie: for each place of the result the places of the input that it covers.
//!
//! Refuses to know values. Bound: three dimensions; fewer are filled up with dimensions of 1.

use std::ops::Range;

/// Most spatial dimensions.
pub const SPATIAL_MAX: usize = 3;

/// One dimension: of the input, of the result, and the window between them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    /// Places of the input.
    pub input: usize,
    /// Places of the result.
    pub output: usize,
    /// Places of the window.
    pub kernel: usize,
    /// How far apart neighbouring windows begin.
    pub stride: usize,
    /// How far apart neighbouring places of a window lie.
    pub dilation: usize,
    /// How many places the first window begins before the input.
    pub before: usize,
    /// How many places behind the input count as padding.
    pub after: usize,
}

/// The part of a window along one dimension that lies within the input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// The first place of the window that does.
    pub kernel: usize,
    /// Its place of the input.
    pub place: usize,
    /// How many do.
    pub count: usize,
    /// How far apart they lie.
    pub step: usize,
    /// How many lie within the input or its padding.
    pub padded: usize,
}

impl Axis {
    /// A dimension of 1.
    pub const ONE: Self =
        Self { input: 1, output: 1, kernel: 1, stride: 1, dilation: 1, before: 0, after: 0 };

    /// What the window of one place of the result covers.
    pub fn line(&self, output: usize) -> Line {
        let start = (output * self.stride) as isize - self.before as isize;
        let steps = |distance: isize| distance.max(0).unsigned_abs().div_ceil(self.dilation);
        let first = steps(-start);
        let end = steps(self.input as isize - start).min(self.kernel);
        let padded = steps((self.input + self.after) as isize - start).min(self.kernel);
        let count = end.saturating_sub(first);
        let place = start + (first * self.dilation) as isize;
        let place = if count > 0 { place as usize } else { 0 };
        Line { kernel: first, place, count, step: self.dilation, padded }
    }

    /// The places of the result whose windows have their place `kernel` within the input.
    pub fn outputs(&self, kernel: usize) -> Range<usize> {
        let reach = kernel * self.dilation;
        let first = self.before.saturating_sub(reach).div_ceil(self.stride);
        let end = (self.input + self.before).saturating_sub(reach).div_ceil(self.stride);
        let end = end.min(self.output);
        first.min(end)..end
    }

    /// The place of the input at the place `kernel` of the window of `output`, which must be one
    /// of [`Axis::outputs`].
    pub fn place(&self, output: usize, kernel: usize) -> usize {
        (output * self.stride + kernel * self.dilation).saturating_sub(self.before)
    }
}

/// Three dimensions.
#[derive(Clone, Copy, Debug)]
pub struct Grid(pub [Axis; SPATIAL_MAX]);

/// What one window covers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    lines: [Line; SPATIAL_MAX],
    /// Places of the input and of the window along the two inner dimensions.
    inputs: [usize; 2],
    kernels: [usize; 2],
}

impl Window {
    /// How many places it covers.
    pub fn count(&self) -> usize {
        self.lines.iter().map(|line| line.count).product()
    }

    /// How many places it covers, padding included.
    pub fn padded(&self) -> usize {
        self.lines.iter().map(|line| line.padded).product()
    }

    /// Calls with each place of the input and of the window.
    #[inline]
    pub fn each(&self, mut call: impl FnMut(usize, usize)) {
        let [deep, high, wide] = self.lines;
        for z in 0..deep.count {
            for y in 0..high.count {
                let row = (deep.place + z * deep.step) * self.inputs[0] + high.place;
                let row = (row + y * high.step) * self.inputs[1] + wide.place;
                let kernel = (deep.kernel + z) * self.kernels[0] + high.kernel;
                let kernel = (kernel + y) * self.kernels[1] + wide.kernel;
                for x in 0..wide.count {
                    call(row + x * wide.step, kernel + x);
                }
            }
        }
    }
}

impl Grid {
    /// Places of the input.
    pub fn input_count(&self) -> usize {
        self.0.iter().map(|axis| axis.input).product()
    }

    /// Places of the result.
    pub fn output_count(&self) -> usize {
        self.0.iter().map(|axis| axis.output).product()
    }

    /// Places of a window.
    pub fn kernel_count(&self) -> usize {
        self.0.iter().map(|axis| axis.kernel).product()
    }

    /// Whether each window is one place, its own.
    pub fn is_identity(&self) -> bool {
        self.0.iter().all(|axis| {
            axis.kernel == 1 && axis.stride == 1 && axis.before == 0 && axis.input == axis.output
        })
    }

    /// Calls with the window of each place of the result, in order.
    #[inline]
    pub fn each(&self, mut call: impl FnMut(usize, &Window)) {
        let [deep, high, wide] = self.0;
        let mut window = Window {
            lines: Default::default(),
            inputs: [high.input, wide.input],
            kernels: [high.kernel, wide.kernel],
        };
        let mut output = 0;
        for z in 0..deep.output {
            window.lines[0] = deep.line(z);
            for y in 0..high.output {
                window.lines[1] = high.line(y);
                for x in 0..wide.output {
                    window.lines[2] = wide.line(x);
                    call(output, &window);
                    output += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_outputs_agree_with_counting() {
        let sizes = [(1, 1), (3, 1), (3, 2), (2, 3)];
        for (kernel, dilation) in sizes {
            for (stride, before) in [(1, 0), (2, 1), (3, 4), (4, 0)] {
                let axis = Axis { input: 5, output: 4, kernel, stride, dilation, before, after: 2 };
                for output in 0..axis.output {
                    let places = (0..kernel)
                        .map(|step| (output * stride + step * dilation) as isize - before as isize);
                    let within: Vec<(usize, usize)> = places
                        .enumerate()
                        .filter(|(_, place)| (0..5).contains(place))
                        .map(|(step, place)| (step, place as usize))
                        .collect();
                    let line = axis.line(output);
                    let found: Vec<(usize, usize)> = (0..line.count)
                        .map(|step| (line.kernel + step, line.place + step * line.step))
                        .collect();
                    assert_eq!(found, within, "{axis:?} at {output}");
                    for step in 0..kernel {
                        let covers = within.iter().find(|(kernel, _)| *kernel == step);
                        assert_eq!(axis.outputs(step).contains(&output), covers.is_some());
                        if let Some((_, place)) = covers {
                            assert_eq!(axis.place(output, step), *place);
                        }
                    }
                }
            }
        }
    }
}
