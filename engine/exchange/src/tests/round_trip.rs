//! Owns the proof that rows come back as they were written, in every format.
//!
//! Refuses to know the bytes between. Bound: seeded rows, extremes among them.

use std::fmt::Debug;

use truststram_base::limits::{FEATURE_COUNT_MAX, TEXT_BYTES_MAX};
use truststram_base::{ModelId, ModelVersion, PredictionRecord, RequestId, UserId};

use super::{Random, file, problem, read, written};
use crate::{DatasetRow, Format, ReadOptions, Reader, Row, TextRow, has_texts};

const FLOATS: &[f32] = &[
    0.0,
    -0.0,
    1.0,
    0.1,
    1.0 / 3.0,
    16_777_217.0,
    f32::MIN,
    f32::MAX,
    f32::MIN_POSITIVE,
    f32::EPSILON,
    1e-45,
    -1.234_567_9e-38,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];

fn float(random: &mut Random) -> f32 {
    match random.below(3) {
        0 => random.pick(FLOATS),
        1 => f32::from_bits(random.next() as u32),
        _ => random.below(1000) as f32 / 8.0,
    }
}

fn floats(random: &mut Random) -> Vec<f32> {
    let count = random.pick(&[0, 1, 2, 3, 64, 300]);
    (0..count).map(|_| float(random)).collect()
}

fn prediction(random: &mut Random) -> PredictionRecord {
    let models = ["digits", "a", "0.b_c-1", &"m".repeat(64)];
    let users = ["ana", "Ana María", "a,b \"c\"; d", " ", "null", "1", "☂ {}[]", "-", "=1+1"];
    let number = |random: &mut Random| random.pick(&[0, 1, 9, u32::MAX]);
    let has_user = random.below(3) > 0;
    PredictionRecord {
        request: RequestId(u128::from(random.next()) << 64 | u128::from(random.next())),
        model: ModelId::new(random.pick(&models)).unwrap(),
        version: ModelVersion(number(random)),
        user: has_user.then(|| UserId::new(random.pick(&users)).unwrap()),
        timestamp_us: match random.below(4) {
            0 => random.pick(&[0, -1, i64::MIN, i64::MAX, 253_402_300_800_000_000]),
            1 => random.next().cast_signed(),
            _ => 1_795_442_400_000_000 + random.below(1 << 40) as i64,
        },
        features: floats(random),
        class: number(random),
        confidence: float(random),
    }
}

fn example(random: &mut Random) -> DatasetRow {
    let labels = ["3", "cat", "\"", "a\nb", "a\r\nb, c", "NaN", "\u{1}\\u0001"];
    let objects = ["{}", r#"{"a": [1, null, "b,c"]}"#, "{ \"ü\\n\" : 1e400\t}"];
    DatasetRow {
        id: random.pick(&[None, Some(0), Some(7), Some(u64::MAX)]),
        features: floats(random),
        label: (random.below(3) > 0).then(|| random.pick(&labels).to_owned()),
        metadata: (random.below(3) > 0).then(|| random.pick(&objects).to_owned()),
    }
}

/// Every bit of a row; text keeps that a number is NaN, but not which.
fn bits(floats: &[f32], format: Format) -> Vec<u32> {
    let one = |float: &f32| match format {
        Format::Parquet => float.to_bits(),
        _ if float.is_nan() => f32::NAN.to_bits(),
        _ => float.to_bits(),
    };
    floats.iter().map(one).collect()
}

fn check<R: Row + Debug + PartialEq>(rows: &[R], split: impl Fn(&R) -> (Vec<f32>, R)) {
    for format in Format::ALL {
        let bytes = written(format, rows);
        let back: Vec<R> = read(format, &bytes).unwrap();
        assert_eq!(back.len(), rows.len(), "{format}");
        for (index, (expected, found)) in rows.iter().zip(&back).enumerate() {
            let ((floats, rest), (floats_found, rest_found)) = (split(expected), split(found));
            assert_eq!(rest_found, rest, "{format}, row {index}");
            let same = bits(&floats, format) == bits(&floats_found, format);
            assert!(same, "{format}, row {index}: {floats:?} came back as {floats_found:?}");
        }
        // The same rows give the same bytes.
        assert_eq!(written(format, &back).len(), bytes.len(), "{format}");
    }
}

fn check_predictions(rows: &[PredictionRecord]) {
    check(rows, |row| {
        let mut floats = row.features.clone();
        floats.push(row.confidence);
        (floats, PredictionRecord { features: Vec::new(), confidence: 0.0, ..row.clone() })
    });
}

#[test]
fn predictions_come_back() {
    let mut random = Random(1);
    let rows: Vec<_> = (0..3000).map(|_| prediction(&mut random)).collect();
    check_predictions(&rows);
    for row in &rows[..40] {
        check_predictions(std::slice::from_ref(row));
    }
    check_predictions(&[]);
}

#[test]
fn data_sets_come_back() {
    let mut random = Random(2);
    let rows: Vec<_> = (0..3000).map(|_| example(&mut random)).collect();
    let split =
        |row: &DatasetRow| (row.features.clone(), DatasetRow { features: vec![], ..row.clone() });
    check(&rows, split);
    check(&rows[..1], split);
    check(&[], split);
}

#[test]
fn data_sets_of_texts_come_back_and_are_told_apart() {
    let mut random = Random(5);
    let texts = ["a", " ", "\r\n", "a,\"b\"\n\u{1}", "null", "17", "{}", "[1]", "☂ ü", "=1+1"];
    let mut rows = Vec::new();
    for _ in 0..3000 {
        let DatasetRow { id, label, metadata, .. } = example(&mut random);
        let text = random.pick(&texts).repeat(1 + random.below(30));
        rows.push(TextRow { id, text, label, metadata });
    }
    rows[7].text = "ü".repeat(TEXT_BYTES_MAX / 2);
    check(&rows, |row| (vec![], row.clone()));
    check(&rows[..1], |row| (vec![], row.clone()));
    for format in Format::ALL {
        let kind = |bytes: &[u8]| has_texts(format, file(bytes)).unwrap();
        assert!(kind(&written(format, &rows[..5])), "{format}");
        assert!(!kind(&written(format, &[example(&mut random)])), "{format}");
        assert!(!kind(b"damaged"), "{format}");
        let mut writer = crate::Writer::create(format, Vec::new()).unwrap();
        let mut refused = |text: String, expected: &str| {
            let error = writer.write(&TextRow { text, ..rows[0].clone() }).unwrap_err().to_string();
            assert_eq!(error, format!("row 1, column `text` {expected}"));
        };
        refused(String::new(), "is ``; it must be text");
        let long = "has 262145 bytes; it must have 262144 at most";
        refused("a".repeat(TEXT_BYTES_MAX + 1), long);
    }
    let long = format!("{{\"text\":\"{}\"}}", "a".repeat(TEXT_BYTES_MAX + 1));
    let found = problem::<TextRow>(Format::JsonLines, long.as_bytes());
    assert!(found.contains("column `text` has 262145 bytes"), "{found}");
    for wrong in ["5", "[1]", "true", "\"\""] {
        let found =
            problem::<TextRow>(Format::JsonLines, format!("{{\"text\":{wrong}}}").as_bytes());
        assert!(found.contains("column `text`") && found.contains("it must be text"), "{found}");
    }
    let found = problem::<TextRow>(Format::Csv, b"text,label\n,a\n");
    assert!(found.contains("column `text` has no value"), "{found}");
}

#[test]
fn the_most_features_come_back_and_one_more_is_refused() {
    let mut random = Random(3);
    let mut rows: Vec<_> = (0..3).map(|_| prediction(&mut random)).collect();
    rows[1].features =
        (0..FEATURE_COUNT_MAX).map(|_| f32::from_bits(random.next() as u32)).collect();
    check_predictions(&rows);
    // All the same is what a few bytes of Parquet can say many of.
    rows[1].features = vec![-1.234_567_9e-38; FEATURE_COUNT_MAX];
    check_predictions(&rows);
    rows[1].features.push(0.0);
    for format in Format::ALL {
        let mut writer = crate::Writer::create(format, Vec::new()).unwrap();
        writer.write(&rows[0]).unwrap();
        let error = writer.write(&rows[1]).unwrap_err().to_string();
        let expected = "row 2, column `features` has more than 65536 numbers; \
                        split or reduce them";
        assert_eq!(error, expected);
    }
}

/// More rows than one row group, one batch and one buffer hold.
#[test]
fn progress_reaches_the_end() {
    let mut random = Random(4);
    let rows = (0..140_000).map(|_| DatasetRow {
        id: Some(random.next()),
        features: vec![random.below(9) as f32; random.below(4)],
        ..DatasetRow::default()
    });
    let rows: Vec<DatasetRow> = rows.collect();
    for format in Format::ALL {
        let bytes = written(format, &rows);
        let options = ReadOptions::default();
        let mut reader = Reader::<DatasetRow>::open(format, file(&bytes), options).unwrap();
        assert_eq!(reader.bytes_total(), bytes.len() as u64);
        let total = (format == Format::Parquet).then_some(rows.len() as u64);
        assert_eq!(reader.rows_total(), total, "{format}");
        let mut last = reader.bytes_read();
        for (index, expected) in rows.iter().enumerate() {
            assert_eq!(reader.next().unwrap().unwrap(), *expected, "{format}, row {index}");
            assert!(reader.bytes_read() >= last && reader.bytes_read() <= bytes.len() as u64);
            last = reader.bytes_read();
        }
        assert!(reader.next().is_none());
        assert_eq!(reader.bytes_read(), bytes.len() as u64, "{format}");
    }
}

/// What cannot come back is refused on the way out.
#[test]
fn unreadable_values_are_not_written() {
    let check = |row: DatasetRow, expected: &str| {
        for format in Format::ALL {
            let mut writer = crate::Writer::create(format, Vec::new()).unwrap();
            assert_eq!(writer.write(&row).unwrap_err().to_string(), expected, "{format}");
            // The refused row leaves no trace.
            writer.write(&DatasetRow::default()).unwrap();
            assert_eq!(writer.finish().unwrap(), 1);
        }
    };
    let text = |text: &str| Some(text.to_owned());
    check(
        DatasetRow { label: text(""), ..DatasetRow::default() },
        "row 1, column `label` is ``; it must be text",
    );
    check(
        DatasetRow { label: text(&"l".repeat(257)), ..DatasetRow::default() },
        "row 1, column `label` has 257 bytes; it must have 256 at most",
    );
    let object = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    check(
        DatasetRow { metadata: Some(object), ..DatasetRow::default() },
        "row 1, column `metadata` has 1048584 bytes; it must have 1048576 at most",
    );
    check(
        DatasetRow { metadata: text("[1]"), ..DatasetRow::default() },
        "row 1, column `metadata` is `[1]`; it must be one JSON object",
    );
    check(
        DatasetRow { metadata: text("{\"a\": 1"), ..DatasetRow::default() },
        "row 1, column `metadata` is `{\"a\": 1`; it must be one JSON object",
    );
}

/// A line break between two tokens of an object would end a line of JSON Lines too early.
#[test]
fn an_object_over_several_lines_is_one_line() {
    let metadata = Some("{\n\"a\":\r\n1}".to_owned());
    let rows = [DatasetRow { metadata, ..DatasetRow::default() }];
    let lines = written(Format::JsonLines, &rows);
    let expected = "{\"id\":null,\"features\":[],\"label\":null,\"metadata\":{ \"a\":  1}}\n";
    assert_eq!(String::from_utf8(lines).unwrap(), expected);
    for format in [Format::Parquet, Format::Csv] {
        let back: Vec<DatasetRow> = read(format, &written(format, &rows)).unwrap();
        assert_eq!(back, rows, "{format}");
    }
}

/// A derived id is the same each time a file is read, and another for each of two equal rows.
#[test]
fn a_missing_request_id_is_derived() {
    let row = r#"{"model_id":"a","model_version":1,"timestamp":5,"class":2,"confidence":0.5}"#;
    let lines = format!("{row}\n{row}\n");
    let csv = "model_id,model_version,timestamp,class,confidence,user_id\n\
               a,1,1970-01-01T00:00:00.000005Z,2,0.5,\na,1,5,2,0.5,\n";
    let ids = |format: Format, bytes: &str| -> Vec<String> {
        let rows: Vec<PredictionRecord> = read(format, bytes.as_bytes()).unwrap();
        rows.iter().map(|row| row.request.to_string()).collect()
    };
    let found = ids(Format::JsonLines, &lines);
    assert_eq!(found, ids(Format::JsonLines, &lines));
    assert_eq!(found, ids(Format::Csv, csv));
    assert_ne!(found[0], found[1]);
    // Files that were imported once are known by these ids: they may not change.
    assert_eq!(found[0], "5abb9b260b6b13e42852e71b710c5ec3");
    let other = lines.replace("0.5", "0.25");
    assert_ne!(found[0], ids(Format::JsonLines, &other)[0]);
    let twice = format!("{}\n", row.replace("{", r#"{"request_id":"1","#));
    assert_eq!(
        problem::<PredictionRecord>(Format::JsonLines, twice.as_bytes()),
        "row 1 (line 1), column `request_id` is `1`; it must be 32 hexadecimal digits"
    );
}
