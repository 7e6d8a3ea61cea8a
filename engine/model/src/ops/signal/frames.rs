//! Owns the Fourier transform of the frames of a signal.
//!
//! Refuses windows of another length than frames. Bound: one transform per frame.

use super::fourier::Transform;
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Number, one_int, values_like};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "STFT", stft)];

#[derive(Debug)]
struct Stft {
    onesided: bool,
}

/// How frames lie in a signal.
struct Frames {
    signals: usize,
    len: usize,
    parts: usize,
    count: usize,
    step: usize,
    bins: usize,
}

fn transform<T: Number>(
    values: &[T],
    window: Option<&[T]>,
    transform: &Transform,
    frames: &Frames,
    out: &mut [T],
) {
    let length = transform.len();
    let (mut signal, mut spectrum) = (vec![[0.0; 2]; length], vec![[0.0; 2]; length]);
    for (index, out) in out.chunks_exact_mut(frames.bins * 2).enumerate() {
        let (item, frame) = (index / frames.count, index % frames.count);
        for (place, value) in signal.iter_mut().enumerate() {
            let at = (item * frames.len + frame * frames.step + place) * frames.parts;
            let weight = window.map_or(1.0, |window| window[place].to_f64());
            let part = |part: usize| values[at + part].to_f64() * weight;
            *value = [part(0), if frames.parts == 2 { part(1) } else { 0.0 }];
        }
        transform.run(&signal, &mut spectrum);
        let parts = spectrum.iter().flatten();
        out.iter_mut().zip(parts).for_each(|(out, part)| *out = T::from_f64(*part));
    }
}

impl Operator for Stft {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let input = inputs.need(0)?;
        let shape = input.shape();
        let wrong = || RunError::input(format!("frames of {shape}"), "frames within the signal");
        let [signals, len, parts] = shape[..] else { return Err(wrong()) };
        let window_len = inputs.get(2).map(Tensor::count);
        let step = usize::try_from(one_int(inputs, 1)?.unwrap_or(0)).unwrap_or(0);
        let length = match one_int(inputs, 3)? {
            Some(length) => usize::try_from(length).map_err(|_| wrong())?,
            None => window_len.unwrap_or(len),
        };
        let fits = step > 0
            && (1..=len).contains(&length)
            && window_len.is_none_or(|window| window == length)
            && (1..=2).contains(&parts)
            && !(self.onesided && parts == 2);
        if !fits {
            return Err(wrong());
        }
        let bins = if self.onesided { length / 2 + 1 } else { length };
        let frames = Frames { signals, len, parts, count: (len - length) / step + 1, step, bins };
        let dims = [frames.signals, frames.count, frames.bins, 2];
        let table = Transform::new(length, false)?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            let window = match window_len {
                Some(_) => Some(values_like(inputs, 2, values)?.1),
                None => None,
            };
            let out = context.shape_as(&mut outputs[0], &dims)?;
            transform(values, window, &table, &frames, out);
            Ok(())
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn stft(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["onesided"])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &[DType::I32, DType::I64])?;
    if view.has_input(2) {
        view.dtype_among(2, &[dtype])?;
    }
    if view.has_input(3) {
        view.dtype_among(3, &[DType::I32, DType::I64])?;
    }
    Ok(Built::one(Stft { onesided: view.int_or("onesided", 1)? != 0 }, dtype))
}
