//! Models of scikit-learn and single operators of `ai.onnx.ml`, against what ONNX Runtime and
//! scikit-learn answer to the same rows.
//!
//! Owns the cases in `tests/golden/sklearn`. Refuses to make them: `make.py` beside them does.
//! Bound: 1e-5 relative for numbers, equality for everything else.
#![allow(clippy::unwrap_used, reason = "helpers of tests are not seen as tests by clippy")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truststram_model::kernels::{Alone, Isa};
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{Data, Tensor};
use truststram_model::{class_labels, onnx};

/// Cases that need operators of `ai.onnx` besides those of `ai.onnx.ml`.
const WIDER: [&str; 12] = [
    "boosting",
    "boosting_three",
    "columns",
    "forest_names",
    "isolation",
    "logistic_names",
    "network",
    "one_class",
    "svc",
    "svc_poly",
    "svc_two",
    "svr",
];

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/sklearn");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    cases
}

fn tensors(case: &Path, kind: &str) -> Vec<Tensor> {
    let paths = (0..).map(|index| case.join(format!("{kind}_{index}.pb")));
    let there = paths.take_while(|path| path.exists());
    there.map(|path| onnx::tensor(&fs::read(path).unwrap()).unwrap().1).collect()
}

/// Why a case cannot be run, or the difference between what it answers and what is written.
fn check(case: &Path, isa: Isa) -> Result<(), String> {
    let bytes = fs::read(case.join("model.onnx")).unwrap();
    let model = onnx::parse(&bytes).map_err(|error| error.to_string())?;
    let options = BuildOptions { isa, ..BuildOptions::default() };
    let program = Program::build(&model.graph, &options).map_err(|error| error.to_string())?;
    let inputs = tensors(case, "input");
    let mut session = Session::new(Arc::new(program));
    for kind in ["output", "sklearn"] {
        for (index, input) in inputs.iter().enumerate() {
            *session.input_mut(index) = input.clone();
        }
        session.run(&Alone, None).map_err(|error| error.to_string())?;
        for (index, wanted) in tensors(case, kind).iter().enumerate() {
            let found = session.output(index).unwrap();
            same(found, wanted).map_err(|how| format!("{kind} {index}: {how}"))?;
        }
    }
    Ok(())
}

fn same(found: &Tensor, wanted: &Tensor) -> Result<(), String> {
    if found.count() != wanted.count() || found.dtype() != wanted.dtype() {
        return Err(format!("{found:?}, expected {wanted:?}"));
    }
    let (Data::F32(found), Data::F32(wanted)) = (found.data(), wanted.data()) else {
        return if found.data() == wanted.data() {
            Ok(())
        } else {
            Err(format!("{found:?}, expected {wanted:?}"))
        };
    };
    // Where large numbers cancel, what is lost is measured by the largest.
    let size = wanted
        .iter()
        .filter(|value| value.is_finite())
        .fold(1e-3, |most, value| value.abs().max(most));
    for (place, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let is_same = found == wanted || (found.is_nan() && wanted.is_nan());
        let is_near = (found - wanted).abs() <= 1e-5 * wanted.abs() + 1e-6 * size;
        if !is_same && !is_near {
            return Err(format!("value {place} is {found}, expected {wanted}"));
        }
    }
    Ok(())
}

#[test]
fn answers_are_those_of_the_runtime_and_of_scikit_learn() {
    let mut wrong = Vec::new();
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        for isa in [Isa::detect(), Isa::Portable] {
            let result = check(&case, isa);
            let is_refused = |reason: &str| reason.contains("this operator is not known");
            match result {
                Ok(()) => {}
                Err(reason) if WIDER.contains(&&*name) && is_refused(&reason) => {}
                Err(reason) => wrong.push(format!("{name}, {}: {reason}", isa.name())),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn classes_have_their_labels() {
    for (case, wanted) in [
        ("forest_names", "setosa versicolor virginica"),
        ("logistic_names", "setosa versicolor virginica"),
        ("svc", "0 1 2"),
        ("forest", "0 1"),
    ] {
        let path = cases().into_iter().find(|path| path.ends_with(case)).unwrap();
        let model = onnx::parse(&fs::read(path.join("model.onnx")).unwrap()).unwrap();
        assert_eq!(class_labels(&model.graph).unwrap().join(" "), wanted, "{case}");
    }
}
