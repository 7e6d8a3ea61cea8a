//! Transforms of short signals.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f64]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

#[test]
fn signals_become_spectra_and_back() {
    let signal = || tensor(&[1, 4, 1], &[1.0, 2.0, 0.0, 3.0]);
    let dft = |opset: u32| Case::new("DFT", opset).input(signal());
    let spectrum = dft(17).int("onesided", 1).run().unwrap().remove(0);
    assert_eq!(**spectrum.shape(), [1, 3, 2]);
    let back = Case::new("DFT", 17).input(spectrum).int("onesided", 1).int("inverse", 1);
    let back = back.run().unwrap().remove(0);
    let (found, wanted) = (back.values::<f64>().unwrap(), [1.0, 2.0, 0.0, 3.0]);
    let near = found.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12);
    assert!(near && **back.shape() == [1, 4, 1], "{back:?}");
    dft(17).int("axis", 2).fails();
    dft(20).int("axis", 1).refused();
    dft(17).int("onesided", 1).int("inverse", 1).fails();
    dft(17).input(Tensor::scalar(1i64 << 40)).fails();
    let frames = |step: i64| {
        let case = Case::new("STFT", 17).input(signal()).input(Tensor::scalar(step));
        case.absent().input(Tensor::scalar(2i64)).int("onesided", 0)
    };
    let pairs = tensor(&[1, 2, 2, 2], &[3.0, 0.0, -1.0, 0.0, 3.0, 0.0, -3.0, 0.0]);
    let found = frames(2).run().unwrap().remove(0);
    let close = found.values::<f64>().unwrap().iter().zip(pairs.values::<f64>().unwrap());
    assert!(close.into_iter().all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{found:?}");
    frames(0).fails();
    Case::new("STFT", 17).input(signal()).input(ints(&[1])).input(ints(&[1])).refused();
}
