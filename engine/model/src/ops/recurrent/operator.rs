//! Owns the way of recurrent operators through their sequences.
//!
//! Refuses lengths beyond the steps. Bound: each sequence and direction once; buffers of one step
//! and, for 16-bit types, of the weights.

use super::cell::{Cell, State, Weights};
use super::settings::{Direction, Kind, Settings};
use crate::error::ModelError;
use crate::graph::NodeView;
use crate::ops::registry::Family;
use crate::ops::support::{BUFFER_COUNT, Float, Wide};
use crate::program::{Built, Context, Inputs, Operator, RunError};
use crate::tensor::{DType, Tensor};
use crate::with_values;

/// This family.
pub const OPERATORS: Family = &[("", "RNN", rnn), ("", "LSTM", lstm), ("", "GRU", gru)];

#[derive(Debug)]
struct Recurrent(Settings);

/// Sizes of one run.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    directions: usize,
    batch_first: bool,
}

impl Sizes {
    /// Where the values of a step of a sequence begin, counted in steps of one sequence.
    fn step(&self, step: usize, sequence: usize) -> usize {
        if self.batch_first { sequence * self.steps + step } else { step * self.batch + sequence }
    }

    /// The same of a result, which has all directions.
    fn result(&self, step: usize, sequence: usize, direction: usize) -> usize {
        match self.batch_first {
            true => self.step(step, sequence) * self.directions + direction,
            false => (step * self.directions + direction) * self.batch + sequence,
        }
    }

    /// The same of a state.
    fn state(&self, sequence: usize, direction: usize) -> usize {
        match self.batch_first {
            true => sequence * self.directions + direction,
            false => direction * self.batch + sequence,
        }
    }

    fn result_dims(&self) -> [usize; 4] {
        match self.batch_first {
            true => [self.batch, self.steps, self.directions, self.hidden],
            false => [self.steps, self.directions, self.batch, self.hidden],
        }
    }

    fn state_dims(&self) -> [usize; 3] {
        match self.batch_first {
            true => [self.batch, self.directions, self.hidden],
            false => [self.directions, self.batch, self.hidden],
        }
    }
}

/// Places of the inputs.
const WEIGHTS: usize = 1;
const STATE_WEIGHTS: usize = 2;
const BIAS: usize = 3;
const LENS: usize = 4;
const HIDDEN: usize = 5;
const CELL: usize = 6;
const PEEPHOLES: usize = 7;

impl Recurrent {
    fn sizes(&self, inputs: &Inputs<'_>) -> Result<Sizes, RunError> {
        let (input, weights) = (inputs.need(0)?.shape(), inputs.need(WEIGHTS)?.shape());
        let state_weights = inputs.need(STATE_WEIGHTS)?.shape();
        let wrong = || {
            let found = format!("{input} with weights {weights} and {state_weights}");
            RunError::input(found, "steps, sequences and weights that fit")
        };
        let ([first, second, width], [directions, rows, _], [_, _, hidden]) =
            (&input[..], &weights[..], &state_weights[..])
        else {
            return Err(wrong());
        };
        let batch_first = self.0.batch_first;
        let (steps, batch) = if batch_first { (*second, *first) } else { (*first, *second) };
        let directions = *directions;
        let sizes = Sizes { steps, batch, input: *width, hidden: *hidden, directions, batch_first };
        let gates = self.0.kind.gates().checked_mul(*hidden).ok_or_else(wrong)?;
        let is = |index: usize, dims: &[usize]| {
            inputs.get(index).is_none_or(|tensor| **tensor.shape() == *dims)
        };
        let fits = directions == self.0.directions.len()
            && *hidden > 0
            && self.0.hidden.is_none_or(|wanted| wanted == *hidden)
            && *rows == gates
            && is(WEIGHTS, &[directions, gates, *width])
            && is(STATE_WEIGHTS, &[directions, gates, *hidden])
            && is(BIAS, &[directions, gates.checked_mul(2).ok_or_else(wrong)?])
            && is(LENS, &[batch])
            && is(HIDDEN, &sizes.state_dims())
            && is(CELL, &sizes.state_dims())
            && is(PEEPHOLES, &[directions, gates / 4 * 3]);
        if fits { Ok(sizes) } else { Err(wrong()) }
    }
}

/// The values of an input in the type that is computed in, for 16-bit types in a buffer.
fn widened<'a, T: Float>(
    inputs: &Inputs<'a>,
    index: usize,
    buffer: &'a mut Vec<T::Wide>,
) -> Result<Option<&'a [T::Wide]>, RunError> {
    if inputs.get(index).is_none() {
        return Ok(None);
    }
    let (_, values) = inputs.values::<T>(index)?;
    Ok(Some(match T::as_wide(values) {
        Some(values) => values,
        None => {
            buffer.clear();
            buffer.extend(values.iter().map(|value| value.wide()));
            buffer
        }
    }))
}

impl Recurrent {
    fn compute<T: Float>(
        &self,
        _like: &[T],
        sizes: Sizes,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let mut own: [Vec<T::Wide>; 5] = Default::default();
        let [own_input, own_weights, own_states, own_bias, own_peepholes] = &mut own;
        let input = widened::<T>(inputs, 0, own_input)?.unwrap_or_default();
        let all = Weights {
            input: widened::<T>(inputs, WEIGHTS, own_weights)?.unwrap_or_default(),
            state: widened::<T>(inputs, STATE_WEIGHTS, own_states)?.unwrap_or_default(),
            bias: widened::<T>(inputs, BIAS, own_bias)?,
            peepholes: widened::<T>(inputs, PEEPHOLES, own_peepholes)?,
        };
        let lens = match inputs.get(LENS) {
            Some(_) => Some(inputs.values::<i32>(LENS)?.1),
            None => None,
        };
        let initial = |index: usize| match inputs.get(index) {
            Some(_) => inputs.values::<T>(index).map(|(_, values)| Some(values)),
            None => Ok(None),
        };
        let (first_hidden, first_cell) = (initial(HIDDEN)?, initial(CELL)?);
        let mut outputs = outputs.iter_mut();
        let (hidden, gates) = (sizes.hidden, self.0.kind.gates() * sizes.hidden);
        let mut shaped = |dims: &[usize]| match outputs.next() {
            Some(output) => context.shape_as::<T>(output, dims).map(Some),
            None => Ok(None),
        };
        let results = shaped(&sizes.result_dims())?;
        let last_hidden = shaped(&sizes.state_dims())?;
        let last_cell = shaped(&sizes.state_dims())?;
        let results = results.unwrap_or_default();
        let mut lasts = [last_hidden, last_cell];
        results.fill(T::default());
        let mut buffers: [Vec<T::Wide>; BUFFER_COUNT] = Default::default();
        let [hidden_state, cell_state, gate_room, spare] =
            T::Wide::buffers(context.scratch, &mut buffers);
        for buffer in [&mut *hidden_state, cell_state, spare] {
            buffer.resize(hidden, T::Wide::ZERO);
        }
        gate_room.resize(gates, T::Wide::ZERO);
        for index in 0..sizes.directions * sizes.batch {
            let (direction, sequence) = (index / sizes.batch, index % sizes.batch);
            let at = sizes.state(sequence, direction) * hidden;
            start(first_hidden, at, hidden_state);
            start(first_cell, at, cell_state);
            let len = length(lens.map(|lens| lens[sequence]), sizes.steps)?;
            let weights = all.direction(direction, sizes.directions);
            let cell = Cell::of(&self.0, direction);
            let mut state =
                State { hidden: hidden_state, cell: cell_state, gates: gate_room, spare };
            for step in 0..len {
                let step = match self.0.directions[direction] {
                    Direction::Forward => step,
                    Direction::Reverse => len - 1 - step,
                };
                let from = sizes.step(step, sequence) * sizes.input;
                cell.step(&input[from..from + sizes.input], weights, &mut state);
                let to = sizes.result(step, sequence, direction) * hidden;
                narrow(state.hidden, &mut results[to..to + hidden]);
            }
            for (last, state) in lasts.iter_mut().zip([&*state.hidden, &*state.cell]) {
                if let Some(last) = last {
                    narrow(state, &mut last[at..at + hidden]);
                }
            }
        }
        Ok(())
    }
}

/// How many steps a sequence has.
fn length(given: Option<i32>, steps: usize) -> Result<usize, RunError> {
    let Some(given) = given else { return Ok(steps) };
    let length = usize::try_from(given).ok().filter(|length| (1..=steps).contains(length));
    length.ok_or_else(|| RunError::input(format_args!("length {given}"), steps))
}

fn start<T: Float>(first: Option<&[T]>, at: usize, state: &mut [T::Wide]) {
    match first {
        None => state.fill(T::Wide::ZERO),
        Some(first) => {
            let values = state.iter_mut().zip(&first[at..]);
            values.for_each(|(state, value)| *state = value.wide());
        }
    }
}

fn narrow<T: Float>(values: &[T::Wide], out: &mut [T]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out = T::narrow(*value));
}

impl Operator for Recurrent {
    fn run(
        &self,
        inputs: &Inputs<'_>,
        outputs: &mut [Tensor],
        context: &mut Context<'_>,
    ) -> Result<(), RunError> {
        let sizes = self.sizes(inputs)?;
        let input = inputs.need(0)?;
        with_values!([F32, F64, F16, Bf16] input.data(), values => {
            self.compute(values, sizes, inputs, outputs, context)
        }, else Err(RunError::input(input.dtype(), "floating-point numbers")))
    }
}

fn built(view: &NodeView<'_>, kind: Kind) -> Result<Built, ModelError> {
    let settings = Settings::read(view, kind)?;
    let floats = [DType::F32, DType::F64, DType::F16, DType::Bf16];
    let dtype = view.dtype_among(0, &floats)?;
    let is_lstm = matches!(kind, Kind::Lstm { .. });
    let last = if is_lstm { PEEPHOLES } else { HIDDEN };
    for index in WEIGHTS..view.input_count() {
        let required = index <= STATE_WEIGHTS;
        let wanted = if index == LENS { DType::I32 } else { dtype };
        if required || view.has_input(index) {
            view.dtype_among(index, &[wanted])?;
        }
        if index > last && view.has_input(index) {
            return Err(view.refuse(format_args!("it has an input {index}")));
        }
    }
    Ok(Built::many(Recurrent(settings), vec![dtype; if is_lstm { 3 } else { 2 }]))
}

fn rnn(view: &NodeView<'_>) -> Result<Built, ModelError> {
    built(view, Kind::Rnn)
}

fn lstm(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let coupled = view.int_or("input_forget", 0)? != 0;
    built(view, Kind::Lstm { coupled })
}

fn gru(view: &NodeView<'_>) -> Result<Built, ModelError> {
    let linear_before_reset = view.int_or("linear_before_reset", 0)? != 0;
    built(view, Kind::Gru { linear_before_reset })
}
