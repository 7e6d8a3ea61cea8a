//! Artifacts and files of dense networks: refused, or the same after writing and reading.
//!
//! Refuses nothing itself. Bound: as the library.
#![no_main]

use libfuzzer_sys::fuzz_target;
use truststram_fuzz::{run_artifact, seeds};
use truststram_model::ModelFile;
use truststram_model::artifact::Artifact;

fuzz_target!(init: seeds::write(), |bytes: &[u8]| {
    let _ = ModelFile::parse(bytes);
    if let Ok(artifact) = Artifact::parse(bytes) {
        if let Ok(written) = artifact.to_bytes() {
            let again = Artifact::parse(&written).and_then(|again| again.to_bytes());
            assert_eq!(again.ok(), Some(written), "it is another after writing");
        }
        run_artifact(&artifact);
    }
});
