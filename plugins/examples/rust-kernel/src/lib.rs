//! A kernel: the median of each coordinate, which a minority of broken updates cannot move far.
//!
//! Nine updates, a usual round, go through a network of 19 comparisons on four coordinates at a
//! time; other numbers are sorted coordinate by coordinate. Rows whose weight is 0 are left out.

use core::arch::wasm32::{f32x4, f32x4_extract_lane, f32x4_pmax as max, f32x4_pmin as min, v128};

use exports::truststram::policy::kernel::{Guest, KernelError, Tile};

wit_bindgen::generate!({ path: "../../../wit/since_v0.1.0", world: "kernel-plugin" });

struct Median;

/// Compares each pair in turn, the smaller first. Written out, so that values stay in registers.
macro_rules! compare {
    ($v:ident: $(($low:literal, $high:literal))*) => {
        $(($v[$low], $v[$high]) = (min($v[$low], $v[$high]), max($v[$low], $v[$high]));)*
    };
}

impl Guest for Median {
    fn reduce_chunk(
        _tile: Tile,
        weights: Vec<f32>,
        mut rows: Vec<Vec<f32>>,
    ) -> Result<Vec<f32>, KernelError> {
        let mut weights = weights.into_iter();
        rows.retain(|_| weights.next().is_some_and(|weight| weight != 0.0));
        match <[Vec<f32>; 9]>::try_from(rows) {
            Ok(nine) => Ok(of_nine(nine)),
            Err(rows) if rows.is_empty() => {
                Err(KernelError::Unsupported("there is no update with a weight".to_owned()))
            }
            Err(rows) => Ok(of_any(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())),
        }
    }
}

/// The medians take the place of the first row, which is one list less to allocate and to clear.
fn of_nine([mut first, others @ ..]: [Vec<f32>; 9]) -> Vec<f32> {
    let done = first.len() / 4 * 4;
    let [a, b, c, d, e, f, g, h] = others.each_ref().map(|row| &row[done..]);
    let rest = of_any(&[&first[done..], a, b, c, d, e, f, g, h]);
    first[done..].copy_from_slice(&rest);
    let (blocks, _) = first.as_chunks_mut::<4>();
    // Of one known length each, so that no index below is checked.
    let others = others.each_ref().map(|row| &row.as_chunks::<4>().0[..blocks.len()]);
    for (at, block) in blocks.iter_mut().enumerate() {
        let [a, b, c, d, e, f, g, h] = others.map(|row| vector(row[at]));
        let mut v = [vector(*block), a, b, c, d, e, f, g, h];
        // Afterwards the fifth of nine is the median (Paeth, 1990).
        compare!(v:
            (1, 2) (4, 5) (7, 8) (0, 1) (3, 4) (6, 7) (1, 2) (4, 5) (7, 8) (0, 3)
            (5, 8) (4, 7) (3, 6) (1, 4) (2, 5) (4, 7) (4, 2) (6, 4) (4, 2));
        *block = lanes(v[4]);
    }
    first
}

fn vector([a, b, c, d]: [f32; 4]) -> v128 {
    f32x4(a, b, c, d)
}

fn lanes(values: v128) -> [f32; 4] {
    [
        f32x4_extract_lane::<0>(values),
        f32x4_extract_lane::<1>(values),
        f32x4_extract_lane::<2>(values),
        f32x4_extract_lane::<3>(values),
    ]
}

fn of_any(rows: &[&[f32]]) -> Vec<f32> {
    let mut column = vec![0.0; rows.len()];
    (0..rows[0].len())
        .map(|at| {
            column.iter_mut().zip(rows).for_each(|(value, row)| *value = row[at]);
            column.sort_unstable_by(f32::total_cmp);
            let middle = column.len() / 2;
            if column.len() % 2 == 1 {
                column[middle]
            } else {
                (column[middle - 1] + column[middle]) / 2.0
            }
        })
        .collect()
}

export!(Median);
