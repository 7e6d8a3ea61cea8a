//! Samples of small images, against values counted by hand.

use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn tensor(dims: &[usize], values: &[f32]) -> Tensor {
    Tensor::of(dims, values.to_vec()).unwrap()
}

fn row(values: &[f32]) -> Tensor {
    tensor(&[values.len()], values)
}

#[test]
fn images_change_their_size() {
    let resize = |values: &[f32], size: i64| {
        Case::new("Resize", 19).input(row(values)).absent().absent().input(ints(&[size]))
    };
    resize(&[1.0, 2.0], 4).gives(&row(&[1.0, 1.0, 2.0, 2.0]));
    resize(&[1.0, 2.0], 4).text("mode", "linear").gives(&row(&[1.0, 1.25, 1.75, 2.0]));
    let aligned = resize(&[0.0, 3.0], 4).text("mode", "linear");
    let aligned = aligned.text("coordinate_transformation_mode", "align_corners");
    aligned.gives(&row(&[0.0, 1.0, 2.0, 3.0]));
    let smaller = resize(&[0.0, 1.0, 2.0, 3.0], 2).text("mode", "linear").int("antialias", 1);
    smaller.run().unwrap();
    resize(&[1.0], 2).text("mode", "area").refused();
    resize(&[], 2).fails();
    let scaled = Case::new("Resize", 13).input(row(&[1.0, 2.0])).absent().input(row(&[1.5]));
    scaled.gives(&row(&[1.0, 1.0, 2.0]));
    let words = Tensor::of(&[2], vec!["a".to_owned(), "b".to_owned()]).unwrap();
    let old = Case::new("Upsample", 9).input(words).input(row(&[2.0])).run().unwrap();
    assert_eq!(old[0].values::<String>().unwrap(), ["a", "a", "b", "b"]);
    Case::new("Upsample", 9).input(row(&[1.0])).input(row(&[0.5])).fails();
    Case::new("Upsample", 10).input(row(&[1.0])).input(row(&[2.0])).refused();
}

#[test]
fn places_between_pixels() {
    let sample = |at: &[f32], padding: &str| {
        let image = tensor(&[1, 1, 3], &[1.0, 2.0, 4.0]);
        let case = Case::new("GridSample", 20).input(image).text("padding_mode", padding);
        case.input(tensor(&[1, at.len(), 1], at)).int("align_corners", 1)
    };
    let wanted = tensor(&[1, 1, 3], &[2.0, 3.0, 0.0]);
    sample(&[0.0, 0.5, 2.0], "zeros").gives(&wanted);
    sample(&[-9.0, 9.0], "border").gives(&tensor(&[1, 1, 2], &[1.0, 4.0]));
    sample(&[-1.5, 1.5], "reflection").gives(&tensor(&[1, 1, 2], &[1.5, 3.0]));
    sample(&[f32::NAN, f32::INFINITY], "reflection").run().unwrap();
    let grid = Case::new("AffineGrid", 20).input(ints(&[1, 1, 1, 2]));
    grid.refused();
    let theta = tensor(&[1, 2, 3], &[1.0, 0.0, 5.0, 0.0, 1.0, 0.0]);
    let grid = Case::new("AffineGrid", 20).input(theta).input(ints(&[1, 1, 1, 2]));
    grid.gives(&tensor(&[1, 1, 2, 2], &[4.5, 0.0, 5.5, 0.0]));
    let region = |image: i64| {
        let case = Case::new("RoiAlign", 16).input(tensor(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]));
        let case = case.input(tensor(&[1, 4], &[0.0, 0.0, 2.0, 2.0])).input(ints(&[image]));
        case.int("sampling_ratio", 1)
    };
    region(0).gives(&tensor(&[1, 1, 1, 1], &[2.5]));
    region(1).fails();
}
