//! Owns reading the file and its `conf.d`: TOML to [`Raw`], with every unknown key and every bad
//! value reported at once, each with its key path, file and line.
//!
//! Refuses to judge values beyond their type. Later files win key by key; a list such as
//! `[[plugins]]` of a later file replaces that of earlier ones. Bound: files of `FILE_BYTES_MAX`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::problem::{Place, Problems};
use super::raw::Raw;

/// Largest configuration file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of `conf.d`.
const FILE_COUNT_MAX: usize = 256;

/// A configuration with the place of each key that was given.
#[derive(Clone, Debug, Default)]
pub struct Located {
    /// The values, defaults included.
    pub raw: Raw,
    places: BTreeMap<String, Place>,
}

impl Located {
    /// Where the value of `key` came from; a key of a section falls back to the section.
    pub fn place(&self, key: &str) -> Place {
        let mut known = key;
        loop {
            if let Some(place) = self.places.get(known) {
                return place.clone();
            }
            // `a.b[2].c` stands in `a.b[2]`, that in `a.b`, that in `a`.
            match known.rfind(['.', '[']) {
                Some(end) => known = &known[..end],
                None => return Place::Default,
            }
        }
    }

    /// Notes that `key` was given by a flag.
    pub fn set_by_flag(&mut self, key: &str, flag: &'static str) {
        self.places.insert(key.to_owned(), Place::Flag(flag));
    }
}

/// Reads `file` and then `conf.d/*.toml` beside it, in the order of their names.
pub fn read(file: &Path) -> Result<Located, Problems> {
    let mut problems = Problems::default();
    let mut sources = vec![file.to_owned()];
    let folder = file.parent().unwrap_or(Path::new("")).join("conf.d");
    sources.extend(fragments(&folder, &mut problems));
    let mut located = Located::default();
    let mut merged = Table::new();
    for source in sources {
        if let Some(text) = text_of(&source, &mut problems) {
            merge(&source, &text, &mut merged, &mut located.places, &mut problems);
        }
    }
    located.raw = typed(merged, &located, &mut problems);
    problems.or(located)
}

fn fragments(folder: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let place = Place::WholeFile(folder.to_owned());
            problems.add("", place, format!("cannot be listed: {error}"));
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    if paths.len() > FILE_COUNT_MAX {
        let place = Place::WholeFile(folder.to_owned());
        problems.add("", place, format!("holds more than {FILE_COUNT_MAX} files"));
        paths.truncate(FILE_COUNT_MAX);
    }
    paths
}

fn text_of(path: &Path, problems: &mut Problems) -> Option<String> {
    let place = || Place::WholeFile(path.to_owned());
    match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_BYTES_MAX => {
            problems.add("", place(), format!("is larger than {FILE_BYTES_MAX} bytes"));
            return None;
        }
        _ => {}
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            problems.add("", place(), format!("cannot be read: {error}"));
            None
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

/// Adds the keys of `text` to `merged`, and where they stand to `places`.
fn merge(
    source: &Path,
    text: &str,
    merged: &mut Table,
    places: &mut BTreeMap<String, Place>,
    problems: &mut Problems,
) {
    let at = |offset: usize| Place::File(source.to_owned(), line_of(text, offset));
    let spans = match toml::de::DeTable::parse(text) {
        Ok(spans) => spans,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            problems.add("", at(offset), format!("is not TOML: {}", error.message()));
            return;
        }
    };
    for (section, value) in spans.get_ref() {
        let name = section.get_ref().as_ref();
        places.insert(name.to_owned(), at(section.span().start));
        if let toml::de::DeValue::Table(keys) = value.get_ref() {
            for key in keys.keys() {
                places.insert(format!("{name}.{}", key.get_ref()), at(key.span().start));
            }
        }
        if let toml::de::DeValue::Array(items) = value.get_ref() {
            for (index, item) in items.iter().enumerate() {
                places.insert(format!("{name}[{index}]"), at(item.span().start));
                if let toml::de::DeValue::Table(keys) = item.get_ref() {
                    for key in keys.keys() {
                        let path = format!("{name}[{index}].{}", key.get_ref());
                        places.insert(path, at(key.span().start));
                    }
                }
            }
        }
    }
    // The same text was just read, so this cannot fail.
    let Ok(values) = text.parse::<Table>() else { return };
    for (name, value) in values {
        match (merged.get_mut(&name), value) {
            (Some(Value::Table(earlier)), Value::Table(later)) => earlier.extend(later),
            (_, value) => {
                merged.insert(name, value);
            }
        }
    }
}

fn typed(mut merged: Table, located: &Located, problems: &mut Problems) -> Raw {
    let from = &mut merged;
    let raw = Raw {
        server: section("server", from, located, problems),
        gateway: section("gateway", from, located, problems),
        auth: section("auth", from, located, problems),
        cache: section("cache", from, located, problems),
        compression: section("compression", from, located, problems),
        overload: section("overload", from, located, problems),
        api: section("api", from, located, problems),
        inference: section("inference", from, located, problems),
        store: section("store", from, located, problems),
        machine: section("machine", from, located, problems),
        log: section("log", from, located, problems),
        policy: section("policy", from, located, problems),
        federated: section("federated", from, located, problems),
        training: section("training", from, located, problems),
        limits: list("limits", from, located, problems),
        plugins: list("plugins", from, located, problems),
        routes: list("routes", from, located, problems),
        upstreams: list("upstreams", from, located, problems),
    };
    for name in merged.keys() {
        let known = "server, gateway, auth, cache, compression, overload, api, inference, store, \
                     machine, log, policy, federated, training, [[limits]], [[plugins]], \
                     [[routes]], [[upstreams]]";
        problems.add(name, located.place(name), format!("is not a known section; known: {known}"));
    }
    raw
}

/// Takes a list of tables out and reads it entry by entry.
fn list<T: DeserializeOwned>(
    name: &str,
    from: &mut Table,
    located: &Located,
    problems: &mut Problems,
) -> Vec<T> {
    let items = match from.remove(name) {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => {
            problems.add(name, located.place(name), format!("must be [[{name}]]"));
            return Vec::new();
        }
    };
    let mut read = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        let path = format!("{name}[{index}]");
        match item.try_into::<T>() {
            Ok(one) => read.push(one),
            Err(error) => problems.add(&path, located.place(&path), error.message()),
        }
    }
    read
}

/// Takes a flat section out and reads it key by key, so that one bad key does not hide the next.
fn section<T: DeserializeOwned + Default>(
    name: &str,
    from: &mut Table,
    located: &Located,
    problems: &mut Problems,
) -> T {
    let table = match from.remove(name) {
        None => return T::default(),
        Some(Value::Table(table)) => table,
        Some(_) => {
            problems.add(name, located.place(name), "must be a section");
            return T::default();
        }
    };
    let mut good = Table::new();
    for (key, value) in table {
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        match Value::Table(alone).try_into::<T>() {
            Ok(_) => {
                good.insert(key, value);
            }
            Err(error) => {
                let path = format!("{name}.{key}");
                problems.add(&path, located.place(&path), error.message());
            }
        }
    }
    Value::Table(good).try_into().unwrap_or_default()
}
