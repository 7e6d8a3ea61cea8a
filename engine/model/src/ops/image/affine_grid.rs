//! Owns the operator that makes grids of places, turned and moved by a matrix.
//!
//! Refuses a single pixel whose middle should lie at both ends. Bound: one pass over the result.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{Few, Float, Wide, few_ints};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "AffineGrid", affine_grid)];

#[derive(Debug)]
struct AffineGrid {
    align_corners: bool,
}

impl AffineGrid {
    /// A pixel's place between -1 and 1.
    fn place(&self, pixel: usize, len: usize) -> f64 {
        let (pixel, len) = (pixel as f64, len as f64);
        match self.align_corners {
            true => -1.0 + 2.0 * pixel / (len - 1.0),
            false => -1.0 + (2.0 * pixel + 1.0) / len,
        }
    }

    fn fill<T: Float>(&self, matrices: &[T], lens: &[usize], out: &mut [T]) {
        let (rank, points) = (lens.len(), lens.iter().product::<usize>());
        for (index, out) in out.chunks_exact_mut(rank).enumerate() {
            let (item, mut rest) = (index / points, index % points);
            let matrix = &matrices[item * rank * (rank + 1)..][..rank * (rank + 1)];
            // The innermost axis comes first.
            let mut point = [T::Wide::ZERO; 3];
            for (place, len) in point.iter_mut().zip(lens.iter().rev()) {
                *place = T::Wide::of(self.place(rest % len, *len));
                rest /= len;
            }
            for (out, row) in out.iter_mut().zip(matrix.chunks_exact(rank + 1)) {
                let turned = row.iter().zip(&point[..rank]);
                let turned = turned.map(|(factor, place)| factor.wide() * *place);
                *out = T::narrow(turned.sum::<T::Wide>() + row[rank].wide());
            }
        }
    }
}

impl Operator for AffineGrid {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let theta = inputs.need(0)?;
        let size = few_ints(inputs, 1)?.unwrap_or_default();
        let wrong = || RunError::input(format_args!("{} for {:?}", theta.shape(), &*size), "fit");
        let mut all = Few::<usize>::new();
        for dim in size.iter() {
            all.push(usize::try_from(*dim).map_err(|_| wrong())?)?;
        }
        let [batch, _, lens @ ..] = &all[..] else { return Err(wrong()) };
        let rank = lens.len();
        let single = self.align_corners && lens.contains(&1);
        if !(2..=3).contains(&rank) || **theta.shape() != [*batch, rank, rank + 1] || single {
            return Err(wrong());
        }
        let mut dims = Few::of(&[*batch])?;
        lens.iter().try_for_each(|dim| dims.push(*dim))?;
        dims.push(rank)?;
        with_values!([F32, F64, F16, Bf16] theta.data(), matrices => {
            let out = context.shape_as(&mut outputs[0], &dims)?;
            self.fill(matrices, lens, out);
            Ok(())
        }, else Err(RunError::input(theta.dtype(), "floating-point numbers")))
    }
}

fn affine_grid(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["align_corners"])?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    view.dtype_among(1, &[DType::I64])?;
    let align_corners = view.int_or("align_corners", 0)? != 0;
    Ok(Built::one(AffineGrid { align_corners }, dtype))
}
