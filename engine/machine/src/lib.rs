//! Floor 1: the kernel, as the engine sees it.
//!
//! Owns NUMA topology, every thread and its placement, node-bound memory, io_uring, signals, the
//! directory lock and the figures under /proc and /sys. It is the only home of `unsafe` besides
//! `model/kernels`, and each module that needs it says why.
//! Refuses to know models, requests and configuration.
//! Bound: what the host lacks (NUMA, io_uring, rights in a container) degrades and is reported;
//! it never fails the start.

pub mod allocator;
pub mod counting_allocator;
pub mod cpu_set;
pub mod dir_lock;
pub mod error;
pub mod handover;
pub mod host;
pub mod log_file;
pub mod memory;
pub mod pool;
pub mod precedence;
pub mod pressure;
pub mod process;
pub mod replace;
pub mod ring;
pub mod room;
pub mod signal;
pub mod socket;
mod system_calls;
pub mod thread;
pub mod tick;
pub mod topology;

pub use allocator::set_up_allocator;
pub use counting_allocator::CountingAllocator;
pub use cpu_set::CpuSet;
pub use dir_lock::DirLock;
pub use error::MachineError;
pub use handover::{inherited_listener, keep_across_exec};
pub use host::{HostFacts, SimdLevel, host_facts};
pub use log_file::{LogFile, Rotation};
pub use memory::NodeBuffer;
pub use pool::compute_pool;
pub use precedence::{Precedence, Standing};
pub use pressure::{Pressure, Resource};
pub use process::{limit_library_threads, raise_open_files};
pub use replace::replace_file;
pub use ring::{FileBuffer, Ring, RingMode, RingStatus, drop_cached_pages, probe, read_file};
pub use room::MemoryRoom;
pub use signal::{Signal, Signals};
pub use socket::send_window;
pub use thread::{Degraded, Placement, Priority, Thread, ThreadSpec, spawn};
pub use tick::tick_ms;
pub use topology::{Node, Topology};
