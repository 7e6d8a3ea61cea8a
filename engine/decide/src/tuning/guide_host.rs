//! Owns the guide's settings of the kernel, as `facts/ops.md` section 1 corrects them.
//!
//! Refuses to know whether a setting is there, and to fight: what exists comes as parameters, most
//! rules only raise or only lower, and a setting that was brought to its target once and is
//! elsewhere later is left to whoever put it there. Bound: the groups below times the parameters.
//!
//! A kernel setting has its dotted name, and the last of the three numbers of `tcp_rmem` is
//! `net.ipv4.tcp_rmem.max`; a setting of a device or a processor has its path below `/sys`. The
//! facts that count are `cores`, `memory_bytes` and `link_speed_mbit`, whole numbers above 0.
//!
//! Of the guide's settings these are not proposed:
//!
//! | Setting | Why |
//! |---|---|
//! | `rmem_max`, `wmem_max` | Cap only what a program asks for itself; the engine never asks. |
//! | `rmem_default`, `wmem_default`, middle of `tcp_rmem` | Memory for each of 10,000 sockets. |
//! | `tcp_congestion_control = bbr` | No gain on a LAN, and no loss is not a measured gain. |
//! | `tcp_tw_reuse` | Outbound only; the kernel warns of it. Connections are kept alive instead. |
//! | `tcp_fin_timeout` | Concerns orphans in FIN_WAIT_2, not TIME_WAIT. |
//! | `tcp_keepalive_intvl = 90` | Finds a dead peer later than the kernel's 75. |
//! | `fs.inotify.max_user_watches` | The engine watches no files. |
//! | `rp_filter`, `accept_redirects` | No matter of performance: the operator's. |
//! | `overcommit_memory`, `overcommit_ratio` | Makes kills by the kernel of refusals. |
//! | `transparent_hugepage = never`, with settings of khugepaged | The daemon stops at `never`. |
//! | `compaction_proactiveness = 0` | Takes away the huge pages that `madvise` asks for. |
//! | `nr_hugepages`, `hugepages=` | Memory reserved that nothing in the engine maps. |
//! | Scheduler `noop` | Removed from the kernel; `none` on NVMe instead. |
//! | `nr_requests = 32` | Below the kernel's own depth, which io_uring can fill. |
//! | `barrier=0` | Loses acknowledged data when the power fails. |
//! | Affinity of interrupts, `rps_cpus` | Conflicts with irqbalance; managed ones refuse. |
//! | `ethtool -G`, `-C`, `-K lro` | The first resets the card; LRO breaks forwarding. |
//! | `numactl`, `CPUAffinity` | The engine places its threads by itself. |
//! | Scheduling classes of PostgreSQL | There is no PostgreSQL. |

use std::collections::BTreeMap;

use super::state::{CHANGE_COUNT_MAX, Pending, Tried};
use super::step::{self, Step};
use super::{
    Applies, Change, Domain, Fact, Parameter, Policy, Proposal, Scope, Settings, State, Value,
};

/// What a rule asks of a setting.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// Raised to this, never lowered.
    AtLeast(i64),
    /// Lowered to this, never raised.
    AtMost(i64),
    /// This word.
    Word(&'static str),
    /// The second word in the place of the first, and of no other.
    InsteadOf(&'static str, &'static str),
}

/// What the rules know of the host.
#[derive(Clone, Copy, Debug, Default)]
struct Machine {
    cores: Option<i64>,
    memory_bytes: Option<i64>,
    link_speed_mbit: Option<i64>,
    /// Whether the processor takes an energy preference, so that its governor is not the lever.
    has_preference: bool,
}

/// Settings that are tried together.
struct Group {
    /// The guide's section.
    section: &'static str,
    why: &'static str,
    wanted: fn(&Machine, &str) -> Option<Wanted>,
}

const KERNEL: &str = "Kernel Parameter Tuning";
const NETWORK: &str = "TCP/Network Optimization";
const DISK: &str = "Disk I/O Optimization";

const MIB: i64 = 1 << 20;
const ENERGY_PREFERENCE: &str = "/energy_performance_preference";

/// In the order in which they are tried.
const GROUPS: &[Group] = &[
    Group { section: KERNEL, why: "queues hold a burst of connections", wanted: accept_queues },
    Group { section: KERNEL, why: "idle connections keep their speed", wanted: idle_connections },
    Group { section: KERNEL, why: "dead peers are found sooner", wanted: keep_alive },
    Group { section: KERNEL, why: "a short write-back bounds its stalls", wanted: write_back },
    Group { section: KERNEL, why: "models stay in memory", wanted: swapping },
    Group { section: KERNEL, why: "huge pages for whom they are asked", wanted: huge_pages },
    Group { section: KERNEL, why: "cores keep their clock", wanted: frequency },
    Group { section: KERNEL, why: "files for many connections", wanted: open_files },
    Group { section: DISK, why: "the device orders its requests itself", wanted: block_queues },
    Group { section: DISK, why: "long reads come in larger parts", wanted: read_ahead },
    Group { section: NETWORK, why: "buffers fill a fast link", wanted: tcp_buffers },
];

/// Proposes the first group that has something to change.
pub(super) fn propose(
    settings: &Settings,
    state: &mut State,
    facts: &[Fact],
    parameters: &BTreeMap<&str, &Parameter>,
    now_ms: Option<u64>,
) -> Option<Proposal> {
    state.begin_round();
    let machine = Machine::read(facts, parameters);
    let (group, steps) = GROUPS.iter().find_map(|group| {
        let all = parameters.values().filter_map(|parameter| {
            let step = next(group, &machine, state, parameter)?;
            Some((*parameter, step))
        });
        let steps: Vec<(&Parameter, Step)> = all.take(CHANGE_COUNT_MAX).collect();
        (!steps.is_empty()).then_some((group, steps))
    })?;

    let tried = |(parameter, step): &(&Parameter, Step)| Tried {
        name: parameter.name.clone(),
        is_downward: false,
        is_final: step.is_final,
    };
    state.expect(Pending {
        policy: Policy::GuideHost,
        now_ms,
        noise_ppm: 0,
        rest_rounds: settings.rest_rounds,
        changes: steps.iter().map(tried).collect(),
    });
    let (section, why) = (group.section, group.why);
    let names: Vec<&str> = steps.iter().map(|(parameter, _)| parameter.name.as_str()).collect();
    let more = names.len().saturating_sub(1);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    let first = names.first().copied().unwrap_or_default();
    let changes = steps.into_iter();
    Some(Proposal {
        changes: changes
            .map(|(parameter, step)| Change { parameter: parameter.name.clone(), to: step.to })
            .collect(),
        // The guide measured nothing, so that nothing is promised.
        expected_gain: 0.0,
        loss_max: settings.loss_max,
        trial_ms: settings.trial_ms,
        reason: format!("guide, {section}: {why}; {first}{rest}"),
    })
}

/// The step of a setting, if the group asks for one and a trial can show what it does.
fn next(group: &Group, machine: &Machine, state: &State, parameter: &Parameter) -> Option<Step> {
    if parameter.scope == Scope::Runtime || parameter.applies != Applies::AtOnce {
        return None;
    }
    let wanted = (group.wanted)(machine, &parameter.name)?;
    let lesson = state.awake(&parameter.name)?;
    if lesson.is_done {
        return None;
    }
    step::toward(parameter, &target(wanted, parameter)?)
}

/// Where the rule wants the setting to be, if it is not there yet.
fn target(wanted: Wanted, parameter: &Parameter) -> Option<Value> {
    let current = match (&parameter.current, &parameter.domain) {
        (Value::Flag(flag), Domain::Flag) => Some(i64::from(*flag)),
        (Value::Integer(number), _) => Some(*number),
        _ => None,
    };
    let word = match &parameter.current {
        Value::Text(word) => Some(word.as_str()),
        _ => None,
    };
    match wanted {
        Wanted::AtLeast(least) => (current? < least).then_some(Value::Integer(least)),
        Wanted::AtMost(most) => (current? > most).then_some(Value::Integer(most)),
        Wanted::Word(to) => (word? != to).then(|| Value::Text(to.to_owned())),
        Wanted::InsteadOf(from, to) => (word? == from).then(|| Value::Text(to.to_owned())),
    }
}

impl Machine {
    fn read(facts: &[Fact], parameters: &BTreeMap<&str, &Parameter>) -> Self {
        let mut machine = Self {
            has_preference: parameters.keys().any(|name| name.ends_with(ENERGY_PREFERENCE)),
            ..Self::default()
        };
        for fact in facts {
            let number = match fact.value {
                Value::Integer(number) if number > 0 => Some(number),
                _ => continue,
            };
            match fact.name.as_str() {
                "cores" => machine.cores = number,
                "memory_bytes" => machine.memory_bytes = number,
                "link_speed_mbit" => machine.link_speed_mbit = number,
                _ => {}
            }
        }
        machine
    }
}

/// The guide's 65,535 waiting connections are more than a few cores accept before their clients
/// give up: 1,024 for each, from the kernel's own 4,096 on. A listener takes the new limit when it
/// is opened next.
fn accept_queues(machine: &Machine, name: &str) -> Option<Wanted> {
    match name {
        "net.core.somaxconn" => {
            let for_cores = machine.cores.unwrap_or(1).saturating_mul(1_024);
            Some(Wanted::AtLeast(for_cores.clamp(4_096, 65_535)))
        }
        "net.core.netdev_max_backlog" => Some(Wanted::AtLeast(5_000)),
        _ => None,
    }
}

fn idle_connections(_machine: &Machine, name: &str) -> Option<Wanted> {
    (name == "net.ipv4.tcp_slow_start_after_idle").then_some(Wanted::AtMost(0))
}

fn keep_alive(_machine: &Machine, name: &str) -> Option<Wanted> {
    match name {
        "net.ipv4.tcp_keepalive_time" => Some(Wanted::AtMost(600)),
        "net.ipv4.tcp_keepalive_probes" => Some(Wanted::AtMost(3)),
        _ => None,
    }
}

/// 512 MiB and 64 MiB, the PostgreSQL profile of TuneD, in the unit that is in force. The one that
/// is not reads 0 and is left at that: the two exclude each other, and the kernel refuses the 0
/// with which a trial would be taken back. A share has the guide's 15 and 5 % as its upper end.
fn write_back(machine: &Machine, name: &str) -> Option<Wanted> {
    let percent = |bytes: i64| Some(bytes.saturating_mul(100) / machine.memory_bytes?);
    match name {
        "vm.dirty_bytes" => Some(Wanted::AtMost(512 * MIB)),
        "vm.dirty_background_bytes" => Some(Wanted::AtMost(64 * MIB)),
        // The writers must not be stopped before the background has begun.
        "vm.dirty_ratio" => Some(Wanted::AtMost(percent(512 * MIB)?.clamp(2, 15))),
        "vm.dirty_background_ratio" => Some(Wanted::AtMost(percent(64 * MIB)?.clamp(1, 5))),
        _ => None,
    }
}

/// Never to 0: a little swap and a watch on the pressure do better than none.
fn swapping(_machine: &Machine, name: &str) -> Option<Wanted> {
    (name == "vm.swappiness").then_some(Wanted::AtMost(10))
}

/// The guide's `never` takes them from the weights too, which ask for them by `MADV_HUGEPAGE`.
fn huge_pages(_machine: &Machine, name: &str) -> Option<Wanted> {
    match name {
        "/sys/kernel/mm/transparent_hugepage/enabled" => Some(Wanted::Word("madvise")),
        // Only `always` stops a fault of someone who did not ask.
        "/sys/kernel/mm/transparent_hugepage/defrag" => {
            Some(Wanted::InsteadOf("always", "madvise"))
        }
        _ => None,
    }
}

/// Where the driver takes a preference (intel_pstate, amd-pstate-epp) that is set instead, since a
/// governor `performance` would lock it.
fn frequency(machine: &Machine, name: &str) -> Option<Wanted> {
    let path = name.strip_prefix("/sys/devices/system/cpu/")?;
    let is_lever = path.ends_with(ENERGY_PREFERENCE)
        || (path.ends_with("/scaling_governor") && !machine.has_preference);
    is_lever.then_some(Wanted::Word("performance"))
}

/// The guide's 2,097,152, and no more than one for each 4 KiB of memory.
fn open_files(machine: &Machine, name: &str) -> Option<Wanted> {
    let for_memory = machine.memory_bytes? / 4_096;
    (name == "fs.file-max").then_some(Wanted::AtLeast(for_memory.min(2_097_152)))
}

fn block_queues(_machine: &Machine, name: &str) -> Option<Wanted> {
    match block_queue(name)? {
        (device, "scheduler") if device.starts_with("nvme") => Some(Wanted::Word("none")),
        (_, "add_random") => Some(Wanted::AtMost(0)),
        _ => None,
    }
}

/// The guide's 4,096 sectors of 512 bytes.
fn read_ahead(_machine: &Machine, name: &str) -> Option<Wanted> {
    let (_, setting) = block_queue(name)?;
    (setting == "read_ahead_kb").then_some(Wanted::AtLeast(2_048))
}

/// The device and the setting of `/sys/block/<device>/queue/<setting>`, for disks only.
fn block_queue(name: &str) -> Option<(&str, &str)> {
    let (device, setting) = name.strip_prefix("/sys/block/")?.split_once("/queue/")?;
    let is_disk = ["nvme", "sd", "vd"].iter().any(|kind| device.starts_with(kind));
    is_disk.then_some((device, setting))
}

/// The guide's 16 MiB, and no more than a 1,024th of the memory. TuneD sees a use for it from
/// 40 Gbit/s on; below, larger buffers cost more latency than they give speed.
fn tcp_buffers(machine: &Machine, name: &str) -> Option<Wanted> {
    let is_fast = machine.link_speed_mbit? >= 40_000;
    let is_buffer = matches!(name, "net.ipv4.tcp_rmem.max" | "net.ipv4.tcp_wmem.max");
    let least = (machine.memory_bytes? / 1_024).min(16 * MIB);
    (is_fast && is_buffer).then_some(Wanted::AtLeast(least))
}
