//! Owns the two steps of a dense layer that candle would spread over several passes and buffers.
//!
//! Refuses to know networks. Bound: both work in place on contiguous f32 tensors of the CPU and
//! refuse anything else with an error.

use candle_core::{CpuStorage, Error, InplaceOp1, InplaceOp2, Layout};

use crate::spec::Preprocessing;

/// Writes rows that lie apart into one `[rows, features]` tensor and applies the preprocessing.
/// Every row has as many values as the preprocessing.
pub struct Gather<'a, R> {
    pub rows: &'a [R],
    pub preprocessing: &'a Preprocessing,
}

impl<R: AsRef<[f32]>> InplaceOp1 for Gather<'_, R> {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let Preprocessing { mean, scale } = self.preprocessing;
        let target = values_mut(storage, layout, self.name())?;
        for (target, row) in target.chunks_exact_mut(mean.len()).zip(self.rows) {
            let parameters = mean.iter().zip(scale);
            for ((to, from), (mean, scale)) in target.iter_mut().zip(row.as_ref()).zip(parameters) {
                *to = (from - mean) * scale;
            }
        }
        Ok(())
    }
}

/// Adds a bias to each row and, if asked to, cuts off what is negative; NaN stays NaN, so that an
/// overflow is seen at the end.
pub struct AddBias {
    pub relu: bool,
}

impl InplaceOp2 for AddBias {
    fn name(&self) -> &'static str {
        "add-bias"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> candle_core::Result<()> {
        let CpuStorage::F32(bias) = bias else { return Err(unexpected(self.name())) };
        let Some((start, end)) = bias_layout.contiguous_offsets() else {
            return Err(unexpected(self.name()));
        };
        let bias = &bias[start..end];
        let values = values_mut(storage, layout, self.name())?;
        for row in values.chunks_exact_mut(bias.len()) {
            if self.relu {
                for (value, bias) in row.iter_mut().zip(bias) {
                    let sum = *value + bias;
                    *value = if sum < 0.0 { 0.0 } else { sum };
                }
            } else {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        }
        Ok(())
    }
}

fn values_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
    operation: &'static str,
) -> candle_core::Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => Err(unexpected(operation)),
    }
}

/// The error for a tensor that is not contiguous f32 on the CPU.
pub fn unexpected(operation: &'static str) -> Error {
    Error::RequiresContiguous { op: operation }.bt()
}
