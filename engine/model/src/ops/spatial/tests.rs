//! Windows over small inputs, against results counted by hand.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

fn ramp(dims: &[usize]) -> Tensor {
    let count: usize = dims.iter().product();
    Tensor::of(dims, (0..count).map(|value| value as f32).collect()).unwrap()
}

#[test]
fn convolutions() {
    let conv = |input: Tensor, weights: Tensor| Case::new("Conv", 11).input(input).input(weights);
    let ones = |dims: &[usize]| Tensor::of(dims, vec![1f32; dims.iter().product()]).unwrap();
    let sum = tensor(&[1, 1, 2, 2], &[8.0, 12.0, 20.0, 24.0]);
    conv(ramp(&[1, 1, 3, 3]), ones(&[1, 1, 2, 2])).gives(&sum);
    let padded = conv(ramp(&[1, 1, 3]), ones(&[1, 1, 3])).ints("pads", &[2, 1]);
    padded.ints("strides", &[2]).gives(&tensor(&[1, 1, 2], &[0.0, 3.0]));
    let dilated = conv(ramp(&[1, 1, 5]), ones(&[1, 1, 2])).ints("dilations", &[3]);
    dilated.input(tensor(&[1], &[10.0])).gives(&tensor(&[1, 1, 2], &[13.0, 15.0]));
    let grouped = conv(ramp(&[1, 2, 2]), tensor(&[2, 1, 1], &[1.0, 10.0])).int("group", 2);
    grouped.gives(&tensor(&[1, 2, 2], &[0.0, 1.0, 20.0, 30.0]));
    let cube = conv(ramp(&[1, 1, 2, 2, 2]), ones(&[1, 1, 2, 2, 2]));
    cube.gives(&tensor(&[1, 1, 1, 1, 1], &[28.0]));
    conv(ramp(&[1, 2, 3]), ones(&[1, 1, 1])).fails();
    conv(ramp(&[1, 1, 1]), ones(&[1, 1, 2])).fails();
    conv(ramp(&[1, 1, 0]), ones(&[1, 1, 1])).ints("pads", &[1, 1]).fails();
    conv(ramp(&[1, 1, 3]), ones(&[1, 1, 1])).text("auto_pad", "SAME").refused();
    let spread = Case::new("ConvTranspose", 11).input(ramp(&[1, 1, 3])).input(ones(&[1, 1, 2]));
    spread.gives(&tensor(&[1, 1, 4], &[0.0, 1.0, 3.0, 2.0]));
}

/// Blocks of columns must fit together whatever their size.
#[test]
fn a_large_convolution_is_the_sum_of_its_windows() {
    let (channels, side) = (40, 61);
    let value = |index: usize| ((index * 7 + index / 3) % 11) as f32 - 5.0;
    let values: Vec<f32> = (0..channels * side * side).map(value).collect();
    let weights: Vec<f32> = (0..2 * channels * 9).map(|index| value(index + 5)).collect();
    let input = Tensor::of(&[1, channels, side, side], values.clone()).unwrap();
    let case = Case::new("Conv", 11).input(input);
    let case = case.input(Tensor::of(&[2, channels, 3, 3], weights.clone()).unwrap());
    let case = case.ints("pads", &[1, 1, 1, 1]).ints("strides", &[1, 2]);
    let out = case.run().unwrap().remove(0);
    assert_eq!(**out.shape(), [1, 2, 61, 31]);
    let out = out.values::<f32>().unwrap();
    for (index, out) in out.iter().enumerate().step_by(17) {
        let (feature, y, x) = (index / (61 * 31), index / 31 % 61, index % 31 * 2);
        let mut sum = 0.0;
        for tap in 0..channels * 9 {
            let (channel, row, column) = (tap / 9, y + tap / 3 % 3, x + tap % 3);
            if (1..=side).contains(&row) && (1..=side).contains(&column) {
                let place = (channel * side + row - 1) * side + column - 1;
                sum += values[place] * weights[feature * channels * 9 + tap];
            }
        }
        assert_eq!(*out, sum, "{index}");
    }
}

#[test]
fn quantised_convolutions() {
    let bytes = |dims: &[usize], values: &[u8]| Tensor::of(dims, values.to_vec()).unwrap();
    let case = Case::new("ConvInteger", 10).input(bytes(&[1, 1, 3], &[2, 3, 4]));
    let case = case.input(bytes(&[1, 1, 2], &[1, 2])).input(Tensor::scalar(1u8));
    let wanted = Tensor::of(&[1, 1, 4], vec![2i32, 5, 8, 3]).unwrap();
    case.ints("pads", &[1, 1]).gives(&wanted);
    let one = |value: f32| tensor(&[1], &[value]);
    let case = Case::new("QLinearConv", 10).input(bytes(&[1, 1, 2], &[0, 255])).input(one(0.5));
    let case = case.input(Tensor::scalar(0u8)).input(bytes(&[1, 1, 1], &[3])).input(one(1.0));
    let case = case.input(Tensor::scalar(2u8)).input(one(1.0)).input(Tensor::scalar(3u8));
    case.gives(&bytes(&[1, 1, 2], &[3, 131]));
}

#[test]
fn pools() {
    let pool = |operator: &str| {
        let input = tensor(&[1, 1, 5], &[1.0, -2.0, 5.0, 5.0, 3.0]);
        Case::new(operator, 19).input(input).ints("kernel_shape", &[2])
    };
    pool("MaxPool").ints("strides", &[2]).gives(&tensor(&[1, 1, 2], &[1.0, 5.0]));
    let max = pool("MaxPool").ints("strides", &[2]).int("ceil_mode", 1).outputs(2).run().unwrap();
    assert_eq!(max[0], tensor(&[1, 1, 3], &[1.0, 5.0, 3.0]));
    assert_eq!(max[1], Tensor::of(&[1, 1, 3], vec![0i64, 2, 4]).unwrap());
    pool("MaxPool").ints("pads", &[2, 0]).fails();
    let average = || pool("AveragePool").ints("strides", &[3]).ints("pads", &[1, 1]);
    average().gives(&tensor(&[1, 1, 2], &[1.0, 5.0]));
    average().int("count_include_pad", 1).gives(&tensor(&[1, 1, 2], &[0.5, 5.0]));
    pool("LpPool").int("p", 1).ints("strides", &[3]).gives(&tensor(&[1, 1, 2], &[3.0, 8.0]));
    let same = pool("MaxPool").text("auto_pad", "SAME_LOWER");
    same.gives(&tensor(&[1, 1, 5], &[1.0, 1.0, 5.0, 5.0, 5.0]));
    let global = Case::new("GlobalMaxPool", 1).input(ramp(&[1, 2, 2, 1]));
    global.gives(&tensor(&[1, 2, 1, 1], &[1.0, 3.0]));
    let unpool = Case::new("MaxUnpool", 11).input(tensor(&[1, 1, 2], &[7.0, 8.0]));
    let unpool = unpool.input(Tensor::of(&[1, 1, 2], vec![1i64, 2]).unwrap());
    let unpool = || unpool.ints("kernel_shape", &[2]).ints("strides", &[2]);
    unpool().gives(&tensor(&[1, 1, 4], &[0.0, 7.0, 8.0, 0.0]));
    let fold = Case::new("Col2Im", 18).input(ramp(&[1, 4, 1])).input(ints(&[2, 2]));
    fold.input(ints(&[2, 2])).gives(&ramp(&[1, 1, 2, 2]));
}
