//! Right answers: tokens, vectors and probabilities, alone and in batches, in all precisions.

use truststram_model::ModelError;
use truststram_model::artifact::{Artifact, Task};
use truststram_model::encoder::{TEXT_BYTES_MAX, Tokenizer};
use truststram_model::kernels::Isa;

use crate::{CASES, Files, expected, in_precision, run, session};

/// The largest difference as a share of the largest number.
fn off(found: &[f32], wanted: &[f32]) -> f32 {
    assert_eq!(found.len(), wanted.len());
    let size = wanted.iter().fold(0.0_f32, |size, value| size.max(value.abs()));
    let differences = found.iter().zip(wanted).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / size
}

#[test]
fn answers_are_those_of_transformers() {
    for case in CASES {
        let files = Files::of(case);
        let artifact = files.parse().unwrap();
        let (length_max, cases) = expected(&files);
        assert_eq!(artifact.signature.tokens.unwrap().length_max, length_max, "{case}");
        // Small random layers make rounding weigh more than trained ones do.
        for (precision, bound) in [("f32", 1e-5), ("bf16", 0.05), ("int8", 0.15)] {
            let graph = in_precision(&artifact.graph, precision);
            for isa in [Isa::detect(), Isa::Portable] {
                let mut session = session(&graph, isa);
                for expected in &cases {
                    let found = run(&mut session, &[&expected.ids]);
                    let off = off(&found, &expected.answer);
                    assert!(off < bound, "{case} {precision} `{}`: {off}", expected.text);
                }
            }
        }
    }
}

#[test]
fn a_batch_has_the_same_bits_as_its_texts_alone() {
    for case in CASES {
        let files = Files::of(case);
        let artifact = files.parse().unwrap();
        let (_, cases) = expected(&files);
        let texts: Vec<&[u32]> = cases.iter().map(|expected| expected.ids.as_slice()).collect();
        for precision in ["f32", "bf16", "int8"] {
            let graph = in_precision(&artifact.graph, precision);
            let mut session = session(&graph, Isa::detect());
            let alone: Vec<f32> = texts.iter().flat_map(|ids| run(&mut session, &[ids])).collect();
            assert_eq!(run(&mut session, &texts), alone, "{case} {precision}");
        }
    }
}

#[test]
fn tokens_are_those_of_the_library() {
    for case in CASES {
        let files = Files::of(case);
        let tokenizer = Tokenizer::parse(&files.parse().unwrap().tokenizer.unwrap()).unwrap();
        let (length_max, cases) = expected(&files);
        for expected in &cases {
            let found = tokenizer.encode(&expected.text, length_max).unwrap();
            assert_eq!(found.ids, expected.ids, "{case} `{}`", expected.text);
            assert_eq!(found.types, vec![0; found.ids.len()]);
            let short = tokenizer.encode(&expected.text, 3).unwrap().ids;
            let whole = expected.ids.len();
            if whole > 3 {
                assert_eq!(short, [expected.ids[0], expected.ids[1], expected.ids[whole - 1]]);
            }
        }
        let refused = |text: &str, length_max| {
            let error = tokenizer.encode(text, length_max).unwrap_err();
            assert!(matches!(error, ModelError::Input { .. }), "{error}");
        };
        refused("a", 2);
        refused("a", 0);
        refused(&"a".repeat(TEXT_BYTES_MAX + 1), 8);
    }
}

#[test]
fn folders_become_artifacts_that_are_files() {
    for case in CASES {
        let artifact = Files::of(case).parse().unwrap();
        let read = Artifact::parse(&artifact.to_bytes().unwrap()).unwrap();
        assert_eq!(read.signature, artifact.signature, "{case}");
        assert_eq!(read.tokenizer, artifact.tokenizer);
        assert_eq!(read.graph.nodes.len(), artifact.graph.nodes.len());
    }
    let signature = |case| Files::of(case).parse().unwrap().signature;
    assert_eq!(signature("bert_mean").task, Task::Embed { dimension: 32, length_max: 24 });
    assert_eq!(signature("bert_mean").tokens.unwrap().types, 2);
    assert_eq!(signature("distilbert_classes").classes(), ["negative", "neutral", "positive"]);
    assert_eq!(signature("roberta_classes").tokens.unwrap().types, 0);
}

#[test]
fn pooling_by_the_first_token_gives_its_row() {
    let files = Files::of("bert_mean");
    let text = String::from_utf8(files.0["1_Pooling/config.json"].clone()).unwrap();
    let text = text.replace("_cls_token\": false", "_cls_token\": true");
    let text = text.replace("_mean_tokens\": true", "_mean_tokens\": false");
    let first = files.with("1_Pooling/config.json", text).parse().unwrap();
    let mean = files.parse().unwrap();
    // Of one token the mean is the row, and other tokens change both alike.
    let found = run(&mut session(&first.graph, Isa::detect()), &[&[7], &[7, 8, 9]]);
    let alone = run(&mut session(&mean.graph, Isa::detect()), &[&[7], &[7, 8, 9]]);
    assert_eq!(found[..32], alone[..32]);
    assert_ne!(found[32..], alone[32..]);
}
