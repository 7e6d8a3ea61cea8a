//! Owns writing a configuration without what is a default anyway.
//!
//! Refuses to lose a value: what is read back is the same. Bound: one configuration.

use serde::Serialize;
use toml::{Table, Value};

use crate::config::raw::{Raw, Route, Upstream, UpstreamServer};

/// The sections, then the lists.
pub(super) fn toml(raw: &Raw) -> String {
    let (mut all, default) = (table(raw), table(&Raw::default()));
    for (name, value) in &mut all {
        match value {
            Value::Table(section) => {
                if let Some(Value::Table(default)) = default.get(name) {
                    strip(section, default, &[]);
                }
            }
            Value::Array(entries) if name == "routes" => {
                strip_all(entries, &table(&Route::default()), &["name"]);
            }
            Value::Array(entries) if name == "upstreams" => {
                strip_all(entries, &table(&Upstream::default()), &["name"]);
                for servers in entries.iter_mut().filter_map(|one| one.get_mut("servers")) {
                    if let Value::Array(servers) = servers {
                        strip_all(servers, &table(&UpstreamServer::default()), &["address"]);
                    }
                }
            }
            _ => {}
        }
    }
    all.retain(|_, value| match value {
        Value::Table(section) => !section.is_empty(),
        Value::Array(entries) => !entries.is_empty(),
        _ => true,
    });
    // Tables of texts, numbers and lists always serialise.
    toml::to_string(&all).unwrap_or_default()
}

fn table<T: Serialize>(value: &T) -> Table {
    Table::try_from(value).unwrap_or_default()
}

fn strip_all(entries: &mut [Value], default: &Table, kept: &[&str]) {
    for entry in entries {
        if let Value::Table(entry) = entry {
            strip(entry, default, kept);
        }
    }
}

fn strip(values: &mut Table, default: &Table, kept: &[&str]) {
    values.retain(|key, value| kept.contains(&key) || default.get(key) != Some(value));
}
