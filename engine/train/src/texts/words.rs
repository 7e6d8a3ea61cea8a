//! Owns a tokenizer made of the words of texts: the most frequent ones in lower case, and signs.
//!
//! Refuses to split words. Bound: as many words as asked for; every other is one unknown token.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::json;

/// Tokens without a word: what is unknown, and the first of every text.
const SPECIAL: [&str; 2] = ["[UNK]", "[CLS]"];

/// The file of a tokenizer with at most `vocabulary` tokens, as the tokenizers library reads it;
/// the same texts give the same one.
pub(super) fn tokenizer(texts: &[String], vocabulary: usize) -> Vec<u8> {
    let mut counts = BTreeMap::<String, u64>::new();
    for text in texts {
        let text = text.to_lowercase();
        for piece in text.split_whitespace() {
            let mut rest = piece;
            while let Some(first) = rest.chars().next() {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                let is_first = is_word(first);
                let end = rest.find(|c| is_word(c) != is_first).unwrap_or(rest.len());
                match counts.entry(rest[..end].to_owned()) {
                    Entry::Occupied(mut found) => *found.get_mut() += 1,
                    Entry::Vacant(place) => drop(place.insert(1)),
                }
                rest = &rest[end..];
            }
        }
    }
    let mut words: Vec<(String, u64)> = counts.into_iter().collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let words = words.into_iter().map(|(word, _)| word);
    let all = SPECIAL.map(str::to_owned).into_iter().chain(words).take(vocabulary.max(2));
    let ids: BTreeMap<String, usize> = all.zip(0..).collect();
    let special: Vec<_> = SPECIAL
        .iter()
        .enumerate()
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let part = |id: &str, kind: u8| json!({"Sequence": {"id": id, "type_id": kind}});
    let first = json!({"SpecialToken": {"id": SPECIAL[1], "type_id": 0}});
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [first.clone(), part("A", 0)],
            "pair": [first, part("A", 0), part("B", 1)],
            "special_tokens": {
                SPECIAL[1]: {"id": SPECIAL[1], "ids": [1], "tokens": [SPECIAL[1]]},
            },
        },
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": ids, "unk_token": SPECIAL[0]},
    });
    file.to_string().into_bytes()
}
