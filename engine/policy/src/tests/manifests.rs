//! The manifests of the policies that ship: what they allow is what the components take.

use std::sync::Arc;

use serde_json::{Map, Value};
use truststram_base::ManualClock;

use super::{builtin, spec};
use crate::{Host, Kind, PolicyError};

/// Every default and every bound of a setting is taken by some policy of the kind, unless the
/// component itself names the setting and says why not.
fn holds<K: Kind>() {
    let host = Host::new(Arc::new(ManualClock::at(0))).unwrap();
    let names: Vec<&str> = crate::builtins()
        .filter(|builtin| builtin.kind == K::NAME)
        .map(|builtin| builtin.name)
        .collect();
    let load = |policy: &str, settings: &Map<String, Value>| {
        let settings = Value::Object(settings.clone()).to_string();
        host.load::<K>(&spec(builtin(policy), &settings))
    };
    let plugin = load(names[0], &Map::new()).unwrap();
    let manifest = plugin.manifest().unwrap();
    assert_eq!((&*manifest.kind, &*manifest.name), (K::NAME, K::NAME));
    let policies: Vec<&str> =
        manifest.settings["policy"].one_of.iter().filter_map(Value::as_str).collect();
    assert_eq!(policies, names, "the policies of the manifest are those that ship");
    for (name, setting) in manifest.settings.iter().filter(|(name, _)| *name != "policy") {
        let bounds = [setting.minimum, setting.maximum].map(|bound| bound.map(Value::from));
        for value in bounds.into_iter().flatten().chain(setting.default.clone()) {
            let settings = Map::from_iter([(name.clone(), whole(&value))]);
            let results: Vec<_> = names.iter().map(|policy| load(policy, &settings)).collect();
            let refused = |result: &Result<_, PolicyError>| match result {
                Err(PolicyError::Settings { message, .. }) => message.contains(&**name),
                Err(error) => panic!("{name} {value}: {error}"),
                Ok(_) => false,
            };
            let is_taken = results.iter().any(Result::is_ok);
            let is_default = setting.default.as_ref() == Some(&value);
            assert!(is_taken || results.iter().all(refused), "{name} {value}");
            assert!(is_taken || !is_default, "{name}: the default {value} is refused");
        }
    }
}

/// JSON has one kind of number; serde reads a whole one only without a fraction.
fn whole(value: &Value) -> Value {
    match value.as_f64() {
        Some(number) if number.fract() == 0.0 && number.abs() < 1e15 => (number as i64).into(),
        _ => value.clone(),
    }
}

#[test]
fn every_shipped_manifest_is_true() {
    holds::<crate::Aggregator>();
    holds::<crate::Batcher>();
    holds::<crate::Placer>();
    holds::<crate::Router>();
    holds::<crate::Selector>();
    holds::<crate::Tuner>();
}
