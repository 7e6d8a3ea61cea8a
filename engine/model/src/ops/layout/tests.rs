//! Operators that move values, each on values that show where they went.

use crate::ops::support::{Case, ints};
use crate::tensor::{Element, Tensor};

fn tensor<T: Element>(dims: &[usize], values: &[T]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

fn ramp(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    Tensor::of(dims, (0..count as i64).collect()).unwrap()
}

fn words(dims: &[usize], text: &str) -> Tensor {
    Tensor::of(dims, text.split(' ').map(str::to_owned).collect()).unwrap()
}

#[test]
fn shapes_change_and_values_stay() {
    let reshape = |shape: &[i64]| Case::new("Reshape", 14).input(ramp(&[2, 3])).input(ints(shape));
    reshape(&[0, -1, 1]).gives(&ramp(&[2, 3, 1]));
    reshape(&[6]).gives(&ramp(&[6]));
    reshape(&[-1, -1]).fails();
    reshape(&[4, -1]).fails();
    reshape(&[0, 0, 0]).fails();
    reshape(&[0, -1]).int("allowzero", 1).fails();
    Case::new("Reshape", 13).input(ramp(&[1])).input(ints(&[1])).int("allowzero", 1).refused();
    let empty = Case::new("Reshape", 14).input(ramp(&[0, 3])).input(ints(&[3, 0]));
    empty.int("allowzero", 1).gives(&ramp(&[3, 0]));
    Case::new("Flatten", 13).input(ramp(&[2, 3, 4])).int("axis", -1).gives(&ramp(&[6, 4]));
    Case::new("Flatten", 13).input(ramp(&[2, 3])).int("axis", 2).gives(&ramp(&[6, 1]));
    Case::new("Squeeze", 11).input(ramp(&[1, 2, 1])).ints("axes", &[-1]).gives(&ramp(&[1, 2]));
    Case::new("Squeeze", 13).input(ramp(&[1, 2, 1])).gives(&ramp(&[2]));
    Case::new("Squeeze", 13).input(ramp(&[1, 2])).input(ints(&[1])).fails();
    let axes = ints(&[0, -1]);
    Case::new("Unsqueeze", 13).input(ramp(&[2])).input(axes).gives(&ramp(&[1, 2, 1]));
    Case::new("Unsqueeze", 13).input(ramp(&[2])).input(ints(&[9])).fails();
}

#[test]
fn orders_and_parts() {
    let transposed = tensor(&[3, 2], &[0i64, 3, 1, 4, 2, 5]);
    Case::new("Transpose", 13).input(ramp(&[2, 3])).gives(&transposed);
    Case::new("Transpose", 13).input(ramp(&[2, 3])).ints("perm", &[0, 0]).refused();
    let text = Case::new("Transpose", 13).input(words(&[2, 2], "a b c d"));
    text.gives(&words(&[2, 2], "a c b d"));
    let large = Case::new("Transpose", 13).input(ramp(&[2, 40, 33])).ints("perm", &[0, 2, 1]);
    let large = large.run().unwrap().remove(0);
    let values = large.values::<i64>().unwrap();
    assert!(values.iter().enumerate().all(|(to, from)| {
        let (group, row, column) = (to / 1320, to % 1320 / 40, to % 40);
        *from as usize == group * 1320 + column * 33 + row
    }));
    let joined = Case::new("Concat", 13).input(ramp(&[2, 1])).input(ramp(&[2, 2])).int("axis", -1);
    joined.gives(&tensor(&[2, 3], &[0i64, 0, 1, 1, 2, 3]));
    Case::new("Concat", 13).input(ramp(&[2, 1])).input(ramp(&[1, 2])).int("axis", 1).fails();
    let split = Case::new("Split", 18).input(ramp(&[5])).int("num_outputs", 2).outputs(2);
    let parts = split.run().unwrap();
    assert_eq!(parts, [ints(&[0, 1, 2]), ints(&[3, 4])]);
    Case::new("Split", 13).input(ramp(&[5])).outputs(2).fails();
    let given = Case::new("Split", 13).input(ramp(&[5])).input(ints(&[1, 4])).outputs(2);
    assert_eq!(given.run().unwrap()[1], ints(&[1, 2, 3, 4]));
}

#[test]
fn slices_take_ranges() {
    let slice = |start: i64, end: i64, step: i64| {
        let case = Case::new("Slice", 13).input(ramp(&[5])).input(ints(&[start]));
        case.input(ints(&[end])).input(ints(&[0])).input(ints(&[step]))
    };
    slice(1, 100, 2).gives(&ints(&[1, 3]));
    slice(-1, -100, -2).gives(&ints(&[4, 2, 0]));
    slice(100, 0, -1).gives(&ints(&[4, 3, 2, 1]));
    slice(i64::MIN, i64::MAX, i64::MAX).gives(&ints(&[0]));
    slice(i64::MAX, i64::MIN, i64::MIN).gives(&ints(&[4]));
    slice(3, 1, 1).gives(&ints(&[]));
    slice(3, 1, 0).fails();
    let old = Case::new("Slice", 9).input(ramp(&[2, 3])).ints("starts", &[1]).ints("ends", &[9]);
    old.ints("axes", &[1]).gives(&tensor(&[2, 2], &[1i64, 2, 4, 5]));
}

#[test]
fn places_are_read_and_written() {
    let gather = Case::new("Gather", 13).input(ramp(&[2, 3])).int("axis", 1);
    gather.input(ints(&[-1, 0])).gives(&tensor(&[2, 2], &[2i64, 0, 5, 3]));
    Case::new("Gather", 13).input(ramp(&[3])).input(ints(&[3])).fails();
    let elements = Case::new("GatherElements", 13).input(ramp(&[2, 3])).int("axis", 0);
    elements.input(tensor(&[1, 2], &[1i64, 0])).gives(&tensor(&[1, 2], &[3i64, 1]));
    let nd = Case::new("GatherND", 13).input(ramp(&[2, 2, 2])).int("batch_dims", 1);
    nd.input(tensor(&[2, 1], &[1i64, 0])).gives(&tensor(&[2, 2], &[2i64, 3, 4, 5]));
    let scatter = |reduction: &str| {
        let case = Case::new("ScatterElements", 18).input(ramp(&[3])).text("reduction", reduction);
        case.input(ints(&[1, -2])).input(ints(&[5, 7]))
    };
    scatter("none").gives(&ints(&[0, 7, 2]));
    scatter("add").gives(&ints(&[0, 13, 2]));
    scatter("mul").gives(&ints(&[0, 35, 2]));
    scatter("max").gives(&ints(&[0, 7, 2]));
    scatter("min").gives(&ints(&[0, 1, 2]));
    scatter("mean").refused();
    let nd = Case::new("ScatterND", 11).input(ramp(&[2, 2])).input(tensor(&[1, 1], &[1i64]));
    nd.input(tensor(&[1, 2], &[8i64, 9])).gives(&tensor(&[2, 2], &[0i64, 1, 8, 9]));
    let cache = Case::new("TensorScatter", 24).input(ramp(&[1, 3, 1])).text("mode", "circular");
    let cache = cache.input(tensor(&[1, 2, 1], &[8i64, 9])).input(ints(&[2]));
    cache.gives(&tensor(&[1, 3, 1], &[9i64, 1, 8]));
}

#[test]
fn values_are_repeated_padded_and_dropped() {
    let expand = Case::new("Expand", 13).input(ramp(&[2, 1])).input(ints(&[2, 1, 2]));
    expand.gives(&tensor(&[2, 2, 2], &[0i64, 0, 1, 1, 0, 0, 1, 1]));
    let tile = Case::new("Tile", 13).input(ramp(&[1, 2])).input(ints(&[2, 2]));
    tile.gives(&tensor(&[2, 4], &[0i64, 1, 0, 1, 0, 1, 0, 1]));
    let pad = |mode: &str, pads: [i64; 2]| {
        Case::new("Pad", 19).input(ramp(&[3])).input(ints(&pads)).text("mode", mode)
    };
    pad("constant", [1, -1]).gives(&ints(&[0, 0, 1]));
    pad("reflect", [2, 1]).gives(&ints(&[2, 1, 0, 1, 2, 1]));
    pad("reflect", [3, 0]).fails();
    pad("edge", [2, 1]).gives(&ints(&[0, 0, 0, 1, 2, 2]));
    pad("wrap", [1, 2]).gives(&ints(&[2, 0, 1, 2, 0, 1]));
    pad("constant", [1 << 60, 0]).fails();
    pad("constant", [i64::MAX, i64::MAX]).fails();
    let crop = Case::new("CenterCropPad", 18).input(ramp(&[4])).input(ints(&[1]));
    crop.gives(&ints(&[1]));
    let lower = Case::new("Trilu", 14).input(ramp(&[2, 2])).int("upper", 0);
    lower.input(Tensor::scalar(i64::MIN)).gives(&tensor(&[2, 2], &[0i64; 4]));
    let compress = Case::new("Compress", 11).input(ramp(&[2, 2])).int("axis", 1);
    compress.input(tensor(&[2], &[false, true])).gives(&tensor(&[2, 1], &[1i64, 3]));
    let depth = Case::new("DepthToSpace", 13).input(ramp(&[1, 4, 1, 2])).int("blocksize", 2);
    let spread = tensor(&[1, 1, 2, 4], &[0i64, 2, 1, 3, 4, 6, 5, 7]);
    depth.gives(&spread);
    let back = Case::new("SpaceToDepth", 13).input(spread).int("blocksize", 2);
    back.gives(&ramp(&[1, 4, 1, 2]));
    let reversed = Case::new("ReverseSequence", 10).input(ramp(&[2, 2])).input(ints(&[2, 1]));
    reversed.gives(&tensor(&[2, 2], &[2i64, 1, 0, 3]));
}
