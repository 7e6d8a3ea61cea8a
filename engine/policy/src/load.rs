//! Owns the way from what the operator says to a checked component: size, interface version and
//! settings by its manifest, compilation, imports, exports.
//!
//! Refuses to run it. Bound: files of [`PLUGIN_FILE_BYTES_MAX`].

use std::borrow::Cow;
use std::fs;
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use truststram_base::limits::PLUGIN_FILE_BYTES_MAX;
use truststram_manifest::{API_VERSION, Manifest, ManifestError};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use crate::builtin;
use crate::compiled::CompiledCache;
use crate::error::PolicyError;
use crate::kind::Kind;
use crate::spec::{PluginSource, PluginSpec};

const IMPORTS: [&str; 2] = ["truststram:policy/host@0.1", "truststram:policy/types@0.1"];
const IMPORTS_SHOWN: &str = "truststram:policy/host@0.1 and truststram:policy/types@0.1";

/// A checked and compiled component with its settings.
pub(crate) struct Loaded<K: Kind> {
    pub(crate) pre: K::Pre,
    /// With complete settings, and without the bytes of the component.
    pub(crate) spec: PluginSpec,
    /// Of the component, in hexadecimal.
    pub(crate) sha256: String,
    /// What it says of itself, if it does.
    pub(crate) manifest: Option<Arc<Manifest>>,
}

/// Compiles the component that `spec` names, ready to be instantiated, and completes its settings.
pub(crate) fn load<K: Kind>(
    engine: &Engine,
    compiled: &CompiledCache,
    spec: &PluginSpec,
) -> Result<Loaded<K>, PolicyError> {
    let plugin = || spec.name.clone();
    let Named { bytes, settings_json, manifest } = named(K::NAME, spec)?;
    let sha256 = sha256(&bytes);
    let component = compiled
        .component(engine, &bytes, &sha256)
        .map_err(|source| PolicyError::NotAComponent { plugin: plugin(), source })?;
    check_names::<K>(engine, &component, &spec.name)?;
    let mut linker = Linker::new(engine);
    let pre = K::link(&mut linker, &component)
        .map_err(|source| PolicyError::Instantiate { plugin: plugin(), source })?;
    let spec = PluginSpec { settings_json, ..spec.clone() };
    Ok(Loaded { pre, spec, sha256, manifest })
}

/// Holds a plugin of this kind against its manifest, without running or compiling anything.
///
/// # Errors
/// What is wrong with its file, its manifest or its settings.
pub fn check_manifest(kind: &'static str, spec: &PluginSpec) -> Result<(), PolicyError> {
    named(kind, spec).map(|_| ())
}

/// What `spec` names.
struct Named<'a> {
    bytes: Cow<'a, [u8]>,
    settings_json: String,
    manifest: Option<Arc<Manifest>>,
}

/// Reads what `spec` names, completes its settings and holds them against the manifest.
fn named<'a>(kind: &'static str, spec: &'a PluginSpec) -> Result<Named<'a>, PolicyError> {
    let plugin = || spec.name.clone();
    let too_large =
        |bytes| PolicyError::TooLarge { plugin: plugin(), bytes, bytes_max: PLUGIN_FILE_BYTES_MAX };
    let (bytes, settings_json) = match &spec.source {
        PluginSource::Bytes(bytes) if bytes.len() as u64 > PLUGIN_FILE_BYTES_MAX => {
            return Err(too_large(bytes.len() as u64));
        }
        PluginSource::Bytes(bytes) => (Cow::from(&**bytes), spec.settings_json.clone()),
        PluginSource::File(path) => {
            let unreadable =
                |source| PolicyError::Read { plugin: plugin(), path: path.clone(), source };
            let bytes = fs::metadata(path).map_err(unreadable)?.len();
            if bytes > PLUGIN_FILE_BYTES_MAX {
                return Err(too_large(bytes));
            }
            (Cow::from(fs::read(path).map_err(unreadable)?), spec.settings_json.clone())
        }
        PluginSource::Builtin(name) => {
            let Some(found) = builtin::of_kind(kind, name) else {
                let (builtin, known) = (name.clone(), builtin::names(kind));
                return Err(PolicyError::UnknownBuiltin { plugin: plugin(), builtin, kind, known });
            };
            (Cow::from(found.component), settings_of(found.name, spec)?)
        }
    };
    let of_manifest = |source| PolicyError::Manifest { plugin: plugin(), source };
    let manifest = Manifest::of_component(&bytes).map_err(of_manifest)?.map(Arc::new);
    if let Some(manifest) = &manifest {
        manifest.check_settings(&settings_json).map_err(of_manifest)?;
    }
    Ok(Named { bytes, settings_json, manifest })
}

/// SHA-256 of a component, in hexadecimal, as [`crate::Plugin::sha256`] gives it.
pub fn sha256(component: &[u8]) -> String {
    hex(&Sha256::digest(component))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The settings of a policy that ships: the operator's, and which policy of its component it is.
fn settings_of(name: &str, spec: &PluginSpec) -> Result<String, PolicyError> {
    let refused = |message: String| PolicyError::Settings { plugin: spec.name.clone(), message };
    let mut settings: Map<String, Value> = serde_json::from_str(&spec.settings_json)
        .map_err(|error| refused(format!("the settings must be one JSON object: {error}")))?;
    if settings.insert("policy".to_owned(), name.into()).is_some() {
        return Err(refused("`policy` is said by `builtin` already".to_owned()));
    }
    Ok(Value::Object(settings).to_string())
}

fn check_names<K: Kind>(
    engine: &Engine,
    component: &Component,
    plugin: &str,
) -> Result<(), PolicyError> {
    let facts = component.component_type();
    let foreign = facts.imports(engine).map(|(name, _)| name.to_owned()).find(|name| {
        // A later patch version may add nothing that we would not give.
        !IMPORTS
            .iter()
            .any(|known| name.strip_prefix(known).is_some_and(|rest| rest.starts_with('.')))
    });
    let plugin = plugin.to_owned();
    if let Some(import) = foreign {
        return Err(PolicyError::Import { plugin, import, allowed: IMPORTS_SHOWN });
    }
    let missing = K::EXPORTS.iter().find(|name| component.get_export_index(None, name).is_none());
    let Some(export) = missing else { return Ok(()) };
    // A component without a manifest shows what it is made for by the names of its exports.
    let of_version = |name: &str| name.split_once('@').map(|(name, _)| name.to_owned());
    let other = facts
        .exports(engine)
        .find(|(name, _)| of_version(name).is_some() && of_version(name) == of_version(export))
        .and_then(|(name, _)| name.split_once('@'));
    Err(match other {
        Some((_, version)) => {
            let (found, known) = (version.to_owned(), API_VERSION);
            PolicyError::Manifest { plugin, source: ManifestError::ApiVersion { found, known } }
        }
        None => PolicyError::MissingExport { plugin, export, kind: K::NAME },
    })
}
