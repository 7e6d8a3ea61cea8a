//! The text of a graph, in a container that has a few tensors to name.
//!
//! Refuses text that is no UTF-8. Bound: as the library.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truststram_fuzz::{container, run_artifact, seeds};
use truststram_model::artifact::Artifact;

fuzz_target!(init: seeds::write(), |text: &str| {
    if let Ok(artifact) = Artifact::parse(&container(text)) {
        run_artifact(&artifact);
    }
});
