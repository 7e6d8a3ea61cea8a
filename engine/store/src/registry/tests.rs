//! The registry against a plain list: whatever is done in whatever order, every list is what the
//! plain one gives, and the indexes follow from the rows. What is planted is found.

use std::sync::Arc;

use redb::ReadableTable;
use truststram_base::{Kind, UserId};

use super::index::Index;
use super::list::{ListedModel, ModelList, ModelQuery};
use super::*;
use crate::containment::JsonPattern;
use crate::containment::tests::{random_from, random_object};
use crate::disagreement::Disagreement;
use crate::disk::HostDisk;

fn open(directory: &tempfile::TempDir) -> Registry {
    Registry::open(directory.path().join("meta.redb"), Arc::new(HostDisk)).unwrap()
}

pub(super) fn entry(id: &str, version: u32, created_us: i64) -> ModelEntry {
    ModelEntry {
        id: ModelId::new(id).unwrap(),
        version: ModelVersion(version),
        owner: Some(UserId::new("ana").unwrap()),
        name: format!("The {id}"),
        tags: vec!["new".to_owned()],
        metadata_json: r#"{"a": {"b": [1, 2]}, "c": null}"#.to_owned(),
        architecture: "dense".to_owned(),
        path: format!("models/{id}/{version}"),
        sha256: "00".repeat(32),
        bytes: 9,
        created_us,
        feature_count: 64,
        classes: vec!["no".to_owned(), "yes".to_owned()],
        metrics: vec![("held_out_accuracy".to_owned(), 0.5)],
        active: false,
    }
}

fn pick<'a>(random: &mut impl FnMut(u64) -> u64, of: &[&'a str]) -> &'a str {
    of[random(of.len() as u64) as usize]
}

const OWNERS: [&str; 3] = ["ana", "ben", "ana maria"];
const KINDS: [&str; 3] = ["dense", "lstm", "den"];
const TAGS: [&str; 3] = ["new", "old", "a"];

fn random_entry(random: &mut impl FnMut(u64) -> u64) -> ModelEntry {
    let id = pick(random, &["a", "a.b", "ab", "b", "c"]);
    ModelEntry {
        owner: (random(4) > 0).then(|| UserId::new(pick(random, &OWNERS)).unwrap()),
        architecture: pick(random, &KINDS).to_owned(),
        tags: TAGS.iter().filter(|_| random(3) == 0).map(|tag| (*tag).to_owned()).collect(),
        metadata_json: random_object(random, 3),
        active: random(3) == 0,
        ..entry(id, 1 + random(12) as u32, random(40) as i64 - 20)
    }
}

fn random_query(random: &mut impl FnMut(u64) -> u64) -> ModelQuery {
    let mut query = ModelQuery { limit: 1 + random(12) as usize, ..ModelQuery::default() };
    query.active_only = random(3) == 0;
    query.owner = (random(3) == 0).then(|| UserId::new(pick(random, &OWNERS)).unwrap());
    query.architecture = (random(3) == 0).then(|| pick(random, &KINDS).to_owned());
    query.version = (random(6) == 0).then(|| ModelVersion(1 + random(12) as u32));
    query.created_since_us = (random(4) == 0).then(|| random(50) as i64 - 25);
    if random(4) == 0 {
        query.tags.push(pick(random, &TAGS).to_owned());
    }
    if random(3) == 0 {
        query.metadata_contains = Some(JsonPattern::new(&random_object(random, 2)).unwrap());
    }
    query
}

/// What `query` has to list, from a plain list.
fn expected(models: &[ModelEntry], query: &ModelQuery) -> Vec<(i64, String, u32)> {
    let mut found: Vec<_> = models
        .iter()
        .filter(|model| {
            query.owner.as_ref().is_none_or(|owner| model.owner.as_ref() == Some(owner))
                && (!query.active_only || model.active)
                && query.architecture.as_ref().is_none_or(|kind| *kind == model.architecture)
                && query.version.is_none_or(|version| version == model.version)
                && query.created_since_us.is_none_or(|since_us| since_us <= model.created_us)
                && query.tags.iter().all(|tag| model.tags.contains(tag))
                && query
                    .metadata_contains
                    .as_ref()
                    .is_none_or(|pattern| pattern.is_contained_in(&model.metadata_json).unwrap())
        })
        .map(|model| (model.created_us, model.id.to_string(), model.version.0))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found
}

/// Every page of `query`.
fn all_pages(registry: &Registry, query: &ModelQuery) -> (Vec<ListedModel>, ModelList) {
    let mut query = query.clone();
    let mut rows = Vec::new();
    loop {
        let page = registry.list(&query).unwrap();
        assert!(page.rows.len() <= query.limit);
        rows.extend(page.rows.iter().cloned());
        query.before.clone_from(&page.next);
        if page.next.is_none() {
            return (rows, page);
        }
    }
}

/// Does one random thing to both.
fn step(registry: &Registry, models: &mut Vec<ModelEntry>, random: &mut impl FnMut(u64) -> u64) {
    let place = |models: &[ModelEntry], id: &ModelId, version| {
        models.iter().position(|model| model.id == *id && model.version == version)
    };
    let new = random_entry(random);
    let at = place(models, &new.id, new.version);
    let deactivate = |models: &mut Vec<ModelEntry>| {
        models.iter_mut().filter(|model| model.id == new.id).for_each(|model| model.active = false);
    };
    match (random(4), at) {
        (0, at) => match (registry.activate(&new.id, new.version), at) {
            (Ok(previous), Some(at)) => {
                let active = models.iter().find(|model| model.id == new.id && model.active);
                assert_eq!(previous, active.map(|model| model.version));
                deactivate(models);
                models[at].active = true;
            }
            (Err(error), None) => assert_eq!(error.kind(), Kind::NotFound),
            (result, _) => panic!("{result:?} at {at:?}"),
        },
        (1, at) => match (registry.remove(&new.id, new.version), at) {
            (Ok(removed), Some(at)) => assert_eq!(models.remove(at), removed),
            (Err(error), None) => assert_eq!(error.kind(), Kind::NotFound),
            (Err(error), Some(at)) => {
                assert_eq!((error.kind(), models[at].active), (Kind::Conflict, true));
            }
            (result, _) => panic!("{result:?} at {at:?}"),
        },
        (_, None) => {
            registry.register(&new).unwrap();
            if new.active {
                deactivate(models);
            }
            models.push(new);
        }
        (_, Some(_)) => assert_eq!(registry.register(&new).unwrap_err().kind(), Kind::Conflict),
    }
}

#[test]
fn lists_agree_with_a_plain_list_and_indexes_with_rows() {
    let rounds = if std::env::var_os("TRUSTSTRAM_SOAK").is_some() { 60 } else { 4 };
    let mut used = std::collections::BTreeMap::new();
    for seed in 0..rounds {
        let directory = tempfile::tempdir().unwrap();
        let mut registry = open(&directory);
        let mut random = random_from(seed);
        let mut models = Vec::new();
        for number in 0..120 {
            step(&registry, &mut models, &mut random);
            assert_eq!(registry.verify().unwrap(), [], "seed {seed} step {number}");
            if random(40) == 0 {
                registry.file.close().unwrap();
                registry = open(&directory);
            }
            for _ in 0..8 {
                let query = random_query(&mut random);
                let (rows, page) = all_pages(&registry, &query);
                let places: Vec<_> =
                    rows.iter().map(|r| (r.created_us, r.id.to_string(), r.version.0)).collect();
                assert_eq!(places, expected(&models, &query), "seed {seed}: {query:?} {page:?}");
                *used.entry(page.plan.index).or_insert(0) += usize::from(!rows.is_empty());
                for row in &rows {
                    let model =
                        models.iter().find(|m| (&m.id, m.version) == (&row.id, row.version));
                    let model = model.unwrap();
                    assert_eq!((&row.owner, &row.name), (&model.owner, &model.name));
                    assert_eq!(
                        (row.active, &row.architecture),
                        (model.active, &model.architecture)
                    );
                }
            }
        }
        models.sort_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
        assert_eq!(registry.all().unwrap(), models);
        let one = models.first().unwrap();
        assert_eq!(registry.version(&one.id, one.version).unwrap().as_ref(), Some(one));
        let of_one: Vec<_> = models.iter().filter(|model| model.id == one.id).cloned().collect();
        assert_eq!(registry.versions(&one.id).unwrap(), of_one);
    }
    for index in Index::ALL {
        assert!(used.get(index.name()).is_some_and(|&count| count > 0), "{index:?}: {used:?}");
    }
}

/// Ten versions of each of ten models, of two owners; version 10 is active.
fn hundred(directory: &tempfile::TempDir) -> Registry {
    let registry = open(directory);
    for number in 0..100 {
        let (model, version) = (number / 10, 1 + number % 10);
        let mut entry = entry(&format!("m{model}"), version, number.into());
        entry.owner = Some(UserId::new(OWNERS[(model % 2) as usize]).unwrap());
        entry.active = version == 10;
        entry.metadata_json = format!(r#"{{"run": {number}, "even": {}}}"#, number % 2 == 0);
        registry.register(&entry).unwrap();
    }
    registry
}

#[test]
fn plans_say_which_index_answered_and_what_it_cost() {
    let directory = tempfile::tempdir().unwrap();
    let registry = hundred(&directory);
    let all = ModelQuery::default;
    let owner = || Some(UserId::new("ana").unwrap());
    let pattern = |text: &str| Some(JsonPattern::new(text).unwrap());
    // Index, scan, terms, entries read, rows read, rows listed.
    type Cost = (&'static str, bool, usize, u64, u64, usize);
    let check = |query: ModelQuery, cost: Cost| {
        let ModelList { rows, plan, .. } = registry.list(&query).unwrap();
        let found: Cost =
            (plan.index, plan.is_scan, plan.terms, plan.entries_read, plan.rows_read, rows.len());
        assert_eq!(found, cost, "{query:?}");
        assert_eq!(plan.rechecked, plan.rows_read);
    };
    check(all(), ("m_created", false, 0, 100, 0, 100));
    check(ModelQuery { limit: 7, ..all() }, ("m_created", false, 0, 8, 0, 7));
    check(ModelQuery { owner: owner(), ..all() }, ("m_owner", false, 0, 50, 0, 50));
    let active = ModelQuery { owner: owner(), active_only: true, ..all() };
    check(active.clone(), ("m_owner_active", false, 0, 5, 0, 5));
    check(
        ModelQuery { owner: None, created_since_us: Some(90), ..active },
        ("m_active_recent", false, 0, 1, 0, 1),
    );
    let dense = ModelQuery { architecture: Some("dense".to_owned()), ..all() };
    check(
        ModelQuery { version: Some(ModelVersion(3)), ..dense.clone() },
        ("m_type_version", false, 0, 10, 0, 10),
    );
    check(
        ModelQuery { owner: owner(), active_only: true, ..dense.clone() },
        ("m_owner_active", false, 0, 5, 0, 5),
    );
    check(ModelQuery { owner: owner(), ..dense }, ("m_owner_type", false, 0, 50, 0, 50));
    let run = ModelQuery { metadata_contains: pattern(r#"{"run": 4.0e1}"#), ..all() };
    check(run.clone(), ("m_json", false, 1, 1, 1, 1));
    // The pattern has fewer entries than the owner; both are counted first: 50 and 1.
    check(ModelQuery { owner: owner(), ..run.clone() }, ("m_json", false, 1, 52, 1, 1));
    let even = ModelQuery { metadata_contains: pattern(r#"{"even": true}"#), ..all() };
    // Even numbers are 50 as well, so the owner's index is as good and comes in order.
    check(
        ModelQuery { owner: owner(), limit: 3, ..even.clone() },
        ("m_owner", false, 0, 108, 8, 3),
    );
    check(ModelQuery { tags: vec!["none".to_owned()], ..even }, ("m_json", false, 2, 1, 0, 0));
    // No version has both, and no row is read to see it.
    let odd = ModelQuery { metadata_contains: pattern(r#"{"run": 41, "even": true}"#), ..all() };
    let plan = registry.list(&odd).unwrap().plan;
    assert_eq!((plan.index, plan.terms, plan.rows_read), ("m_json", 2, 0));
    assert!(plan.entries_read <= 3, "{plan:?}");
    // No scalar, no term: every version is compared.
    let any = ModelQuery { metadata_contains: pattern("{}"), ..all() };
    check(any, ("m_created", true, 0, 100, 100, 100));
    let array = ModelQuery { metadata_contains: pattern("[1]"), ..all() };
    check(array, ("", false, 0, 0, 0, 0));
    let pages = registry.list(&run).unwrap().plan.pages;
    assert!(pages.cached + pages.from_file > 0, "{pages:?}");
}

type IndexTable<'t> = redb::Table<'t, index::Key, &'static [u8]>;

#[test]
fn every_planted_disagreement_is_found_and_reindexing_mends_it() {
    let directory = tempfile::tempdir().unwrap();
    let registry = hundred(&directory);
    assert_eq!(registry.verify().unwrap(), []);
    for index in Index::ALL {
        let table = index.name();
        let change = |operation: &dyn Fn(&mut IndexTable<'_>)| {
            stop::write(&registry.file, |transaction| {
                operation(&mut transaction.open_table(index.table())?);
                Ok(())
            })
            .unwrap();
        };
        let only = |expected: fn(&Disagreement, &str) -> bool| {
            let found = registry.verify().unwrap();
            assert!(found.len() == 1 && expected(&found[0], table), "{table}: {found:?}");
            registry.reindex().unwrap();
            assert_eq!(registry.verify().unwrap(), [], "{table}");
        };
        change(&|entries| drop(entries.pop_first().unwrap()));
        only(|found, name| matches!(found, Disagreement::Missing { table, .. } if *table == name));
        change(&|entries| {
            let mut key = index::IndexKey::new(entries.first().unwrap().unwrap().0.value());
            key.version += 1_000;
            let mut frame = vec![0; crate::envelope::HEADER_BYTES];
            crate::envelope::seal(index::context(index, key.borrowed()), &mut frame);
            entries.insert(key.borrowed(), &frame[..]).unwrap();
        });
        only(|found, name| matches!(found, Disagreement::Stray { table, .. } if *table == name));
        change(&|entries| {
            let key = index::IndexKey::new(entries.last().unwrap().unwrap().0.value());
            let mut frame = vec![0; crate::envelope::HEADER_BYTES + 1];
            crate::envelope::seal(index::context(index, key.borrowed()), &mut frame);
            entries.insert(key.borrowed(), &frame[..]).unwrap();
        });
        only(|found, name| matches!(found, Disagreement::Differs { table, .. } if *table == name));
        change(&|entries| {
            let key = index::IndexKey::new(entries.last().unwrap().unwrap().0.value());
            let mut frame = entries.get(key.borrowed()).unwrap().unwrap().value().to_vec();
            *frame.last_mut().unwrap() ^= 1;
            entries.insert(key.borrowed(), &frame[..]).unwrap();
        });
        only(|found, name| matches!(found, Disagreement::Damaged { table, .. } if *table == name));
    }
}

#[test]
fn damaged_rows_are_reported_and_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let registry = hundred(&directory);
    let flip = |key: (&str, u32)| {
        stop::write(&registry.file, |transaction| {
            let mut models = transaction.open_table(MODELS)?;
            let mut frame = models.get(key)?.unwrap().value().to_vec();
            frame[20] ^= 4;
            models.insert(key, &frame[..])?;
            Ok(())
        })
        .unwrap();
    };
    flip(("m3", 10));
    let damage = Damage::Checksum;
    let key = r#"("m3", 10)"#.to_owned();
    let expected = Disagreement::Damaged { table: "models", key, damage };
    assert_eq!(registry.verify().unwrap(), [expected]);
    let id = ModelId::new("m3").unwrap();
    let kinds = [
        registry.all().unwrap_err().kind(),
        registry.versions(&id).unwrap_err().kind(),
        registry.activate(&id, ModelVersion(1)).unwrap_err().kind(),
        registry.reindex().unwrap_err().kind(),
    ];
    assert_eq!(kinds, [Kind::Corrupt; 4]);
    flip(("m3", 10));
    assert_eq!(registry.verify().unwrap(), []);
    // A mark of a version that is not there, and one that cannot be read.
    let mark = |frame: Vec<u8>| {
        stop::write(&registry.file, |transaction| {
            transaction.open_table(ACTIVE)?.insert("m3", &frame[..])?;
            Ok(())
        })
        .unwrap();
        registry.verify().unwrap()
    };
    let mut frame = rows::encode_active("m3", ModelVersion(77)).to_vec();
    let found = mark(frame.clone());
    assert!(found.contains(&Disagreement::Stray { table: "active", key: "m3".to_owned() }));
    frame[10] ^= 1;
    let expected = Disagreement::Damaged { table: "active", key: "m3".to_owned(), damage };
    assert_eq!(mark(frame), [expected]);
    assert_eq!(registry.versions(&id).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn entries_that_indexes_cannot_hold_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let registry = open(&directory);
    let check = |change: &dyn Fn(&mut ModelEntry), expected: &str| {
        let mut entry = entry("a", 1, 0);
        change(&mut entry);
        let error = registry.register(&entry).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(&|entry| entry.name.clear(), "name is empty");
    check(&|entry| entry.name = "a".repeat(257), "name is longer than 256 bytes");
    check(&|entry| entry.architecture = "a\0b".to_owned(), "architecture has a control character");
    check(&|entry| entry.tags = vec![String::new()], "tags is empty");
    check(&|entry| entry.tags = vec!["a".to_owned(); 65], "tags are more than 64");
    check(&|entry| entry.metadata_json = "[]".to_owned(), "metadata_json is not a JSON object");
    check(&|entry| entry.metadata_json = "{".to_owned(), "metadata_json is not JSON");
    assert!(registry.all().unwrap().is_empty());
}
