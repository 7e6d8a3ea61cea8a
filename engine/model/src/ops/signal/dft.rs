//! Owns the discrete Fourier transform along one axis.
//!
//! Refuses real numbers where complex ones are defined, and the reverse. Bound: one transform per
//! line.

use super::fourier::{Complex, Transform};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Number, allowed, axis, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "DFT", dft)];

#[derive(Debug)]
struct Dft {
    inverse: bool,
    onesided: bool,
    /// Where it is a setting, or the default of the third input.
    axis: i64,
}

/// How the values of all lines lie.
struct Lines {
    outer: usize,
    inner: usize,
    /// Places along the axis, of the input and of the result.
    lens: [usize; 2],
    /// Numbers of one value, of the input and of the result.
    parts: [usize; 2],
}

impl Dft {
    /// The signal as the transform takes it: filled up with zeros or cut; of a one-sided spectrum
    /// the other side is its mirror image.
    fn read<T: Number>(&self, values: &[T], lines: &Lines, line: usize, signal: &mut [Complex]) {
        let (outer, inner) = (line / lines.inner, line % lines.inner);
        let [len, parts] = [lines.lens[0], lines.parts[0]];
        let whole = signal.len();
        let mirrored = self.inverse && self.onesided;
        let used = if mirrored { (whole / 2 + 1).min(len) } else { whole.min(len) };
        signal.fill([0.0; 2]);
        for place in 0..used {
            let at = ((outer * len + place) * lines.inner + inner) * parts;
            let real = values[at].to_f64();
            let imaginary = if parts == 2 { values[at + 1].to_f64() } else { 0.0 };
            if !mirrored {
                signal[place] = [real, imaginary];
                continue;
            }
            let other = (whole - place) % whole;
            // What is its own mirror image is real.
            let imaginary = if other == place { 0.0 } else { imaginary };
            signal[place] = [real, imaginary];
            signal[other] = [real, -imaginary];
        }
    }

    fn transform<T: Number>(
        &self,
        values: &[T],
        transform: &Transform,
        lines: &Lines,
        out: &mut [T],
    ) {
        let length = transform.len();
        let (mut signal, mut spectrum) = (vec![[0.0; 2]; length], vec![[0.0; 2]; length]);
        let scale = if self.inverse { 1.0 / length as f64 } else { 1.0 };
        for line in 0..lines.outer * lines.inner {
            self.read(values, lines, line, &mut signal);
            transform.run(&signal, &mut spectrum);
            let (outer, inner) = (line / lines.inner, line % lines.inner);
            let [len, parts] = [lines.lens[1], lines.parts[1]];
            for (place, value) in spectrum[..len].iter().enumerate() {
                let at = ((outer * len + place) * lines.inner + inner) * parts;
                let out = out[at..at + parts].iter_mut().zip(value);
                out.for_each(|(out, part)| *out = T::from_f64(part * scale));
            }
        }
    }
}

impl Operator for Dft {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let wrong = |found: &str| RunError::input(format!("{found}, {shape}"), "a signal");
        let (parts, places) = shape.split_last().ok_or_else(|| wrong("no dimension"))?;
        let axis = axis(one_int(inputs, 2)?.unwrap_or(self.axis), shape.len())?;
        if axis >= places.len() || !(1..=2).contains(parts) {
            return Err(wrong("the axis of parts, or other than one or two of them"));
        }
        if self.onesided && (*parts == 2) != self.inverse {
            return Err(wrong("real and complex numbers the wrong way round"));
        }
        let len = places[axis];
        let mirrored = self.inverse && self.onesided;
        let length = match one_int(inputs, 1)? {
            Some(length) => usize::try_from(length).map_err(|_| wrong("a negative length"))?,
            None if mirrored => len.saturating_sub(1).saturating_mul(2),
            None => len,
        };
        let result = if self.onesided && !self.inverse { length / 2 + 1 } else { length };
        let mut dims = Few::of(shape)?;
        let last = dims.len() - 1;
        dims[axis] = result;
        dims[last] = if mirrored { 1 } else { 2 };
        let lines = Lines {
            outer: places[..axis].iter().product(),
            inner: places[axis + 1..].iter().product(),
            lens: [len, result],
            parts: [*parts, dims[last]],
        };
        let dtype = input.dtype();
        context.shape(&mut outputs[0], dtype, &dims)?;
        if outputs[0].count() == 0 {
            return Ok(());
        }
        let transform = Transform::new(length, self.inverse)?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            self.transform(values, &transform, &lines, out);
            Ok(())
        }, else Err(RunError::input(dtype, "floating-point numbers")))
    }
}

fn dft(view: &NodeView<'_>) -> Result<Built, ModelError> {
    allowed(view, &[("axis", 17, 19), ("inverse", 17, u32::MAX), ("onesided", 17, u32::MAX)])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    if view.has_input(1) {
        view.dtype_among(1, &[DType::I32, DType::I64])?;
    }
    if view.has_input(2) {
        view.dtype_among(2, &[DType::I64])?;
        if view.opset() < 20 {
            return Err(view.refuse("this opset has the axis as an attribute"));
        }
    }
    let axis = if view.opset() < 20 { view.int_or("axis", 1)? } else { -2 };
    let (inverse, onesided) = (view.int_or("inverse", 0)? != 0, view.int_or("onesided", 0)? != 0);
    Ok(Built::one(Dft { inverse, onesided, axis }, dtype))
}
