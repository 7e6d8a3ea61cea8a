//! Owns the records of a federation as JSON under names, for a store that knows neither.
//!
//! ```text
//! job               the federation
//! client/00000001   a client
//! task/00000000000000000001   a task
//! privacy           what has been spent of the clients' privacy
//! ```
//!
//! Refuses to keep them. Bound: some hundred bytes for a record.

use truststram_base::Kind;

use super::records::{Entry, State};
use crate::error::FederateError;

/// The name of the record of what has been spent of the clients' privacy. It outlives a federation:
/// another one spends what is left.
pub const SPENT: &str = "privacy";

/// A record as a store keeps it; without bytes it is removed.
///
/// # Errors
/// [`FederateError::Port`] if JSON cannot hold it.
pub fn to_record(entry: &Entry) -> Result<(String, Option<Vec<u8>>), FederateError> {
    let (name, body) = match entry {
        Entry::Job(job) => ("job".to_owned(), serde_json::to_vec(job)),
        Entry::Client(client) => (format!("client/{:08}", client.id), serde_json::to_vec(client)),
        Entry::Task(task) => (task_name(task.id), serde_json::to_vec(task)),
        Entry::ForgetTask(id) => return Ok((task_name(*id), None)),
        Entry::Spent(spent) => (SPENT.to_owned(), serde_json::to_vec(spent)),
    };
    let body = body.map_err(|error| damaged(&name, &error, Kind::Internal))?;
    Ok((name, Some(body)))
}

/// All records of a federation.
///
/// # Errors
/// [`FederateError::Port`] names the record that cannot be read.
pub fn of_records<'a>(
    records: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<State, FederateError> {
    let mut state = State::default();
    for (name, body) in records {
        let entry = match name.split_once('/') {
            None if name == "job" => serde_json::from_slice(body).map(Entry::Job),
            None if name == SPENT => serde_json::from_slice(body).map(Entry::Spent),
            Some(("client", _)) => serde_json::from_slice(body).map(Entry::Client),
            Some(("task", _)) => serde_json::from_slice(body).map(Entry::Task),
            _ => return Err(damaged(name, &"its name is unknown", Kind::Corrupt)),
        };
        state.apply(entry.map_err(|error| damaged(name, &error, Kind::Corrupt))?);
    }
    Ok(state)
}

fn task_name(id: u64) -> String {
    format!("task/{id:020}")
}

fn damaged(name: &str, why: &dyn std::fmt::Display, kind: Kind) -> FederateError {
    FederateError::Port { message: format!("the federation's record {name}: {why}"), kind }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::privacy::{Mechanism, Spent};
    use crate::round::records::{
        Assignment, Client, Job, Phase, Resources, Task, TaskState, Update,
    };

    #[test]
    fn records_come_back() {
        let phase = Phase::Collecting { deadline_us: 7, waited_for: 3 };
        let job = Job { round: 4, version: 3, phase, next_task: 9, ..Job::default() };
        let mechanism = Mechanism { sampling_rate: 0.1, noise_multiplier: 1.0 / 3.0 };
        let client = Client {
            id: 2,
            public_key: vec![1; 32],
            resources: Resources::default(),
            seen_us: 5,
            last_round: 4,
            last_loss: Some(0.1),
            samples_per_second: None,
            bandwidth_mbps: Some(1e-3),
            given: 2,
            finished: 1,
        };
        let update = Update {
            sha256: [200; 32],
            examples: 100,
            staleness: 0,
            l2_norm: 0.1 + 0.2,
            train_loss: None,
            is_weights: false,
        };
        let task = |id, state, update| Task {
            id,
            client: 2,
            round: 4,
            base: 3,
            assignment: Assignment { batch_size: 32, local_epochs: 5 },
            given_us: 1,
            deadline_us: i64::MAX,
            state,
            update,
            secure: None,
        };
        let left_out = TaskState::LeftOut { reason: "far \"away\"".to_owned() };
        let entries = [
            Entry::Job(job),
            Entry::Client(client),
            Entry::Task(task(7, TaskState::Merged { version: 3 }, Some(update.clone()))),
            Entry::Task(task(8, left_out, Some(update))),
            Entry::Task(task(u64::MAX, TaskState::Open, None)),
            Entry::Spent(Spent(vec![(mechanism, 3)])),
        ];
        let mut state = State::default();
        let mut records = Vec::new();
        for entry in entries {
            let (name, body) = to_record(&entry).unwrap();
            records.push((name, body.unwrap()));
            state.apply(entry);
        }
        let borrowed = |records: &[(String, Vec<u8>)]| {
            of_records(records.iter().map(|(name, body)| (name.as_str(), body.as_slice())))
        };
        assert_eq!(borrowed(&records).unwrap(), state);
        assert_eq!(to_record(&Entry::ForgetTask(7)).unwrap(), (records[2].0.clone(), None));
        records[2].1.truncate(20);
        let error = borrowed(&records).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains("task/00000000000000000007"), "{error}");
        of_records([("jobs", &b"{}"[..])]).unwrap_err();
    }
}
