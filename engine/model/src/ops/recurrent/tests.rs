//! Cells of one number, whose steps can be followed by hand.

use crate::graph::Attribute;
use crate::ops::support::Case;
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

/// With Relu, a state that only adds.
fn adding(direction: &str, directions: usize, lens: Option<[i32; 2]>) -> Case {
    let ones = |dims: &[usize]| tensor(dims, &vec![1.0; dims.iter().product()]);
    let relu = vec!["Relu".to_owned(); directions];
    let case = Case::new("RNN", 14)
        .input(tensor(&[3, 2, 1], &[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]))
        .input(ones(&[directions, 1, 1]))
        .input(ones(&[directions, 1, 1]))
        .text("direction", direction)
        .with("activations", Attribute::Strings(relu))
        .outputs(2);
    match lens {
        None => case,
        Some(lens) => case.absent().input(Tensor::of(&[2], lens.to_vec()).unwrap()),
    }
}

#[test]
fn sequences_are_read_both_ways() {
    let check = |case: Case, steps: &[f32], last: &[f32]| {
        let outputs = case.run().unwrap();
        assert_eq!(outputs[0].values::<f32>().unwrap(), steps);
        assert_eq!(outputs[1].values::<f32>().unwrap(), last);
    };
    check(adding("forward", 1, None), &[1.0, 10.0, 3.0, 30.0, 6.0, 60.0], &[6.0, 60.0]);
    check(adding("reverse", 1, None), &[6.0, 60.0, 5.0, 50.0, 3.0, 30.0], &[6.0, 60.0]);
    check(adding("reverse", 1, Some([3, 1])), &[6.0, 10.0, 5.0, 0.0, 3.0, 0.0], &[6.0, 10.0]);
    let both = [1.0, 10.0, 6.0, 60.0, 3.0, 30.0, 5.0, 50.0, 6.0, 60.0, 3.0, 30.0];
    check(adding("bidirectional", 2, None), &both, &[6.0, 60.0, 6.0, 60.0]);
    adding("forward", 1, Some([4, 1])).fails();
    adding("forward", 2, None).refused();
    adding("sideways", 1, None).refused();
}

#[test]
fn cells_have_gates() {
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let near = |found: f32, wanted: f32| assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
    let lstm = Case::new("LSTM", 14)
        .input(tensor(&[1, 1, 1], &[2.0]))
        .input(tensor(&[1, 4, 1], &[0.1, 0.2, 0.3, 0.4]))
        .input(tensor(&[1, 4, 1], &[0.0; 4]))
        .absent()
        .absent()
        .absent()
        .input(tensor(&[1, 1, 1], &[0.5]))
        .input(tensor(&[1, 3], &[1.0, 2.0, 3.0]))
        .outputs(3);
    let outputs = lstm.run().unwrap();
    let cell = sigmoid(0.6 + 1.5) * 0.5 + sigmoid(0.2 + 0.5) * 0.8f32.tanh();
    near(outputs[2].values::<f32>().unwrap()[0], cell);
    near(outputs[1].values::<f32>().unwrap()[0], sigmoid(0.4 + 2.0 * cell) * cell.tanh());
    for linear in [0, 1] {
        let gru = Case::new("GRU", 14)
            .input(tensor(&[1, 1, 1], &[1.0]))
            .input(tensor(&[1, 3, 1], &[0.1, 0.2, 0.3]))
            .input(tensor(&[1, 3, 1], &[0.4, 0.5, 0.6]))
            .input(tensor(&[1, 6], &[0.0, 0.0, 0.0, 0.0, 0.0, 0.7]))
            .absent()
            .input(tensor(&[1, 1, 1], &[0.5]))
            .int("linear_before_reset", linear);
        let (update, reset) = (sigmoid(0.3), sigmoid(0.45));
        let new = match linear {
            0 => 0.3 + 0.6 * (reset * 0.5) + 0.7,
            _ => 0.3 + reset * (0.6 * 0.5 + 0.7),
        };
        let wanted = (1.0 - update) * new.tanh() + update * 0.5;
        near(gru.run().unwrap()[0].values::<f32>().unwrap()[0], wanted);
    }
}
