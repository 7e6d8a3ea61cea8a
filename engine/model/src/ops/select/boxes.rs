//! Owns the choice of boxes by score, without those that overlap a better one too much.
//!
//! Refuses boxes that are not four numbers. Bound: the square of the boxes of one class.

use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{ascending, number_at, one_int};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("", "NonMaxSuppression", non_max_suppression)];

#[derive(Debug)]
struct NonMaxSuppression {
    /// Whether boxes are a middle, a width and a height, and not two corners.
    center: bool,
}

/// The lower and the upper end in one direction and in the other.
type Box4 = [f32; 4];

impl NonMaxSuppression {
    fn corners(&self, values: &[f32]) -> Box4 {
        let [a, b, c, d] = *values else { return [0.0; 4] };
        match self.center {
            true => [a - c / 2.0, a + c / 2.0, b - d / 2.0, b + d / 2.0],
            false => [b.min(d), b.max(d), a.min(c), a.max(c)],
        }
    }
}

/// Whether two boxes share more than a part of what they cover together.
fn overlap(one: Box4, other: Box4, part: f32) -> bool {
    let shared = |low: usize, high: usize| one[high].min(other[high]) - one[low].max(other[low]);
    let (wide, high) = (shared(0, 1), shared(2, 3));
    if wide.is_nan() || high.is_nan() || wide <= 0.0 || high <= 0.0 {
        return false;
    }
    let area = |of: Box4| (of[1] - of[0]) * (of[3] - of[2]);
    let (shared, first, second) = (wide * high, area(one), area(other));
    let union = first + second - shared;
    shared > 0.0 && first > 0.0 && second > 0.0 && union > 0.0 && shared / union > part
}

fn scalar(inputs: &Inputs<'_>, index: usize) -> Result<Option<f32>, RunError> {
    let Some(tensor) = inputs.get(index) else { return Ok(None) };
    let value = number_at(tensor.data(), 0).filter(|_| tensor.count() == 1);
    let wrong = || RunError::input(format_args!("input {index}: {tensor:?}"), "one number");
    value.map(|value| Some(value as f32)).ok_or_else(wrong)
}

impl Operator for NonMaxSuppression {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let ((box_shape, boxes), (score_shape, scores)) =
            (inputs.values::<f32>(0)?, inputs.values::<f32>(1)?);
        let wrong =
            || RunError::input(format_args!("boxes {box_shape}"), format!("for {score_shape}"));
        let ([batch, count, 4], [score_batch, classes, score_count]) =
            (&box_shape[..], &score_shape[..])
        else {
            return Err(wrong());
        };
        if batch != score_batch || count != score_count {
            return Err(wrong());
        }
        let most = usize::try_from(one_int(inputs, 2)?.unwrap_or(0)).unwrap_or(0);
        let part = scalar(inputs, 3)?.unwrap_or(0.0);
        let floor = scalar(inputs, 4)?;
        let mut found: Vec<[usize; 3]> = Vec::new();
        for class in 0..if *count == 0 { 0 } else { batch * classes } {
            let scores = &scores[class * count..(class + 1) * count];
            let boxes = &boxes[class / classes * count * 4..][..count * 4];
            let candidate = |index: &usize| floor.is_none_or(|floor| scores[*index] > floor);
            let mut order: Vec<usize> = (0..*count).filter(candidate).collect();
            order.sort_by(|left, right| {
                ascending(&scores[*right], &scores[*left]).then(left.cmp(right))
            });
            let mut kept: Vec<Box4> = Vec::new();
            for index in order {
                if kept.len() >= most {
                    break;
                }
                let corners = self.corners(&boxes[index * 4..index * 4 + 4]);
                if kept.iter().all(|better| !overlap(corners, *better, part)) {
                    kept.push(corners);
                    found.push([class / classes, class % classes, index]);
                }
            }
        }
        let out = context.shape_as::<i64>(&mut outputs[0], &[found.len(), 3])?;
        let places = found.iter().flatten();
        out.iter_mut().zip(places).for_each(|(out, place)| *out = *place as i64);
        Ok(())
    }
}

fn non_max_suppression(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["center_point_box"])?;
    for (index, dtype) in [DType::F32, DType::F32, DType::I64, DType::F32, DType::F32]
        .into_iter()
        .enumerate()
        .filter(|(index, _)| *index < 2 || view.has_input(*index))
    {
        view.dtype_among(index, &[dtype])?;
    }
    let center = match view.int_or("center_point_box", 0)? {
        0 => false,
        1 => true,
        other => return Err(view.refuse(format_args!("`center_point_box` {other}"))),
    };
    Ok(Built::one(NonMaxSuppression { center }, DType::I64))
}
