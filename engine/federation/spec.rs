//! Owns the description of a federation as operators write it.
//!
//! Refuses to know whether its model is there. Bound: every value is checked before anything
//! starts.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use truststram_base::ModelId;
use truststram_decide::{aggregation, selection};
use truststram_federate::codec::Encoding;
use truststram_federate::round::{NativePolicy, RoundSettings};

/// What is trained, by whom and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The model, which is registered.
    pub model: String,
    /// The version that it begins with; the active one if absent.
    #[serde(default)]
    pub version: Option<u32>,
    /// Whether each version that comes out answers at once.
    #[serde(default)]
    pub activate: bool,
    /// Versions after which it is over; 0 for none.
    #[serde(default)]
    pub versions: u64,
    /// Versions of it that stay registered, besides those in use.
    #[serde(default = "keep_versions")]
    pub keep_versions: u32,
    /// The clients' learning rate.
    #[serde(default = "learning_rate")]
    pub learning_rate: f64,
    /// How updates may be written, the most wanted first.
    #[serde(default = "encodings")]
    pub encodings: Vec<String>,
    /// The rounds.
    #[serde(default)]
    pub rounds: RoundSettings,
    /// The aggregator and its settings, as a plugin of that kind has them.
    #[serde(default)]
    pub aggregator: Map<String, Value>,
    /// The selector of clients and its settings.
    #[serde(default)]
    pub selector: Map<String, Value>,
}

fn keep_versions() -> u32 {
    8
}

fn learning_rate() -> f64 {
    0.05
}

fn encodings() -> Vec<String> {
    ["f32", "bf16", "int8", "top-0.1-int8", "top-0.01-int8"].map(str::to_owned).to_vec()
}

impl Spec {
    /// Reads a description and checks it.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn read(value: Value) -> Result<(Self, NativePolicy), String> {
        let spec: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let policy = spec.policy()?;
        Ok((spec, policy))
    }

    /// The model's id.
    ///
    /// # Errors
    /// Why it can be none.
    pub fn id(&self) -> Result<ModelId, String> {
        ModelId::new(&self.model).map_err(|error| format!("`model` {error}"))
    }

    /// Why the plugins of the configuration cannot decide about this, if so.
    pub(super) fn without_plugins(&self) -> Option<&'static str> {
        let is_private = self.rounds.privacy.is_some() || self.rounds.secure.is_some();
        is_private.then_some(
            "rounds.privacy and rounds.secure: a plugin of the configuration decides about \
             updates or clients, and nothing bounds how much of one client its answers tell; take \
             the aggregator and the selector out of `[[plugins]]`, or do without both",
        )
    }

    /// Checks all values; the policies that they say.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn policy(&self) -> Result<NativePolicy, String> {
        self.id()?;
        self.rounds.check().map_err(|why| format!("rounds: {why}"))?;
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err("`learning_rate` must be a number above 0".to_owned());
        }
        if self.keep_versions == 0 {
            return Err("`keep_versions` must be at least 1".to_owned());
        }
        if self.encodings.is_empty() {
            return Err("`encodings` must name at least one, such as f32".to_owned());
        }
        for text in &self.encodings {
            text.parse::<Encoding>().map_err(|error| format!("encodings: {error}"))?;
        }
        let json = |settings: &Map<String, Value>| Value::Object(settings.clone()).to_string();
        let aggregation = aggregation::Settings::parse(&json(&self.aggregator));
        let selection = selection::Settings::parse(&json(&self.selector));
        let policy = NativePolicy {
            aggregation: aggregation.map_err(|why| format!("aggregator: {why}"))?,
            selection: selection.map_err(|why| format!("selector: {why}"))?,
        };
        self.rounds.check_policy(&policy)?;
        if self.rounds.privacy.is_some() && !self.selector.is_empty() {
            return Err("selector: with `rounds.privacy` chance alone draws who trains, at \
                        `rounds.privacy.sampling_rate`; take the selector out"
                .to_owned());
        }
        Ok(policy)
    }
}

/// Which federation the records are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// When it began, microseconds UTC; its name.
    pub run: i64,
    /// What it is.
    pub spec: Spec,
    /// The registered version that it began with.
    pub began_with: u32,
    /// Why it is over, if it is.
    pub ended: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_example_has_every_key_with_its_default() {
        let text = include_str!("../../config/federation.toml");
        let (example, _) = Spec::read(toml::from_str(text).unwrap()).unwrap();
        let (least, _) = Spec::read(json!({ "model": "digits" })).unwrap();
        let policies = |spec: &Spec| format!("{:?}", spec.policy().unwrap());
        assert_eq!(policies(&example), policies(&least));
        let (aggregator, selector) = (example.aggregator.clone(), example.selector.clone());
        assert_eq!(example, Spec { aggregator, selector, ..least });
    }

    /// A description with privacy, and these settings of it and of the aggregator.
    fn private(more: Value, aggregator: Value) -> Value {
        let mut privacy = json!({ "noise_multiplier": 1, "clip_norm": 1, "population": 10 });
        let fields = more.as_object().unwrap().clone();
        privacy.as_object_mut().unwrap().extend(fields);
        json!({
            "model": "a", "aggregator": aggregator,
            "rounds": { "over_selection": 1, "privacy": privacy },
        })
    }

    #[test]
    fn the_example_says_the_defaults_of_what_is_off() {
        // The lines of a section that is off begin with one more sign.
        let text = include_str!("../../config/federation.toml");
        let uncommented: Vec<&str> =
            text.lines().map(|line| line.strip_prefix("## ").unwrap_or(line)).collect();
        let text = uncommented.join("\n");
        let example: Spec = toml::from_str(&text).unwrap();
        let privacy = example.rounds.privacy.unwrap();
        let least = json!({
            "noise_multiplier": privacy.noise_multiplier, "clip_norm": privacy.clip_norm,
            "population": privacy.population,
        });
        assert_eq!(privacy, serde_json::from_value(least).unwrap());
        let secure = example.rounds.secure.unwrap();
        assert_eq!(secure, serde_json::from_value(json!({})).unwrap());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = json!({ "model": "digits" });
        let (spec, _) = Spec::read(good).unwrap();
        assert_eq!((spec.rounds.deadline_s, spec.rounds.over_selection), (300, 1.3));
        for (spec, expected) in [
            (json!({}), "`model`"),
            (json!({ "model": "a b" }), "`model`"),
            (json!({ "model": "a", "modle": 1 }), "modle"),
            (json!({ "model": "a", "rounds": { "quorum": 0 } }), "rounds: `quorum`"),
            (json!({ "model": "a", "encodings": ["f64"] }), "f64"),
            (json!({ "model": "a", "aggregator": { "policy": "mean" } }), "aggregator: "),
            (json!({ "model": "a", "selector": { "ratio": 2 } }), "selector: `ratio`"),
            (json!({ "model": "a", "learning_rate": -1 }), "`learning_rate`"),
            (private(json!({}), json!({ "policy": "median" })), "does not go with"),
            (
                json!({
                    "model": "a", "rounds": { "secure": {} },
                    "aggregator": { "policy": "multi-krum" },
                }),
                "looks at each of them",
            ),
            (
                json!({ "model": "a", "rounds": { "secure": { "threshold": 0.4 } } }),
                "rounds: secure: `threshold`",
            ),
            (private(json!({ "delta": 0.5 }), json!({})), "rounds: privacy: `delta`"),
            (private(json!({ "epsilon": 8 }), json!({})), "epsilon"),
            (
                json!({ "model": "a", "aggregator": { "noise_multiplier": 1, "clip_norm": 1 } }),
                "no account",
            ),
        ] {
            let error = Spec::read(spec).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
