//! Owns `model optimize`: another version of a model file that is smaller or faster, with a report
//! of what it costs, written to a file or registered at a server.
//!
//! Refuses to write a version that costs more than its limit; one that is registered keeps its
//! report, and the server refuses to switch to it. Bound: the model and the data in memory.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::json;
use sha2::{Digest, Sha256};
use truststram_base::limits::MODEL_FILE_BYTES_MAX;
use truststram_model::artifact::{Artifact, Format};
use truststram_model::encoder::{TokenizedText, Tokenizer};
use truststram_model::optimize::{
    DataRows, DataSet, Figures, Int8, OptimizeOptions, Ranges, Report, TextTokens, data_set_of_csv,
    optimize,
};

use super::archive::Archive;
use super::{hex, path};
use crate::cli::client::{ServerArgument, Upload, encoded};
use crate::cli::{Failure, output};

/// Time that the runs may take that tell what the outputs of an ONNX file mean.
const IMPORT_TIME: Duration = Duration::from_secs(60);
const DATA_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct OptimizeArguments {
    /// A .safetensors or .onnx file, a Hugging Face folder, or a tar file of one.
    path: PathBuf,
    /// Where to write the version: a .safetensors file.
    #[arg(long, required_unless_present = "id")]
    out: Option<PathBuf>,
    /// Register it as the next version of this model, with its report; it is not activated.
    #[arg(long)]
    id: Option<String>,
    /// Compute constants and fuse neighbours.
    #[arg(long)]
    fuse: bool,
    /// Make this share of all weights zero, the smallest ones.
    #[arg(long, value_name = "SHARE")]
    prune_l1: Option<f64>,
    /// Compute linear layers in 8-bit numbers where that is faster; `static` needs `--data`.
    #[arg(long, value_enum)]
    int8: Option<Rows>,
    /// With `--int8 static`, the percentage of each layer's inputs that its range tells apart; all
    /// if absent.
    #[arg(long, value_name = "PERCENT")]
    percentile: Option<f64>,
    /// Compute the linear layers that are left in bf16.
    #[arg(long)]
    bf16: bool,
    /// Rows like those to come: CSV of features, the label last where there is one; of a model
    /// that reads texts one text a line.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The most accuracy that the version may lose, from 0 to 1; needs `--data`.
    #[arg(long, value_name = "LOSS")]
    max_accuracy_loss: Option<f64>,
    #[command(flatten)]
    server: ServerArgument,
}

/// How the rows of a layer become 8-bit numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Rows {
    /// Each by its own range.
    Dynamic,
    /// All alike, in a range that the data show.
    Static,
}

pub(super) fn run(arguments: &OptimizeArguments, as_json: bool) -> Result<(), Failure> {
    let artifact = read_model(&arguments.path)?;
    let options = options(arguments).map_err(Failure::Usage)?;
    let data = arguments.data.as_deref().map(|file| data(file, &artifact)).transpose()?;
    let (made, report) = optimize(&artifact, &options, data.as_ref()).map_err(failed)?;
    let bytes = made.to_bytes().map_err(failed)?;
    match as_json {
        true => output::json(&json!(report))?,
        false => output::text(&table(&report))?,
    }
    if let Some(id) = &arguments.id {
        register(arguments, id, bytes.clone(), &report, as_json)?;
    }
    if let Some(out) = &arguments.out {
        report.ensure_within_limit().map_err(failed)?;
        fs::write(out, &bytes).with_context(|| format!("cannot write {}", out.display()))?;
    }
    Ok(())
}

fn failed(error: truststram_model::ModelError) -> Failure {
    Failure::Failed(error.into())
}

/// The model in a file or a folder.
pub(in crate::cli) fn read_model(path: &Path) -> Result<Artifact, Failure> {
    let cannot = || format!("cannot read {}", path.display());
    let facts = fs::metadata(path).with_context(cannot).map_err(Failure::Usage)?;
    let mut bytes = Vec::new();
    let format = match facts.is_dir() {
        true => {
            Archive::of_folder(path)?.take(MODEL_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            Format::FolderTar
        }
        false => {
            let file = fs::File::open(path).with_context(cannot)?;
            file.take(MODEL_FILE_BYTES_MAX).read_to_end(&mut bytes).with_context(cannot)?;
            let name = path.to_string_lossy();
            let known = Format::ALL.iter().find(|(_, ending)| name.ends_with(ending));
            let unknown = || anyhow!("{name} ends in none of .safetensors, .onnx and .tar");
            known.ok_or_else(unknown).map_err(Failure::Usage)?.0
        }
    };
    Artifact::read(format, &bytes, Instant::now() + IMPORT_TIME).map_err(failed)
}

fn options(arguments: &OptimizeArguments) -> Result<OptimizeOptions, anyhow::Error> {
    let ranges = arguments.percentile.map_or(Ranges::MinMax, Ranges::Percentile);
    if arguments.percentile.is_some() && arguments.int8 != Some(Rows::Static) {
        return Err(anyhow!("--percentile goes with --int8 static"));
    }
    Ok(OptimizeOptions {
        fuse: arguments.fuse,
        prune_l1: arguments.prune_l1,
        int8: arguments.int8.map(|rows| match rows {
            Rows::Dynamic => Int8::Dynamic,
            Rows::Static => Int8::Static(ranges),
        }),
        bf16: arguments.bf16,
        accuracy_loss_max: arguments.max_accuracy_loss,
    })
}

fn data(file: &Path, artifact: &Artifact) -> Result<DataSet, Failure> {
    let cannot = || format!("cannot read {}", file.display());
    let opened = fs::File::open(file).with_context(cannot).map_err(Failure::Usage)?;
    let mut text = String::new();
    opened.take(DATA_BYTES_MAX).read_to_string(&mut text).with_context(cannot)?;
    let signature = &artifact.signature;
    let (Some(tokens), Some(tokenizer)) = (signature.tokens, &artifact.tokenizer) else {
        return data_set_of_csv(&text, signature).map_err(failed);
    };
    let tokenizer = Tokenizer::parse(tokenizer).map_err(failed)?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let encoded = lines.map(|line| {
        let TokenizedText { ids, types } = tokenizer.encode(line, tokens.length_max)?;
        Ok(TextTokens { ids, types })
    });
    let texts = encoded.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    Ok(DataSet { rows: DataRows::Texts(texts), labels: None })
}

/// Sends the version to the server, with its report.
fn register(
    arguments: &OptimizeArguments,
    id: &str,
    bytes: Vec<u8>,
    report: &Report,
    as_json: bool,
) -> Result<(), Failure> {
    // The server keeps the figures; the layers are many and follow from the file.
    let kept = Report { layers: Vec::new(), ..report.clone() };
    let metadata = json!({ "optimisation": kept }).to_string();
    let sha256 = hex(Sha256::new_with_prefix(&bytes));
    let length = bytes.len() as u64;
    let upload = Upload { artifact: Box::new(std::io::Cursor::new(bytes)), bytes: length, sha256 };
    let address = format!("{}/versions?metadata={}", path(id), encoded(&metadata));
    let answer = arguments.server.upload("POST", &address, upload)?;
    if as_json { Ok(()) } else { super::show::version(&answer, false) }
}

/// The report for people.
fn table(report: &Report) -> String {
    let time = |us: Option<f64>| us.map_or_else(|| "-".to_owned(), |us| format!("{us:.2}"));
    let row = |name: &str, figures: &Figures| {
        vec![
            name.to_owned(),
            figures.file_bytes.to_string(),
            figures.memory_bytes.to_string(),
            format!("{:.1} %", 100.0 * figures.zero_share),
            time(figures.row_us_batch_1),
            time(figures.row_us_batch_32),
        ]
    };
    let mut rows = vec![row("before", &report.before)];
    rows.extend(report.steps.iter().map(|step| row(step.name.name(), &step.after)));
    let heads = ["step", "file bytes", "memory bytes", "zeros", "us/row of 1", "us/row of 32"];
    let mut text = output::table(&heads, &rows);
    let Some(quality) = &report.quality else { return text };
    let mut rows = Vec::new();
    let mut add = |name: &str, value: Option<f64>| {
        rows.extend(value.map(|value| vec![name.to_owned(), format!("{value:.6}")]));
    };
    add("accuracy before", quality.accuracy_before);
    add("accuracy after", quality.accuracy_after);
    add("same class", quality.agreement);
    add("mean cosine", quality.similarity);
    add("largest difference", Some(quality.difference_max));
    add("mean difference", Some(quality.difference_mean));
    add("accuracy lost", quality.accuracy_loss);
    add("accuracy that may be lost", report.options.accuracy_loss_max);
    text.push('\n');
    text.push_str(&output::table(&[&format!("{} rows", quality.row_count), ""], &rows));
    text
}
