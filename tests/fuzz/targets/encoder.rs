//! The folders of encoders: their settings and tokenizers come from the fuzzer, their weights are
//! those of a golden encoder.
//!
//! Refuses nothing itself. Bound: as the library.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truststram_fuzz::{encoders, run_artifact, seeds};
use truststram_model::encoder::{EncoderFolder, Tokenizer};

fuzz_target!(init: seeds::write(), |bytes: &[u8]| {
    if let Ok(artifact) = EncoderFolder::new(encoders::files(bytes)).parse() {
        if let Some(Ok(tokenizer)) = artifact.tokenizer.as_deref().map(Tokenizer::parse) {
            for text in ["", "a", "Some [SEP] words,\u{301} und äöü\u{0}."] {
                let _ = tokenizer.encode(text, 16);
            }
        }
        run_artifact(&artifact);
    }
});
