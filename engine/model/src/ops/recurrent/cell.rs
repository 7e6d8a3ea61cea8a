//! Owns one step of each cell.
//!
//! Refuses to know sequences. Bound: two products of a vector with the weights. Formulas: the
//! definitions of RNN, LSTM and GRU in ONNX.

use super::settings::{Activation, Kind, Settings};
use crate::ops::support::Wide;

/// Sums that a product goes into side by side, so that they do not wait for each other.
const LANES: usize = 8;

/// The weights of one direction.
#[derive(Clone, Copy)]
pub struct Weights<'a, W> {
    /// For the input: gates times state rows, input columns.
    pub input: &'a [W],
    /// For the state: gates times state rows, state columns.
    pub state: &'a [W],
    /// For the input, then for the state.
    pub bias: Option<&'a [W]>,
    /// From the cell to its gates: input, output, forgetting.
    pub peepholes: Option<&'a [W]>,
}

impl<'a, W> Weights<'a, W> {
    /// Those of one of several directions, which follow each other.
    pub fn direction(&self, direction: usize, directions: usize) -> Self {
        let of = |all: &'a [W]| {
            let count = all.len() / directions;
            &all[direction * count..(direction + 1) * count]
        };
        Self {
            input: of(self.input),
            state: of(self.state),
            bias: self.bias.map(of),
            peepholes: self.peepholes.map(of),
        }
    }
}

/// What a step changes.
pub struct State<'a, W> {
    /// The state.
    pub hidden: &'a mut [W],
    /// The cell, of an LSTM; as long as the state.
    pub cell: &'a mut [W],
    /// Room for the gates.
    pub gates: &'a mut [W],
    /// Room for a state.
    pub spare: &'a mut [W],
}

/// How a cell computes.
#[derive(Clone, Copy)]
pub struct Cell<'a> {
    /// Which one.
    pub kind: Kind,
    /// Its activations in one direction.
    pub activations: &'a [Activation],
    /// The largest input of an activation.
    pub clip: Option<f32>,
}

fn dot<W: Wide>(left: &[W], right: &[W]) -> W {
    let mut sums = [W::ZERO; LANES];
    let (left_lanes, right_lanes) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest = left_lanes.remainder().iter().zip(right_lanes.remainder());
    let rest: W = rest.map(|(left, right)| *left * *right).sum();
    for (left, right) in left_lanes.zip(right_lanes) {
        for lane in 0..LANES {
            sums[lane] += left[lane] * right[lane];
        }
    }
    sums.into_iter().sum::<W>() + rest
}

/// Adds the products of rows of weights with a vector.
fn add_products<W: Wide>(rows: &[W], vector: &[W], out: &mut [W]) {
    if vector.is_empty() {
        return;
    }
    for (out, row) in out.iter_mut().zip(rows.chunks_exact(vector.len())) {
        *out += dot(row, vector);
    }
}

fn add<W: Wide>(values: &[W], out: &mut [W]) {
    out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
}

impl<'a> Cell<'a> {
    /// That of a direction.
    pub fn of(settings: &'a Settings, direction: usize) -> Self {
        let count = settings.activations.len() / settings.directions.len();
        Self {
            kind: settings.kind,
            activations: &settings.activations[direction * count..][..count],
            clip: settings.clip,
        }
    }

    fn activate<W: Wide>(&self, which: usize, x: W) -> W {
        let x = match self.clip.map(|clip| W::of(f64::from(clip))) {
            Some(clip) if x > clip => clip,
            Some(clip) if x < -clip => -clip,
            _ => x,
        };
        self.activations[which].of(x)
    }

    /// One step with an input.
    pub fn step<W: Wide>(&self, input: &[W], weights: Weights<'_, W>, state: &mut State<'_, W>) {
        let hidden = state.hidden.len();
        state.gates.fill(W::ZERO);
        add_products(weights.input, input, state.gates);
        if let Some(bias) = weights.bias {
            add(&bias[..state.gates.len()], state.gates);
        }
        match self.kind {
            Kind::Rnn => {
                self.add_state(weights, 0..hidden, state);
                for (hidden, gate) in state.hidden.iter_mut().zip(state.gates.iter()) {
                    *hidden = self.activate(0, *gate);
                }
            }
            Kind::Lstm { coupled } => {
                self.add_state(weights, 0..4 * hidden, state);
                self.lstm(weights.peepholes, coupled, state);
            }
            Kind::Gru { linear_before_reset } => {
                self.add_state(weights, 0..2 * hidden, state);
                self.gru(weights, linear_before_reset, state);
            }
        }
    }

    /// Adds to some gates what the state and its bias give.
    fn add_state<W: Wide>(
        &self,
        weights: Weights<'_, W>,
        rows: std::ops::Range<usize>,
        state: &mut State<'_, W>,
    ) {
        let (hidden, all) = (state.hidden.len(), state.gates.len());
        let gates = &mut state.gates[rows.clone()];
        add_products(&weights.state[rows.start * hidden..rows.end * hidden], state.hidden, gates);
        if let Some(bias) = weights.bias {
            add(&bias[all + rows.start..all + rows.end], gates);
        }
    }

    fn lstm<W: Wide>(&self, peepholes: Option<&[W]>, coupled: bool, state: &mut State<'_, W>) {
        let count = state.hidden.len();
        let gate = |which: usize, index: usize| state.gates[which * count + index];
        for index in 0..count {
            let cell = state.cell[index];
            let peep = |which: usize, cell: W| {
                peepholes.map_or(W::ZERO, |weights| weights[which * count + index] * cell)
            };
            let input = self.activate(0, gate(0, index) + peep(0, cell));
            let forget = match coupled {
                true => W::ONE - input,
                false => self.activate(0, gate(2, index) + peep(2, cell)),
            };
            let cell = forget * cell + input * self.activate(1, gate(3, index));
            let output = self.activate(0, gate(1, index) + peep(1, cell));
            state.cell[index] = cell;
            state.hidden[index] = output * self.activate(2, cell);
        }
    }

    fn gru<W: Wide>(
        &self,
        weights: Weights<'_, W>,
        linear_before_reset: bool,
        state: &mut State<'_, W>,
    ) {
        let count = state.hidden.len();
        let rows = &weights.state[2 * count * count..];
        let bias = weights.bias.map(|bias| &bias[5 * count..6 * count]);
        let (gates, new) = state.gates.split_at_mut(2 * count);
        gates.iter_mut().for_each(|gate| *gate = self.activate(0, *gate));
        let (update, reset) = gates.split_at(count);
        if linear_before_reset {
            state.spare.fill(W::ZERO);
            add_products(rows, state.hidden, state.spare);
            add(bias.unwrap_or_default(), state.spare);
            let products = state.spare.iter().zip(reset);
            new.iter_mut().zip(products).for_each(|(new, (product, reset))| {
                *new += *reset * *product;
            });
        } else {
            let parts = state.hidden.iter().zip(reset);
            state.spare.iter_mut().zip(parts).for_each(|(spare, (hidden, reset))| {
                *spare = *hidden * *reset;
            });
            add_products(rows, state.spare, new);
            add(bias.unwrap_or_default(), new);
        }
        for index in 0..count {
            let new = self.activate(1, new[index]);
            let hidden = &mut state.hidden[index];
            *hidden = (W::ONE - update[index]) * new + update[index] * *hidden;
        }
    }
}
