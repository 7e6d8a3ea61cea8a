//! Data sets from outside: what was appended is read back, as of when the reading began, after a
//! restart too, whole or reported.

use std::path::Path;

use truststram_base::Kind;

use super::*;
use crate::containment::tests::random_from;
use crate::disk::HostDisk;

fn open(directory: &Path) -> Datasets {
    Datasets::open(directory.join("datasets.redb"), Arc::new(HostDisk)).unwrap()
}

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).unwrap()
}

/// A row as it comes back under `id`.
fn row(id: u64, feature_count: usize) -> TrainingRow {
    let mut random = random_from(id + 1);
    TrainingRow {
        id,
        created_us: 1_000 + id as i64 * 10,
        features: (0..feature_count).map(|at| (id + at as u64) as f32 * 0.25 - 3.0).collect(),
        text: None,
        label: (random(5) > 0).then(|| format!("class {}", random(3))),
        metadata_json: if random(4) == 0 { format!(r#"{{"n":{id}}}"#) } else { "{}".to_owned() },
    }
}

fn rows(ids: std::ops::Range<u64>, feature_count: usize) -> Vec<TrainingRow> {
    ids.map(|id| row(id, feature_count)).collect()
}

fn read(datasets: &Datasets, name: &DatasetName, from_id: u64) -> Vec<TrainingRow> {
    datasets.scan(name, from_id, None).unwrap().map(Result::unwrap).collect()
}

#[test]
fn rows_are_read_back_after_any_appends_and_restarts() {
    for (seed, feature_count) in [(1, 1), (2, 7), (3, 784), (4, 20_000)] {
        let directory = tempfile::tempdir().unwrap();
        let mut random = random_from(seed);
        let mut datasets = open(directory.path());
        let (digits, other) = (name("digits"), name("digits.2"));
        let mut count = 0;
        while count < 20_000 / feature_count as u64 + 40 {
            let more_max = if random(3) == 0 { 60 } else { 3 };
            let more = 1 + random(more_max);
            let mut batch = rows(count..count + more, feature_count);
            // Appending sets the ids.
            batch.iter_mut().for_each(|row| row.id = 77);
            assert_eq!(datasets.append(&digits, &batch).unwrap(), count);
            datasets.append(&other, &batch[..1]).unwrap();
            count += more;
            if random(20) == 0 {
                datasets.file.close().unwrap();
                datasets = open(directory.path());
            }
        }
        assert_eq!(read(&datasets, &digits, 0), rows(0..count, feature_count));
        for _ in 0..20 {
            let from_id = random(count + 2);
            let expected = rows(from_id.min(count)..count, feature_count);
            assert_eq!(read(&datasets, &digits, from_id), expected, "from {from_id}");
        }
        let since_us = 1_000 + count as i64 / 2 * 10;
        let scan = datasets.scan(&digits, 3, Some(since_us)).unwrap();
        assert_eq!((scan.row_count(), scan.feature_count()), (count, feature_count as u32));
        let found: Vec<TrainingRow> = scan.map(Result::unwrap).collect();
        assert_eq!(found, rows(count / 2..count, feature_count));
        assert_eq!(datasets.verify(&digits).unwrap(), []);
        assert_eq!(datasets.verify(&other).unwrap(), []);
    }
}

/// A row of a data set of texts as it comes back under `id`.
fn text_row(id: u64) -> TrainingRow {
    let mut random = random_from(id + 5);
    let length_max = if random(40) == 0 { 90_000 } else { 300 };
    let length = 1 + random(length_max);
    let text: String =
        (0..length).map(|_| ['a', ' ', '\n', '"', 'ü', '☂'][random(6) as usize]).collect();
    TrainingRow { text: Some(text), ..row(id, 0) }
}

#[test]
fn texts_are_read_back_after_any_appends_and_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = random_from(8);
    let mut datasets = open(directory.path());
    let (reviews, digits) = (name("reviews"), name("digits"));
    let mut count = 0;
    while count < 2_000 {
        let more = 1 + random(60);
        let batch: Vec<TrainingRow> = (count..count + more).map(text_row).collect();
        assert_eq!(datasets.append(&reviews, &batch).unwrap(), count);
        datasets.append(&digits, &rows(count..count + 1, 5)).unwrap();
        count += more;
        if random(20) == 0 {
            datasets.file.close().unwrap();
            datasets = open(directory.path());
        }
    }
    let expected: Vec<TrainingRow> = (0..count).map(text_row).collect();
    assert_eq!(read(&datasets, &reviews, 0), expected);
    for _ in 0..20 {
        let from_id = random(count);
        assert_eq!(read(&datasets, &reviews, from_id), expected[from_id as usize..]);
    }
    let [of_features, of_texts] = datasets.all().unwrap().try_into().unwrap();
    assert!(!of_features.is_of_texts && of_features.feature_count == 5);
    assert!(of_texts.is_of_texts && of_texts.feature_count == 0 && of_texts.rows == count);
    let bytes = |row: &TrainingRow| block::row_bytes(row) as u64;
    assert_eq!(of_texts.raw_bytes, expected.iter().map(bytes).sum::<u64>());
    for name in [&reviews, &digits] {
        assert_eq!(datasets.verify(name).unwrap(), []);
    }
}

/// The bytes of a block as they were written before there were texts.
#[test]
fn blocks_of_features_keep_their_form() {
    let frame = block::encode("digits", 0, &rows(0..3, 2)).unwrap();
    let raw = zstd::bulk::decompress(&frame[HEADER_BYTES + 12..], 1 << 10).unwrap();
    let mut expected = Vec::new();
    let features: Vec<f32> = rows(0..3, 2).into_iter().flat_map(|row| row.features).collect();
    for place in 0..4 {
        expected.extend(features.iter().map(|feature| feature.to_le_bytes()[place]));
    }
    for row in rows(0..3, 2) {
        let rest = (row.created_us, row.label, row.metadata_json);
        expected = postcard::to_extend(&rest, expected).unwrap();
    }
    assert_eq!(raw, expected);
    assert_eq!(frame[HEADER_BYTES..HEADER_BYTES + 8], [3, 0, 0, 0, 2, 0, 0, 0]);
}

#[test]
fn totals_are_what_the_rows_add_up_to() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    assert_eq!(datasets.all().unwrap(), []);
    let all = rows(0..3_000, 30);
    for batch in all.chunks(700) {
        datasets.append(&name("b"), batch).unwrap();
    }
    datasets.append(&name("a"), &[]).unwrap();
    let [empty, info] = datasets.all().unwrap().try_into().unwrap();
    assert_eq!((empty.name.as_str(), empty.rows, empty.oldest_us), ("a", 0, None));
    let with =
        |label: Option<&str>| all.iter().filter(|row| row.label.as_deref() == label).count() as u64;
    assert_eq!((info.rows, info.feature_count, info.other_labels), (3_000, 30, 0));
    assert_eq!((info.oldest_us, info.newest_us), (Some(1_000), Some(30_990)));
    assert_eq!(info.unlabelled, with(None));
    assert_eq!(info.labels.len(), 3);
    for (label, count) in &info.labels {
        assert_eq!(*count, with(Some(label)), "{label}");
    }
    // Every block but the last is full to within a row.
    assert_eq!(info.blocks, info.raw_bytes.div_ceil(block::BLOCK_BYTES as u64 - 200));
    assert!(info.stored_bytes < info.raw_bytes / 2, "{info:?}");
    assert_eq!(datasets.remove(&name("b")).unwrap(), info);
    assert_eq!(datasets.all().unwrap(), [empty]);
    assert_eq!(datasets.scan(&name("b"), 0, None).err().unwrap().kind(), Kind::NotFound);
    assert_eq!(datasets.remove(&name("b")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(datasets.verify(&name("b")).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(datasets.append(&name("b"), &rows(0..1, 5)).unwrap(), 0);
    assert_eq!(read(&datasets, &name("b"), 0), rows(0..1, 5));
}

#[test]
fn labels_beyond_the_limit_are_counted_together() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    let labelled = |label: usize| TrainingRow { label: Some(label.to_string()), ..row(0, 1) };
    let all: Vec<TrainingRow> = (0..LABEL_COUNT_MAX + 10).map(labelled).collect();
    datasets.append(&name("a"), &all).unwrap();
    datasets.append(&name("a"), &all).unwrap();
    let info = datasets.all().unwrap().remove(0);
    assert_eq!((info.labels.len(), info.other_labels), (LABEL_COUNT_MAX, 20));
    assert!(info.labels.values().all(|&count| count == 2));
    assert_eq!(datasets.verify(&name("a")).unwrap(), []);
}

#[test]
fn a_scan_sees_what_was_there_when_it_began() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    let digits = name("digits");
    datasets.append(&digits, &rows(0..900, 64)).unwrap();
    let mut scan = datasets.scan(&digits, 0, None).unwrap();
    let mut seen = Vec::new();
    for row in scan.by_ref().take(100) {
        seen.push(row.unwrap());
    }
    // The last block is written again, then everything is removed and begun anew.
    datasets.append(&digits, &rows(900..1_800, 64)).unwrap();
    assert_eq!(datasets.scan(&digits, 0, None).unwrap().count(), 1_800);
    datasets.remove(&digits).unwrap();
    datasets.append(&digits, &rows(0..5, 3)).unwrap();
    seen.extend(scan.map(Result::unwrap));
    assert_eq!(seen, rows(0..900, 64));
    assert_eq!(read(&datasets, &digits, 0), rows(0..5, 3));
}

#[test]
fn appends_from_several_threads_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    let digits = name("digits");
    std::thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (datasets, digits) = (&datasets, &digits);
            scope.spawn(move || {
                for batch in 0..20 {
                    let mut batch = rows(batch * 3..batch * 3 + 3, 4);
                    batch.iter_mut().for_each(|row| row.created_us = thread as i64);
                    let first = datasets.append(digits, &batch).unwrap();
                    assert_eq!(first % 3, 0);
                }
            });
        }
    });
    let found = read(&datasets, &digits, 0);
    assert!(found.iter().map(|row| row.id).eq(0..180));
    for thread in 0..3 {
        let of_thread = found.iter().filter(|row| row.created_us == thread);
        let features = of_thread.map(|row| row.features.clone());
        assert!(features.eq(rows(0..60, 4).into_iter().map(|row| row.features)));
    }
    assert_eq!(datasets.verify(&digits).unwrap(), []);
}

#[test]
fn rows_that_do_not_fit_are_refused_with_their_number() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    let digits = name("digits");
    let check = |at: usize, bad: TrainingRow, expected: &str| {
        let mut batch = rows(0..4, 5);
        batch[at] = bad;
        let error = datasets.append(&digits, &batch).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let text = error.to_string();
        assert!(text.contains(&format!("row {at} ")) && text.contains(expected), "{text}");
    };
    check(2, row(0, 6), "has 6 features where the data set has 5");
    datasets.append(&digits, &rows(0..1, 5)).unwrap();
    check(0, row(0, 4), "has 4 features where the data set has 5");
    check(3, row(0, 0), "has 0 features");
    check(1, row(0, 65_537), "has 65537 features");
    check(1, TrainingRow { label: Some("a".repeat(257)), ..row(0, 5) }, "label longer");
    check(1, TrainingRow { metadata_json: "1".to_owned(), ..row(0, 5) }, "is not a JSON object");
    check(2, text_row(2), "has a text where the data set has features");
    let text =
        |text: String, feature_count| TrainingRow { text: Some(text), ..row(0, feature_count) };
    check(1, text("a".to_owned(), 5), "has features and a text");
    check(1, text(String::new(), 0), "has a text of 0 bytes, not 1 to 262144");
    check(1, text("a".repeat((256 << 10) + 1), 0), "has a text of 262145 bytes");
    let reviews = name("reviews");
    let error = datasets.append(&reviews, &[text_row(0), row(0, 5)]).unwrap_err().to_string();
    assert!(
        error.contains("row 1 ") && error.contains("has features where the data set"),
        "{error}"
    );
    datasets.append(&reviews, &[text_row(0)]).unwrap();
    let error = datasets.append(&reviews, &[row(0, 5)]).unwrap_err().to_string();
    assert!(error.contains(" has features where the data set has texts"), "{error}");
    assert_eq!(read(&datasets, &reviews, 0), [text_row(0)]);
    assert_eq!(read(&datasets, &digits, 0), rows(0..1, 5));
    for text in ["", "A", "a/b", &"a".repeat(65)] {
        assert!(DatasetName::new(text).is_err(), "{text}");
    }
}

#[test]
fn the_largest_row_and_odd_floats_survive() {
    let directory = tempfile::tempdir().unwrap();
    let datasets = open(directory.path());
    let mut random = random_from(9);
    let mut largest = row(0, 65_536);
    largest
        .features
        .iter_mut()
        .for_each(|feature| *feature = f32::from_bits(random(1 << 32) as u32));
    largest.metadata_json = format!(r#"{{"a":"{}"}}"#, "x".repeat((16 << 10) - 8));
    largest.label = Some("y".repeat(256));
    let batch = [row(0, 65_536), largest.clone(), row(2, 65_536)];
    datasets.append(&name("a"), &batch).unwrap();
    let text = TrainingRow {
        text: Some("ü".repeat(128 << 10)),
        features: Vec::new(),
        ..TrainingRow { id: 1, ..largest.clone() }
    };
    datasets.append(&name("b"), &[text_row(0), text.clone(), text_row(2)]).unwrap();
    assert!(read(&datasets, &name("b"), 1)[0] == text);
    assert_eq!(datasets.verify(&name("b")).unwrap(), []);
    let found = read(&datasets, &name("a"), 1).remove(0);
    let bits = |row: &TrainingRow| row.features.iter().map(|f| f.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&largest));
    assert_eq!((found.label, found.metadata_json), (largest.label, largest.metadata_json));
    assert_eq!(datasets.verify(&name("a")).unwrap(), []);
}

#[test]
fn every_planted_damage_is_reported_and_never_served() {
    let directory = tempfile::tempdir().unwrap();
    let digits = name("digits");
    let datasets = open(directory.path());
    datasets.append(&digits, &rows(0..900, 64)).unwrap();
    let keys: Vec<u64> = stop::read(&datasets.file, |_, transaction| {
        let table = transaction.open_table(BLOCKS)?;
        Ok(table.range(every_block(&digits))?.map(|entry| entry.unwrap().0.value().1).collect())
    })
    .unwrap();
    assert!(keys.len() > 2);
    for (table, definition) in [("extents", EXTENTS), ("blocks", BLOCKS)] {
        for &id in &keys {
            for bit in [0, 13, 9 * 8 + 3, 20 * 8] {
                damage(&datasets, definition, (digits.as_str(), id), Some(bit));
                let found = datasets.verify(&digits).unwrap();
                assert!(!found.is_empty(), "{table} {id} bit {bit}");
                assert_ends_before(&datasets, &digits, id);
                damage(&datasets, definition, (digits.as_str(), id), Some(bit));
            }
            assert_eq!(datasets.verify(&digits).unwrap(), []);
            damage(&datasets, definition, (digits.as_str(), id), None);
            let found = datasets.verify(&digits).unwrap();
            assert!(!found.is_empty(), "{table} {id} removed");
            assert_ends_before(&datasets, &digits, id);
            let _ = datasets.remove(&digits).unwrap();
            datasets.append(&digits, &rows(0..900, 64)).unwrap();
        }
    }
    stop::write(&datasets.file, |transaction| {
        let mut table = transaction.open_table(DATASETS)?;
        let mut wrong = totals(&datasets.file, &table, digits.as_str())?.unwrap();
        wrong.unlabelled += 1;
        table.insert(digits.as_str(), &encode_totals(digits.as_str(), &wrong)[..])?;
        Ok(())
    })
    .unwrap();
    let key = "digits".to_owned();
    let expected = Disagreement::Differs { table: "datasets", key };
    assert_eq!(datasets.verify(&digits).unwrap(), [expected]);
}

/// A scan gives the rows before the damaged block, then an error, then nothing.
fn assert_ends_before(datasets: &Datasets, name: &DatasetName, id: u64) {
    let mut scan = datasets.scan(name, 0, None).unwrap();
    let sound: Vec<_> = scan.by_ref().map_while(Result::ok).collect();
    assert_eq!(sound, rows(0..id, 64));
    assert!(scan.next().is_none());
    let error = datasets.scan(name, 0, None).unwrap().find_map(Result::err).unwrap();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
}

/// Flips a bit of a value, or removes it.
fn damage(
    datasets: &Datasets,
    definition: TableDefinition<'static, BlockKey, &'static [u8]>,
    key: (&str, u64),
    bit: Option<usize>,
) {
    stop::write(&datasets.file, |transaction| {
        let mut table = transaction.open_table(definition)?;
        let mut frame = table.remove(key)?.unwrap().value().to_vec();
        if let Some(bit) = bit {
            frame[bit / 8] ^= 1 << (bit % 8);
            table.insert(key, &frame[..])?;
        }
        Ok(())
    })
    .unwrap();
}
