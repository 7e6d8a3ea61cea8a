//! Owns the reading of rows from CSV.
//!
//! ```text
//! 5.1,3.5,1.4,0.2,setosa     the features, and, where there is one more column, the label
//! ```
//!
//! A label is the name of a class or its index, the same in all rows. The first line may be a
//! header: names of columns, or, as scikit-learn writes its data sets, the number of rows, that of
//! features and the names of the classes in the order of the indices. Quotes are not read.
//! Refuses to know files. Bound: the text, and [`DATA_ROW_COUNT_MAX`] rows.

use super::data::{DATA_ROW_COUNT_MAX, DataRows, DataSet};
use super::options::refused;
use crate::artifact::Signature;
use crate::error::ModelError;

const STEP: &str = "data";

/// Reads rows of features, with a label each or without, for a model.
///
/// # Errors
/// [`ModelError::Optimize`] names the line.
pub fn data_set_of_csv(text: &str, signature: &Signature) -> Result<DataSet, ModelError> {
    let Some(count) = signature.feature_count() else {
        return Err(refused(STEP, "CSV has rows of features, and the model takes none"));
    };
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).peekable();
    let header = lines.peek().and_then(|(_, line)| header(line, count));
    if header.is_some() {
        lines.next();
    }
    let names = header.unwrap_or_default();
    let (mut rows, mut labels) = (Vec::new(), Vec::new());
    for (index, line) in lines {
        let (features, label) = row(line, count).map_err(|what| at(index, &what))?;
        if rows.len() == DATA_ROW_COUNT_MAX {
            return Err(at(index, &format!("more than {DATA_ROW_COUNT_MAX} rows")));
        }
        rows.push(features);
        labels.extend(label.map(|label| (index, label)));
        if !labels.is_empty() && labels.len() != rows.len() {
            return Err(at(index, "a label in some rows and none in others"));
        }
    }
    if rows.is_empty() {
        return Err(refused(STEP, "the text has no rows"));
    }
    let labels = match labels.is_empty() {
        true => None,
        false => Some(indices(&labels, &names, signature.classes())?),
    };
    Ok(DataSet { rows: DataRows::Features(rows), labels })
}

/// The names of classes that a header gives, perhaps none; none at all for a row.
fn header(line: &str, count: usize) -> Option<Vec<&str>> {
    let cells: Vec<&str> = line.split(',').map(str::trim).collect();
    let is_word = |cell: &&str| cell.parse::<f32>().is_err();
    let counts: [Option<usize>; 2] =
        [cells[0].parse().ok(), cells.get(1).and_then(|cell| cell.parse().ok())];
    let is_row_long = cells.len() == count || cells.len() == count + 1;
    match counts {
        [Some(_rows), Some(features)] if features == count && cells.len() > 2 => {
            let is_header = !is_row_long || cells[2..].iter().all(is_word);
            (is_header && cells.len() > 3).then(|| cells[2..].to_vec())
        }
        // A label may be a word, so the features alone tell a header from a row.
        _ => cells.iter().take(count).all(is_word).then(Vec::new),
    }
}

fn at(index: usize, what: &str) -> ModelError {
    refused(STEP, format!("line {}: {what}", index + 1))
}

/// The features of a line, and what is behind them.
fn row(line: &str, count: usize) -> Result<(Vec<f32>, Option<&str>), String> {
    let mut cells = line.split(',').map(str::trim);
    let mut features = Vec::with_capacity(count);
    for cell in cells.by_ref().take(count) {
        let number = cell.parse::<f32>().ok().filter(|number| number.is_finite());
        features.push(number.ok_or_else(|| format!("`{cell}` is not a number"))?);
    }
    let label = cells.next();
    if features.len() != count || cells.next().is_some() {
        let found = line.split(',').count();
        return Err(format!("{found} columns, expected {count} features and perhaps a label"));
    }
    Ok((features, label))
}

/// The classes that labels name. `names` are those that indices stand for; the model's own if
/// empty.
fn indices(
    labels: &[(usize, &str)],
    names: &[&str],
    classes: &[String],
) -> Result<Vec<u32>, ModelError> {
    let of_class = |name: &str| classes.iter().position(|class| class == name);
    let of_index = |label: &str| {
        let index = label.parse::<usize>().ok()?;
        match names.is_empty() {
            true => (index < classes.len()).then_some(index),
            false => of_class(names.get(index)?),
        }
    };
    let of_name = |label: &str| if names.is_empty() { of_class(label) } else { None };
    let named: Option<Vec<usize>> = labels.iter().map(|(_, label)| of_name(label)).collect();
    let numbered = || labels.iter().map(|(_, label)| of_index(label)).collect();
    if let Some(found) = named.or_else(numbered) {
        return Ok(found.into_iter().map(|index| index as u32).collect());
    }
    let is_neither = |label: &str| of_name(label).is_none() && of_index(label).is_none();
    let neither = labels.iter().find(|(_, label)| is_neither(label));
    Err(match neither.or(labels.first()) {
        Some((index, label)) if is_neither(label) => {
            at(*index, &format!("`{label}` is no class of the model ({})", classes.join(", ")))
        }
        _ => refused(STEP, "some labels are names of classes and others are indices"),
    })
}
