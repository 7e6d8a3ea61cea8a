//! Owns the start of compute pools: rayon's work stealing on pinned threads of ours.
//!
//! Refuses to know what is computed. Bound: one thread per core given, at most
//! [`CORE_COUNT_MAX`].

use std::io;

use rayon::{ThreadPool, ThreadPoolBuilder};
use truststram_base::limits::CORE_COUNT_MAX;

use crate::error::MachineError;
use crate::thread::{Priority, THREAD_NAME_BYTES_MAX, ThreadSpec, kernel_name, spawn};

/// Starts a pool with one thread on each of `cores`, named `{name}-{index}` with `name` cut so
/// that the index stays visible. Cores beyond the limit are left out.
///
/// Rayon owns the threads from here on: they end soon after the pool is dropped.
///
/// # Errors
/// [`MachineError::NoCores`] for an empty list, [`MachineError::Pool`] when a thread cannot start.
pub fn compute_pool(name: &str, cores: &[u32]) -> Result<ThreadPool, MachineError> {
    let cores = &cores[..cores.len().min(CORE_COUNT_MAX)];
    if cores.is_empty() {
        return Err(MachineError::NoCores { context: "a compute pool" });
    }
    ThreadPoolBuilder::new()
        .num_threads(cores.len())
        .spawn_handler(|worker| {
            let spec = ThreadSpec {
                name: worker_name(name, worker.index()),
                cores: cores.get(worker.index()).copied().into_iter().collect(),
                memory_node: None,
                priority: Priority::Normal,
            };
            // Rayon wakes and ends its threads itself and gives no place to keep their handles.
            spawn(spec, |_| worker.run()).map(drop).map_err(io::Error::other)
        })
        .build()
        .map_err(|source| MachineError::Pool { name: name.to_owned(), source })
}

fn worker_name(name: &str, index: usize) -> String {
    let suffix = format!("-{index}");
    let name = kernel_name(name);
    let room = THREAD_NAME_BYTES_MAX.saturating_sub(suffix.len());
    format!("{}{suffix}", &name[..name.floor_char_boundary(room)])
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::system_calls;
    use crate::topology::Topology;

    #[test]
    fn each_worker_is_pinned_to_its_core() {
        let cores = Topology::of_host().unwrap().cores();
        let pool = compute_pool("train", &cores).unwrap();
        let placed = pool.broadcast(|context| {
            let name = std::thread::current().name().map(str::to_owned);
            (context.index(), name, system_calls::affinity().unwrap().to_string())
        });
        for (index, name, mask) in placed {
            assert_eq!(name, Some(format!("train-{index}")));
            assert_eq!(mask, cores[index].to_string());
        }
        let sum: u64 = pool.install(|| (0..1_000_u64).into_par_iter().sum());
        assert_eq!(sum, 499_500);
    }

    #[test]
    fn a_pool_needs_a_core() {
        assert!(matches!(compute_pool("none", &[]), Err(MachineError::NoCores { .. })));
    }

    #[test]
    fn names_keep_their_index() {
        let check = |name, index, expected| assert_eq!(worker_name(name, index), expected);
        check("train", 0, "train-0");
        check("a-very-long-pool-name", 12, "a-very-long--12");
        check("ééééééé", 7, "éééééé-7");
    }
}
