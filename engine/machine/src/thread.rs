//! Owns every thread of the engine: its name, its cores, its memory node and its end.
//!
//! Refuses to know what the thread does. Bound: one thread per call of [`spawn`]; what the host
//! refuses is recorded in [`Placement`] and the thread runs all the same.

use std::any::Any;
use std::fmt;
use std::io;
use std::thread::JoinHandle;

use crate::cpu_set::CpuSet;
use crate::error::MachineError;
use crate::system_calls;

/// Longest thread name that the kernel keeps, in bytes.
pub const THREAD_NAME_BYTES_MAX: usize = 15;

/// Niceness of [`Priority::Background`]: by the kernel's weights about a tenth of the share of a
/// thread of niceness 0.
const BACKGROUND_NICE: i32 = 10;

/// How a thread is to be started.
#[derive(Clone, Debug, Default)]
pub struct ThreadSpec {
    /// Shown by `ps -T` and in panics. Cut to [`THREAD_NAME_BYTES_MAX`] bytes, as the kernel would
    /// do, and at the first NUL.
    pub name: String,
    /// Logical processors that it may run on; empty for all that the process may use.
    pub cores: Vec<u32>,
    /// NUMA node for the memory that it touches first; `None` for the kernel's choice.
    pub memory_node: Option<u32>,
    /// How it competes with other threads.
    pub priority: Priority,
}

/// How a thread competes with others for its cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// The kernel's default.
    #[default]
    Normal,
    /// SCHED_BATCH: does not pre-empt others when woken.
    Batch,
    /// SCHED_BATCH and a tenth of the others' share of a core that is contended: for work that
    /// must get done, but not at the cost of requests.
    Background,
    /// SCHED_IDLE: runs on what the others leave of a core, and makes way for any of them the
    /// moment it wakes up. Threads that it starts are the same.
    Idle,
}

/// Where a thread really runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The processors that the kernel lets it run on, ascending.
    pub cores: Vec<u32>,
    /// Whether the memory that it touches first comes from the node it asked for.
    pub memory_bound: bool,
    /// What was asked for and refused, as containers do.
    pub degraded: Vec<Degraded>,
}

/// A request that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Degraded {
    /// The system call.
    pub what: &'static str,
    /// The kernel's error number.
    pub errno: i32,
}

impl Degraded {
    pub(crate) fn new(what: &'static str, error: &io::Error) -> Self {
        Self { what, errno: error.raw_os_error().unwrap_or(0) }
    }
}

impl fmt::Display for Degraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} refused: {}", self.what, io::Error::from_raw_os_error(self.errno))
    }
}

/// A running thread, to be joined by its owner.
#[derive(Debug)]
#[must_use = "a thread has an owner that joins it"]
pub struct Thread<T> {
    name: String,
    handle: JoinHandle<T>,
}

/// Starts a thread that applies `spec` to itself and then runs `body` with what came of it.
///
/// # Errors
/// [`MachineError::Spawn`] when the kernel starts no thread. A refused placement is no error.
#[allow(clippy::disallowed_methods, reason = "this is the one place that starts threads")]
pub fn spawn<T: Send + 'static>(
    spec: ThreadSpec,
    body: impl FnOnce(Placement) -> T + Send + 'static,
) -> Result<Thread<T>, MachineError> {
    let name = kernel_name(&spec.name).to_owned();
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || body(place_this_thread(&spec)))
        .map(|handle| Thread { name: name.clone(), handle })
        .map_err(|source| MachineError::Spawn { name, source })
}

impl<T> Thread<T> {
    /// Waits for the thread and returns what its body returned.
    ///
    /// # Errors
    /// [`MachineError::Panicked`] when the body panicked.
    pub fn join(self) -> Result<T, MachineError> {
        let Self { name, handle } = self;
        handle
            .join()
            .map_err(|panic| MachineError::Panicked { name, message: panic_message(&*panic) })
    }

    /// The name as the kernel shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the body has returned or panicked.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}

/// The part of `name` that the kernel keeps, cut between characters.
pub(crate) fn kernel_name(name: &str) -> &str {
    let name = name.split('\0').next().unwrap_or_default();
    &name[..name.floor_char_boundary(THREAD_NAME_BYTES_MAX)]
}

fn place_this_thread(spec: &ThreadSpec) -> Placement {
    let mut degraded = Vec::new();
    let mut attempt = |what, result: io::Result<()>| match result {
        Ok(()) => true,
        Err(error) => {
            degraded.push(Degraded::new(what, &error));
            false
        }
    };
    if !spec.cores.is_empty() {
        let cpus = spec.cores.iter().copied().collect();
        attempt("sched_setaffinity", system_calls::set_affinity(&cpus));
    }
    let memory_bound = spec
        .memory_node
        .is_some_and(|node| attempt("set_mempolicy", system_calls::bind_thread_memory(node)));
    if spec.priority == Priority::Idle {
        attempt("sched_setscheduler", system_calls::set_idle_scheduling());
    } else if spec.priority != Priority::Normal {
        attempt("sched_setscheduler", system_calls::set_batch_scheduling());
    }
    if spec.priority == Priority::Background {
        attempt("setpriority", system_calls::lower_priority(BACKGROUND_NICE));
    }
    let cores = system_calls::affinity().unwrap_or_else(|error| {
        degraded.push(Degraded::new("sched_getaffinity", &error));
        CpuSet::default()
    });
    Placement { cores: cores.iter().collect(), memory_bound, degraded }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a value that is not text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::topology::Topology;

    fn spec(cores: &[u32], memory_node: Option<u32>, priority: Priority) -> ThreadSpec {
        ThreadSpec { name: "placed".to_owned(), cores: cores.to_vec(), memory_node, priority }
    }

    #[test]
    fn a_thread_runs_where_it_was_told_to() {
        let host = Topology::of_host().unwrap();
        for core in host.cores() {
            let node = host.node_of_core(core);
            let thread = spawn(spec(&[core], node, Priority::Normal), |placement| {
                (placement, system_calls::affinity().unwrap())
            });
            let (placement, mask) = thread.unwrap().join().unwrap();
            assert_eq!(placement.cores, [core], "{placement:?}");
            assert_eq!(mask.to_string(), core.to_string());
            // Containers may refuse memory policies; then the refusal must be on record.
            assert_eq!(placement.memory_bound, placement.degraded.is_empty(), "{placement:?}");
        }
        let anywhere = spawn(spec(&[], None, Priority::Normal), |placement| placement);
        assert_eq!(anywhere.unwrap().join().unwrap().cores, host.cores());
    }

    #[test]
    fn refusals_are_recorded_and_the_thread_runs() {
        let host = Topology::of_host().unwrap();
        let check = |cores: &[u32], node: Option<u32>, refused: &[&str]| {
            let thread = spawn(spec(cores, node, Priority::Normal), |placement| placement).unwrap();
            let placement = thread.join().unwrap();
            let what: Vec<_> = placement.degraded.iter().map(|degraded| degraded.what).collect();
            assert_eq!(what, refused, "{placement:?}");
            assert!(placement.degraded.iter().all(|degraded| degraded.errno > 0));
            assert_eq!(placement.cores, host.cores());
            assert!(!placement.memory_bound);
        };
        check(&[8_191], None, &["sched_setaffinity"]);
        check(&[1_000_000], None, &["sched_setaffinity"]);
        check(&[], Some(1_023), &["set_mempolicy"]);
        check(&[8_191], Some(5_000), &["sched_setaffinity", "set_mempolicy"]);
    }

    #[test]
    fn batch_threads_have_the_batch_policy() {
        let policy = |priority| {
            let body = |_: Placement| fs::read_to_string("/proc/thread-self/stat").unwrap();
            let stat = spawn(spec(&[], None, priority), body).unwrap().join().unwrap();
            // The policy is field 41 of proc_pid_stat(5); field 3 follows the closing bracket.
            let fields = stat.rsplit_once(") ").unwrap().1;
            fields.split(' ').nth(38).unwrap().parse::<i32>().unwrap()
        };
        assert_eq!(policy(Priority::Normal), libc::SCHED_OTHER);
        assert_eq!(policy(Priority::Batch), libc::SCHED_BATCH);
        assert_eq!(policy(Priority::Background), libc::SCHED_BATCH);
        assert_eq!(policy(Priority::Idle), libc::SCHED_IDLE);
    }

    #[test]
    fn names_are_cut_between_characters() {
        let check = |name: &str, expected: &str| {
            let spec = ThreadSpec { name: name.to_owned(), ..ThreadSpec::default() };
            let thread = spawn(spec, |_| fs::read_to_string("/proc/thread-self/comm").unwrap());
            let thread = thread.unwrap();
            assert_eq!(thread.name(), expected);
            assert_eq!(thread.join().unwrap().trim_end(), expected);
        };
        check("inference-0", "inference-0");
        check("a-name-of-twenty-one", "a-name-of-twent");
        check("fourteen-byte-é", "fourteen-byte-");
        check("nul\0inside", "nul");
    }

    #[test]
    fn panics_come_back_to_the_owner() {
        let (release, wait) = sync_channel::<()>(0);
        let spec = ThreadSpec { name: "doomed".to_owned(), ..ThreadSpec::default() };
        let thread = spawn(spec, move |_| {
            let _ = wait.recv();
            panic!("no luck with {}", 13);
        });
        let thread = thread.unwrap();
        assert!(!thread.is_finished());
        drop(release);
        let error: MachineError = thread.join().unwrap_err();
        assert_eq!(
            error.to_string(),
            "thread `doomed` panicked: no luck with 13; please report this with the log"
        );
    }
}
