//! Owns the buffers of one worker's runs of one program.
//!
//! Refuses to know operators. Bound: one buffer per slot, as large as its largest value so far; a
//! run of known sizes allocates nothing.

use std::sync::Arc;
use std::time::Instant;

use super::build::{BuildOptions, Program, Source};
use super::operator::{Context, Inputs, RunError, Scratch};
use crate::error::ModelError;
use crate::graph::{Dim, Graph, Port};
use crate::kernels::{Alone, Team};
use crate::tensor::Tensor;

/// See the module.
#[derive(Debug)]
pub struct Session {
    program: Arc<Program>,
    slots: Vec<Tensor>,
    /// The outputs of the step that runs, out of their slots.
    written: Vec<Tensor>,
    scratch: Scratch,
}

/// Where the inputs of a step lie.
#[derive(Clone, Copy)]
pub(super) struct Slots<'a> {
    sources: &'a [Source],
    slots: &'a [Tensor],
    program: &'a Program,
}

impl<'a> Slots<'a> {
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    pub fn get(&self, index: usize) -> Option<&'a Tensor> {
        resolve(*self.sources.get(index)?, self.slots, self.program)
    }
}

fn resolve<'a>(source: Source, slots: &'a [Tensor], program: &'a Program) -> Option<&'a Tensor> {
    match source {
        Source::Absent => None,
        Source::Slot(slot) => Some(&slots[slot as usize]),
        Source::Constant(index) => Some(&program.constants[index as usize]),
    }
}

/// Whether an input is of the type and of the dimensions that are fixed: the program may have been
/// made for no others.
fn check_input(input: &Tensor, port: &Port) -> Result<(), RunError> {
    if input.dtype() != port.dtype {
        return Err(RunError::input(input.dtype(), port.dtype));
    }
    let Some(dims) = &port.dims else { return Ok(()) };
    let shape = input.shape();
    let is_right = |(dim, count): (&Dim, &usize)| match dim {
        Dim::Fixed(wanted) => count == wanted,
        Dim::Named(_) | Dim::Any => true,
    };
    match dims.len() == shape.len() && dims.iter().zip(shape.iter()).all(is_right) {
        true => Ok(()),
        false => Err(RunError::input(format_args!("shape {shape}"), format_args!("{dims:?}"))),
    }
}

impl Session {
    /// Empty buffers for a program.
    pub fn new(program: Arc<Program>) -> Self {
        let empty = |dtype: &_| {
            let mut tensor = Tensor::default();
            let shape = *tensor.shape();
            tensor.reset(*dtype, shape);
            tensor
        };
        let slots = program.slot_types.iter().map(empty).collect();
        Self { program, slots, written: Vec::new(), scratch: Scratch::default() }
    }

    /// The program.
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// An input, to be shaped and filled before a run. Its type must stay.
    pub fn input_mut(&mut self, index: usize) -> &mut Tensor {
        &mut self.slots[self.program.input_slots[index] as usize]
    }

    /// An input as it was filled; runs leave it as it is.
    pub fn input(&self, index: usize) -> Option<&Tensor> {
        self.slots.get(*self.program.input_slots.get(index)? as usize)
    }

    /// Runs the program on the inputs that were filled.
    ///
    /// # Errors
    /// [`ModelError::Run`] names the node; the session can be used again.
    pub fn run(&mut self, team: &dyn Team, until: Option<Instant>) -> Result<(), ModelError> {
        let program = Arc::clone(&self.program);
        for (slot, port) in program.input_slots.iter().zip(program.inputs()) {
            check_input(&self.slots[*slot as usize], port)
                .map_err(|source| ModelError::Run { place: "the inputs".into(), source })?;
        }
        for step in &program.steps {
            let late = until.is_some_and(|until| Instant::now() >= until);
            self.written.clear();
            for slot in &step.outputs {
                self.written.push(std::mem::take(&mut self.slots[*slot as usize]));
            }
            let sources = &step.inputs;
            let inputs = Inputs { slots: Slots { sources, slots: &self.slots, program: &program } };
            let mut context = Context {
                isa: program.options.isa,
                team,
                scratch: &mut self.scratch,
                bytes_max: program.options.session_bytes_max,
            };
            let result = match late {
                true => Err(RunError::Late),
                false => step.operator.run(&inputs, &mut self.written, &mut context),
            };
            for (slot, tensor) in step.outputs.iter().zip(self.written.drain(..)) {
                self.slots[*slot as usize] = tensor;
            }
            result
                .map_err(|source| ModelError::Run { place: step.place.as_str().into(), source })?;
        }
        Ok(())
    }

    /// An output of the last run.
    pub fn output(&self, index: usize) -> Option<&Tensor> {
        let source = *self.program.output_sources.get(index)?;
        resolve(source, &self.slots, &self.program)
    }

    /// Bytes that the buffers hold.
    pub fn bytes(&self) -> usize {
        self.slots.iter().map(Tensor::bytes).sum()
    }
}

/// Runs a graph once, alone: for the folding of constants and for tests.
///
/// # Errors
/// As [`Program::build`] and [`Session::run`]; [`ModelError::Run`] for too few inputs.
pub fn evaluate(
    graph: &Graph,
    options: &BuildOptions,
    inputs: Vec<Tensor>,
) -> Result<Vec<Tensor>, ModelError> {
    evaluate_by(graph, options, inputs, &Alone)
}

/// The same by a team.
///
/// # Errors
/// As [`evaluate`].
pub fn evaluate_by(
    graph: &Graph,
    options: &BuildOptions,
    inputs: Vec<Tensor>,
    team: &dyn Team,
) -> Result<Vec<Tensor>, ModelError> {
    let program = Arc::new(Program::build(graph, options)?);
    if inputs.len() != program.inputs().len() {
        let found = format!("{} inputs", inputs.len());
        let source = RunError::input(found, program.inputs().len());
        return Err(ModelError::Run { place: "the inputs".into(), source });
    }
    let mut session = Session::new(program);
    for (index, input) in inputs.into_iter().enumerate() {
        *session.input_mut(index) = input;
    }
    session.run(team, None)?;
    let count = session.program.output_sources.len();
    Ok((0..count).filter_map(|index| session.output(index).cloned()).collect())
}
