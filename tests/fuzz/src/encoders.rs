//! The files of an encoder in one input: `=== name`, a line break, the file, and so on.
//!
//! Owns that form and the weights beside it. Refuses other files than an encoder's small ones.
//! Bound: the golden encoders, whose weights are below 100 KB.

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

const WEIGHTS: &str = "model.safetensors";
const BREAK: &[u8] = b"\n=== ";
/// The files that come from the input.
const SMALL: [&str; 6] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

/// The folders in the folder `FUZZ_ENCODERS`, in order.
fn folders() -> Vec<PathBuf> {
    let folder = std::env::var_os("FUZZ_ENCODERS").unwrap_or_default();
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries.map(|entry| entry.path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    folders
}

static GOLDEN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let read = |folder: PathBuf| fs::read(folder.join(WEIGHTS)).ok();
    folders().into_iter().filter_map(read).collect()
});

/// The files of an input, with the weights that its first byte chooses.
pub fn files(input: &[u8]) -> Vec<(&str, &[u8])> {
    let mut files = Vec::new();
    let (chosen, mut rest) = input.split_first().map_or((0, input), |(first, rest)| (*first, rest));
    while let Some(start) = find(rest) {
        rest = &rest[start + BREAK.len()..];
        let end = find(rest).unwrap_or(rest.len());
        let file = &rest[..end];
        let line = file.iter().position(|byte| *byte == b'\n').unwrap_or(file.len());
        let name = SMALL.into_iter().find(|name| name.as_bytes() == &file[..line]);
        files.extend(name.map(|name| (name, file.get(line + 1..).unwrap_or_default())));
    }
    if let Some(weights) = GOLDEN.get(usize::from(chosen) % GOLDEN.len().max(1)) {
        files.push((WEIGHTS, weights));
    }
    files
}

fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BREAK.len()).position(|window| window == BREAK)
}

/// Each golden encoder as an input.
pub fn seeds() -> Vec<(String, Vec<u8>)> {
    let one = |(index, folder): (usize, PathBuf)| {
        let mut input = vec![index as u8];
        for name in SMALL {
            if let Ok(bytes) = fs::read(folder.join(name)) {
                input.extend([BREAK, name.as_bytes(), b"\n", &bytes].concat());
            }
        }
        (folder.file_name().unwrap_or_default().to_string_lossy().into_owned(), input)
    };
    folders().into_iter().enumerate().map(one).collect()
}
