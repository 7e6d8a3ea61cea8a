//! Owns the types of Parquet columns: those that are written, and those that are converted when
//! they are read.
//!
//! Refuses to know values. Bound: columns at the top of the schema, and lists of plain numbers.

use std::sync::Arc;

use parquet::basic::{ConvertedType, LogicalType, Repetition, TimeUnit, Type};
use parquet::errors::Result;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor, Type as SchemaType, TypePtr};

use crate::error::ExchangeError;
use crate::row::{Column, ColumnKind, Layout};

/// The schema in which rows with `columns` are written.
pub(super) fn written(columns: &[Column]) -> Result<TypePtr> {
    let fields = columns.iter().map(|column| written_column(column).map(Arc::new));
    let fields: Vec<TypePtr> = fields.collect::<Result<_>>()?;
    let schema = SchemaType::group_type_builder("schema").with_fields(fields).build()?;
    Ok(Arc::new(schema))
}

fn written_column(column: &Column) -> Result<SchemaType> {
    let repetition = if column.is_required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
    let plain = |physical: Type, logical: Option<LogicalType>| {
        SchemaType::primitive_type_builder(column.name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
    };
    match column.kind {
        ColumnKind::Text | ColumnKind::LongText | ColumnKind::Object => {
            plain(Type::BYTE_ARRAY, Some(LogicalType::String))
        }
        ColumnKind::Unsigned32 => plain(Type::INT32, Some(LogicalType::integer(32, false))),
        ColumnKind::Unsigned64 => plain(Type::INT64, Some(LogicalType::integer(64, false))),
        ColumnKind::Float => plain(Type::FLOAT, None),
        ColumnKind::Time => {
            plain(Type::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS)))
        }
        ColumnKind::Floats => {
            let element = SchemaType::primitive_type_builder("element", Type::FLOAT)
                .with_repetition(Repetition::REQUIRED)
                .build()?;
            let list = SchemaType::group_type_builder("list")
                .with_repetition(Repetition::REPEATED)
                .with_fields(vec![Arc::new(element)])
                .build()?;
            SchemaType::group_type_builder(column.name)
                .with_repetition(repetition)
                .with_logical_type(Some(LogicalType::List))
                .with_fields(vec![Arc::new(list)])
                .build()
        }
    }
}

/// A column that is read, and what its values mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    /// Index among the leaves of the file.
    pub index: usize,
    pub physical: Type,
    /// Whether whole numbers have a sign.
    pub is_signed: bool,
    /// What a whole number counts as a time.
    pub unit: Unit,
    /// The definition level of a value that is there.
    pub definition_max: i16,
    /// The definition level of an element that is there, though it may be null.
    pub definition_element: i16,
    pub is_list: bool,
}

/// What one step of a whole number is, as a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Unit {
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// Finds the columns of a row in the schema of a file.
pub(super) fn leaves(
    columns: &'static [Column],
    schema: &SchemaDescriptor,
    ignore_unknown: bool,
) -> Result<Vec<Option<Leaf>>, ExchangeError> {
    let fields = schema.root_schema().get_fields();
    let names = fields.iter().map(|field| field.name());
    let layout = Layout::new(columns, names, ignore_unknown)?;
    let found = columns.iter().zip(&layout.places).map(|(column, place)| {
        let Some(field) = place else { return Ok(None) };
        let leaf = leaf(column, schema, *field).ok_or_else(|| ExchangeError::ColumnType {
            column: column.name,
            found: describe(&fields[*field]),
            expected: expected(column.kind),
        });
        leaf.map(Some)
    });
    found.collect()
}

/// The one leaf of the field at this index, if its type is converted.
fn leaf(column: &Column, schema: &SchemaDescriptor, field: usize) -> Option<Leaf> {
    let mut inside =
        (0..schema.num_columns()).filter(|&leaf| schema.get_column_root_idx(leaf) == field);
    let index = inside.next()?;
    let descriptor = schema.column(index);
    let is_list = column.kind == ColumnKind::Floats;
    let depth = descriptor.path().parts().len();
    let has_shape = if is_list {
        // A repeated field, a list of two levels (older writers) or one of three.
        descriptor.max_rep_level() == 1 && depth <= 3
    } else {
        descriptor.max_rep_level() == 0 && depth == 1
    };
    let is_accepted = inside.next().is_none() && has_shape && accepts(column.kind, &descriptor);
    is_accepted.then(|| Leaf {
        index,
        physical: descriptor.physical_type(),
        is_signed: is_signed(&descriptor),
        unit: unit(&descriptor).unwrap_or(Unit::Microseconds),
        definition_max: descriptor.max_def_level(),
        definition_element: descriptor.repeated_ancestor_def_level(),
        is_list,
    })
}

fn accepts(kind: ColumnKind, descriptor: &ColumnDescriptor) -> bool {
    let physical = descriptor.physical_type();
    // A column of nothing but nulls, which some writers give a type of its own.
    if matches!(descriptor.logical_type_ref(), Some(LogicalType::Unknown)) {
        return matches!(physical, Type::INT32);
    }
    let is_text = physical == Type::BYTE_ARRAY && has_meaning(descriptor, Meaning::Text);
    let is_integer =
        matches!(physical, Type::INT32 | Type::INT64) && has_meaning(descriptor, Meaning::Integer);
    let is_float = matches!(physical, Type::FLOAT | Type::DOUBLE);
    match kind {
        ColumnKind::Text => is_text || is_integer,
        ColumnKind::LongText | ColumnKind::Object => is_text,
        ColumnKind::Unsigned32 | ColumnKind::Unsigned64 | ColumnKind::Float => {
            is_integer || is_float
        }
        ColumnKind::Floats => is_integer || is_float,
        ColumnKind::Time => {
            let is_time = physical == Type::INT64 && unit(descriptor).is_some();
            let is_count = physical == Type::INT64 && is_integer;
            is_time || is_count || physical == Type::INT96 || is_text
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Meaning {
    Text,
    Integer,
}

/// Whether the annotations of a column say what its physical type suggests.
fn has_meaning(descriptor: &ColumnDescriptor, meaning: Meaning) -> bool {
    use ConvertedType as Old;
    let found = match descriptor.logical_type_ref() {
        Some(LogicalType::String | LogicalType::Enum | LogicalType::Json) => Some(Meaning::Text),
        Some(LogicalType::Integer(_)) => Some(Meaning::Integer),
        Some(_) => None,
        None => match descriptor.converted_type() {
            Old::NONE => Some(meaning),
            Old::UTF8 | Old::ENUM | Old::JSON => Some(Meaning::Text),
            Old::INT_8 | Old::INT_16 | Old::INT_32 | Old::INT_64 => Some(Meaning::Integer),
            Old::UINT_8 | Old::UINT_16 | Old::UINT_32 | Old::UINT_64 => Some(Meaning::Integer),
            _ => None,
        },
    };
    found == Some(meaning)
}

fn is_signed(descriptor: &ColumnDescriptor) -> bool {
    use ConvertedType as Old;
    match descriptor.logical_type_ref() {
        Some(LogicalType::Integer(integer)) => integer.is_signed,
        _ => {
            let old = descriptor.converted_type();
            !matches!(old, Old::UINT_8 | Old::UINT_16 | Old::UINT_32 | Old::UINT_64)
        }
    }
}

fn unit(descriptor: &ColumnDescriptor) -> Option<Unit> {
    match descriptor.logical_type_ref() {
        Some(LogicalType::Timestamp(time)) => Some(match time.unit {
            TimeUnit::MILLIS => Unit::Milliseconds,
            TimeUnit::MICROS => Unit::Microseconds,
            TimeUnit::NANOS => Unit::Nanoseconds,
        }),
        Some(_) => None,
        None => match descriptor.converted_type() {
            ConvertedType::TIMESTAMP_MILLIS => Some(Unit::Milliseconds),
            ConvertedType::TIMESTAMP_MICROS => Some(Unit::Microseconds),
            _ => None,
        },
    }
}

fn expected(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text, or whole numbers",
        ColumnKind::LongText => "text",
        ColumnKind::Object => "text, one JSON object each",
        ColumnKind::Unsigned32 | ColumnKind::Unsigned64 => "whole numbers",
        ColumnKind::Float => "numbers",
        ColumnKind::Time => "timestamps, or microseconds since 1970",
        ColumnKind::Floats => "lists of numbers",
    }
}

fn describe(field: &SchemaType) -> String {
    if field.is_group() {
        return "nested fields".to_owned();
    }
    let info = field.get_basic_info();
    let physical = field.get_physical_type();
    match (info.logical_type_ref(), info.converted_type()) {
        (Some(logical), _) => format!("{physical} ({logical:?})"),
        (None, ConvertedType::NONE) => physical.to_string(),
        (None, converted) => format!("{physical} ({converted})"),
    }
}
