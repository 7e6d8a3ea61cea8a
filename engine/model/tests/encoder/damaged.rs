//! Folders that are damaged, hostile or beyond what is computed: each complaint names its place.

use serde_json::{Value, json};
use truststram_model::ModelError;
use truststram_model::encoder::Tokenizer;

use crate::{CASES, Files};

/// Asserts that a folder is refused with this file and a key that contains this.
fn refused(files: &Files, wanted_file: &str, wanted_key: &str) {
    match files.parse() {
        Err(ModelError::Folder { file, key, found, expected }) => {
            let fits = file == wanted_file && key.contains(wanted_key);
            assert!(fits, "{file} {key}: {found}, expected {expected}; not {wanted_key}");
        }
        Err(other) => panic!("{wanted_file} {wanted_key}: {other}"),
        Ok(_) => panic!("{wanted_file} {wanted_key}: accepted"),
    }
}

/// A folder with one field of a JSON file changed.
fn changed(files: &Files, name: &str, key: &str, value: Value) -> Files {
    let mut json = files.json(name);
    json[key] = value;
    files.with(name, json.to_string())
}

#[test]
fn configurations_are_checked() {
    let files = Files::of("bert_mean");
    for (key, value) in [
        ("model_type", json!("mpnet")),
        ("model_type", json!(null)),
        ("is_decoder", json!(true)),
        ("add_cross_attention", json!(true)),
        ("quantization_config", json!({"bits": 8})),
        ("position_embedding_type", json!("relative_key")),
        ("hidden_act", json!("mish")),
        ("hidden_size", json!(0)),
        ("hidden_size", json!(1u64 << 40)),
        ("hidden_size", json!("32")),
        ("num_hidden_layers", json!(4_000_000_000u64)),
        ("num_attention_heads", json!(5)),
        ("intermediate_size", json!(-1)),
        ("vocab_size", json!(u64::MAX)),
        ("max_position_embeddings", json!(1.5)),
        ("type_vocab_size", json!(1u64 << 32)),
        ("layer_norm_eps", json!("small")),
        ("architectures", json!(["BertForTokenClassification"])),
        ("id2label", json!({"0": "a", "2": "b"})),
        ("problem_type", json!("ranking")),
    ] {
        refused(&changed(&files, "config.json", key, value), "config.json", key);
    }
    let roberta = Files::of("roberta_classes");
    for (key, value) in [("max_position_embeddings", json!(2)), ("pad_token_id", json!(1_000))] {
        refused(&changed(&roberta, "config.json", key, value), "config.json", key);
    }
    refused(&files.with("config.json", "[]"), "config.json", "");
    refused(&files.with("config.json", "{\"model_type\""), "config.json", "");
}

#[test]
fn files_of_sentence_transformers_are_checked() {
    let files = Files::of("bert_mean");
    let pooling = "1_Pooling/config.json";
    for key in ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"] {
        refused(&changed(&files, pooling, key, json!(true)), pooling, key);
    }
    refused(&changed(&files, pooling, "pooling_mode", json!("weightedmean")), pooling, "mode");
    let key = "pooling_mode_mean_tokens";
    refused(&changed(&files, pooling, key, json!(false)), pooling, key);
    let key = "word_embedding_dimension";
    refused(&changed(&files, pooling, key, json!(64)), pooling, key);
    let mut modules = files.json("modules.json");
    modules[2]["type"] = json!("sentence_transformers.models.Dense");
    refused(&files.with("modules.json", modules.to_string()), "modules.json", "2.type");
    modules[0]["path"] = json!("0_Transformer");
    refused(&files.with("modules.json", modules.to_string()), "modules.json", "0.path");
    refused(&files.with("modules.json", "[]"), "modules.json", "");
    refused(&files.with("modules.json", "[7]"), "modules.json", "0.type");
    let settings = "sentence_bert_config.json";
    refused(&changed(&files, settings, "max_seq_length", json!(0)), settings, "max_seq_length");
    refused(&changed(&files, settings, "max_seq_length", json!(2)), "tokenizer.json", "post");
    let prompts = "config_sentence_transformers.json";
    let named = json!({"default_prompt_name": "query"}).to_string();
    refused(&files.with(prompts, named), prompts, "default_prompt_name");
}

#[test]
fn files_that_are_missing_or_cut_off_are_named() {
    for case in CASES {
        let files = Files::of(case);
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            refused(&files.without(name), name, "");
            let bytes = &files.0[name];
            for cut in [0, 1, 7, 9, bytes.len() / 3, bytes.len() - 1] {
                // A newline at the end may go.
                if name == "model.safetensors" || cut + 1 < bytes.len() {
                    refused(&files.with(name, &bytes[..cut]), name, "");
                }
            }
        }
    }
    let files = Files::of("bert_mean");
    refused(&files.without("1_Pooling/config.json"), "1_Pooling/config.json", "");
    refused(&files.with("adapter_config.json", "{}"), "adapter_config.json", "");
    let shards = "model.safetensors.index.json";
    refused(&files.with(shards, "{}"), shards, "");
}

/// The container's header, changed as text of the same length.
fn renamed(files: &Files, from: &str, to: &str) -> Files {
    assert_eq!(from.len(), to.len());
    let bytes = &files.0["model.safetensors"];
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
    let mut bytes = bytes.clone();
    bytes[at..at + from.len()].copy_from_slice(to.as_bytes());
    files.with("model.safetensors", bytes)
}

#[test]
fn weights_are_checked() {
    let weights = "model.safetensors";
    let files = Files::of("bert_mean");
    let query = "encoder.layer.1.attention.self.query.weight";
    refused(&renamed(&files, query, &query.replace("query", "qwery")), weights, query);
    // Layers that no configuration speaks of are not left aside.
    let fewer = changed(&files, "config.json", "num_hidden_layers", json!(1));
    refused(&fewer, weights, "encoder.layer.1.");
    let wider = changed(&files, "config.json", "intermediate_size", json!(65));
    refused(&wider, weights, "encoder.layer.0.intermediate.dense.weight");
    let larger = changed(&files, "config.json", "vocab_size", json!(58));
    refused(&larger, weights, "embeddings.word_embeddings.weight");
    let longer = changed(&files, "config.json", "max_position_embeddings", json!(41));
    refused(&longer, weights, "embeddings.position_embeddings.weight");
    let smaller = changed(&files, "config.json", "vocab_size", json!(50));
    refused(&smaller, "tokenizer.json", "vocab");
    let mut broken = files.0[weights].clone();
    let header = u64::from_le_bytes(broken[..8].try_into().unwrap()) as usize;
    broken[8 + header..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    refused(&files.with(weights, broken), weights, "embeddings.");
    let classes = Files::of("distilbert_classes");
    let plain = changed(&classes, "config.json", "architectures", json!(["DistilBertModel"]));
    refused(&plain, weights, "classifier");
    let more = changed(&classes, "config.json", "id2label", json!({"0": "a", "1": "b"}));
    refused(&more, weights, "classifier.weight");
}

#[test]
fn tokenizers_are_checked() {
    let files = Files::of("bert_mean");
    let tokenizer = "tokenizer.json";
    let mut json = files.json(tokenizer);
    json["truncation"]["direction"] = json!("Left");
    refused(&files.with(tokenizer, json.to_string()), tokenizer, "truncation.direction");
    let mut json = files.json(tokenizer);
    json["normalizer"] = json!(null);
    refused(&files.with(tokenizer, json.to_string()), tokenizer, "normalizer");
    json["model"]["type"] = json!("Unheard");
    refused(&files.with(tokenizer, json.to_string()), tokenizer, "");
    // Whatever a byte becomes, it is read or refused, and texts are encoded or refused.
    let bytes = &files.0[tokenizer];
    for at in (0..bytes.len()).step_by(7) {
        let mut bytes = bytes.clone();
        bytes[at] = if bytes[at] == b'1' { b'9' } else { b'1' };
        if let Ok(tokenizer) = Tokenizer::parse(&bytes) {
            let _ = tokenizer.encode("The unwantable café, 日本", 8);
        }
    }
}
