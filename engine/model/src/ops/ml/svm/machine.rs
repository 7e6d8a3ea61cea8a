//! Owns the kernels: how alike a row and a support vector are.
//!
//! Refuses parameters that are missing. Bound: one pass over the vectors for each row.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::ml::linear::dot;

/// A measure of likeness.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    /// `x · v`
    Linear,
    /// `(gamma x · v + offset) ^ degree`
    Power { gamma: f32, offset: f32, degree: f32 },
    /// `e ^ (-gamma |x - v|²)`
    Radial { gamma: f32 },
    /// `tanh(gamma x · v + offset)`
    Sigmoid { gamma: f32, offset: f32 },
}

/// Support vectors and the kernel that compares rows with them.
#[derive(Clone, Debug)]
pub struct Vectors {
    kernel: Kernel,
    values: Vec<f32>,
    width: usize,
}

impl Vectors {
    /// The setting of a node that has `count` of them, more than 0.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for lists that do not fit.
    pub fn of(view: &NodeView<'_>, count: usize) -> Result<Self, ModelError> {
        let values = view.floats("support_vectors")?.unwrap_or_default();
        if values.is_empty() || !values.len().is_multiple_of(count) {
            let found = values.len();
            return Err(view.refuse(format_args!("{found} numbers for {count} support vectors")));
        }
        let parameters = match view.floats("kernel_params")?.unwrap_or_default() {
            [gamma, offset, degree] => Some((*gamma, *offset, *degree)),
            [] => None,
            _ => return Err(view.refuse("`kernel_params` are three numbers")),
        };
        let needed = || parameters.ok_or_else(|| view.refuse("`kernel_params` are missing"));
        let kernel = match view.string("kernel_type")?.unwrap_or("LINEAR") {
            "LINEAR" => Kernel::Linear,
            "POLY" => {
                let (gamma, offset, degree) = needed()?;
                Kernel::Power { gamma, offset, degree }
            }
            "RBF" => Kernel::Radial { gamma: needed()?.0 },
            "SIGMOID" => {
                let (gamma, offset, _) = needed()?;
                Kernel::Sigmoid { gamma, offset }
            }
            other => return Err(view.refuse(format_args!("`kernel_type` {other} is none"))),
        };
        Ok(Self { kernel, values: values.to_vec(), width: values.len() / count })
    }

    /// Bytes that they hold.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
    }

    /// Features of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// How alike a row of as many features is to each vector.
    pub fn compare(&self, row: &[f32], out: &mut Vec<f32>) {
        out.clear();
        let vectors = self.values.chunks_exact(self.width);
        match self.kernel {
            Kernel::Linear => out.extend(vectors.map(|vector| dot(row, vector))),
            Kernel::Power { gamma, offset, degree } => out.extend(vectors.map(|vector| {
                let base = gamma * dot(row, vector) + offset;
                match degree {
                    2.0 => base * base,
                    3.0 => base * base * base,
                    _ => base.powf(degree),
                }
            })),
            Kernel::Radial { gamma } => {
                out.extend(vectors.map(|vector| (-gamma * distance(row, vector)).exp()));
            }
            Kernel::Sigmoid { gamma, offset } => {
                out.extend(vectors.map(|vector| (gamma * dot(row, vector) + offset).tanh()));
            }
        }
    }
}

/// The sum of the squares of differences, in 16 parts that do not wait for each other.
fn distance(left: &[f32], right: &[f32]) -> f32 {
    let (left, left_rest) = left.as_chunks::<16>();
    let (right, right_rest) = right.as_chunks::<16>();
    let mut sums = [0.0f32; 16];
    for (left, right) in left.iter().zip(right) {
        for lane in 0..16 {
            let difference = left[lane] - right[lane];
            sums[lane] += difference * difference;
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(left, right)| (left - right).powi(2));
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}
