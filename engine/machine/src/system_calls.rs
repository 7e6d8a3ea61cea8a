//! Owns the system calls on placement that the standard library does not have, as safe functions.
//!
//! Refuses to know why they are called. Bound: processors up to [`CPU_MAX`], nodes below
//! [`NODE_COUNT_MAX`]; masks live on the stack.
#![allow(unsafe_code, reason = "system calls that no safe crate in the workspace offers")]

use std::io;

use crate::cpu_set::{CPU_MAX, CpuSet};

/// One more than the largest NUMA node a kernel can be built for (`CONFIG_NODES_SHIFT` is at most
/// 10).
pub const NODE_COUNT_MAX: u32 = 1_024;

// From include/uapi/linux/mempolicy.h; `libc` leaves them out.
const MPOL_F_NODE: libc::c_ulong = 1;
const MPOL_F_ADDR: libc::c_ulong = 2;

const WORD_BITS: usize = u64::BITS as usize;
type CpuMask = [u64; (CPU_MAX as usize + 1) / WORD_BITS];
type NodeMask = [u64; NODE_COUNT_MAX as usize / WORD_BITS];

/// The kernel takes one off the number of bits it is told (see the notes of set_mempolicy(2)).
const NODE_MASK_BITS: libc::c_ulong = NODE_COUNT_MAX as libc::c_ulong + 1;

/// The processors that the calling thread may run on.
pub fn affinity() -> io::Result<CpuSet> {
    let mut mask: CpuMask = [0; _];
    // SAFETY: the kernel writes at most the given number of bytes into `mask`, which lives on
    // this stack frame; thread 0 is the caller.
    let status = unsafe {
        libc::sched_getaffinity(
            0,
            size_of::<CpuMask>(),
            mask.as_mut_ptr().cast::<libc::cpu_set_t>(),
        )
    };
    check(status.into())?;
    let has = |cpu: u32| mask[cpu as usize / WORD_BITS] >> (cpu as usize % WORD_BITS) & 1 == 1;
    Ok((0..=CPU_MAX).filter(|&cpu| has(cpu)).collect())
}

/// Restricts the calling thread to `cpus`.
pub fn set_affinity(cpus: &CpuSet) -> io::Result<()> {
    let mut mask: CpuMask = [0; _];
    for cpu in cpus.iter() {
        set_bit(&mut mask, cpu)?;
    }
    // SAFETY: the kernel reads the given number of bytes from `mask` and keeps no pointer.
    let status = unsafe {
        libc::sched_setaffinity(0, size_of::<CpuMask>(), mask.as_ptr().cast::<libc::cpu_set_t>())
    };
    check(status.into())
}

/// Binds the memory that the calling thread touches first from now on to `node`.
pub fn bind_thread_memory(node: u32) -> io::Result<()> {
    let mask = node_mask(node)?;
    // SAFETY: the kernel reads `NODE_MASK_BITS - 1` bits from `mask` and keeps no pointer.
    check(unsafe {
        libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_BIND, mask.as_ptr(), NODE_MASK_BITS)
    })
}

/// Binds pages of `memory` that nobody has touched yet to `node`. The slice of raw parts must be
/// page aligned, or the kernel answers EINVAL.
pub fn bind_memory(start: *const u8, bytes: usize, node: u32) -> io::Result<()> {
    let mask = node_mask(node)?;
    // SAFETY: mbind changes where untouched pages will come from, never what memory holds, and
    // answers EFAULT for addresses that are not mapped; the mask is read as above.
    check(unsafe {
        libc::syscall(
            libc::SYS_mbind,
            start,
            bytes,
            libc::MPOL_BIND,
            mask.as_ptr(),
            NODE_MASK_BITS,
            0u32,
        )
    })
}

/// The node that holds the page of `address`. A page that was never written has no lasting node.
pub fn node_of_address(address: *const u8) -> io::Result<u32> {
    let mut node: libc::c_int = -1;
    // SAFETY: the kernel writes one int into `node`, takes no mask (null, 0 bits) and answers
    // EFAULT for an address that is not mapped.
    check(unsafe {
        libc::syscall(
            libc::SYS_get_mempolicy,
            &raw mut node,
            std::ptr::null_mut::<u64>(),
            0 as libc::c_ulong,
            address,
            MPOL_F_NODE | MPOL_F_ADDR,
        )
    })?;
    u32::try_from(node).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Makes the calling thread a batch thread: it does not pre-empt others when it wakes up.
pub fn set_batch_scheduling() -> io::Result<()> {
    set_scheduling(0, libc::SCHED_BATCH, 0)
}

/// Makes the calling thread an idle one: any other that wakes up on its core goes first, at once.
pub fn set_idle_scheduling() -> io::Result<()> {
    set_scheduling(0, libc::SCHED_IDLE, 0)
}

/// Makes a thread of this process, 0 for the calling one, a real-time one, but none that it starts.
pub fn set_real_time(thread: i32, priority: i32) -> io::Result<()> {
    set_scheduling(thread, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, priority)
}

/// Makes a thread of this process one as all others.
pub fn set_normal_scheduling(thread: i32) -> io::Result<()> {
    set_scheduling(thread, libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK, 0)
}

fn set_scheduling(thread: i32, policy: libc::c_int, priority: libc::c_int) -> io::Result<()> {
    // The raw call, because musl's wrapper always answers ENOSYS. `struct sched_param` is one int.
    // SAFETY: the kernel reads one int from `priority` and keeps no pointer.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, thread, policy, &raw const priority)
    })
}

/// The scheduling policy of a thread of this process.
#[cfg(test)]
pub fn scheduling(thread: i32) -> io::Result<i32> {
    // SAFETY: the call takes and gives numbers only.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, thread) };
    check(policy)?;
    Ok(i32::try_from(policy).unwrap_or(-1) & !libc::SCHED_RESET_ON_FORK)
}

/// The kernel's number of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: the call takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// What counts the time that a thread has had a core; any thread of the process may read it.
#[derive(Clone, Copy, Debug)]
pub struct CpuClock(libc::clockid_t);

impl CpuClock {
    /// The clock of the calling thread.
    pub fn of_this_thread() -> Self {
        // As pthread_getcpuclockid(3) makes it, which musl has for the process alone:
        // include/linux/posix-timers.h, CPUCLOCK_SCHED of one thread.
        Self((!thread_id() << 3) | 6)
    }

    /// The time so far; an error once the thread has ended.
    pub fn read(self) -> io::Result<std::time::Duration> {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the kernel writes one `timespec` into `time`, which lives on this stack frame.
        check(unsafe { libc::clock_gettime(self.0, &raw mut time) }.into())?;
        let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
        Ok(std::time::Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or(0)))
    }
}

/// The time of the monotonic clock as of the kernel's last tick.
pub fn coarse_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` into `time`, which lives on this stack frame. The
    // call cannot fail: this clock is as old as the kernels that io_uring needs.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    std::time::Duration::new(seconds, u32::try_from(nanoseconds).unwrap_or(0))
}

/// Makes the calling thread nice: niceness belongs to a thread under Linux, whatever POSIX says.
pub fn lower_priority(nice: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only; process 0 is the calling thread.
    check(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, nice) })
}

/// Lets the process open as many files as it may, and says how many those are.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one `rlimit` into `limit`, which lives on this stack frame.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }.into())?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the kernel reads one `rlimit` from `limit` and keeps no pointer.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }.into())?;
    Ok(limit.rlim_cur)
}

/// Bytes of one page of memory.
pub fn page_bytes() -> usize {
    // SAFETY: sysconf only reads its argument.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // The call cannot fail for this name; 4096 is right on every x86-64 host.
    usize::try_from(bytes).unwrap_or(4_096)
}

fn node_mask(node: u32) -> io::Result<NodeMask> {
    let mut mask: NodeMask = [0; _];
    set_bit(&mut mask, node)?;
    Ok(mask)
}

fn set_bit(mask: &mut [u64], bit: u32) -> io::Result<()> {
    let word = mask.get_mut(bit as usize / WORD_BITS);
    let word = word.ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    *word |= 1 << (bit as usize % WORD_BITS);
    Ok(())
}

fn check(status: libc::c_long) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
