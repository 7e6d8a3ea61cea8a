//! Owns how far a setting may go at once: to the nearest allowed value on the way to a target.
//!
//! Refuses to know why it is to go there. A setting is left alone whose present value is not of its
//! domain, or whose limits are not numbers. Bound: constant time, for words linear in the domain.

use super::{Domain, Parameter, Value};

/// A step of a setting.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// The new value: in the domain, and not the present one.
    pub to: Value,
    /// Whether this is as near to the target as the domain allows at all.
    pub is_final: bool,
}

/// The step that brings a setting nearest to `target`.
pub(super) fn toward(parameter: &Parameter, target: &Value) -> Option<Step> {
    match (&parameter.domain, &parameter.current, target) {
        (Domain::Integers((low, high)), Value::Integer(current), Value::Integer(target)) => {
            if !(low..=high).contains(&current) {
                return None;
            }
            let target = *target.clamp(low, high);
            let distance = target.abs_diff(*current);
            // The conversion rounds down and saturates.
            let taken = distance.min(reach(parameter.step_max)? as u64);
            let to = if target > *current {
                current.saturating_add_unsigned(taken)
            } else {
                current.saturating_sub_unsigned(taken)
            };
            let step = Step { to: Value::Integer(to), is_final: taken == distance };
            (taken > 0).then_some(step)
        }
        (Domain::Decimals((low, high)), Value::Decimal(current), Value::Decimal(target)) => {
            if !(low..=high).contains(&current) || !current.is_finite() || !target.is_finite() {
                return None;
            }
            let target = target.clamp(*low, *high);
            let to = decimal(*current, target, reach(parameter.step_max)?)?;
            Some(Step { to: Value::Decimal(to), is_final: to == target })
        }
        (Domain::Words(words), Value::Text(current), Value::Text(target)) => {
            let is_known = words.contains(target) && words.contains(current);
            let step = Step { to: Value::Text(target.clone()), is_final: true };
            (is_known && current != target).then_some(step)
        }
        // The kernel's switches are numbers, and some hosts show them as flags.
        (Domain::Flag, Value::Flag(current), Value::Integer(target @ (0 | 1))) => {
            let to = *target == 1;
            (to != *current).then_some(Step { to: Value::Flag(to), is_final: true })
        }
        _ => None,
    }
}

/// The step of a number by this share of its domain; at least 1 for a whole number.
pub(super) fn by_share(parameter: &Parameter, share: f64, is_downward: bool) -> Option<Step> {
    let target = match (&parameter.domain, &parameter.current) {
        (Domain::Integers((low, high)), Value::Integer(current)) => {
            // The conversion rounds down and saturates.
            let distance = (high.abs_diff(*low) as f64 * share).max(1.0) as u64;
            Value::Integer(if is_downward {
                current.saturating_sub_unsigned(distance)
            } else {
                current.saturating_add_unsigned(distance)
            })
        }
        (Domain::Decimals((low, high)), Value::Decimal(current)) => {
            let distance = (high - low) * share;
            Value::Decimal(if is_downward { current - distance } else { current + distance })
        }
        _ => return None,
    };
    toward(parameter, &target)
}

/// The largest change that is allowed, if that is a number at all.
fn reach(step_max: f64) -> Option<f64> {
    match step_max {
        0.0 => Some(f64::INFINITY),
        _ => (step_max > 0.0).then_some(step_max),
    }
}

/// The nearest number to `target` that is no farther than `reach` from `current`.
fn decimal(current: f64, target: f64, reach: f64) -> Option<f64> {
    if target == current {
        return None;
    }
    let is_reached = |to: &f64| *to != current && (to - current).abs() <= reach;
    let sign = if target > current { 1.0 } else { -1.0 };
    // A sum is rounded, so that the whole reach may end a bit too far; then half of it does.
    let tries = [target, current + sign * reach, current + sign * reach * 0.5];
    tries.into_iter().find(is_reached)
}
