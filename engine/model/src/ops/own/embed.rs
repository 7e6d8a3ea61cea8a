//! Owns the operator `truststram.Embed`: of each token the sum of the rows of its word, its
//! position and its type, normalised.
//!
//! Refuses tokens beyond the tables. Bound: texts are at most as long as there are positions.

use std::sync::Arc;

use super::residual_norm::Norm;
use super::texts::{offsets, typed};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::kernels::layer_norm_rows;
use crate::ops::registry::Family;
use crate::program::{Built, Context, Inputs, MemoryReport, Operator, RunError};
use crate::tensor::{DType, Tensor};

/// This family.
pub const OPERATORS: Family = &[("truststram", "Embed", embed)];

const TOKENS: usize = 0;
const OFFSETS: usize = 1;
const TYPES: usize = 2;
const WORDS: usize = 3;
const POSITIONS: usize = 4;
const KINDS: usize = 5;
const GAMMA: usize = 6;

/// Rows of numbers, shared with the graph.
#[derive(Debug)]
struct Table {
    tensor: Arc<Tensor>,
    columns: usize,
}

impl Table {
    fn read(view: &NodeView<'_>, index: usize, columns: usize) -> Result<Self, ModelError> {
        let tensor = view.constant(index).filter(|tensor| tensor.values::<f32>().is_some());
        let table =
            tensor.filter(|tensor| matches!(**tensor.shape(), [_, found] if found == columns));
        let refused = || {
            let expected = format_args!("input {index} is no constant [.., {columns}] of f32");
            view.refuse(expected)
        };
        Ok(Self { tensor: Arc::clone(table.ok_or_else(refused)?), columns })
    }

    fn rows(&self) -> usize {
        self.tensor.shape()[0]
    }

    fn row(&self, index: usize, what: &str) -> Result<&[f32], RunError> {
        let values = self.tensor.values::<f32>().unwrap_or_default();
        let start = index.checked_mul(self.columns);
        let row = start.and_then(|start| values.get(start..)?.get(..self.columns));
        let rows = self.rows();
        let beyond =
            || RunError::input(format_args!("{what} {index}"), format_args!("below {rows}"));
        row.ok_or_else(beyond)
    }
}

#[derive(Debug)]
struct Embed {
    words: Table,
    positions: Table,
    types: Option<Table>,
    norm: Norm,
    /// The token that stands at `position_first - 1` wherever it is and is not counted.
    padding: Option<u32>,
    /// The position of the first token.
    first: usize,
}

impl Operator for Embed {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let (shape, tokens) = inputs.values::<u32>(TOKENS)?;
        if shape.len() != 1 {
            return Err(RunError::input(format_args!("tokens of shape {shape}"), "[tokens]"));
        }
        let offsets = offsets(inputs, OFFSETS, tokens.len())?;
        let types = match &self.types {
            None => None,
            Some(table) => {
                let (_, types) = inputs.values::<u32>(TYPES)?;
                if types.len() != tokens.len() {
                    let found = format_args!("{} types", types.len());
                    return Err(RunError::input(found, tokens.len()));
                }
                Some((table, types))
            }
        };
        let columns = self.words.columns;
        let out = context.shape_as::<f32>(&mut outputs[0], &[tokens.len(), columns])?;
        let sums = &mut context.scratch.f32s[0];
        if sums.len() < out.len() {
            sums.resize(out.len(), 0.0);
        }
        let sums = &mut sums[..out.len()];
        let mut rows = sums.chunks_exact_mut(columns);
        for pair in offsets.windows(2) {
            let mut counted = 0;
            for (index, row) in (pair[0] as usize..pair[1] as usize).zip(&mut rows) {
                let token = tokens[index];
                let place = match self.padding == Some(token) {
                    true => self.first - 1,
                    false => {
                        counted += 1;
                        self.first + counted - 1
                    }
                };
                let word = self.words.row(token as usize, "token")?;
                let position = self.positions.row(place, "position")?;
                for ((sum, word), position) in row.iter_mut().zip(word).zip(position) {
                    *sum = word + position;
                }
                if let Some((table, types)) = types {
                    let kind = table.row(types[index] as usize, "type")?;
                    row.iter_mut().zip(kind).for_each(|(sum, kind)| *sum += kind);
                }
            }
        }
        let Norm { gamma, beta, epsilon } = &self.norm;
        layer_norm_rows(context.isa, sums, None, gamma, Some(beta), *epsilon, out);
        Ok(())
    }

    fn memory(&self, report: &mut MemoryReport) {
        let tables = [Some(&self.words), Some(&self.positions), self.types.as_ref()];
        for table in tables.into_iter().flatten() {
            report.add_heap(table.tensor.bytes());
        }
        self.norm.memory(report);
    }
}

/// Inputs: tokens `[tokens]`, offsets `[texts + 1]` and optionally types `[tokens]`, all u32;
/// constant tables of words, of positions and, exactly with types, of types, each
/// `[.., columns]`; constant gamma and beta. Attributes: `epsilon`; `position_first`, the position
/// of a text's first token; with it above 0 optionally `padding`, a token whose position is one
/// less and that is not counted.
fn embed(view: &NodeView<'_>) -> Result<Built, ModelError> {
    view.only_attributes(&["epsilon", "position_first", "padding"])?;
    typed(view, &[DType::U32, DType::U32, DType::U32])?;
    let norm = Norm::read(view, GAMMA)?;
    let columns = norm.gamma.len();
    let types = match (view.has_input(TYPES), view.has_input(KINDS)) {
        (true, true) => Some(Table::read(view, KINDS, columns)?),
        (false, false) => None,
        _ => return Err(view.refuse("types without a table of them, or the other way round")),
    };
    let first = view.int_or("position_first", 0)?;
    let padding = view.int("padding")?;
    let wrong = || view.refuse(format_args!("position_first {first} with padding {padding:?}"));
    let first = usize::try_from(first).map_err(|_| wrong())?;
    let padding = padding.map(u32::try_from).transpose().map_err(|_| wrong())?;
    if padding.is_some() && first == 0 {
        return Err(wrong());
    }
    let words = Table::read(view, WORDS, columns)?;
    let positions = Table::read(view, POSITIONS, columns)?;
    let operator = Embed { words, positions, types, norm, padding, first };
    Ok(Built::one(operator, DType::F32).taking(&[WORDS, POSITIONS, KINDS, GAMMA, GAMMA + 1]))
}
