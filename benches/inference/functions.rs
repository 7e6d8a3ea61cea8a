//! Owns the calls of single kernels: the scaling of features and the similarities of rows.
//!
//! Refuses to know models. Bound: one matrix of rows; results go to the caller's buffer.

use serde_json::Value;
use truststram_model::kernels::{Alone, Isa, Team, cosine_similarity, scale_shift, standardize};

use crate::helper::Helper;
use crate::measure::{Call, Outcome, number, text};

/// The numbers that NumPy makes, too.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|at| (at * 7_919 % 2_003) as f32 / 1_001.0 - 1.0).collect()
}

/// The call of the function that a question names.
pub fn open(question: &Value, cores: &[u32]) -> Outcome<Call> {
    let (rows, columns) = (number(question, "batch")?, number(question, "columns")?);
    let values = numbers(rows * columns);
    let isa = Isa::detect();
    let helper = match number(question, "threads")? {
        1 => None,
        _ => Some(Helper::start(cores.get(1).copied().ok_or("a second core is wanted")?)?),
    };
    let (mut scaled, mut packed) = (Vec::new(), Vec::new());
    match text(question, "function")? {
        "scale" => {
            let (mean, scale) = (vec![0.25; columns], vec![0.5; columns]);
            Ok(Box::new(move |_, out| {
                out.resize(values.len(), 0.0);
                scale_shift(isa, &values, &mean, &scale, out);
                Ok(())
            }))
        }
        "standardise" => Ok(Box::new(move |_, out| {
            let found = standardize(&values, columns);
            let mean: Vec<f32> = found.means.iter().map(|mean| *mean as f32).collect();
            let scale = found.deviations.iter().map(|deviation| (1.0 / deviation) as f32);
            out.resize(values.len(), 0.0);
            scale_shift(isa, &values, &mean, &scale.collect::<Vec<_>>(), out);
            Ok(())
        })),
        "cosine" => Ok(Box::new(move |_, out| {
            out.resize(rows * rows, 0.0);
            let mut run = |team: &dyn Team| {
                let pair = (values.as_slice(), values.as_slice());
                let scratch = [&mut scaled, &mut packed];
                cosine_similarity(isa, team, pair, columns, scratch, out);
            };
            match &helper {
                Some(helper) => helper.team(&mut run),
                None => run(&Alone),
            }
            Ok(())
        })),
        other => Err(format!("`{other}` is no function").into()),
    }
}
