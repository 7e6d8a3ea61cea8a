//! Models and inputs with damage: refused or answered, never a panic, and never large in memory.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use truststram_model::kernels::Alone;
use truststram_model::onnx;
use truststram_model::passes;
use truststram_model::program::{BuildOptions, Program, Session};
use truststram_model::tensor::{Data, Shape, Tensor};

use super::{cases, name, tensors};

/// How often each case is damaged, each time otherwise: more than 10,000 damaged files in all.
const SEED_COUNT: u64 = 6;

/// Numbers that look random and are the same each time: splitmix64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound.max(1)
    }
}

#[test]
fn damage_is_answered_in_bounds() {
    let mut panicked = Vec::new();
    let (mut read_count, mut run_count) = (0, 0);
    for (index, path) in cases().iter().enumerate() {
        let whole = fs::read(path.join("model.onnx")).unwrap();
        let inputs = tensors(&path.join("test_data_set_0"), "input").unwrap_or_default();
        for seed in 0..SEED_COUNT {
            let mut numbers = Numbers(index as u64 * SEED_COUNT + seed);
            let mut bytes = whole.clone();
            // One time in four only the inputs are damaged.
            for _ in 0..numbers.below(4) {
                damage(&mut bytes, &mut numbers);
            }
            match catch_unwind(AssertUnwindSafe(|| answer(&bytes, &inputs, &mut numbers))) {
                Ok((is_read, is_run)) => {
                    read_count += u32::from(is_read);
                    run_count += u32::from(is_run);
                }
                Err(_) => panicked.push(format!("{} with seed {seed}", name(path))),
            }
        }
    }
    assert!(panicked.is_empty(), "{} panicked: {panicked:#?}", panicked.len());
    // The reader and what comes after it have both seen damage.
    assert!(read_count > 1_000 && run_count > 0, "{read_count} read, {run_count} run");
}

/// Damages bytes in one of the ways in which files are damaged or forged.
fn damage(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    let place = numbers.below(bytes.len());
    let Some(byte) = bytes.get_mut(place) else { return };
    match numbers.below(7) {
        0 => *byte ^= 1 << numbers.below(8),
        1 => *byte = numbers.below(256) as u8,
        2 => bytes.truncate(place),
        3 => drop(bytes.drain(place..(place + 1 + numbers.below(8)).min(bytes.len()))),
        4 => {
            let end = (place + 1 + numbers.below(64)).min(bytes.len());
            bytes.extend_from_within(place..end);
        }
        // A number or a length far beyond the file.
        5 => drop(bytes.splice(place..=place, [0xff, 0xff, 0xff, 0xff, 0x7f])),
        _ => {
            let other = numbers.below(bytes.len());
            bytes.swap(place, other);
        }
    }
}

/// Reads and runs a damaged model on damaged inputs, and says how far it came.
fn answer(bytes: &[u8], inputs: &[(String, Tensor)], numbers: &mut Numbers) -> (bool, bool) {
    let Ok(model) = onnx::parse(bytes) else { return (false, false) };
    let constants = model.graph.values.iter().filter_map(|value| value.constant.as_ref());
    let constant_bytes: usize = constants.map(|tensor| tensor.bytes()).sum();
    assert!(constant_bytes <= 12 * bytes.len(), "{constant_bytes} bytes");
    let options = BuildOptions { session_bytes_max: 1 << 20, ..BuildOptions::default() };
    let mut graph = model.graph;
    // Whatever dimensions the file fixes, the operators are to see others too.
    graph.inputs.iter_mut().for_each(|port| port.dims = None);
    if numbers.below(2) == 0 {
        graph = passes::optimize(graph, &options).unwrap();
    }
    let Ok(program) = Program::build(&graph, &options) else { return (true, false) };
    let mut session = Session::new(Arc::new(program));
    let count = session.program().inputs().len();
    for (index, (_, input)) in inputs.iter().take(count).enumerate() {
        *session.input_mut(index) = damaged_input(input, numbers);
    }
    // Whatever it says, it says it.
    drop(session.run(&Alone, None));
    (true, true)
}

/// An input of another shape, or with numbers that can be no index, or as it was.
fn damaged_input(input: &Tensor, numbers: &mut Numbers) -> Tensor {
    let mut input = input.clone();
    match numbers.below(3) {
        0 => {
            let dims: Vec<usize> = (0..numbers.below(6)).map(|_| numbers.below(4)).collect();
            input.reset(input.dtype(), Shape::new(&dims).unwrap());
        }
        1 => {
            let (place, kind) = (numbers.below(input.count()), numbers.below(4));
            match input.data_mut() {
                Data::I64(values) => {
                    let wrong = [i64::MIN, -1, i64::MAX, 1 << 33][kind];
                    values.iter_mut().skip(place).take(1).for_each(|value| *value = wrong);
                }
                Data::I32(values) => {
                    let wrong = [i32::MIN, -1, i32::MAX, 1 << 20][kind];
                    values.iter_mut().skip(place).take(1).for_each(|value| *value = wrong);
                }
                Data::F32(values) => {
                    let wrong = [f32::NAN, f32::INFINITY, -1e30, 1e30][kind];
                    values.iter_mut().skip(place).take(1).for_each(|value| *value = wrong);
                }
                _ => {}
            }
        }
        _ => {}
    }
    input
}
