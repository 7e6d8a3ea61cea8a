//! What the operators of `ai.onnx.ml` hold between runs.

use crate::graph::Attribute;
use crate::ops::support::Case;
use crate::tensor::Tensor;

fn floats(values: &[f32]) -> Attribute {
    Attribute::Floats(values.to_vec())
}

fn ints(values: &[i64]) -> Attribute {
    Attribute::Ints(values.to_vec())
}

fn texts(values: &[&str]) -> Attribute {
    Attribute::Strings(values.iter().map(|value| (*value).to_owned()).collect())
}

/// The settings of a forest of one tree: 1 where the first feature is at most 0, or else 2.
fn stump() -> [(&'static str, Attribute); 12] {
    [
        ("n_targets", Attribute::Int(1)),
        ("nodes_treeids", ints(&[0; 3])),
        ("nodes_nodeids", ints(&[0, 1, 2])),
        ("nodes_featureids", ints(&[0; 3])),
        ("nodes_values", floats(&[0.0; 3])),
        ("nodes_modes", texts(&["BRANCH_LEQ", "LEAF", "LEAF"])),
        ("nodes_truenodeids", ints(&[1, 0, 0])),
        ("nodes_falsenodeids", ints(&[2, 0, 0])),
        ("target_treeids", ints(&[0; 2])),
        ("target_nodeids", ints(&[1, 2])),
        ("target_ids", ints(&[0; 2])),
        ("target_weights", floats(&[1.0, 2.0])),
    ]
}

#[test]
fn trees_may_be_walked_by_a_team() {
    let rows: Vec<f32> = (0..300).map(|row| ((row * 7) % 5) as f32 - 2.0).collect();
    let wanted = rows.iter().map(|x| if *x <= 0.0 { 1.0_f32 } else { 2.0 }).collect();
    let case = Case::new("TreeEnsembleRegressor", 18).domain("ai.onnx.ml");
    let case = case.input(Tensor::of(&[300, 1], rows).unwrap());
    let case = stump().into_iter().fold(case, |case, (name, value)| case.with(name, value));
    case.gives(&Tensor::of(&[300, 1], wanted).unwrap());
}

#[test]
fn what_is_learnt_counts_as_memory() {
    let case = |operator: &str, settings: &[(&str, Attribute)], bytes: u64| {
        let x = Tensor::of(&[1, 2], vec![0f32; 2]).unwrap();
        let case = Case::new(operator, 18).domain("ai.onnx.ml").input(x);
        let case = settings.iter().fold(case, |case, (name, value)| case.with(name, value.clone()));
        let memory = case.memory();
        assert!(memory >= bytes, "{operator}: {memory}, expected {bytes} or more");
    };
    case("Scaler", &[("offset", floats(&[1.0; 2])), ("scale", floats(&[1.0; 2]))], 16);
    let imputed = [("imputed_value_floats", floats(&[1.0; 2]))];
    case("Imputer", &[imputed[0].clone(), ("replaced_value_float", Attribute::Float(0.0))], 8);
    let sums = [("coefficients", floats(&[1.0; 2])), ("intercepts", floats(&[0.0]))];
    case("LinearRegressor", &sums, 12);
    let vectors = [
        ("coefficients", floats(&[1.0; 3])),
        ("support_vectors", floats(&[1.0; 6])),
        ("n_supports", Attribute::Int(3)),
        ("rho", floats(&[0.0])),
    ];
    case("SVMRegressor", &vectors, 36);
    // Three nodes of 8 bytes with the number of a leaf each, two weights.
    case("TreeEnsembleRegressor", &stump(), 44);
}
