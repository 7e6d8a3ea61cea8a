//! Owns the way from the files of an encoder's folder to an artifact.
//!
//! Refuses folders without configuration, weights or tokenizer, weights in several files, and
//! adapters. Bound: each file is within its limit; files with other names are not looked at.

use std::collections::BTreeMap;

use truststram_base::limits::MODEL_FILE_BYTES_MAX;

use super::build::Builder;
use super::config::{CONFIG, Config, Family};
use super::fields::{Fields, wrong};
use super::head;
use super::sentence::Sentence;
use super::tokenizer::{TOKENIZER, Tokenizer};
use super::weights::{WEIGHTS, WeightFile};
use crate::artifact::{Artifact, Signature, TokenInput};
use crate::error::ModelError;

/// Most bytes of a file that is not the weights; tokenizers of many languages have 20 MB.
const TEXT_FILE_BYTES_MAX: u64 = 64 << 20;
const TOKENIZER_SETTINGS: &str = "tokenizer_config.json";

/// The files of one encoder, as `config.json`, `model.safetensors`, `tokenizer.json`,
/// `1_Pooling/config.json`.
#[derive(Clone, Debug, Default)]
pub struct EncoderFolder<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> EncoderFolder<'a> {
    /// A folder of files: their names, with `/` between folders, and their bytes.
    pub fn new(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        Self { files: files.into_iter().collect() }
    }

    /// The bytes of a file, if it is there.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.files.get(name).copied()
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// [`ModelError::Folder`] if it is missing.
    pub fn need(&self, name: &str) -> Result<&'a [u8], ModelError> {
        self.get(name).ok_or_else(|| wrong(name, "", "no file", "the file"))
    }

    /// Makes an artifact of the files: the graph in f32, its signature and the tokenizer. A folder
    /// whose architecture is `...ForSequenceClassification` classifies, unless it has files of
    /// sentence-transformers; all others embed, by the mean where no file says.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the file, the key or the tensor, what it has and what was
    /// expected.
    pub fn parse(&self) -> Result<Artifact, ModelError> {
        self.check_files()?;
        let config = Config::parse(self.need(CONFIG)?)?;
        let sentence = Sentence::read(self, config.hidden)?;
        let tokenizer_bytes = self.need(TOKENIZER)?;
        let tokenizer = Tokenizer::parse(tokenizer_bytes)?;
        let length_max = self.length_max(&config, &sentence)?;
        check_tokenizer(&tokenizer, &config, &sentence, length_max)?;
        let prefix = match config.family {
            Family::Bert => "bert.",
            Family::DistilBert => "distilbert.",
            Family::Roberta => "roberta.",
        };
        let weights = WeightFile::parse(self.need(WEIGHTS)?, prefix)?;
        let mut builder = Builder::new(&config, weights);
        let task = match config.classifies && !sentence.is_told {
            true => head::classify(&mut builder)?,
            false => head::embed(&mut builder, &sentence, length_max)?,
        };
        let Builder { weights, graph, .. } = builder;
        weights.finish()?;
        let mut signature = Signature::of_graph(&graph, task, false)?;
        signature.batchable = true;
        signature.tokens = Some(TokenInput {
            length_max,
            vocabulary: u32::try_from(config.vocabulary).unwrap_or(u32::MAX),
            types: if config.types > 1 { config.types as u32 } else { 0 },
        });
        let tokenizer = Some(tokenizer_bytes.to_vec());
        let artifact = Artifact { graph, signature, tokenizer, dense: None, samples: Vec::new() };
        artifact.validate()?;
        Ok(artifact)
    }

    fn check_files(&self) -> Result<(), ModelError> {
        for (name, bytes) in &self.files {
            let bytes_max = match *name {
                WEIGHTS => MODEL_FILE_BYTES_MAX,
                CONFIG | TOKENIZER => TEXT_FILE_BYTES_MAX,
                name if name.ends_with(".json") => TEXT_FILE_BYTES_MAX,
                _ => continue,
            };
            if bytes.len() as u64 > bytes_max {
                let expected = format_args!("at most {bytes_max}");
                return Err(wrong(name, "", format_args!("{} bytes", bytes.len()), expected));
            }
        }
        for name in ["model.safetensors.index.json", "adapter_config.json"] {
            if self.get(name).is_some() {
                let expected = format_args!("none; all weights in one {WEIGHTS}");
                return Err(wrong(name, "", "a file", expected));
            }
        }
        Ok(())
    }

    /// Most tokens of a text: what the files say, and a position for each.
    fn length_max(&self, config: &Config, sentence: &Sentence) -> Result<usize, ModelError> {
        let mut length_max = config.length_max();
        if let Some(length) = sentence.length_max {
            length_max = length_max.min(length);
        } else if let Some(bytes) = self.get(TOKENIZER_SETTINGS) {
            // Where it does not know, the file has a number that no text reaches.
            let fields = Fields::parse(TOKENIZER_SETTINGS, bytes)?;
            let length = fields.get("model_max_length").and_then(serde_json::Value::as_u64);
            let length = length.filter(|length| *length > 0).map(usize::try_from);
            length_max = length_max.min(length.and_then(Result::ok).unwrap_or(usize::MAX));
        }
        Ok(length_max)
    }
}

fn check_tokenizer(
    tokenizer: &Tokenizer,
    config: &Config,
    sentence: &Sentence,
    length_max: usize,
) -> Result<(), ModelError> {
    if let Some(token) = tokenizer.largest_token().filter(|t| *t as usize >= config.vocabulary) {
        let expected = format_args!("below the {} of vocab_size in {CONFIG}", config.vocabulary);
        return Err(wrong(TOKENIZER, "vocab", format_args!("the token {token}"), expected));
    }
    let special = tokenizer.special_count();
    if special >= length_max {
        let expected = format_args!("fewer than the {length_max} tokens of a text");
        return Err(wrong(TOKENIZER, "post_processor", format_args!("{special} tokens"), expected));
    }
    if sentence.lower_case && !tokenizer.lowers_case() {
        let expected = "one that makes lower case, as do_lower_case in sentence_bert_config.json";
        return Err(wrong(TOKENIZER, "normalizer", "another one", expected));
    }
    Ok(())
}
