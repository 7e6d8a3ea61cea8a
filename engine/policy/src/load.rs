//! Owns the way from bytes to a checked component: size, imports, exports, compilation.
//!
//! Refuses to run it. Bound: files of [`PLUGIN_FILE_BYTES_MAX`].

use std::fs;
use std::sync::Arc;

use truststram_base::limits::PLUGIN_FILE_BYTES_MAX;
use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use crate::error::PolicyError;
use crate::spec::{PluginSource, PluginSpec};
use crate::state::InstanceState;
use crate::v0_1_0::{Batcher, BatcherPre};

/// The components that ship inside the binary.
const BATCHER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/batcher.wasm"));

const IMPORTS: [&str; 2] = ["truststram:policy/host@0.1", "truststram:policy/types@0.1"];
const IMPORTS_SHOWN: &str = "truststram:policy/host@0.1 and truststram:policy/types@0.1";
const EXPORTS: [&str; 2] =
    ["truststram:policy/lifecycle@0.1.0", "truststram:policy/batching@0.1.0"];

/// Compiles the component that `spec` names, ready to be instantiated.
pub(crate) fn batcher(
    engine: &Engine,
    spec: &PluginSpec,
) -> Result<BatcherPre<InstanceState>, PolicyError> {
    let plugin = || spec.name.clone();
    let bytes = bytes(spec)?;
    let component = Component::new(engine, &*bytes)
        .map_err(|source| PolicyError::NotAComponent { plugin: plugin(), source })?;
    let facts = component.component_type();
    let foreign = facts.imports(engine).map(|(name, _)| name.to_owned()).find(|name| {
        // A later patch version may add nothing that we would not give.
        !IMPORTS
            .iter()
            .any(|known| name.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
    });
    if let Some(import) = foreign {
        return Err(PolicyError::Import { plugin: plugin(), import, allowed: IMPORTS_SHOWN });
    }
    for export in EXPORTS {
        if component.get_export_index(None, export).is_none() {
            return Err(PolicyError::MissingExport { plugin: plugin(), export });
        }
    }
    let unusable = |source| PolicyError::Instantiate { plugin: plugin(), source };
    let mut linker = Linker::new(engine);
    Batcher::add_to_linker::<_, HasSelf<_>>(&mut linker, |state: &mut InstanceState| state)
        .map_err(unusable)?;
    linker.instantiate_pre(&component).and_then(BatcherPre::new).map_err(unusable)
}

fn bytes(spec: &PluginSpec) -> Result<Arc<[u8]>, PolicyError> {
    let plugin = || spec.name.clone();
    let path = match &spec.source {
        PluginSource::Builtin("batcher") => return Ok(BATCHER.into()),
        PluginSource::Builtin(other) => {
            let builtin = (*other).to_owned();
            return Err(PolicyError::UnknownBuiltin { plugin: plugin(), builtin });
        }
        PluginSource::File(path) => path,
    };
    let unreadable = |source| PolicyError::Read { plugin: plugin(), path: path.clone(), source };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    if bytes > PLUGIN_FILE_BYTES_MAX {
        let bytes_max = PLUGIN_FILE_BYTES_MAX;
        return Err(PolicyError::TooLarge { plugin: plugin(), bytes, bytes_max });
    }
    fs::read(path).map(Into::into).map_err(unreadable)
}
