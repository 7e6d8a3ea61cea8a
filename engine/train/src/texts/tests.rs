//! Encoders from nothing and from the golden folders: what they learn, and that models answer as
//! the networks that were trained.

use std::path::Path;
use std::sync::Arc;

use truststram_exchange::{Format, TextRow, Writer};
use truststram_machine::RingMode;
use truststram_model::artifact::Artifact;
use truststram_model::encoder::{EncoderFolder, Tokenizer};
use truststram_model::graph::Port;
use truststram_model::kernels::{Alone, Isa};
use truststram_model::program::{BuildOptions, Program, Session};

use super::base::Base;
use super::*;
use crate::data::Dataset;
use crate::encoder::{EncoderPooling, EncoderSpec};
use crate::fit::{Checkpoints, Go};
use crate::net::{LayerSpec, Net, NetSpec, Pass};
use crate::random::Random;
use crate::rows::labelled;
use crate::spec::TrainSpec;
use crate::{Exported, OptimiserSpec, Outcome, Packer, TrainError};

const CASES: [&str; 3] = ["bert_mean", "distilbert_classes", "roberta_classes"];

fn folder(case: &str) -> Artifact {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/encoder").join(case);
    let names = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
    ];
    let files: Vec<(&str, Vec<u8>)> = names
        .into_iter()
        .filter_map(|name| Some((name, std::fs::read(root.join(name)).ok()?)))
        .collect();
    EncoderFolder::new(files.iter().map(|(name, bytes)| (*name, bytes.as_slice()))).parse().unwrap()
}

/// Texts whose class is said by one of their words.
fn rows() -> TextRows {
    let fill = ["the", "text", "is", "a", "model", "of", "many", "words"];
    let told = [("good", ["small", "able"]), ("bad", ["was", "un"])];
    let mut random = Random::new(3);
    let mut rows = TextRows::default();
    for row in 0..240 {
        let (label, words) = told[row % 2];
        let length = 3 + random.next() as usize % 5;
        let mut text: Vec<&str> =
            (0..length).map(|_| fill[random.next() as usize % fill.len()]).collect();
        text.insert(random.next() as usize % length, words[random.next() as usize % 2]);
        rows.texts.push(text.join(" "));
        rows.labels.push(label.to_owned());
    }
    rows
}

fn spec(epochs: usize, learning_rate: f64) -> TrainSpec {
    TrainSpec {
        epochs,
        batch_size: 16,
        optimiser: OptimiserSpec::AdamW {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            amsgrad: false,
        },
        ..TrainSpec::default()
    }
}

fn scratch(epochs: usize) -> TrainSpec {
    let encoder = EncoderSpec {
        vocabulary: 40,
        length_max: 12,
        hidden: 16,
        layers: 1,
        heads: 2,
        feed_forward: 32,
        activation: crate::EncoderActivation::Gelu,
        pooling: EncoderPooling::Mean,
        dropout: 0.1,
        attention_dropout: 0.0,
        recompute: false,
        epsilon: 1e-5,
        position_first: 0,
        padding: None,
        types: 0,
    };
    let layers = vec![LayerSpec::Encoder(Box::new(encoder))];
    TrainSpec { net: NetSpec { layers, ..NetSpec::default() }, ..spec(epochs, 5e-3) }
}

fn train_texts(
    rows: &TextRows,
    spec: &TrainSpec,
    base: Option<BaseModel<'_>>,
    checkpoints: Option<&Checkpoints>,
    note: &mut dyn FnMut(&crate::Step) -> Go,
) -> Result<Option<Outcome>, TrainError> {
    let mut words = Words::default();
    rows.texts.iter().for_each(|text| words.add(text));
    let training = match base {
        Some(base) => TextTraining::of_base(spec, base)?,
        None => TextTraining::of_words(spec, &words)?,
    };
    let split = training.dataset(rows)?.split(spec.held_out, spec.seed);
    training.train(&split, &[], checkpoints, &mut |_, _| true, note)
}

fn run(spec: &TrainSpec, base: Option<BaseModel<'_>>) -> Outcome {
    train_texts(&rows(), spec, base, None, &mut |_| Go::On).unwrap().unwrap()
}

fn artifact(outcome: &Outcome) -> Artifact {
    Artifact::parse(&outcome.model.to_bytes().unwrap()).unwrap()
}

/// What a graph gives for rows of tokens.
fn answers(artifact: &Artifact, rows: &Dataset) -> Vec<f32> {
    let program = Program::build(&artifact.graph, &BuildOptions::default()).unwrap();
    let mut session = Session::new(Arc::new(program));
    let rows: Vec<&[f32]> = (0..rows.rows()).map(|row| rows.row(row)).collect();
    give(&mut session, &rows);
    session.run(&Alone, None).unwrap();
    session.output(0).unwrap().values::<f32>().unwrap().to_vec()
}

fn data(artifact: &Artifact, length_max: usize) -> Dataset {
    let tokenizer = Tokenizer::parse(artifact.tokenizer.as_deref().unwrap()).unwrap();
    let mut features = Vec::new();
    for text in rows().texts {
        tokens::add(&text, &tokenizer, length_max, &mut features).unwrap();
    }
    labelled(features, &rows().labels, length_max, true).unwrap()
}

fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-4, "{what}: {found} {expected}");
    }
}

/// What the network in training gives for the model that came of it.
fn trained_answers(artifact: &Artifact, rows: &Dataset) -> Vec<f32> {
    let base = Base::read(artifact, None).unwrap();
    let mut layers = vec![LayerSpec::Encoder(Box::new(base.spec.clone()))];
    layers.extend(base.inner);
    let net = Net::new(&NetSpec { layers, ..NetSpec::default() }, base.spec.length_max, 2).unwrap();
    // The scores are the last two constants.
    let constants = artifact.graph.values.iter().filter_map(|value| value.constant.as_ref());
    let last: Vec<f32> = constants
        .filter(|tensor| tensor.shape()[0] == 2)
        .flat_map(|tensor| tensor.values::<f32>().unwrap_or_default().to_vec())
        .collect();
    let mut weights = base.weights;
    let missing = net.weight_count() - weights.len();
    weights.extend(&last[last.len() - missing..]);
    let mut pass = Pass::new(Isa::detect(), &net);
    let (scores, _) = pass.forward(&net, &weights, &rows.features, rows.rows(), None);
    truststram_model::kernels::softmax_rows(Isa::detect(), scores, 2);
    scores.to_vec()
}

#[test]
fn an_encoder_learns_from_nothing_and_is_served_as_it_was_trained() {
    let outcome = run(&scratch(12), None);
    let accuracy = outcome.held_out.accuracy.unwrap();
    assert!(accuracy > 0.95, "{accuracy}");
    let model = artifact(&outcome);
    let rows = data(&model, 12);
    near(&answers(&model, &rows), &trained_answers(&model, &rows), "from nothing");
}

#[test]
fn networks_of_folders_give_what_their_models_give() {
    for case in CASES {
        let mut model = folder(case);
        let base = Base::read(&model, None).unwrap();
        let rows = data(&model, base.spec.length_max);
        let layers = vec![LayerSpec::Encoder(Box::new(base.spec.clone()))];
        let net =
            Net::new(&NetSpec { layers, ..NetSpec::default() }, base.spec.length_max, 1).unwrap();
        let mut pass = Pass::new(Isa::detect(), &net);
        let found = pass.encoded(&net, &base.weights, &rows.features, rows.rows()).to_vec();
        // The row of the text, before it is normalised or classified.
        let is_inner = |operator: &str| matches!(operator, "Pool" | "ResidualNorm");
        let node = model.graph.nodes.iter().rfind(|node| is_inner(&node.operator)).unwrap();
        let value = node.outputs[0].unwrap();
        let port = &model.graph.outputs[0];
        model.graph.outputs = vec![Port { value, dtype: port.dtype, dims: None }];
        near(&found, &answers(&model, &rows), case);
    }
}

#[test]
fn folders_are_tuned_and_served_as_they_were_trained() {
    for case in CASES {
        let model = folder(case);
        for tuned in [Tuned::All, Tuned::Head] {
            let base =
                BaseModel { artifact: &model, tuned, length_max: Some(14), attention_dropout: 0.0 };
            // The encoders are random: what they give says little of the class.
            let (epochs, rate, least) = match tuned {
                Tuned::All => (6, 5e-3, 0.9),
                Tuned::Head => (40, 2e-2, 0.55),
            };
            let outcome = run(&spec(epochs, rate), Some(base));
            let accuracy = outcome.held_out.accuracy.unwrap();
            assert!(accuracy > least, "{case} {tuned:?}: {accuracy}");
            let served = artifact(&outcome);
            assert_eq!(served.tokenizer, model.tokenizer);
            let rows = data(&served, 14);
            near(&answers(&served, &rows), &trained_answers(&served, &rows), case);
            let kept = |artifact: &Artifact| Base::read(artifact, Some(14)).unwrap().weights;
            let count = kept(&model).len().min(kept(&served).len());
            let encoder = Base::read(&model, Some(14)).unwrap().spec;
            let head = encoder.hidden * (encoder.hidden + 1);
            let is_same = kept(&model)[..count - head] == kept(&served)[..count - head];
            assert_eq!(is_same, tuned == Tuned::Head, "{case}");
        }
    }
}

#[test]
fn a_tuning_that_goes_on_ends_with_the_same_bits() {
    let folder_of_files = tempfile::tempdir().unwrap();
    let files = Checkpoints { path: folder_of_files.path().join("a"), every_steps: 5 };
    let model = folder("bert_mean");
    let base = BaseModel {
        artifact: &model,
        tuned: Tuned::All,
        length_max: Some(14),
        attention_dropout: 0.2,
    };
    let (rows, spec) = (rows(), spec(2, 1e-3));
    let whole = run(&spec, Some(base)).model.to_bytes().unwrap();
    let mut left = 13;
    let mut stop = |_: &crate::Step| {
        left -= 1;
        if left == 0 { Go::Stop } else { Go::On }
    };
    assert!(train_texts(&rows, &spec, Some(base), Some(&files), &mut stop).unwrap().is_none());
    let other = folder("distilbert_classes");
    let wrong = BaseModel { artifact: &other, ..base };
    let refused = train_texts(&rows, &spec, Some(wrong), Some(&files), &mut |_| Go::On);
    assert!(matches!(refused, Err(TrainError::Checkpoint { .. })));
    let ended = train_texts(&rows, &spec, Some(base), Some(&files), &mut |_| Go::On);
    let ended = ended.unwrap().unwrap().model;
    assert!(matches!(ended, Exported::Graph(_)));
    assert!(ended.to_bytes().unwrap() == whole);
}

#[test]
fn texts_in_a_file_give_the_same_bits_as_those_in_memory() {
    let folder_of_rows = tempfile::tempdir().unwrap();
    let (model, rows) = (folder("distilbert_classes"), rows());
    for tuned in [Tuned::All, Tuned::Head] {
        let base =
            BaseModel { artifact: &model, tuned, length_max: Some(14), attention_dropout: 0.0 };
        let spec = spec(2, 1e-3);
        let training = TextTraining::of_base(&spec, base).unwrap();
        let mut packer =
            Packer::create(&folder_of_rows.path().join("rows"), true, RingMode::Auto).unwrap();
        for (text, label) in rows.texts.iter().zip(&rows.labels) {
            let mut row = Vec::new();
            training.add_row(text, &mut row).unwrap();
            packer.add(&row, label).unwrap();
        }
        let split = packer.finish().unwrap().split(spec.held_out, spec.seed);
        assert!(training.bytes_needed(&split, 1).unwrap() > 4 * 10_000);
        let mut told = Vec::new();
        let mut prepare = |done, all| {
            told.push((done, all));
            true
        };
        let of_file = training.train(&split, &[], None, &mut prepare, &mut |_| Go::On);
        match tuned {
            Tuned::All => assert_eq!(told, []),
            Tuned::Head => assert_eq!((told.len(), told.last()), (15, Some(&(240, 240)))),
        }
        let of_file = of_file.unwrap().unwrap();
        let whole = run(&spec, Some(base));
        assert!(of_file.model.to_bytes().unwrap() == whole.model.to_bytes().unwrap());
        assert_eq!(of_file.held_out, whole.held_out);
        let left = std::fs::read_dir(folder_of_rows.path()).unwrap().count();
        assert_eq!(left, 0, "the files have no name");
        if tuned == Tuned::Head {
            let ended = training.train(&split, &[], None, &mut |_, _| false, &mut |_| Go::On);
            assert!(
                ended.unwrap().is_none(),
                "vectors are computed no longer than they are wanted"
            );
        }
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let model = folder("bert_mean");
    let check = |spec: &TrainSpec, base: Option<BaseModel<'_>>, expected: &str| {
        let error = train_texts(&rows(), spec, base, None, &mut |_| Go::On).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let base =
        BaseModel { artifact: &model, tuned: Tuned::All, length_max: None, attention_dropout: 0.0 };
    check(&scratch(1), Some(base), "without an encoder");
    check(&spec(1, 1e-3), None, "an encoder first");
    check(&spec(1, 1e-3), Some(BaseModel { length_max: Some(9_999), ..base }), "length_max");
    let all = BaseModel { attention_dropout: 1.0, ..base };
    check(&spec(1, 1e-3), Some(all), "attention_dropout");
    let mut bare = model.clone();
    bare.tokenizer = None;
    check(&spec(1, 1e-3), Some(BaseModel { artifact: &bare, ..base }), "tokenizer");
    let mut other = model.clone();
    other.graph.nodes.remove(1);
    check(&spec(1, 1e-3), Some(BaseModel { artifact: &other, ..base }), "a text encoder in f32");
}

#[test]
fn texts_are_read_from_each_format_alike() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_texts(&path)
    };
    let csv = read("a.csv", "label,text\n1,\"a, \"\"b\"\"\nc\"\nno,d\n").unwrap();
    assert_eq!(csv.texts, ["a, \"b\"\nc", "d"]);
    assert_eq!(csv.labels, ["1", "no"]);
    let lines =
        "{\"text\":\"a, \\\"b\\\"\\nc\",\"label\":1}\n\n{\"text\":\"d\",\"label\":\"no\"}\n";
    assert_eq!(read("a.jsonl", lines).unwrap(), csv);
    let parquet = folder.path().join("a.parquet");
    let file = std::fs::File::create(&parquet).unwrap();
    let mut writer = Writer::create(Format::Parquet, &file).unwrap();
    for (text, label) in csv.texts.iter().zip(&csv.labels) {
        let (text, label) = (text.clone(), Some(label.clone()));
        writer.write(&TextRow { text, label, ..TextRow::default() }).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(read_texts(&parquet).unwrap(), csv);
    let check = |name: &str, text: &str, expected: &str| {
        let error = read(name, text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("a.txt", "", ".csv, .jsonl");
    check("a.csv", "text,class\n", "no column `label`");
    check("a.csv", "text,label\na,\n", "row 1: has no label");
    check("a.jsonl", "{\"text\":\"a\"}\n", "line 1: missing field `label`");
}
