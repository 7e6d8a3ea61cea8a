//! Owns a tokenizer made of the words of texts: the most frequent ones in lower case, and signs.
//!
//! Refuses to split words. Bound: as many words as asked for, every other is one unknown token;
//! [`WORDS_MAX`] are counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::json;

/// Tokens without a word: what is unknown, and the first of every text.
const SPECIAL: [&str; 2] = ["[UNK]", "[CLS]"];

/// Most words that are counted; words that come later are passed over.
const WORDS_MAX: usize = 1 << 22;

/// How often words are in texts.
#[derive(Clone, Debug, Default)]
pub struct Words(BTreeMap<String, u64>);

impl Words {
    /// Counts the words of a text.
    pub fn add(&mut self, text: &str) {
        let text = text.to_lowercase();
        for piece in text.split_whitespace() {
            let mut rest = piece;
            while let Some(first) = rest.chars().next() {
                let is_word = |c: char| c.is_alphanumeric() || c == '_';
                let is_first = is_word(first);
                let end = rest.find(|c| is_word(c) != is_first).unwrap_or(rest.len());
                let is_full = self.0.len() >= WORDS_MAX;
                match self.0.entry(rest[..end].to_owned()) {
                    Entry::Occupied(mut found) => *found.get_mut() += 1,
                    Entry::Vacant(place) if !is_full => drop(place.insert(1)),
                    Entry::Vacant(_) => {}
                }
                rest = &rest[end..];
            }
        }
    }

    /// The file of a tokenizer with at most `vocabulary` tokens, as the tokenizers library reads
    /// it; the same texts give the same one.
    pub(super) fn tokenizer(&self, vocabulary: usize) -> Vec<u8> {
        let mut words: Vec<(&str, u64)> =
            self.0.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let words = words.into_iter().map(|(word, _)| word);
        file(SPECIAL.into_iter().chain(words).take(vocabulary.max(2)))
    }
}

/// The file of a tokenizer of these words.
fn file<'a>(words: impl Iterator<Item = &'a str>) -> Vec<u8> {
    let ids: BTreeMap<&str, usize> = words.zip(0..).collect();
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
