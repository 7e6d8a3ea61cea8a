//! Operators that work value by value, at the ends of their types.

use half::{bf16, f16};

use crate::graph::Attribute;
use crate::ops::support::Case;
use crate::tensor::{DType, Element, Tensor};

fn row<T: Element>(values: &[T]) -> Tensor {
    Tensor::of(&[values.len()], values.to_vec()).unwrap()
}

/// Asserts that a case gives these numbers, NaN where NaN is.
fn numbers(case: Case, wanted: &[f32]) {
    let found = case.run().unwrap();
    let found = found[0].values::<f32>().unwrap();
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        let same = found == wanted || (found.is_nan() && wanted.is_nan());
        assert!(same, "{found}, expected {wanted}");
    }
}

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

#[test]
fn what_is_no_number_stays() {
    let one = |operator: &str| Case::new(operator, 22).input(row(&[NAN, INF]));
    for operator in ["Elu", "Selu", "Softplus", "Mish", "Relu", "LeakyRelu", "HardSwish", "Gelu"] {
        numbers(one(operator), &[NAN, INF]);
    }
    numbers(Case::new("Celu", 12).input(row(&[NAN, INF, -INF])), &[NAN, INF, -1.0]);
    numbers(one("HardSigmoid"), &[NAN, 1.0]);
    numbers(one("Sign"), &[NAN, 1.0]);
    for operator in ["Max", "Min"] {
        let both = Case::new(operator, 13).input(row(&[NAN, 1.0])).input(row(&[1.0, NAN]));
        numbers(both, &[NAN, NAN]);
    }
    let clip = |low: f32, high: f32| {
        let case = Case::new("Clip", 13).input(row(&[NAN, -INF, 0.5]));
        case.input(Tensor::scalar(low)).input(Tensor::scalar(high))
    };
    numbers(clip(0.0, 1.0), &[NAN, 0.0, 0.5]);
    numbers(clip(NAN, 1.0), &[NAN, NAN, NAN]);
    numbers(clip(0.0, NAN), &[NAN, NAN, NAN]);
}

#[test]
fn whole_powers_wrap_around() {
    let power = |base: i64, exponent: Tensor| {
        Case::new("Pow", 15).input(Tensor::scalar(base)).input(exponent)
    };
    let of = |base: i64, exponent: i64| power(base, Tensor::scalar(exponent));
    let gives = |case: Case, wanted: i64| case.gives(&Tensor::scalar(wanted));
    gives(of(3, 4), 81);
    gives(of(0, 0), 1);
    gives(of(3, (1 << 32) + 1), 3i64.wrapping_pow(u32::MAX).wrapping_mul(9));
    gives(of(-1, i64::MAX), -1);
    gives(of(-1, i64::MIN), 1);
    gives(of(2, i64::MAX), 0);
    gives(of(2, 63), i64::MIN);
    gives(of(2, -1), 0);
    gives(of(1, -5), 1);
    gives(of(-1, -5), -1);
    gives(of(0, -1), 0);
    gives(power(-1, Tensor::scalar(u64::MAX)), -1);
    gives(power(-1, Tensor::scalar(f64::MAX)), 1);
    gives(power(9, Tensor::scalar(0.5f32)), 3);
    let narrow = Case::new("Pow", 15).input(Tensor::scalar(3i32)).input(Tensor::scalar(1i64 << 33));
    narrow.gives(&Tensor::scalar(1i32));
}

fn cast(from: Tensor, to: i64) -> Case {
    Case::new("Cast", 13).input(from).with("to", Attribute::Int(to))
}

#[test]
fn casts_round_once() {
    // Just above the middle of two numbers of 24 bits, by less than 53 bits show.
    let above = (1i64 << 60) + (1 << 36) + 1;
    let wanted = (1u64 << 60) as f32 * (1.0 + f32::EPSILON);
    cast(row(&[above, -above]), 1).gives(&row(&[wanted, -wanted]));
    cast(row(&[above as u64, u64::MAX]), 1).gives(&row(&[wanted, 2f32.powi(64)]));
    // Just above the middle of two numbers of 11 and 8 bits, by less than 24 and 53 bits show.
    let f64s = |bits: i32| [1.0 + 2f64.powi(-bits) + 2f64.powi(-40), 2f64.powi(-200), f64::MAX];
    let half = f16::from_f32(1.0 + 2f32.powi(-10));
    cast(row(&f64s(11)), 10).gives(&row(&[half, f16::ZERO, f16::INFINITY]));
    let brain = bf16::from_f32(1.0 + 2f32.powi(-7));
    cast(row(&f64s(8)), 16).gives(&row(&[brain, bf16::ZERO, bf16::INFINITY]));
    let above = |bits: u32| (1i64 << 60) + (1 << (60 - bits)) + 1;
    let brain = bf16::from_f32(2f32.powi(60) * (1.0 + 2f32.powi(-7)));
    cast(row(&[above(8), -above(8)]), 16).gives(&row(&[brain, -brain]));
    cast(row(&[65_519i64, 65_520, 2049, 2051]), 10).gives(&row(&[
        65_504.0,
        f32::INFINITY,
        2048.0,
        2052.0,
    ]
    .map(f16::from_f32)));
    let text = row(&["1.000000059604644775390626".to_owned()]);
    cast(text, 1).gives(&row(&[1.0 + f32::EPSILON]));
}

#[test]
fn slopes_are_broadcast_to_the_values() {
    let prelu = |x: &[usize], slope: &[usize]| {
        let tensor = |dims: &[usize], value: f32| {
            Tensor::of(dims, vec![value; dims.iter().product()]).unwrap()
        };
        Case::new("PRelu", 16).input(tensor(x, -2.0)).input(tensor(slope, 0.5))
    };
    prelu(&[2, 3], &[3]).gives(&Tensor::of(&[2, 3], vec![-1f32; 6]).unwrap());
    prelu(&[2, 3], &[2, 1]).gives(&Tensor::of(&[2, 3], vec![-1f32; 6]).unwrap());
    prelu(&[3], &[2, 3]).fails();
    prelu(&[1, 3], &[2, 3]).fails();
    prelu(&[3], &[1, 3]).fails();
    let channels = Case::new("PRelu", 6).input(row(&[-1f32])).input(row(&[1f32]));
    channels.refused();
}

#[test]
fn far_below_0_gelu_is_0() {
    for kind in ["none", "tanh"] {
        let far = [-6.0, -60_000.0, -1e20, f32::MIN];
        let case = Case::new("Gelu", 20).input(row(&far)).text("approximate", kind);
        numbers(case, &[0.0; 4]);
        let halves = [f16::MIN, f16::from_f32(-60_000.0)];
        let case = Case::new("Gelu", 20).input(row(&halves)).text("approximate", kind);
        let found = case.run().unwrap();
        assert_eq!(found[0].dtype(), DType::F16);
        assert!(found[0].values::<f16>().unwrap().iter().all(|value| value.to_f32() == 0.0));
    }
}
