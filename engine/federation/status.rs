//! Owns what is shown of a federation.
//!
//! Refuses to show keys. Bound: a line per client and per task of the last rounds.

use serde_json::{Value, json};
use truststram_federate::identity::hexadecimal;
use truststram_federate::privacy::PrivacySettings;
use truststram_federate::round::{Phase, PrivacyStanding, TaskState};

use super::run::Run;

/// Where it stands, for everybody.
pub(super) fn of(run: &Run, epoch: &str, now_us: i64, waiting: usize) -> Value {
    let state = run.rounds.state();
    let (job, settings) = (&state.job, &run.record.spec.rounds);
    let since = now_us - i64::from(settings.absent_s) * 1_000_000;
    let present = state.clients.values().filter(|client| client.seen_us >= since).count();
    let working = state.tasks.values().filter(|task| task.state == TaskState::Open).count();
    let (phase, deadline_us, waited_for) = match (&run.record.ended, job.phase) {
        (Some(_), _) => ("ended", None, None),
        (None, Phase::Waiting) => ("waiting", None, None),
        (None, Phase::Collecting { deadline_us, waited_for }) => {
            ("collecting", Some(deadline_us), Some(waited_for))
        }
        (None, Phase::Due) => ("due", None, None),
    };
    json!({
        "state": phase,
        "ended": run.record.ended,
        "epoch": epoch,
        "run": run.record.run,
        "model": run.record.spec.model,
        "mode": settings.mode,
        "round": job.round,
        "version": job.version,
        "registered_version": run.registered.1,
        "deadline_us": deadline_us,
        "waited_for": waited_for,
        "accepted_in_round": state.accepted().count(),
        "clients": {
            "enrolled": state.clients.len(),
            "present": present,
            "working": working,
            "waiting": waiting,
        },
        "updates": {
            "accepted": job.totals.accepted,
            "refused": job.totals.refused + run.refused,
            "bytes": job.totals.bytes,
        },
        "rounds_without_model": job.totals.kept,
        "loss": run.loss,
        "last": job.last,
        "secure": job.secure.as_ref().map(|secure| secure.step),
        "privacy": run.rounds.privacy().map(|privacy| private(&privacy)),
    })
}

/// What the models tell of clients, where privacy is kept.
fn private(standing: &PrivacyStanding) -> Value {
    let PrivacySettings { delta, epsilon_max, noise_multiplier, sampling_rate, .. } =
        standing.settings;
    // JSON has no infinity: an epsilon that no account bounds is none.
    json!({
        "epsilon": standing.epsilon,
        "epsilon_next": standing.epsilon_next,
        "epsilon_max": epsilon_max,
        "delta": delta,
        "rounds_charged": standing.rounds,
        "clip_norm": standing.clip_norm,
        "noise_multiplier": noise_multiplier,
        "sampling_rate": sampling_rate,
    })
}

/// All records, for operators.
pub(super) fn records(run: &Run, mut status: Value) -> Value {
    let state = run.rounds.state();
    let clients = state.clients.values().map(|client| {
        json!({
            "client": client.id,
            "public_key": hexadecimal(&client.public_key),
            "samples": client.resources.samples,
            "seen_us": client.seen_us,
            "last_round": client.last_round,
            "last_loss": client.last_loss,
            "samples_per_second": client.samples_per_second,
            "bandwidth_mbps": client.bandwidth_mbps,
            "given": client.given,
            "finished": client.finished,
        })
    });
    let tasks = state.tasks.values().map(|task| {
        json!({
            "task": task.id,
            "client": task.client,
            "round": task.round,
            "base_version": task.base,
            "state": task.state,
            "sha256": task.update.as_ref().map(|update| hexadecimal(&update.sha256)),
        })
    });
    status["client_list"] = clients.collect();
    status["task_list"] = tasks.collect();
    status["spec"] = json!(run.record.spec);
    status
}
