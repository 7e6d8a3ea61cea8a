//! Owns what the backward pass of a layer does to its gradients between two products.
//!
//! Refuses to know layers. Bound: one pass over the gradients; sums run over the rows in their
//! order.

use super::Isa;
use super::lanes::{COUNT, Kernel, Lanes, dispatch};

struct Rows<'a> {
    gradients: &'a mut [f32],
    outputs: Option<&'a [f32]>,
    sums: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let columns = self.sums.len();
        self.sums.fill(0.0);
        let sums = self.sums.as_mut_ptr();
        let mut outputs = self.outputs.map(|outputs| outputs.chunks_exact(columns));
        for row in self.gradients.chunks_exact_mut(columns) {
            let output = match outputs.as_mut().map(Iterator::next) {
                None => std::ptr::null(),
                Some(Some(output)) => output.as_ptr(),
                Some(None) => return,
            };
            let row = row.as_mut_ptr();
            let mut index = 0;
            while index < columns {
                let count = COUNT.min(columns - index);
                // SAFETY: all three have `columns` values, or `output` is null.
                unsafe {
                    let mut value = L::load_part(row.add(index), count, 0.0);
                    if !output.is_null() {
                        let zero = L::splat(0.0);
                        let output = L::load_part(output.add(index), count, 0.0);
                        value = zero.if_less(output, value, zero);
                        value.store_part(row.add(index), count);
                    }
                    let sum = L::load_part(sums.add(index), count, 0.0);
                    sum.add(value).store_part(sums.add(index), count);
                }
                index += COUNT;
            }
        }
    }
}

/// Of the gradients of a layer's results, row by row of `sums.len()` values, those of its sums:
/// zero where the result of a ReLU, `outputs`, is not above zero. Puts the sum of each column,
/// which is the gradient of the bias, into `sums`.
pub fn gradient_rows(isa: Isa, gradients: &mut [f32], outputs: Option<&[f32]>, sums: &mut [f32]) {
    if !sums.is_empty() {
        dispatch(isa, Rows { gradients, outputs, sums });
    }
}
