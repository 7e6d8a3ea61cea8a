//! Owns the way of a data set of the store into a training: rows of features as they are, texts as
//! their tokens.
//!
//! Refuses to know what is trained. Rows without a label are passed over. Bound: the rows that
//! there were when the job was made, packed on disk; the words of texts where an encoder is trained
//! from nothing.

use std::path::Path;

use truststram_machine::RingMode;
use truststram_store::{DatasetName, DatasetScan, Store, TrainingRow};
use truststram_train::{Dataset, Packer, Prepare, TextTraining, TrainError, Words};

/// Rows from telling how many are read to telling it again.
const TELL_EVERY_ROWS: u64 = 256;

/// Which rows of the store.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The store.
    pub store: &'a Store,
    /// The data set.
    pub name: &'a DatasetName,
    /// So many of its first rows; all where it is absent.
    pub count: Option<u64>,
}

/// Where rows are packed.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// A file, which will have no name.
    pub file: &'a Path,
    /// Whether targets are classes.
    pub is_of_classes: bool,
    /// How the file is read.
    pub ring: RingMode,
}

impl Place<'_> {
    fn packer(self) -> Result<Packer, String> {
        let packer = Packer::create(self.file, self.is_of_classes, self.ring);
        packer.map_err(|error| error.to_string())
    }
}

impl Wanted<'_> {
    /// The rows that have a label, as [`Wanted`] says, if the data set is of this kind.
    fn rows(
        self,
        is_of_texts: bool,
    ) -> Result<impl Iterator<Item = Result<(TrainingRow, String), String>>, String> {
        let scan = self.scan(is_of_texts)?;
        let count = self.count.unwrap_or(scan.row_count());
        let wanted = scan.map_while(move |row| match row {
            Ok(row) => (row.id < count).then_some(Ok(row)),
            Err(error) => Some(Err(error.to_string())),
        });
        Ok(wanted.filter_map(|row| {
            row.map(|mut row| {
                let label = row.label.take().filter(|label| !label.is_empty());
                label.map(|label| (row, label))
            })
            .transpose()
        }))
    }

    fn scan(self, is_of_texts: bool) -> Result<DatasetScan, String> {
        let Self { store, name, count } = self;
        let scan = store.scan_training(name, 0, None).map_err(|error| error.to_string())?;
        let found = scan.row_count();
        if let Some(count) = count.filter(|count| found < *count) {
            let when = "when the job was made";
            return Err(format!("the data set `{name}` has {found} rows and had {count} {when}"));
        }
        if found > 0 && scan.is_of_texts() != is_of_texts {
            return Err(mismatch(name, scan.is_of_texts()));
        }
        Ok(scan)
    }

    fn wrong(self, id: u64) -> impl Fn(TrainError) -> String {
        let name = self.name.clone();
        move |error| format!("row {id} of `{name}`: {error}")
    }
}

/// What is said of a data set that the training cannot read.
pub(super) fn mismatch(name: &DatasetName, is_of_texts: bool) -> String {
    match is_of_texts {
        true => format!(
            "the data set `{name}` has texts, which encoders read; name one as `base`, or begin \
             `train.net` with a layer of the kind `encoder`"
        ),
        false => format!(
            "the data set `{name}` has features, and encoders read texts; append rows with `text` \
             to a data set of their own"
        ),
    }
}

/// The rows of a data set of features, packed into a file at `place` that has no name any more.
pub fn read(wanted: Wanted<'_>, place: Place<'_>) -> Result<Dataset, String> {
    let mut packer = place.packer()?;
    for row in wanted.rows(false)? {
        let (row, label) = row?;
        packer.add(&row.features, &label).map_err(wanted.wrong(row.id))?;
    }
    packer.finish().map_err(|error| error.to_string())
}

/// The tokens of a data set of texts, packed as [`read`] does; none where `prepare` ends it.
pub fn read_texts(
    wanted: Wanted<'_>,
    place: Place<'_>,
    training: &TextTraining,
    prepare: &mut Prepare<'_>,
) -> Result<Option<Dataset>, String> {
    let mut packer = place.packer()?;
    let mut tokens = Vec::new();
    let all = wanted.count.map_or_else(|| wanted.scan(true).map(|scan| scan.row_count()), Ok)?;
    for row in wanted.rows(true)? {
        let (row, label) = row?;
        if row.id.is_multiple_of(TELL_EVERY_ROWS) && !prepare(row.id as usize, all as usize) {
            return Ok(None);
        }
        tokens.clear();
        let text = row.text.unwrap_or_default();
        let added = training.add_row(&text, &mut tokens);
        added.and_then(|()| packer.add(&tokens, &label)).map_err(wanted.wrong(row.id))?;
    }
    packer.finish().map(Some).map_err(|error| error.to_string())
}

/// The words of a data set of texts.
pub fn read_words(wanted: Wanted<'_>) -> Result<Words, String> {
    let mut words = Words::default();
    for row in wanted.rows(true)? {
        words.add(&row?.0.text.unwrap_or_default());
    }
    Ok(words)
}
