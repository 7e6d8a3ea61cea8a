//! What every built-in plugin exports in the same way.
//!
//! Owns the translation of `lifecycle`. Refuses to know kinds and settings. Bound: generated code.

/// Implements `lifecycle` for `$plugin`: its name and summary, a function that takes the text of
/// the settings and returns what is wrong with them, and, where it learns something, the functions
/// that give and take it as bytes. The crate must have called `wit_bindgen::generate!` at its root.
#[macro_export]
#[allow(clippy::crate_in_macro_def, reason = "the bindings are those of the calling crate")]
macro_rules! lifecycle {
    ($plugin:ident, $name:literal, $summary:literal, $configure:expr) => {
        $crate::lifecycle!($plugin, $name, $summary, $configure, Vec::new, |_state| Ok(()));
    };
    ($plugin:ident, $name:literal, $summary:literal, $configure:expr, $give:expr, $take:expr) => {
        impl crate::exports::truststram::policy::lifecycle::Guest for $plugin {
            fn describe() -> crate::exports::truststram::policy::lifecycle::PluginInfo {
                crate::exports::truststram::policy::lifecycle::PluginInfo {
                    name: $name.to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    summary: $summary.to_owned(),
                }
            }

            fn configure(settings: String) -> Result<(), crate::truststram::policy::types::Error> {
                let configure: fn(&str) -> Result<(), String> = $configure;
                configure(&settings).map_err(crate::truststram::policy::types::Error::InvalidConfig)
            }

            fn snapshot() -> Vec<u8> {
                let give: fn() -> Vec<u8> = $give;
                give()
            }

            fn restore(state: Vec<u8>) -> Result<(), crate::truststram::policy::types::Error> {
                let take: fn(Vec<u8>) -> Result<(), String> = $take;
                take(state).map_err(crate::truststram::policy::types::Error::Unsupported)
            }
        }
    };
}
