//! Questions to a real store on a disk of its own.

use truststram_base::{ManualClock, PredictionRecord, RequestId};
use truststram_store::StoreOptions;

use super::*;

const NOW_US: i64 = 1_795_442_430_000_000;

/// A store, and what is asked of it.
struct Asked {
    questions: Questions,
    _directory: tempfile::TempDir,
}

fn asked() -> Asked {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(NOW_US));
    let store = Store::open(directory.path(), StoreOptions::default(), clock.clone()).unwrap();
    let slow = Arc::new(SlowQueries::new(clock.clone(), 1_000));
    let questions = Questions { store: Arc::new(store), clock, slow };
    Asked { questions, _directory: directory }
}

fn id(text: &str) -> ModelId {
    ModelId::new(text).unwrap()
}

impl Asked {
    fn register(&self, model: &str, version: u32, owner: &str, age_days: i64, active: bool) {
        let entry = ModelEntry {
            id: id(model),
            version: ModelVersion(version),
            owner: Some(UserId::new(owner).unwrap()),
            name: format!("{model} {version}"),
            tags: vec![format!("v{version}")],
            metadata_json: format!(r#"{{"version": {version}, "of": ["{owner}"]}}"#),
            architecture: "dense".to_owned(),
            path: format!("{model}/{version}"),
            sha256: "0".repeat(64),
            bytes: 1,
            created_us: NOW_US - age_days * DAY_US - i64::from(version),
            feature_count: 1,
            classes: vec!["no".to_owned(), "yes".to_owned()],
            metrics: Vec::new(),
            active,
        };
        self.questions.store.register_model(&entry).unwrap();
    }

    fn predict(&self, model: &str, age_us: i64, class: u32) {
        let record = PredictionRecord {
            request: RequestId(1),
            model: id(model),
            version: ModelVersion(1),
            user: None,
            timestamp_us: NOW_US - age_us,
            features: vec![1.0],
            class,
            confidence: 0.5,
        };
        self.questions.store.submit(record).unwrap();
        self.questions.store.flush().unwrap();
    }

    fn models(&self, query: ModelsQuery) -> Vec<String> {
        let mut query = ModelsQuery { limit: 1, ..query };
        let mut found = Vec::new();
        loop {
            let page = self.questions.list_models(query.clone()).unwrap();
            let names = page.rows.into_iter().map(|row| row.entry.name);
            found.extend(names);
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return found,
            }
        }
    }

    fn counts(&self, query: StatisticsQuery) -> Vec<(String, u64)> {
        let found = self.questions.statistics(query).unwrap();
        found.rows.into_iter().map(|row| (row.name, row.predictions)).collect()
    }
}

#[test]
fn models_are_filtered_page_by_page() {
    let asked = asked();
    asked.register("a", 1, "ada", 3, true);
    asked.register("a", 2, "ada", 2, false);
    asked.register("b", 1, "bob", 1, true);
    let check = |query: ModelsQuery, expected: &[&str]| {
        assert_eq!(asked.models(query.clone()), expected, "{query:?}");
    };
    let all = ModelsQuery::default;
    check(all(), &["b 1", "a 2", "a 1"]);
    check(ModelsQuery { active_only: true, ..all() }, &["b 1", "a 1"]);
    check(ModelsQuery { owner: UserId::new("ada").ok(), ..all() }, &["a 2", "a 1"]);
    check(ModelsQuery { tag: Some("v1".to_owned()), ..all() }, &["b 1", "a 1"]);
    check(ModelsQuery { version: Some(ModelVersion(2)), ..all() }, &["a 2"]);
    check(ModelsQuery { model_type: Some("none".to_owned()), ..all() }, &[]);
    let created_since_us = Some(NOW_US - 2 * DAY_US - 2);
    check(ModelsQuery { created_since_us, ..all() }, &["b 1", "a 2"]);
    let metadata = |text: &str| ModelsQuery { metadata: Some(text.to_owned()), ..all() };
    check(metadata(r#"{"of": ["ada"]}"#), &["a 2", "a 1"]);
    check(metadata(r#"{"version": 1.0}"#), &["b 1", "a 1"]);
    check(metadata(r#"{"version": "1"}"#), &[]);
    let page = asked.questions.list_models(ModelsQuery { limit: 9, ..all() }).unwrap();
    assert_eq!(page.rows[1].active_version, Some(ModelVersion(1)), "it is version 2 of a");
    assert_eq!(page.plan.rows, 3);

    let refused = |query: ModelsQuery| asked.questions.list_models(query).unwrap_err();
    for text in ["", "m1-", "m1-0-0", "m1-0-0-A", "m1-g-0-a", "p1-0"] {
        let cursor = Some(text.to_owned());
        assert_eq!(refused(ModelsQuery { cursor, ..all() }), PageFailure::BadCursor, "{text}");
    }
    let long = format!("\"{}\"", "x".repeat(20_000));
    for (text, expected) in [("{", "is not JSON"), (&long, "is longer than")] {
        match refused(metadata(text)) {
            PageFailure::Invalid { field: "metadata", reason } => {
                assert!(reason.starts_with(expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_owner_gets_the_predictions_of_all_models() {
    let asked = asked();
    asked.register("a", 1, "ada", 3, true);
    asked.register("b", 1, "ada", 2, false);
    asked.register("c", 1, "bob", 1, true);
    for (model, age_us) in [("a", 8 * DAY_US), ("a", 5), ("c", 4), ("b", 3), ("a", 2)] {
        asked.predict(model, age_us, 1);
    }
    let ask = |owner: &str, since_us: Option<i64>, limit: usize| {
        let owner = UserId::new(owner).ok();
        let query = PredictionsQuery { owner, since_us, limit, ..PredictionsQuery::default() };
        let page = asked.questions.predictions(query).unwrap();
        assert!(page.explained.plan.starts_with("the owner's models by index "));
        page.rows.into_iter().map(|row| row.model_name.unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ask("ada", None, 100), ["a 1", "b 1", "a 1"]);
    assert_eq!(ask("ada", None, 2), ["a 1", "b 1"]);
    assert_eq!(ask("ada", Some(0), 100).len(), 4);
    assert_eq!(ask("bob", None, 100), ["c 1"]);
    assert!(ask("eve", None, 100).is_empty());
}

#[test]
fn statistics_are_of_recent_active_models_and_whole_minutes() {
    let asked = asked();
    asked.register("old", 1, "ada", 40, true);
    asked.register("new", 1, "ada", 1, true);
    asked.register("new", 2, "ada", 0, false);
    asked.register("off", 1, "ada", 5, false);
    asked.predict("new", 0, 1);
    asked.predict("new", 2 * MINUTE_US, 0);
    asked.predict("old", 0, 1);
    asked.predict("new", 8 * DAY_US, 1);
    let named = |rows: &[(&str, u64)]| -> Vec<(String, u64)> {
        rows.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    let default = StatisticsQuery::default;
    assert_eq!(asked.counts(default()), named(&[("new 1", 2)]));
    let all = StatisticsQuery { all: true, ..default() };
    assert_eq!(asked.counts(all), named(&[("new 1", 2), ("off 1", 0), ("old 1", 1)]));
    let early = StatisticsQuery { until_us: Some(NOW_US), ..default() };
    assert_eq!(asked.counts(early), named(&[("new 1", 1)]), "the minute of the end is left out");
    let long = StatisticsQuery { since_us: Some(i64::MIN), ..default() };
    assert_eq!(asked.counts(long), named(&[("new 1", 3)]));
    for (since_us, until_us) in [(i64::MAX, None), (0, Some(i64::MIN)), (9, Some(5))] {
        let query = StatisticsQuery { since_us: Some(since_us), until_us, all: false };
        assert_eq!(asked.counts(query), named(&[("new 1", 0)]), "nothing is in {query:?}");
    }
    let found = asked.questions.statistics(default()).unwrap();
    assert_eq!(found.until_us - found.since_us, SPAN_US + MINUTE_US);
    assert_eq!(found.rows[0].positive_share, Some(0.5));
}

#[test]
fn performance_is_of_the_active_version_and_unknown_models_are_named() {
    let asked = asked();
    asked.register("a", 1, "ada", 2, true);
    asked.register("a", 2, "ada", 1, false);
    asked.register("b", 1, "ada", 1, false);
    asked.predict("a", 2 * DAY_US, 0);
    asked.predict("a", 7, 1);
    let a = asked.questions.performance(&id("a")).unwrap();
    assert_eq!((a.name.as_str(), a.predictions, a.day_predictions), ("a 1", 2, 1));
    assert_eq!((a.confidence_mean, a.positive_share), (Some(0.5), Some(0.5)));
    assert_eq!((a.last_us, a.as_of_us), (Some(NOW_US - 7), NOW_US));
    let b = asked.questions.performance(&id("b")).unwrap();
    assert_eq!((b.predictions, b.confidence_mean, b.last_us), (0, None, None));
    let none = asked.questions.performance(&id("none"));
    assert_eq!(none, Err(Failure::UnknownModel(id("none"))));
    let all = asked.questions.performances().unwrap();
    assert_eq!(all, [a], "only active models are in the whole view");
}
