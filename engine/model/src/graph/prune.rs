//! Owns the removal of what no output of a graph needs.
//!
//! Refuses to know operators: they have no effect but their outputs. Bound: one pass backwards.

use super::parts::{Graph, Value, ValueId};

impl Graph {
    /// Drops the nodes whose outputs nobody reads and the values that are left over, and leaves out
    /// the outputs of other nodes that nobody reads. Inputs and outputs of the graph stay. Ids
    /// change. The graph must be valid.
    pub fn prune(&mut self) {
        let mut is_read = vec![false; self.values.len()];
        for port in &self.outputs {
            is_read[port.value.0 as usize] = true;
        }
        let mut is_needed = vec![false; self.nodes.len()];
        // In a valid graph readers stand behind what they read.
        for (node, is_needed) in self.nodes.iter_mut().zip(&mut is_needed).rev() {
            for output in &mut node.outputs {
                *output = output.filter(|id| is_read[id.0 as usize]);
            }
            *is_needed = node.outputs.iter().any(Option::is_some);
            if *is_needed {
                for id in node.inputs.iter().flatten() {
                    is_read[id.0 as usize] = true;
                }
            }
        }
        let mut needed = is_needed.into_iter();
        self.nodes.retain(|_| needed.next().unwrap_or(true));
        for port in &self.inputs {
            is_read[port.value.0 as usize] = true;
        }
        self.renumber(&is_read);
    }

    /// Keeps the values that are `kept`, which must be all that are used.
    fn renumber(&mut self, kept: &[bool]) {
        let mut ids = Vec::with_capacity(self.values.len());
        let mut values: Vec<Value> = Vec::new();
        for (value, kept) in self.values.drain(..).zip(kept) {
            ids.push(ValueId(values.len() as u32));
            if *kept {
                values.push(value);
            }
        }
        self.values = values;
        let ports = self.inputs.iter_mut().chain(&mut self.outputs).map(|port| &mut port.value);
        let in_nodes = self
            .nodes
            .iter_mut()
            .flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs).flatten());
        for id in ports.chain(in_nodes) {
            *id = ids[id.0 as usize];
        }
    }
}
