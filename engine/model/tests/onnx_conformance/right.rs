//! What this engine builds of the cases must be right; what it does not build it must refuse.
//!
//! Owns the tally, which it writes beside the cases as `report.txt`. Refuses to let a run that
//! stops pass as a refusal. Bound: the tolerance of each case.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use truststram_model::ModelError;
use truststram_model::graph::Graph;
use truststram_model::kernels::Alone;
use truststram_model::onnx;
use truststram_model::passes;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{Data, Tensor};

use super::{cases, folder, name, tensors};

/// Cases that pass; fewer are a step back.
const PASSED_MIN: usize = 1_419;

/// Cases whose wanted values hold the rounding errors of a transform in 32 bits where its
/// definition gives 0, with the absolute tolerance that allows for them.
const ROUNDED: [(&str, f64); 2] = [("test_dft_inverse", 1e-6), ("test_dft_inverse_opset19", 1e-6)];

/// What became of a case.
enum Outcome {
    Passed,
    /// Not computed by this engine: the operator and the reason.
    Refused(String, String),
    /// Computed, and not as the case says.
    Wrong(String),
}

#[test]
fn every_case_is_right_or_refused() {
    let mut refused: BTreeMap<String, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    let (mut passed, mut refused_count, mut wrong) = (0, 0, String::new());
    for path in cases() {
        let name = name(&path);
        match catch_unwind(AssertUnwindSafe(|| case(&path))) {
            Ok(Outcome::Passed) => passed += 1,
            Ok(Outcome::Refused(operator, reason)) => {
                refused_count += 1;
                refused.entry(operator).or_default().entry(reason).or_default().push(name);
            }
            Ok(Outcome::Wrong(how)) => writeln!(wrong, "{name}: {how}").unwrap(),
            Err(_) => writeln!(wrong, "{name}: panicked").unwrap(),
        }
    }
    let tally =
        format!("passed {passed}, refused {refused_count}, wrong {}", wrong.lines().count());
    let mut report = format!("{tally}\n\nwrong:\n{wrong}\nrefused:\n");
    for (operator, reasons) in &refused {
        let count: usize = reasons.values().map(Vec::len).sum();
        writeln!(report, "{operator}: {count}").unwrap();
        for (reason, names) in reasons {
            writeln!(report, "    {reason}: {} ({} …)", names.len(), names[0]).unwrap();
        }
    }
    fs::write(folder().join("report.txt"), report).unwrap();
    assert!(wrong.is_empty(), "{tally}; see target/onnx-conformance/report.txt\n{wrong}");
    assert!(passed >= PASSED_MIN, "{tally}, expected {PASSED_MIN} passed or more");
}

fn case(path: &Path) -> Outcome {
    let options = BuildOptions::default();
    let read = onnx::parse(&fs::read(path.join("model.onnx")).unwrap());
    let built = read.and_then(|model| {
        Program::build(&model.graph, &options)?;
        Ok(model.graph)
    });
    let graph = match built {
        Ok(graph) => graph,
        Err(ModelError::Unsupported { operator, reason, .. }) => {
            return Outcome::Refused(operator, reason);
        }
        Err(error @ (ModelError::Tensor { .. } | ModelError::Container { .. })) => {
            return Outcome::Refused("the file".to_owned(), error.to_string());
        }
        Err(error) => return Outcome::Wrong(error.to_string()),
    };
    let optimized = passes::optimize(graph.clone(), &options).unwrap();
    for (how, graph) in [("as it is", graph), ("optimized", optimized)] {
        if let Err(what) = sets(path, &graph, &options) {
            return Outcome::Wrong(format!("{how}: {what}"));
        }
    }
    Outcome::Passed
}

/// Runs all sets of inputs of a case.
fn sets(path: &Path, graph: &Graph, options: &BuildOptions) -> Result<(), String> {
    let tolerance = fs::read_to_string(path.join("tolerance")).unwrap();
    let mut tolerance = tolerance.split_whitespace().map(|text| text.parse::<f64>().unwrap());
    let (relative, absolute) = (tolerance.next().unwrap(), tolerance.next().unwrap());
    let rounded = ROUNDED.iter().find(|(name, _)| path.ends_with(name));
    let absolute = rounded.map_or(absolute, |(_, rounded)| *rounded);
    let program = Program::build(graph, options).map_err(|error| error.to_string())?;
    let mut session = Session::new(Arc::new(program));
    for set in 0.. {
        let set = path.join(format!("test_data_set_{set}"));
        if !set.is_dir() {
            break;
        }
        run(&mut session, graph, &set, relative, absolute)?;
    }
    Ok(())
}

/// Runs one set of inputs and compares with its outputs.
fn run(
    session: &mut Session,
    graph: &Graph,
    set: &Path,
    relative: f64,
    absolute: f64,
) -> Result<(), String> {
    let given = tensors(set, "input")?;
    let by_place = given.len() == graph.inputs.len();
    for (index, port) in graph.inputs.iter().enumerate() {
        let name = &graph.value(port.value).name;
        // Inputs with a default value are none of the program's.
        let place = match by_place {
            true => index,
            false => given.iter().position(|(given, _)| given == name).ok_or("an input missing")?,
        };
        *session.input_mut(index) = given[place].1.clone();
    }
    session.run(&Alone, None).map_err(|error| error.to_string())?;
    let wanted = tensors(set, "output")?;
    if wanted.len() != graph.outputs.len() {
        return Err(format!("{} outputs, expected {}", graph.outputs.len(), wanted.len()));
    }
    for (index, (_, wanted)) in wanted.iter().enumerate() {
        let found = session.output(index).ok_or("an output missing")?;
        compare(found, wanted, relative, absolute)
            .map_err(|how| format!("output {index}: {how}; {found:?}, expected {wanted:?}"))?;
    }
    Ok(())
}

/// Whether values are the same: floating-point numbers within the tolerance, all others exactly.
fn compare(found: &Tensor, wanted: &Tensor, relative: f64, absolute: f64) -> Result<(), String> {
    if found.dtype() != wanted.dtype() || found.shape() != wanted.shape() {
        return Err("another type or shape".to_owned());
    }
    let near = |found: f64, wanted: f64| {
        found == wanted
            || (found.is_nan() && wanted.is_nan())
            || (wanted.is_finite() && (found - wanted).abs() <= absolute + relative * wanted.abs())
    };
    let differ = match (floats(found.data()), floats(wanted.data())) {
        (Some(found), Some(wanted)) => {
            found.iter().zip(&wanted).position(|(found, wanted)| !near(*found, *wanted))
        }
        _ => (found.data() != wanted.data()).then_some(0),
    };
    match differ {
        None => Ok(()),
        Some(index) => Err(format!("value {index} or a later one differs")),
    }
}

/// Floating-point numbers in the widest type; none for other types.
fn floats(data: &Data) -> Option<Vec<f64>> {
    match data {
        Data::F64(values) => Some(values.clone()),
        Data::F32(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::F16(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        Data::Bf16(values) => Some(values.iter().map(|value| f64::from(*value)).collect()),
        _ => None,
    }
}
