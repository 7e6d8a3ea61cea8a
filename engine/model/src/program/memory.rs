//! Owns the account of a program's memory: how much of it, on which NUMA node, in which pages.
//!
//! Refuses to know what lies in it. Bound: one entry per node.

use truststram_machine::NodeBuffer;

/// Bytes that lie on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeBytes {
    /// The node, as the kernel says; none where it does not say.
    pub node: Option<u32>,
    /// Bytes in buffers of their own pages.
    pub bytes: u64,
    /// Those of them for which huge pages were asked.
    pub huge_page_bytes: u64,
    /// Those of them that the kernel refused to bind although a node was asked for.
    pub unbound_bytes: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes from the allocator, placed by the policy of the thread that built the program.
    pub heap_bytes: u64,
    /// Bytes in pages of their own, by the node that holds them.
    pub nodes: Vec<NodeBytes>,
}

impl MemoryReport {
    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.heap_bytes + self.nodes.iter().map(|node| node.bytes).sum::<u64>()
    }

    /// Adds bytes from the allocator.
    pub fn add_heap(&mut self, bytes: usize) {
        self.heap_bytes += bytes as u64;
    }

    /// Adds a buffer of its own pages, and asks the kernel where it is.
    pub fn add_buffer(&mut self, buffer: &NodeBuffer) {
        let node = buffer.resident_node();
        let bytes = buffer.len() as u64;
        let known = self.nodes.iter().position(|entry| entry.node == node);
        let index = known.unwrap_or_else(|| {
            let new = NodeBytes { node, bytes: 0, huge_page_bytes: 0, unbound_bytes: 0 };
            self.nodes.push(new);
            self.nodes.len() - 1
        });
        let entry = &mut self.nodes[index];
        entry.bytes += bytes;
        entry.huge_page_bytes += if buffer.asks_for_huge_pages() { bytes } else { 0 };
        entry.unbound_bytes += if buffer.degraded().is_some() { bytes } else { 0 };
    }

    /// Adds what another report has.
    pub fn add(&mut self, other: &Self) {
        self.heap_bytes += other.heap_bytes;
        for entry in &other.nodes {
            match self.nodes.iter_mut().find(|known| known.node == entry.node) {
                None => self.nodes.push(*entry),
                Some(known) => {
                    known.bytes += entry.bytes;
                    known.huge_page_bytes += entry.huge_page_bytes;
                    known.unbound_bytes += entry.unbound_bytes;
                }
            }
        }
    }
}
