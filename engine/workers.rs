//! Owns how the inference workers and the host of plugins are set up, from the plan.
//!
//! Refuses to know when they start and stop. Bound: one worker for each inference core.

use std::sync::Arc;

use truststram_base::{Clock, Counter};
use truststram_machine::Priority;
use truststram_model::{Engine, EngineOptions, ModelError, WorkerPlace};
use truststram_policy::HostOptions;
use truststram_store::Store;

use crate::config::Plan;
use crate::wire::batcher::{PluginBatcher, SharedBatcher};
use crate::wire::inline::InlineWorkers;
use crate::wire::policies::OpenPolicies;
use crate::wire::replies::Replies;
use crate::wire::sink::{Outcome, RecordingSink, Ticket};

/// The engine with its workers, and those of the network threads.
pub(crate) type Workers = (Arc<Engine<Ticket>>, Arc<InlineWorkers<Ticket>>);

/// The workers, with what forms their batches and what keeps their answers, and those of network
/// threads that share a core with one.
pub(crate) fn engine(
    plan: &Plan,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    replies: &Arc<Replies<Outcome>>,
    (policies, dropped): (&OpenPolicies, &Arc<Counter>),
) -> Result<Workers, ModelError> {
    let (batcher, on_failure) = (policies.batcher().clone(), plan.batcher.on_failure);
    let batcher = |_: &u32| SharedBatcher::new(PluginBatcher::new(batcher.instance(), on_failure));
    let batchers: Vec<SharedBatcher> = plan.inference_cores.iter().map(batcher).collect();
    let sink = || {
        RecordingSink::new(
            store.clone(),
            replies.clone(),
            clock.clone(),
            plan.rejects_when_full(),
            dropped.clone(),
        )
    };
    let options = engine_options(plan);
    let engine = Engine::<Ticket>::start(
        &options,
        clock.clone(),
        |worker| Box::new(batchers[worker].clone()),
        |_worker| Box::new(sink()),
    )?;
    let inline = |core: &u32| {
        let place = options.inline_cores.iter().position(|inline| inline == core)?;
        let worker = plan.inference_cores.iter().position(|inference| inference == core)?;
        let batcher = Box::new(batchers[worker].clone());
        Some(engine.inline_worker(place, batcher, Box::new(sink())))
    };
    let inline = plan.network_cores.iter().map(|core| inline(core).transpose());
    let inline = inline.collect::<Result<Vec<_>, _>>()?;
    Ok((Arc::new(engine), Arc::new(InlineWorkers::new(inline))))
}

fn engine_options(plan: &Plan) -> EngineOptions {
    let place = |&core: &u32| WorkerPlace { core, memory_node: plan.topology.node_of_core(core) };
    // Where workers share cores with network threads, a woken worker must not push the network
    // thread aside in the middle of reading requests: it would compute batches of one.
    let shared = plan.network_cores.iter().filter(|core| plan.inference_cores.contains(core));
    let shared: Vec<u32> = shared.copied().collect();
    EngineOptions {
        workers: plan.inference_cores.iter().map(place).collect(),
        requests_max: plan.inference.queue_requests_max.max(plan.inference_cores.len()),
        batch_max: plan.inference.batch_max,
        target_us: plan.inference.batch_target_us,
        loaded_max: plan.inference.loaded_max,
        memory_bytes_max: plan.inference.memory_bytes_max(),
        priority: if shared.is_empty() { Priority::Normal } else { Priority::Batch },
        inline_cores: if plan.inference.inline_us > 0 { shared } else { Vec::new() },
        inline_us: plan.inference.inline_us,
    }
}

/// What a plugin of the plan may use.
pub(crate) fn host_options(plan: &Plan) -> HostOptions {
    let plugins = std::iter::once(&plan.batcher).chain(&plan.other_plugins);
    let deadlines = plugins.map(|plugin| plugin.spec.limits.deadline_us);
    HostOptions {
        compiled: Some(plan.data_dir.join("plugins/compiled")),
        deadline_us_min: deadlines.min().unwrap_or(0),
        ..HostOptions::default()
    }
}
