//! Owns the map of NUMA nodes: which of the processors we may use, and how much memory, is where.
//!
//! Refuses to know what runs on them. Bound: read once at start; nodes below 1,024 (the most that
//! a kernel can be built for).

use std::fs;
use std::io;
use std::path::Path;

use crate::cpu_set::CpuSet;
use crate::error::MachineError;
use crate::system_calls::{self, NODE_COUNT_MAX};

/// The NUMA nodes of the host, by ascending id. Ids may have holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// At least one node; at least one of them has a core.
    pub nodes: Vec<Node>,
}

/// One NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The kernel's number of the node.
    pub id: u32,
    /// The logical processors of the node that this process may use, ascending. Empty for a node
    /// that has memory only, or whose processors are all outside our cpuset.
    pub cores: Vec<u32>,
    /// Memory of the node in bytes; 0 when the kernel does not say.
    pub memory_bytes: u64,
}

impl Topology {
    /// Reads `{sysfs_root}/devices/system/node`, leaving out processors that are not in `allowed`.
    ///
    /// A kernel without NUMA has no such directory and counts as one node 0 with all processors
    /// that are both online and allowed.
    ///
    /// # Errors
    /// [`MachineError::NoCores`] when nothing is left to run on, [`MachineError::File`] and
    /// [`MachineError::CpuList`] when sysfs cannot be read.
    pub fn read(sysfs_root: &Path, allowed: &CpuSet) -> Result<Self, MachineError> {
        let system = sysfs_root.join("devices/system");
        let mut nodes = Vec::new();
        for id in node_ids(&system.join("node"))? {
            nodes.push(read_node(&system.join(format!("node/node{id}")), id, allowed)?);
        }
        let online = read_list(&system.join("cpu/online"))?;
        let usable = online.map_or_else(|| allowed.clone(), |online| online.intersect(allowed));
        if nodes.is_empty() {
            nodes.push(Node { id: 0, cores: Vec::new(), memory_bytes: 0 });
        }
        adopt_orphans(&mut nodes, &usable);
        if nodes.iter().all(|node| node.cores.is_empty()) {
            return Err(MachineError::NoCores { context: "the process" });
        }
        Ok(Self { nodes })
    }

    /// The topology of this host, as far as the calling thread's affinity mask allows its use.
    ///
    /// # Errors
    /// As [`Topology::read`], and [`MachineError::System`] when the mask cannot be read.
    pub fn of_host() -> Result<Self, MachineError> {
        let allowed = system_calls::affinity()
            .map_err(|source| MachineError::System { call: "sched_getaffinity", source })?;
        Self::read(Path::new("/sys"), &allowed)
    }

    /// All processors we may use, ascending.
    pub fn cores(&self) -> Vec<u32> {
        let cores: CpuSet = self.nodes.iter().flat_map(|node| &node.cores).copied().collect();
        cores.iter().collect()
    }

    /// The node that `core` belongs to; `None` for a processor that we may not use.
    pub fn node_of_core(&self, core: u32) -> Option<u32> {
        self.nodes.iter().find(|node| node.cores.contains(&core)).map(|node| node.id)
    }
}

/// The ids of the `node<id>` entries of `dir`, ascending; empty when `dir` does not exist.
fn node_ids(dir: &Path) -> Result<Vec<u32>, MachineError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(MachineError::file("list", dir)(error)),
    };
    let mut ids = Vec::new();
    for entry in entries {
        let name = entry.map_err(MachineError::file("list", dir))?.file_name();
        let id = name.to_str().and_then(|name| name.strip_prefix("node"));
        ids.extend(id.and_then(|id| id.parse().ok()).filter(|&id: &u32| id < NODE_COUNT_MAX));
    }
    ids.sort_unstable();
    Ok(ids)
}

fn read_node(dir: &Path, id: u32, allowed: &CpuSet) -> Result<Node, MachineError> {
    let cpus = read_list(&dir.join("cpulist"))?.unwrap_or_default();
    let meminfo = fs::read_to_string(dir.join("meminfo")).unwrap_or_default();
    Ok(Node {
        id,
        cores: cpus.intersect(allowed).iter().collect(),
        memory_bytes: total_bytes(&meminfo).unwrap_or(0),
    })
}

/// `None` when the file does not exist.
fn read_list(path: &Path) -> Result<Option<CpuSet>, MachineError> {
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MachineError::file("read", path)(error)),
    }
}

/// Reads the line `Node 0 MemTotal:  16316744 kB`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.contains("MemTotal:"))?;
    let kib: u64 = line.split_whitespace().rev().nth(1)?.parse().ok()?;
    kib.checked_mul(1_024)
}

/// Gives usable processors that no node lists to the first node: all of them without NUMA, and
/// some in sandboxes whose sysfs does not fit the affinity mask. A far memory access costs less
/// than an idle processor.
fn adopt_orphans(nodes: &mut [Node], usable: &CpuSet) {
    let listed: CpuSet = nodes.iter().flat_map(|node| &node.cores).copied().collect();
    let orphans = usable.iter().filter(|&cpu| !listed.contains(cpu));
    if let Some(first) = nodes.first_mut() {
        first.cores.extend(orphans);
        first.cores.sort_unstable();
    }
}

#[cfg(test)]
mod tests;
