//! Operators on a few words.

use crate::graph::Attribute;
use crate::ops::support::{Case, ints};
use crate::tensor::Tensor;

fn words(dims: &[usize], text: &[&str]) -> Tensor {
    Tensor::of(dims, text.iter().map(|word| (*word).to_owned()).collect()).unwrap()
}

fn row(text: &[&str]) -> Tensor {
    words(&[text.len()], text)
}

#[test]
fn words_are_joined_and_split() {
    let join = Case::new("StringConcat", 20).input(words(&[2, 1], &["a", "b"]));
    join.input(row(&["x", "y"])).gives(&words(&[2, 2], &["ax", "ay", "bx", "by"]));
    Case::new("StringConcat", 20).input(row(&["a"; 2])).input(row(&["b"; 3])).fails();
    let split = |text: &[&str]| Case::new("StringSplit", 20).input(row(text)).outputs(2);
    let parts = split(&[" a  b ", ""]).run().unwrap();
    assert_eq!(parts, [words(&[2, 2], &["a", "b", "", ""]), ints(&[2, 0])]);
    let parts = split(&["a-b-c", "-"]).text("delimiter", "-").int("maxsplit", 1).run().unwrap();
    assert_eq!(parts, [words(&[2, 2], &["a", "b-c", "", ""]), ints(&[2, 2])]);
    split(&["a  b  c "]).int("maxsplit", 1).gives(&words(&[1, 2], &["a", "b  c"]));
}

#[test]
fn stop_words_are_dropped() {
    let clean = |text: &[&str], stop: &str, action: &str| {
        let stop = Attribute::Strings(vec![stop.to_owned()]);
        let case = Case::new("StringNormalizer", 10).input(row(text)).with("stopwords", stop);
        case.text("case_change_action", action)
    };
    clean(&["The", "Straße"], "the", "LOWER").gives(&row(&["straße"]));
    clean(&["The", "Straße"], "the", "UPPER").fails();
    clean(&["The"], "the", "NONE").gives(&row(&[""]));
    clean(&["The"], "the", "NONE").int("is_case_sensitive", 1).gives(&row(&["The"]));
    clean(&["The"], "the", "TITLE").refused();
    clean(&["The"], "the", "UPPER").text("locale", "tr_TR").refused();
}

#[test]
fn sequences_are_counted() {
    let count = |skips: i64| {
        let texts = |list: &[&str]| {
            Attribute::Strings(list.iter().map(|word| (*word).to_owned()).collect())
        };
        Case::new("TfIdfVectorizer", 9)
            .input(row(&["a", "b", "c", "a"]))
            .with("pool_strings", texts(&["a", "b", "c", "a"]))
            .text("mode", "TF")
            .ints("ngram_counts", &[0, 2])
            .ints("ngram_indexes", &[0, 1, 2])
            .int("min_gram_length", 1)
            .int("max_gram_length", 2)
            .int("max_skip_count", skips)
    };
    let wanted = |values: [f32; 3]| Tensor::of(&[3], values.to_vec()).unwrap();
    count(0).gives(&wanted([2.0, 1.0, 1.0]));
    count(1).gives(&wanted([2.0, 1.0, 1.0]));
    count(-1).refused();
    count(0).with("weights", Attribute::Floats(vec![1.0])).refused();
}
