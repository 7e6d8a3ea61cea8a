//! Owns how a text's vector is made of its tokens', as the files of sentence-transformers say.
//!
//! Refuses modules other than the encoder, pooling by the mean or the first token, and
//! normalisation. Bound: the files that `modules.json` names.

use serde_json::Value;

use super::fields::{Fields, wrong};
use super::folder::EncoderFolder;
use crate::error::ModelError;

const MODULES: &str = "modules.json";
const POOLING: &str = "1_Pooling/config.json";
const SETTINGS: &str = "sentence_bert_config.json";
const PROMPTS: &str = "config_sentence_transformers.json";
const LENGTH_MAX: u64 = 1 << 20;

/// What of a text's tokens is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first one.
    First,
    /// The mean of all.
    Mean,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Sentence {
    pub pooling: Pooling,
    pub normalises: bool,
    /// Most tokens of a text, where the files say.
    pub length_max: Option<usize>,
    /// Whether texts are to be in lower case before they become tokens.
    pub lower_case: bool,
    /// Whether the folder has files of sentence-transformers at all; without any it is the mean.
    pub is_told: bool,
}

impl Sentence {
    /// Reads the files that are there.
    ///
    /// # Errors
    /// [`ModelError::Folder`] names the file and the key.
    pub fn read(folder: &EncoderFolder<'_>, hidden: usize) -> Result<Self, ModelError> {
        let (pooling, normalises) = match folder.get(MODULES) {
            Some(bytes) => modules(bytes)?,
            None => (folder.get(POOLING).map(|_| POOLING.to_owned()), false),
        };
        let is_told = pooling.is_some();
        let pooling = match pooling {
            None => Pooling::Mean,
            Some(file) => read_pooling(&file, folder.need(&file)?, hidden)?,
        };
        let (mut length_max, mut lower_case) = (None, false);
        if let Some(bytes) = folder.get(SETTINGS) {
            let fields = Fields::parse(SETTINGS, bytes)?;
            length_max = fields.count("max_seq_length", 1, LENGTH_MAX)?;
            lower_case = fields.flag("do_lower_case")?;
        }
        if let Some(bytes) = folder.get(PROMPTS) {
            let fields = Fields::parse(PROMPTS, bytes)?;
            let key = "default_prompt_name";
            if fields.get(key).is_some() {
                return Err(fields.wrong(key, "none; texts are taken as they are"));
            }
        }
        Ok(Self { pooling, normalises, length_max, lower_case, is_told })
    }
}

/// The file of the pooling, and whether vectors are normalised after it.
fn modules(bytes: &[u8]) -> Result<(Option<String>, bool), ModelError> {
    let list = serde_json::from_slice::<Vec<Value>>(bytes);
    let list = list.map_err(|error| wrong(MODULES, "", error, "a list of modules"))?;
    let mut kinds = Vec::new();
    let mut pooling = None;
    for (index, module) in list.iter().enumerate() {
        let text = |key: &str| {
            let value = module.get(key).and_then(Value::as_str);
            value.ok_or_else(|| wrong(MODULES, &format!("{index}.{key}"), "no text", "text"))
        };
        let (name, path) = (text("type")?, text("path")?);
        let kind = name.rsplit('.').next().unwrap_or_default();
        match (index, kind) {
            (0, "Transformer") if path.is_empty() => {}
            (0, "Transformer") => {
                let expected = "an empty path, the folder itself";
                return Err(wrong(MODULES, "0.path", path, expected));
            }
            (1, "Pooling") => pooling = Some(format!("{path}/config.json")),
            (2, "Normalize") => {}
            _ => {
                let expected = "Transformer, Pooling and optionally Normalize, in this order";
                return Err(wrong(MODULES, &format!("{index}.type"), name, expected));
            }
        }
        kinds.push(kind);
    }
    match pooling {
        Some(_) => Ok((pooling, kinds.len() == 3)),
        None => Err(wrong(MODULES, "", format!("{kinds:?}"), "Transformer and Pooling")),
    }
}

fn read_pooling(file: &str, bytes: &[u8], hidden: usize) -> Result<Pooling, ModelError> {
    let fields = Fields::parse(file, bytes)?;
    for key in ["word_embedding_dimension", "embedding_dimension"] {
        let dimension = fields.count(key, 1, u64::from(u32::MAX))?;
        if dimension.is_some_and(|dimension| dimension != hidden) {
            return Err(fields.wrong(key, format_args!("{hidden}, the encoder's hidden size")));
        }
    }
    let expected = "mean or cls; nothing else is computed";
    match fields.text("pooling_mode")? {
        None => {}
        Some("mean") => return Ok(Pooling::Mean),
        Some("cls") => return Ok(Pooling::First),
        Some(_) => return Err(fields.wrong("pooling_mode", expected)),
    }
    fields.refuse_flags(&[
        "pooling_mode_max_tokens",
        "pooling_mode_mean_sqrt_len_tokens",
        "pooling_mode_weightedmean_tokens",
        "pooling_mode_lasttoken",
    ])?;
    match (fields.flag("pooling_mode_cls_token")?, fields.flag("pooling_mode_mean_tokens")?) {
        (true, false) => Ok(Pooling::First),
        (false, true) => Ok(Pooling::Mean),
        _ => Err(fields.wrong("pooling_mode_mean_tokens", "exactly one of mean and cls")),
    }
}
