//! Owns attention and its way back, text by text and head by head.
//!
//! Refuses to know where queries, keys and values come from. Bound: the shares of all texts and
//! heads, `length²` each, and one more such square.

use truststram_model::kernels::{Alone, Gemm, Isa, gemm_f32, softmax_gradient_rows, softmax_rows};

use super::dropping::ShareDropping;
use crate::net::grow;

/// The texts and the sizes of heads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heads<'a> {
    pub(super) isa: Isa,
    /// Where the texts begin, and where the last one ends, in tokens.
    pub(super) offsets: &'a [u32],
    pub(super) heads: usize,
    /// Numbers of one head.
    pub(super) size: usize,
    /// Which shares are left out, if any are. Kept are all of them: the way back asks again.
    pub(super) dropping: Option<ShareDropping>,
}

/// Numbers of one head of one text: where they begin in rows of queries, keys and values, and in
/// those of results.
#[derive(Clone, Copy)]
struct One {
    text: usize,
    head: usize,
    length: usize,
    query: usize,
    key: usize,
    value: usize,
    out: usize,
    shares: usize,
}

impl Heads<'_> {
    /// Shares of all texts and heads.
    pub(super) fn share_count(&self) -> usize {
        let squares = self.offsets.windows(2).map(|pair| ((pair[1] - pair[0]) as usize).pow(2));
        squares.sum::<usize>() * self.heads
    }

    fn width(&self) -> usize {
        self.heads * self.size
    }

    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    fn each(&self, mut run: impl FnMut(One)) {
        let width = self.width();
        let mut shares = 0;
        for (text, pair) in self.offsets.windows(2).enumerate() {
            let (start, length) = (pair[0] as usize, (pair[1] - pair[0]) as usize);
            for head in 0..self.heads {
                let query = start * 3 * width + head * self.size;
                let out = start * width + head * self.size;
                let (key, value) = (query + width, query + 2 * width);
                run(One { text, head, length, query, key, value, out, shares });
                shares += length * length;
            }
        }
    }

    /// The shares that count, which are all or those in `square`, where some are left out.
    fn counting<'b>(&self, one: One, shares: &'b [f32], square: &'b mut Vec<f32>) -> &'b [f32] {
        let Some(dropping) = self.dropping else { return shares };
        grow(square, shares.len());
        let square = &mut square[..shares.len()];
        square.copy_from_slice(shares);
        dropping.drop_out(one.text, one.head, square);
        square
    }

    /// From rows of queries, keys and values the shares, and the sums of values by those that
    /// count. `square` grows to the shares of the longest text where some are left out.
    pub(super) fn forward(
        &self,
        qkv: &[f32],
        shares: &mut [f32],
        out: &mut [f32],
        square: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) {
        let (width, size) = (self.width(), self.size);
        self.each(|one| {
            let length = one.length;
            let shares = &mut shares[one.shares..][..length * length];
            let scores = Gemm {
                rows: length,
                columns: length,
                depth: size,
                a: &qkv[one.query..],
                a_stride: 3 * width,
                a_transposed: false,
                b: &qkv[one.key..],
                b_stride: 3 * width,
                b_transposed: true,
                scale: self.scale(),
                out: shares,
                out_stride: length,
            };
            gemm_f32(self.isa, &Alone, scores, scratch);
            softmax_rows(self.isa, shares, length);
            let sums = Gemm {
                rows: length,
                columns: size,
                depth: length,
                a: self.counting(one, shares, square),
                a_stride: length,
                a_transposed: false,
                b: &qkv[one.value..],
                b_stride: 3 * width,
                b_transposed: false,
                scale: 1.0,
                out: &mut out[one.out..],
                out_stride: width,
            };
            gemm_f32(self.isa, &Alone, sums, scratch);
        });
    }

    /// From gradients of the sums those of queries, keys and values. `square` grows to the shares
    /// of the longest text.
    pub(super) fn backward(
        &self,
        (qkv, shares): (&[f32], &[f32]),
        gradients: &[f32],
        of_qkv: &mut [f32],
        square: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
    ) {
        let (width, size) = (self.width(), self.size);
        self.each(|one| {
            let length = one.length;
            let shares = &shares[one.shares..][..length * length];
            let mut sums = |(a, a_transposed): (&[f32], _),
                            (b, b_stride): (&[f32], _),
                            place: usize,
                            scratch: &mut Vec<f32>| {
                let product = Gemm {
                    rows: length,
                    columns: size,
                    depth: length,
                    a,
                    a_stride: length,
                    a_transposed,
                    b,
                    b_stride,
                    b_transposed: false,
                    scale: 1.0,
                    out: &mut of_qkv[place..],
                    out_stride: 3 * width,
                };
                gemm_f32(self.isa, &Alone, product, scratch);
            };
            let counting = self.counting(one, shares, square);
            sums((counting, true), (&gradients[one.out..], width), one.value, scratch);
            grow(square, length * length);
            let square = &mut square[..length * length];
            // The same sizes and strides but for what each product changes.
            let of_shares = Gemm {
                rows: length,
                columns: length,
                depth: size,
                a: &gradients[one.out..],
                a_stride: width,
                a_transposed: false,
                b: &qkv[one.value..],
                b_stride: 3 * width,
                b_transposed: true,
                scale: 1.0,
                out: square,
                out_stride: length,
            };
            gemm_f32(self.isa, &Alone, of_shares, scratch);
            if let Some(dropping) = self.dropping {
                dropping.drop_out(one.text, one.head, square);
            }
            softmax_gradient_rows(self.isa, shares, square, length, self.scale());
            sums((square, false), (&qkv[one.key..], 3 * width), one.query, scratch);
            sums((square, true), (&qkv[one.query..], 3 * width), one.key, scratch);
        });
    }
}
