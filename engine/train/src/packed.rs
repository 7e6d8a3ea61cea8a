//! Owns rows that are too many for memory: their features in a file, one row behind the other as
//! little-endian f32, their targets in memory.
//!
//! The file has no name once the rows are packed, so that nothing is left of it, whatever ends the
//! process. Rows are read many at a time, through io_uring where the host has it, for a shuffled
//! epoch asks for rows from everywhere. Refuses rows of different lengths, and values that are not
//! finite. Bound: some bytes a row in memory, and the rows that are read at once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use truststram_machine::{Ring, RingMode, probe};

use crate::data::Dataset;
use crate::error::TrainError;
use crate::rows::in_order;

/// Most classes: the confusion matrix has the square of them.
const CLASSES_MAX: usize = 4_096;

/// Features of rows in a file.
#[derive(Clone, Debug)]
pub struct PackedFeatures {
    file: Arc<File>,
    path: Arc<Path>,
    ring: RingMode,
    feature_count: usize,
    /// Where each row is in the file, counted in rows.
    places: Vec<u32>,
}

/// Reads rows of a data set, wherever they are. One thread uses it.
pub(crate) struct RowReader<'a> {
    data: &'a Dataset,
    file: Option<FileReader<'a>>,
}

/// Reads rows of a file.
pub(crate) struct FileReader<'a> {
    rows: &'a PackedFeatures,
    ring: Box<dyn Ring>,
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

/// The features of rows on their way into a file that has no name any more.
#[derive(Debug)]
struct RowFile {
    path: PathBuf,
    ring: RingMode,
    file: BufWriter<File>,
}

impl RowFile {
    /// Begins with an empty file, in the place of one that may be there.
    fn create(path: &Path, ring: RingMode) -> Result<Self, TrainError> {
        let options = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = options.map_err(failed("create", path))?;
        // What is packed is of this process alone, and is made anew by the next.
        fs::remove_file(path).map_err(failed("unlink", path))?;
        Ok(Self { path: path.to_owned(), ring, file: BufWriter::with_capacity(1 << 18, file) })
    }

    fn add(&mut self, features: &[f32]) -> Result<(), TrainError> {
        let written =
            features.iter().try_for_each(|value| self.file.write_all(&value.to_le_bytes()));
        written.map_err(failed("write", &self.path))
    }

    fn finish(self, feature_count: usize, rows: usize) -> Result<PackedFeatures, TrainError> {
        let Self { path, ring, file } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        let file = Arc::new(file.map_err(failed("write", &path))?);
        let places = (0..rows as u32).collect();
        Ok(PackedFeatures { file, path: path.into(), ring, feature_count, places })
    }
}

/// Rows while they are packed.
#[derive(Debug)]
pub struct Packer {
    file: RowFile,
    is_of_classes: bool,
    feature_count: usize,
    /// The names of classes, in the order in which they came.
    names: HashMap<String, u32>,
    labels: Vec<u32>,
    values: Vec<f32>,
}

impl PartialEq for PackedFeatures {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.file, &other.file) && self.places == other.places
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> TrainError {
    let path = path.to_owned();
    move |source| TrainError::File { action, path: path.clone(), source }
}

impl Packer {
    /// Begins with an empty file, in the place of one that may be there; `ring` says how it is
    /// read.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn create(path: &Path, is_of_classes: bool, ring: RingMode) -> Result<Self, TrainError> {
        Ok(Self {
            file: RowFile::create(path, ring)?,
            is_of_classes,
            feature_count: 0,
            names: HashMap::new(),
            labels: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`TrainError::Dataset`] says what is wrong with it, [`TrainError::File`] with the disk.
    pub fn add(&mut self, features: &[f32], target: &str) -> Result<(), TrainError> {
        let rows = self.labels.len() + self.values.len();
        if rows == 0 {
            self.feature_count = features.len();
        }
        let is_right = !features.is_empty() && features.len() == self.feature_count;
        if !is_right || rows >= u32::MAX as usize {
            return Err(TrainError::Dataset("has rows of different lengths, or too many"));
        }
        if !features.iter().all(|value| value.is_finite()) {
            return Err(TrainError::Dataset("has values that are not finite"));
        }
        match self.is_of_classes {
            true => {
                let next = self.names.len() as u32;
                let label = match self.names.get(target) {
                    Some(label) => *label,
                    None if self.names.len() == CLASSES_MAX => {
                        return Err(TrainError::Dataset("has more than 4096 classes"));
                    }
                    None => *self.names.entry(target.to_owned()).or_insert(next),
                };
                self.labels.push(label);
            }
            false => {
                let value = target.parse();
                let wrong = |_| TrainError::Dataset("has targets that are not numbers");
                self.values.push(value.map_err(wrong)?);
            }
        }
        self.file.add(features)
    }

    /// The rows, with their classes in order.
    ///
    /// # Errors
    /// [`TrainError::File`].
    pub fn finish(self) -> Result<Dataset, TrainError> {
        let Self { file, feature_count, names, mut labels, values, .. } = self;
        let classes = in_order(names.keys().map(String::as_str));
        let mut places = vec![0; classes.len()];
        for (place, class) in classes.iter().enumerate() {
            places[names[class] as usize] = place as u32;
        }
        labels.iter_mut().for_each(|label| *label = places[*label as usize]);
        let packed = file.finish(feature_count, labels.len().max(values.len()))?;
        let (features, packed) = (Vec::new(), Some(packed));
        Ok(Dataset { features, labels, values, feature_count, classes, packed })
    }
}

/// What is made of the features of so many rows.
pub(crate) type Map<'a> = dyn FnMut(&[f32], usize) -> Option<Vec<f32>> + 'a;

impl Dataset {
    /// A way to read its rows.
    pub(crate) fn reader(&self) -> RowReader<'_> {
        RowReader { data: self, file: self.packed.as_ref().map(PackedFeatures::reader) }
    }

    /// The same rows with what `map` makes of their features, so many rows at a time; in memory or
    /// in a file as they are here. None where `map` gives none, which ends it.
    pub(crate) fn mapped(
        &self,
        rows_at_once: usize,
        feature_count: usize,
        map: &mut Map<'_>,
    ) -> Result<Option<Self>, TrainError> {
        let mut file = match &self.packed {
            Some(packed) => Some(RowFile::create(&packed.path, packed.ring)?),
            None => None,
        };
        let (mut reader, mut rows, mut features) = (self.reader(), Vec::new(), Vec::new());
        for first in (0..self.rows()).step_by(rows_at_once) {
            let count = rows_at_once.min(self.rows() - first);
            rows.clear();
            reader.read(first..first + count, &mut rows)?;
            let Some(made) = map(&rows, count) else { return Ok(None) };
            match &mut file {
                Some(file) => file.add(&made)?,
                None => features.extend_from_slice(&made),
            }
        }
        let packed = file.map(|file| file.finish(feature_count, self.rows())).transpose()?;
        let (labels, values) = (self.labels.clone(), self.values.clone());
        let classes = self.classes.clone();
        Ok(Some(Self { features, labels, values, feature_count, classes, packed }))
    }
}

impl PackedFeatures {
    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.places.len()
    }

    /// Some of the rows, by their numbers.
    pub(crate) fn select(&self, rows: &[usize]) -> Self {
        Self { places: rows.iter().map(|&row| self.places[row]).collect(), ..self.clone() }
    }

    /// A way to read them.
    pub(crate) fn reader(&self) -> FileReader<'_> {
        let (ring, _) = probe(self.ring);
        FileReader { rows: self, ring, bytes: Vec::new(), offsets: Vec::new() }
    }
}

impl FileReader<'_> {
    /// Adds the features of rows to `features`.
    pub(crate) fn read(
        &mut self,
        rows: Range<usize>,
        features: &mut Vec<f32>,
    ) -> Result<(), TrainError> {
        let PackedFeatures { file, path, feature_count, places, .. } = self.rows;
        let row_bytes = feature_count * size_of::<f32>();
        self.offsets.clear();
        let places = &places[rows];
        self.offsets.extend(places.iter().map(|&place| u64::from(place) * row_bytes as u64));
        self.bytes.resize(places.len() * row_bytes, 0);
        let read = self.ring.read_each(file, &mut self.bytes, &self.offsets);
        read.map_err(failed("read", path))?;
        let values = self.bytes.as_chunks::<4>().0.iter();
        features.extend(values.map(|four| f32::from_le_bytes(*four)));
        Ok(())
    }
}

impl RowReader<'_> {
    /// Adds the features of rows to `features`.
    pub(crate) fn read(
        &mut self,
        rows: Range<usize>,
        features: &mut Vec<f32>,
    ) -> Result<(), TrainError> {
        if let Some(file) = &mut self.file {
            return file.read(rows, features);
        }
        let width = self.data.feature_count;
        features.extend_from_slice(&self.data.features[rows.start * width..rows.end * width]);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
