//! Owns the checks of plugins and of the keys that may sign them.
//!
//! Refuses to start a plugin; its manifest is read. Bound: one batcher, and any number of others.

use std::path::PathBuf;

use truststram_manifest::ManifestError;
use truststram_policy::{
    PluginLimits, PluginSource, PluginSpec, PolicyError, PublicKey, check_manifest,
};

use super::Check;
use crate::config::raw::{self, PluginKind};

/// A plugin to load.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginPlan {
    /// What it decides.
    pub kind: PluginKind,
    /// Its component, settings and limits.
    pub spec: PluginSpec,
    /// What decides when it fails.
    pub on_failure: raw::OnFailure,
}

impl Check<'_> {
    /// The batcher, which there always is, and the others.
    pub(super) fn plugins(&mut self, plugins: &[raw::Plugin]) -> (PluginPlan, Vec<PluginPlan>) {
        let mut others: Vec<PluginPlan> = Vec::new();
        let mut batcher = None;
        for (index, plugin) in plugins.iter().enumerate() {
            let planned = self.plugin(index, plugin);
            let is_named = |known: &PluginPlan| known.spec.name == plugin.name;
            if batcher.iter().chain(&others).any(is_named) {
                let name = &plugin.name;
                self.fail(&format!("plugins[{index}].name"), format!("`{name}` is taken already"));
            }
            match plugin.kind {
                PluginKind::Batcher if batcher.is_some() => self.fail(
                    &format!("plugins[{index}]"),
                    "is a second batcher; one decides for all models",
                ),
                PluginKind::Batcher => batcher = Some(planned),
                _ => others.push(planned),
            }
        }
        let batcher = batcher.unwrap_or_else(|| {
            let default = self.plugin(0, &raw::default_batcher());
            if others.iter().any(|other| other.spec.name == default.spec.name) {
                self.fail("plugins", "the name `batcher` is that of the built-in batcher");
            }
            default
        });
        (batcher, others)
    }

    fn plugin(&mut self, index: usize, plugin: &raw::Plugin) -> PluginPlan {
        let key = |part: &str| format!("plugins[{index}]{part}");
        let (part, source) = match (&plugin.path, plugin.builtin.as_deref()) {
            (Some(path), None) => (".path", PluginSource::File(PathBuf::from(path))),
            (None, Some(name)) => (".builtin", PluginSource::Builtin(name.to_owned())),
            _ => {
                self.fail(&key(""), "must have either `path` or `builtin`");
                ("", PluginSource::Builtin(String::new()))
            }
        };
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=64).contains(&plugin.name.len()) || !plugin.name.bytes().all(is_word) {
            self.fail(&key(".name"), "must be 1 to 64 letters, digits, `-` or `_`");
        }
        let limits = &plugin.limits;
        if !(1..=1_024).contains(&limits.memory_mib) {
            self.fail(&key(".limits"), "memory_mib must be 1 to 1024");
        }
        if !(1..=1_000_000).contains(&limits.deadline_us) {
            self.fail(&key(".limits"), "deadline_us must be 1 to 1000000");
        }
        let spec = PluginSpec {
            name: plugin.name.clone(),
            source,
            settings_json: serde_json::to_string(&plugin.settings).unwrap_or_default(),
            limits: PluginLimits {
                memory_bytes: (limits.memory_mib as usize) << 20,
                deadline_us: u64::from(limits.deadline_us),
            },
        };
        if !part.is_empty()
            && let Err(error) = check_manifest(plugin.kind.name(), &spec)
        {
            let is_of_settings = matches!(
                error,
                PolicyError::Settings { .. }
                    | PolicyError::Manifest {
                        source: ManifestError::UnknownSetting { .. } | ManifestError::Value { .. },
                        ..
                    }
            );
            self.fail(&key(if is_of_settings { ".settings" } else { part }), error.to_string());
        }
        PluginPlan { kind: plugin.kind, spec, on_failure: plugin.on_failure }
    }

    pub(super) fn trusted_keys(&mut self, policy: &raw::Policy) -> Vec<PublicKey> {
        let mut keys = Vec::new();
        for text in &policy.trusted_keys {
            match PublicKey::parse(text) {
                Some(key) => keys.push(key),
                None => self.fail(
                    "policy.trusted_keys",
                    format!("`{text}` is no Ed25519 public key of 64 hexadecimal digits"),
                ),
            }
        }
        if policy.require_signed && keys.is_empty() {
            self.fail("policy.require_signed", "needs a key in policy.trusted_keys");
        }
        keys
    }
}
