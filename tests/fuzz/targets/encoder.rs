//! The folders of encoders: their settings and tokenizers come from the fuzzer, their weights are
//! those of a golden encoder.
//!
//! Refuses nothing itself. Bound: as the library.
#![no_main]

use std::panic;

use libfuzzer_sys::fuzz_target;
use truststram_fuzz::{encoders, run_artifact, seeds};
use truststram_model::encoder::{EncoderFolder, Tokenizer};

/// The tokenizers library panics on some files, which the engine catches. So its panics do not end
/// the fuzzer at once, but only if they come through.
fn leave_libraries_to_the_engine() {
    let ends = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |place| place.file());
        if !file.contains("/registry/src/") {
            ends(panic);
        }
    }));
}

fn begin() {
    leave_libraries_to_the_engine();
    seeds::write();
}

fuzz_target!(init: begin(), |bytes: &[u8]| {
    if let Ok(artifact) = EncoderFolder::new(encoders::files(bytes)).parse() {
        if let Some(Ok(tokenizer)) = artifact.tokenizer.as_deref().map(Tokenizer::parse) {
            for text in ["", "a", "Some [SEP] words,\u{301} und äöü\u{0}."] {
                let _ = tokenizer.encode(text, 16);
            }
        }
        run_artifact(&artifact);
    }
});
