//! ONNX files and the tensors beside them: refused or run, never a panic.
//!
//! Refuses nothing itself. Bound: as the library.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truststram_fuzz::{run, seeds};
use truststram_model::{class_labels, onnx};

fuzz_target!(init: seeds::write(), |bytes: &[u8]| {
    let _ = onnx::tensor(bytes);
    if let Ok(model) = onnx::parse(bytes) {
        let _ = class_labels(&model.graph);
        run(&model.graph);
    }
});
