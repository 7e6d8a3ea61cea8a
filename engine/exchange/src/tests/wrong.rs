//! Owns the table of bad input and what its user is told: which row and column, what it is and
//! what it must be.
//!
//! Refuses to know how a format finds it. Bound: one problem a case.

use truststram_base::{Kind, PredictionRecord};

use super::{file, problem, read};
use crate::{DatasetRow, Format, ReadOptions, Reader};

const CSV: &str = "model_id,model_version,user_id,timestamp,class,confidence,features\n\
                   a,1,u,5,2,0.5,[1]\n";

/// The second row has `cell` in place of `column`.
fn csv_with(column: &str, cell: &str) -> String {
    let header = CSV.lines().next().unwrap().split(',');
    let good = ["a", "1", "u", "5", "2", "0.5", "[1]"];
    let row: Vec<&str> =
        header.zip(good).map(|(name, good)| if name == column { cell } else { good }).collect();
    format!("{CSV}{}\n", row.join(","))
}

fn json_with(column: &str, cell: &str) -> String {
    let good = [
        ("model_id", "\"a\""),
        ("model_version", "1"),
        ("timestamp", "5"),
        ("class", "2"),
        ("confidence", "0.5"),
    ];
    let mut row: Vec<String> = good
        .iter()
        .filter(|(name, _)| *name != column)
        .map(|(name, cell)| format!("\"{name}\":{cell}"))
        .collect();
    if !cell.is_empty() {
        row.push(format!("\"{column}\":{cell}"));
    }
    format!("\n{{{}}}\n", row.join(","))
}

#[test]
fn cells_of_csv() {
    let check = |column: &str, cell: &str, expected: &str| {
        let found = problem::<PredictionRecord>(Format::Csv, csv_with(column, cell).as_bytes());
        assert_eq!(found, format!("row 2 (line 3), column `{column}` {expected}"));
    };
    let number = "it must be a whole number from 0 to 4294967295";
    let float = "it must be a number that fits 32 bits, or \"NaN\", \"Infinity\" or \"-Infinity\"";
    let time = "it must be a time such as 2026-11-23T14:00:00Z, or microseconds since 1970";
    check("model_id", "", "has no value; every row must have one");
    check("model_id", "A", "`A` has a character that is not allowed at byte 0");
    check("model_version", "-1", &format!("is `-1`; {number}"));
    check("model_version", "1.5", &format!("is `1.5`; {number}"));
    check("class", "4294967296", &format!("is `4294967296`; {number}"));
    check("class", "", "has no value; every row must have one");
    check("confidence", "high", &format!("is `high`; {float}"));
    check("confidence", "1e39", &format!("is `1e39`; {float}"));
    check("timestamp", "yesterday", &format!("is `yesterday`; {time}"));
    check("timestamp", "9223372036854775808", &format!("is `9223372036854775808`; {time}"));
    check("user_id", &"u".repeat(129), &format!("`{}…` is longer than 128 bytes", "u".repeat(40)));
    check("features", "1 2", "is `1 2`; it must be a list of numbers such as [1.0,2.5]");
    check("features", "\"[1,]\"", &format!("has `` as element 1 (from 0); {float}"));
    check("features", "\"[1,null]\"", &format!("has `null` as element 1 (from 0); {float}"));
    check("features", "[1e39]", &format!("has `1e39` as element 0 (from 0); {float}"));
    check("features", "\"[[1],2]\"", &format!("has `[1]` as element 0 (from 0); {float}"));
}

#[test]
fn cells_of_json_lines() {
    let check = |column: &str, cell: &str, expected: &str| {
        let line = json_with(column, cell);
        let found = problem::<PredictionRecord>(Format::JsonLines, line.as_bytes());
        assert_eq!(found, format!("row 1 (line 2), column `{column}` {expected}"));
    };
    let number = "it must be a whole number from 0 to 4294967295";
    let float = "it must be a number that fits 32 bits, or \"NaN\", \"Infinity\" or \"-Infinity\"";
    check("model_id", "", "has no value; every row must have one");
    check("model_id", "null", "has no value; every row must have one");
    check("model_id", "[1]", "is `[1]`; it must be text");
    check("user_id", "\"\"", "is `\"\"`; it must be text");
    check("user_id", "\"a\\nb\"", "`a b` has a character that is not allowed at byte 1");
    check("class", "\"2\"", &format!("is `\"2\"`; {number}"));
    check("class", "true", &format!("is `true`; {number}"));
    check("confidence", "\"0.5\"", &format!("is `\"0.5\"`; {float}"));
    check("features", "\"[1]\"", "is `\"[1]\"`; it must be a list of numbers such as [1.0,2.5]");
    check("features", "[1,true]", &format!("has `true` as element 1 (from 0); {float}"));
}

#[test]
fn files() {
    let check = |format: Format, bytes: &[u8], expected: &str| {
        assert_eq!(problem::<DatasetRow>(format, bytes), expected);
    };
    let csv = Format::Csv;
    let lines = Format::JsonLines;
    let missing = "the header: column `features` is missing; add it, every row needs a value";
    check(csv, b"", missing);
    check(csv, b"id,label\n", missing);
    check(csv, b"features,id,id\n", "the header: column `id` is there twice; remove one");
    check(
        csv,
        b"features,id\n[],1\n[],2,3\n",
        "row 2 (line 3) has 3 fields where the header has 2; quote fields with commas",
    );
    check(csv, b"features\n\xff\n", "row 1 (line 2) is not UTF-8; convert the file to UTF-8");
    check(csv, b"f\xff\n", "the header is not UTF-8; convert the file to UTF-8");
    check(
        lines,
        b"{\"features\":[]}\n\xff\n",
        "row 2 (line 2) is not UTF-8; convert the file to UTF-8",
    );
    check(
        lines,
        b"{\"features\":[]}\n\n[1]\n",
        "row 2 (line 3) is not one JSON object: invalid type: sequence, expected an object with a \
         key for each column, at byte 0",
    );
    check(
        lines,
        b"{\"features\":[NaN]}\n",
        "row 1 (line 1) is not one JSON object: expected value, at byte 14",
    );
    check(
        lines,
        b"{\"features\":[],\"feature\":1}\n",
        "row 1 (line 1): unknown column `feature`; the columns are `id`, `features`, `label`, \
         `metadata`. Rename or remove it, or have unknown columns ignored",
    );
    check(
        lines,
        b"{\"id\":1,\"features\":[],\"id\":1}\n",
        "row 1 (line 1): column `id` is there twice; remove one",
    );
    check(
        lines,
        b"{\"features\":[],\"metadata\":\"[]\"}\n",
        "row 1 (line 1), column `metadata` is `[]`; it must be one JSON object",
    );
    let long = format!("{{\"features\":[],\"label\":\"{}\"}}", "l".repeat(257));
    let too_long = "row 1 (line 1), column `label` has 257 bytes; it must have 256 at most";
    check(lines, long.as_bytes(), too_long);
    let damaged = |what: &str| {
        format!("the file is damaged or no Parquet file: {what}; make or copy it again")
    };
    check(Format::Parquet, b"PAR1", &damaged("it is too short"));
    check(Format::Parquet, b"id,features\n1,[]\n", &damaged("it does not end as one"));
    check(Format::Parquet, b"....\xff\xff\xff\xffPAR1", &damaged("its footer is too large"));
    check(Format::Parquet, b"....\0\0\0\0PARE", &damaged("it is encrypted"));
}

#[test]
fn other_writings_are_accepted() {
    let expected = DatasetRow {
        id: Some(7),
        features: vec![1.0, f32::INFINITY],
        label: Some("3".to_owned()),
        metadata: Some("{\"a\":1}".to_owned()),
    };
    let check = |format: Format, text: &str| {
        assert_eq!(read::<DatasetRow>(format, text.as_bytes()).unwrap(), vec![expected.clone()]);
    };
    check(
        Format::JsonLines,
        "\u{feff}\r\n{\"label\":3,\"features\":[1,\"inf\"],\"id\":7.0,\"metadata\":{\"a\":1}}\r\n",
    );
    check(
        Format::JsonLines,
        r#"{ "id" : 7, "features": [ 1.0 , "Infinity" ], "label": "\u0033",
           "metadata": "{\"a\":1}" }"#
            .replace('\n', " ")
            .as_str(),
    );
    check(
        Format::Csv,
        "\u{feff}label, id ,metadata,features\r\n3,7.0,\"{\"\"a\"\":1}\",\"[1, inf]\"\r\n\r\n",
    );
}

#[test]
fn unknown_columns_are_ignored_when_asked() {
    let options = ReadOptions { ignore_unknown_columns: true };
    let check = |format: Format, text: &str| {
        let reader = Reader::<DatasetRow>::open(format, file(text.as_bytes()), options).unwrap();
        let rows: Vec<DatasetRow> = reader.map(Result::unwrap).collect();
        assert_eq!(rows, [DatasetRow { features: vec![1.0], ..DatasetRow::default() }]);
    };
    check(Format::Csv, "colour,features,colour\nred,[1],blue\n");
    check(Format::JsonLines, "{\"colour\":{\"a\":[1]},\"features\":[1],\"colour\":1}\n");
}

/// One bad row does not hide the good ones after it.
#[test]
fn rows_after_a_bad_one_are_read() {
    let check = |format: Format, text: &str| {
        let options = ReadOptions::default();
        let reader = Reader::<DatasetRow>::open(format, file(text.as_bytes()), options).unwrap();
        let found: Vec<Result<u64, Kind>> = reader
            .map(|row| row.map(|row| row.id.unwrap()).map_err(|error| error.kind()))
            .collect();
        assert_eq!(found, [Ok(1), Err(Kind::Invalid), Err(Kind::Malformed), Ok(4)]);
    };
    check(Format::Csv, "id,features\n1,[]\n2,\n3\n4,[]\n");
    check(
        Format::JsonLines,
        "{\"id\":1,\"features\":[]}\n{\"id\":2}\n3\n{\"id\":4,\"features\":[]}\n",
    );
}
