//! Owns the way from a graph to a program: types, operators, constants, shared buffers.
//!
//! Refuses to know operators, which build themselves. Bound: one pass over the nodes; every slot
//! is handed on once nobody reads it any more, to a value of the same type.

use std::collections::HashMap;
use std::sync::Arc;

use super::memory::MemoryReport;
use super::operator::Operator;
use crate::error::ModelError;
use crate::graph::{Graph, NodeView, Port};
use crate::kernels::Isa;
use crate::ops;
use crate::tensor::{DType, Tensor};

/// What a program is built for.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Which kernels it may use.
    pub isa: Isa,
    /// The NUMA node that packed weights come from; anywhere if none.
    pub node: Option<u32>,
    /// Most bytes of one result in a run.
    pub session_bytes_max: usize,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { isa: Isa::detect(), node: None, session_bytes_max: 1 << 30 }
    }
}

/// Where a step finds an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Absent,
    Slot(u32),
    Constant(u32),
}

/// One operator with its inputs and outputs.
#[derive(Debug)]
pub(super) struct Step {
    pub operator: Box<dyn Operator>,
    pub inputs: Vec<Source>,
    pub outputs: Vec<u32>,
    /// For messages.
    pub place: String,
}

/// See the module.
#[derive(Debug)]
pub struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) slot_types: Vec<DType>,
    pub(super) constants: Vec<Arc<Tensor>>,
    pub(super) input_slots: Vec<u32>,
    pub(super) output_sources: Vec<Source>,
    pub(super) options: BuildOptions,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl Program {
    /// Builds a program of a graph that is not optimised any further.
    ///
    /// # Errors
    /// [`ModelError::Graph`] or [`ModelError::Unsupported`] names the node that cannot be run.
    pub fn build(graph: &Graph, options: &BuildOptions) -> Result<Self, ModelError> {
        graph.validate()?;
        let mut builder = Builder::new(graph, options);
        for port in &graph.inputs {
            builder.types[port.value.0 as usize] = Some(port.dtype);
            builder.give_slot(port.value.0, port.dtype);
        }
        let input_slots = graph.inputs.iter().map(|port| builder.slot_of[&port.value.0]).collect();
        for index in 0..graph.nodes.len() {
            builder.add(index)?;
        }
        let mut outputs = graph.outputs.clone();
        for port in &mut outputs {
            let dtype = builder.types[port.value.0 as usize];
            port.dtype = dtype.unwrap_or(port.dtype);
        }
        let output_sources =
            graph.outputs.iter().map(|port| builder.source(Some(port.value.0))).collect();
        Ok(Self {
            steps: builder.steps,
            slot_types: builder.slot_types,
            constants: builder.constants,
            input_slots,
            output_sources,
            options: options.clone(),
            inputs: graph.inputs.clone(),
            outputs,
        })
    }

    /// What is given, in order.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What is computed, in order, with the types that the operators gave.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Where its constants and packed weights lie.
    pub fn memory(&self) -> MemoryReport {
        let mut report = MemoryReport::default();
        for constant in &self.constants {
            report.add_heap(constant.bytes());
        }
        for step in &self.steps {
            step.operator.memory(&mut report);
        }
        report
    }

    /// How many operators run.
    pub fn step_count(&self) -> usize {
        self.steps.len()
    }
}

struct Builder<'a> {
    graph: &'a Graph,
    options: &'a BuildOptions,
    types: Vec<Option<DType>>,
    /// How many reads of each value are still to come; outputs of the graph are read at the end.
    reads: Vec<u32>,
    slot_of: HashMap<u32, u32>,
    slot_types: Vec<DType>,
    free: HashMap<DType, Vec<u32>>,
    constants: Vec<Arc<Tensor>>,
    constant_of: HashMap<u32, u32>,
    steps: Vec<Step>,
}

impl<'a> Builder<'a> {
    fn new(graph: &'a Graph, options: &'a BuildOptions) -> Self {
        let mut reads = vec![0; graph.values.len()];
        let node_reads = graph.nodes.iter().flat_map(|node| node.inputs.iter().flatten());
        for id in node_reads.chain(graph.outputs.iter().map(|port| &port.value)) {
            reads[id.0 as usize] += 1;
        }
        let constant_type =
            |tensor: &Option<Arc<Tensor>>| tensor.as_ref().map(|tensor| tensor.dtype());
        Self {
            graph,
            options,
            types: graph.values.iter().map(|value| constant_type(&value.constant)).collect(),
            reads,
            slot_of: HashMap::new(),
            slot_types: Vec::new(),
            free: HashMap::new(),
            constants: Vec::new(),
            constant_of: HashMap::new(),
            steps: Vec::new(),
        }
    }

    fn add(&mut self, index: usize) -> Result<(), ModelError> {
        let node = &self.graph.nodes[index];
        let view = NodeView::new(self.graph, index, &self.types, self.options);
        let build = ops::find(&node.domain, &node.operator)
            .ok_or_else(|| view.refuse("this operator is not known"))?;
        let built = build(&view)?;
        let wanted = node.outputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        if built.outputs.len() < wanted {
            let found = built.outputs.len();
            return Err(view.refuse(format_args!("{wanted} outputs are wanted, it has {found}")));
        }
        let inputs = node.inputs.iter().enumerate().map(|(position, id)| match id {
            Some(id) if !built.taken.contains(&position) => self.source(Some(id.0)),
            _ => Source::Absent,
        });
        let inputs = inputs.collect();
        let mut outputs = Vec::with_capacity(built.outputs.len());
        let mut unread = Vec::new();
        // Outputs that nobody names still need a place to be written to.
        for (position, dtype) in built.outputs.iter().enumerate() {
            match node.outputs.get(position).copied().flatten() {
                Some(id) => {
                    self.types[id.0 as usize] = Some(*dtype);
                    outputs.push(self.give_slot(id.0, *dtype));
                    if self.reads[id.0 as usize] == 0 {
                        unread.push(id.0);
                    }
                }
                None => {
                    let slot = self.new_slot(*dtype);
                    outputs.push(slot);
                }
            }
        }
        let place = self.graph.place(index);
        self.steps.push(Step { operator: built.operator, inputs, outputs, place });
        for id in node.inputs.iter().flatten() {
            self.read(id.0);
        }
        for id in unread {
            self.release(id);
        }
        Ok(())
    }

    fn source(&mut self, value: Option<u32>) -> Source {
        let Some(value) = value else { return Source::Absent };
        if let Some(slot) = self.slot_of.get(&value) {
            return Source::Slot(*slot);
        }
        let Some(tensor) = &self.graph.values[value as usize].constant else {
            return Source::Absent;
        };
        let next = self.constants.len() as u32;
        let index = *self.constant_of.entry(value).or_insert(next);
        if index == next {
            self.constants.push(Arc::clone(tensor));
        }
        Source::Constant(index)
    }

    fn give_slot(&mut self, value: u32, dtype: DType) -> u32 {
        let reused = self.free.get_mut(&dtype).and_then(Vec::pop);
        let slot = reused.unwrap_or_else(|| self.new_slot(dtype));
        self.slot_of.insert(value, slot);
        slot
    }

    fn new_slot(&mut self, dtype: DType) -> u32 {
        self.slot_types.push(dtype);
        self.slot_types.len() as u32 - 1
    }

    /// One read of a value is done.
    fn read(&mut self, value: u32) {
        let reads = &mut self.reads[value as usize];
        *reads -= 1;
        if *reads == 0 {
            self.release(value);
        }
    }

    fn release(&mut self, value: u32) {
        // Inputs keep their slots: the caller may run again without writing them anew.
        if self.graph.inputs.iter().any(|port| port.value.0 == value) {
            return;
        }
        if let Some(slot) = self.slot_of.remove(&value) {
            self.free.entry(self.slot_types[slot as usize]).or_default().push(slot);
        }
    }
}
