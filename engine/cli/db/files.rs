//! Owns the files of `db export` and `db import`: their formats, and a new file that appears under
//! its name only when it is whole.
//!
//! Refuses to write over anything, and to know what the rows are. Bound: one file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use truststram_exchange::{ExchangeError, Format, ReadOptions, Reader, Row, Writer, has_texts};

use super::progress;
use crate::cli::Failure;

/// Wrong rows of a file that are told one by one.
const PROBLEM_COUNT_MAX: usize = 20;

/// A format as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// The format that was typed, or else the one that the file's name ends in.
pub(super) fn format_of(path: &Path, typed: Option<FileFormat>) -> Result<Format, Failure> {
    match typed {
        Some(FileFormat::Parquet) => Ok(Format::Parquet),
        Some(FileFormat::Csv) => Ok(Format::Csv),
        Some(FileFormat::Jsonl) => Ok(Format::JsonLines),
        None => Format::from_extension(path).map_err(|_| {
            Failure::Usage(anyhow!(
                "{} ends in no format; name it .parquet, .csv or .jsonl, or say --format",
                path.display()
            ))
        }),
    }
}

/// A file that is being written beside its place.
pub(super) struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Err(Failure::Refused(anyhow!(
                "{} is there already; remove it or name another file",
                path.display()
            )));
        }
        let mut unfinished = path.to_owned().into_os_string();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let file = File::create(&unfinished)
            .with_context(|| format!("cannot create {}", unfinished.display()))?;
        Ok(Self { path: path.to_owned(), unfinished, file })
    }

    /// Has `work` write the rows, then gives the file its name; gives back the rows and bytes.
    pub(super) fn fill<R: Row>(
        self,
        format: Format,
        work: impl FnOnce(&mut Writer<R, &File>) -> Result<(), Failure>,
    ) -> Result<(u64, u64), Failure> {
        let filled = self.written(format, work);
        if filled.is_err() {
            // What is left of it is of no use; the first error is the one to tell.
            let _ = fs::remove_file(&self.unfinished);
        }
        filled
    }

    fn written<R: Row>(
        &self,
        format: Format,
        work: impl FnOnce(&mut Writer<R, &File>) -> Result<(), Failure>,
    ) -> Result<(u64, u64), Failure> {
        let named = |error: ExchangeError| in_file(&self.path, error);
        let mut writer = Writer::create(format, &self.file).map_err(named)?;
        work(&mut writer)?;
        let rows = writer.finish().map_err(named)?;
        self.file.sync_all()?;
        fs::rename(&self.unfinished, &self.path)
            .with_context(|| format!("cannot name the file {}", self.path.display()))?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        Ok((rows, self.file.metadata()?.len()))
    }
}

/// A file of rows that is read.
pub(super) struct OldFile<'a> {
    pub(super) path: &'a Path,
    pub(super) format: Format,
    pub(super) options: ReadOptions,
}

impl OldFile<'_> {
    /// Reads the whole file and reports every wrong row, so that one changes nothing; gives back
    /// how many rows there are.
    pub(super) fn check<R: Row>(
        &self,
        mut look: impl FnMut(&R) -> Result<(), Failure>,
    ) -> Result<u64, Failure> {
        let mut reader = self.open::<R>()?;
        let bar = progress::bytes("checking", reader.bytes_total());
        let (mut rows, mut wrong, mut problems) = (0, 0_u64, Vec::new());
        while let Some(row) = reader.next() {
            match row {
                Ok(row) => look(&row)?,
                Err(error) => {
                    wrong += 1;
                    if problems.len() < PROBLEM_COUNT_MAX {
                        problems.push(format!("{}: {error}", self.path.display()));
                    }
                }
            }
            rows += 1;
            if rows % 1_024 == 0 {
                bar.set_position(reader.bytes_read());
            }
        }
        bar.finish_and_clear();
        if wrong == 0 {
            return Ok(rows);
        }
        let shown = problems.len() as u64;
        if wrong > shown {
            problems.push(format!("and {} more", wrong - shown));
        }
        problems.push("nothing was imported".to_owned());
        Err(Failure::Failed(anyhow!("{}", problems.join("\n"))))
    }

    /// Reads the rows of a file that was checked.
    pub(super) fn rows<R: Row>(
        &self,
    ) -> Result<impl Iterator<Item = Result<R, Failure>> + use<'_, R>, Failure> {
        let reader = self.open::<R>()?;
        Ok(reader.map(|row| row.map_err(|error| in_file(self.path, error))))
    }

    /// Whether its rows are those of a data set of texts.
    pub(super) fn has_texts(&self) -> Result<bool, Failure> {
        has_texts(self.format, self.file()?).map_err(|error| in_file(self.path, error))
    }

    fn open<R: Row>(&self) -> Result<Reader<R>, Failure> {
        let reader = Reader::open(self.format, self.file()?, self.options);
        reader.map_err(|error| in_file(self.path, error))
    }

    fn file(&self) -> Result<File, Failure> {
        File::open(self.path)
            .with_context(|| format!("cannot open {}", self.path.display()))
            .map_err(Failure::Usage)
    }
}

fn in_file(path: &Path, error: ExchangeError) -> Failure {
    Failure::Failed(anyhow!("{}: {error}", path.display()))
}
