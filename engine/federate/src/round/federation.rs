//! Owns a federation: its records in memory, the start and the end of rounds, the tasks.
//!
//! Refuses to judge updates (`upload`) and to compute models (`publish`). Bound: one call at a
//! time; memory changes only after the commit, so that it never says what the disk does not.

use truststram_base::Kind;
use truststram_decide::selection::{Clients, RoundRequest};

use super::ending::expired;
use super::ports::{Files, Ledger, Policy};
use super::private::Account;
use super::records::{Assignment, Client, Entry, Job, Phase, Resources, State, Task, TaskState};
use super::settings::{Mode, RoundSettings};
use crate::codec::Schema;
use crate::error::FederateError;
use crate::privacy::Chance;

pub(super) const SECOND_US: i64 = 1_000_000;
/// Bounds of what a client may say of itself, so that no claim outweighs all others.
const CPU_CORES_MAX: f32 = 64.0;
const MEMORY_GIB_MAX: f32 = 1_024.0;
const KEY_BYTES_MAX: usize = 128;
/// Clients of one federation.
const CLIENTS_MAX: usize = 100_000;

/// A federation that trains one model.
#[derive(Debug)]
pub struct Federation<L, F, P> {
    pub(super) settings: RoundSettings,
    pub(super) schema: Schema,
    /// What updates are held against: the model's, and the bit where masked ones have one.
    pub(super) sent: Schema,
    pub(super) ledger: L,
    pub(super) files: F,
    pub(super) policy: P,
    pub(super) state: State,
    pub(super) chance: Chance,
    pub(super) account: Account,
    /// Versions after which nothing more is begun; 0 for none.
    versions_max: u64,
}

impl<L: Ledger, F: Files, P: Policy> Federation<L, F, P> {
    /// Takes up the federation that the ledger holds. One that was never begun starts with the
    /// model of version 0, which `files` must have.
    ///
    /// # Errors
    /// What the ledger says, or that the present model is not there or of another schema.
    pub fn open(
        settings: RoundSettings,
        schema: Schema,
        ledger: L,
        mut files: F,
        policy: P,
    ) -> Result<Self, FederateError> {
        let wrong = |field, found: String, expected: String| FederateError::Schema {
            field,
            found,
            expected,
        };
        settings.check().map_err(|message| wrong("settings", message, "what can be".to_owned()))?;
        let state = ledger.load()?;
        let found = files.model(state.job.version)?.values.len();
        if found != schema.parameters() {
            let expected = schema.parameters().to_string();
            return Err(wrong("number of parameters", found.to_string(), expected));
        }
        let sent = match settings.has_clip_bit() {
            true => schema.with_clip_bit()?,
            false => schema.clone(),
        };
        // What a crash left behind: bodies that no record names, a model that never was.
        let kept: Vec<u64> = state.accepted().map(|task| task.id).collect();
        files.tidy(&kept, Self::versions(&settings, &state, state.job.version));
        let mut federation = Self {
            settings,
            schema,
            sent,
            ledger,
            files,
            policy,
            state,
            chance: Chance::System,
            account: Account::default(),
            versions_max: 0,
        };
        federation.read_account();
        federation.leave_out_lost()?;
        if federation.state.job.round == 0 {
            federation.commit(vec![Entry::Job(Job { round: 1, ..Job::default() })])?;
        }
        Ok(federation)
    }

    /// Has what chance decides follow from something else than the system.
    pub fn set_chance(&mut self, chance: Chance) {
        self.chance = chance;
    }

    /// Has nothing begun any more after so many versions; 0 for none.
    pub fn set_versions_max(&mut self, versions_max: u64) {
        self.versions_max = versions_max;
    }

    /// Why nothing is begun any more, if so.
    pub fn over(&self) -> Option<String> {
        if self.versions_max > 0 && self.state.job.version >= self.versions_max {
            return Some(format!("it has made {} versions", self.versions_max));
        }
        self.privacy_spent()
    }

    /// The records.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The model's parameters.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// What a body may have: that, and a bit where masked updates say one.
    pub fn schema_of_updates(&self) -> &Schema {
        &self.sent
    }

    /// Where bodies and models are.
    pub fn files(&self) -> &F {
        &self.files
    }

    /// The same, for the bodies that arrive.
    pub fn files_mut(&mut self) -> &mut F {
        &mut self.files
    }

    /// Takes a client in and gives it its number. A key that is known keeps its number.
    ///
    /// # Errors
    /// What is wrong with it, and what the ledger says.
    pub fn enrol(
        &mut self,
        now_us: i64,
        public_key: Vec<u8>,
        resources: Resources,
    ) -> Result<u32, FederateError> {
        if public_key.is_empty() || public_key.len() > KEY_BYTES_MAX {
            return Err(crate::error::field_error(
                "public key",
                format!("{} bytes", public_key.len()),
                format!("1 to {KEY_BYTES_MAX}"),
            ));
        }
        let known = self.state.clients.values().find(|client| client.public_key == public_key);
        let client = match known {
            Some(client) => client.clone(),
            None if self.state.clients.len() >= CLIENTS_MAX => {
                let message = format!("the federation has {CLIENTS_MAX} clients, its limit");
                return Err(FederateError::Port { message, kind: Kind::Overloaded });
            }
            None => Client {
                id: self.state.clients.last_key_value().map_or(1, |(last, _)| last + 1),
                public_key,
                resources,
                seen_us: now_us,
                last_round: 0,
                last_loss: None,
                samples_per_second: None,
                bandwidth_mbps: None,
                given: 0,
                finished: 0,
            },
        };
        let number = |value: f32, most: f32| if value > 0.0 { value.min(most) } else { 1.0 };
        let resources = Resources {
            samples: resources.samples.clamp(1, self.settings.examples_max),
            cpu_cores: number(resources.cpu_cores, CPU_CORES_MAX),
            memory_gib: number(resources.memory_gib, MEMORY_GIB_MAX),
        };
        let id = client.id;
        self.commit(vec![Entry::Client(Client { resources, seen_us: now_us, ..client })])?;
        Ok(id)
    }

    /// Notes that a client was heard of. This alone is not kept: a restart asks everybody anew.
    ///
    /// # Errors
    /// [`FederateError::Unknown`].
    pub fn heard(&mut self, now_us: i64, client: u32) -> Result<(), FederateError> {
        let known = self.state.clients.get_mut(&client);
        let known = known.ok_or(FederateError::Unknown { what: "client", id: client.into() })?;
        known.seen_us = now_us;
        Ok(())
    }

    /// The task that a client is to work on now, if there is one.
    ///
    /// # Errors
    /// [`FederateError::Unknown`], and what the ledger says.
    pub fn task_of(&mut self, now_us: i64, client: u32) -> Result<Option<Task>, FederateError> {
        self.heard(now_us, client)?;
        let own = self.state.open_task(client).cloned();
        // One whose model is too old would be refused: the client may have another.
        let is_old = |task: &Task| self.staleness(task) > u64::from(self.settings.staleness_max);
        if own.as_ref().is_some_and(|task| !is_old(task)) {
            return Ok(own);
        }
        let open = self.state.tasks.values().filter(|task| task.state == TaskState::Open).count();
        let is_full = open >= self.settings.clients_max as usize;
        let is_closed = is_full || self.state.job.phase == Phase::Due || self.over().is_some();
        if self.settings.mode == Mode::Sync || is_closed {
            return Ok(None);
        }
        let request = self.request(now_us, 1, 1);
        let clients = self.columns(std::iter::once(&self.state.clients[&client]));
        let Ok(chosen) = self.policy.select(&request, &clients) else { return Ok(None) };
        let (Some(batch_size), Some(local_epochs)) =
            (chosen.batch_sizes.first(), chosen.local_epochs.first())
        else {
            return Ok(None);
        };
        let assignment = Assignment { batch_size: *batch_size, local_epochs: *local_epochs };
        let mut job = self.state.job.clone();
        let (entries, id) = self.give(now_us, &mut job, &[(client, assignment)]);
        let mut entries = [vec![Entry::Job(job)], entries].concat();
        entries.extend(own.as_ref().map(expired));
        entries.extend(self.forgotten());
        self.commit(entries)?;
        Ok(self.state.tasks.get(&id).cloned())
    }

    /// Versions since the one that a task begins with.
    pub(super) fn staleness(&self, task: &Task) -> u64 {
        self.state.job.version - task.base
    }

    /// Does what is due: ends a round that is complete or late, and begins the next. Returns when
    /// it is to be called again at the latest, microseconds UTC.
    ///
    /// # Errors
    /// What the ports say; the federation is to be opened anew then.
    pub fn advance(&mut self, now_us: i64) -> Result<Option<i64>, FederateError> {
        if self.state.job.phase == Phase::Due {
            self.publish(now_us)?;
        }
        if self.state.job.secure.is_some() {
            self.advance_secure(now_us)?;
        }
        let late = |task: &&Task| task.state == TaskState::Open && task.deadline_us <= now_us;
        match self.state.job.phase {
            Phase::Collecting { deadline_us, waited_for }
                if deadline_us <= now_us && self.state.job.secure.is_none() =>
            {
                if self.state.accepted().count() >= self.settings.quorum_of(waited_for) {
                    self.commit(vec![Entry::Job(self.job_in(Phase::Due))])?;
                    self.publish(now_us)?;
                } else {
                    self.end_round("too few updates at the deadline", Vec::new())?;
                }
            }
            Phase::Waiting if self.state.tasks.values().any(|task| late(&task)) => {
                let expired = self.state.tasks.values().filter(late).map(expired);
                let entries = expired.collect();
                self.commit(entries)?;
            }
            _ => {}
        }
        if self.settings.mode == Mode::Sync && self.state.job.phase == Phase::Waiting {
            self.begin(now_us)?;
        }
        Ok(self.next_us())
    }

    /// The next moment at which something is late.
    fn next_us(&self) -> Option<i64> {
        match self.state.job.phase {
            Phase::Collecting { deadline_us, .. } => Some(deadline_us),
            Phase::Due => Some(i64::MIN),
            Phase::Waiting => {
                let open = self.state.tasks.values().filter(|task| task.state == TaskState::Open);
                open.map(|task| task.deadline_us).min()
            }
        }
    }

    /// Asks the clients of a round, if there are enough.
    fn begin(&mut self, now_us: i64) -> Result<(), FederateError> {
        let since = now_us - i64::from(self.settings.absent_s) * SECOND_US;
        let present = self.state.clients.values().filter(|client| client.seen_us >= since);
        let (least, most) = (self.settings.clients_min, self.settings.clients_max);
        if present.clone().count() < least as usize || self.over().is_some() {
            return Ok(());
        }
        let given: Vec<(u32, Assignment)> = match self.settings.privacy {
            Some(privacy) => {
                let present: Vec<u32> = present.map(|client| client.id).collect();
                self.drawn(&privacy, &present)?
            }
            None => {
                let clients = self.columns(present);
                let asked_min = self.settings.asked(least).min(clients.len() as u32);
                let request = self.request(now_us, asked_min, self.settings.asked(most));
                let Ok(chosen) = self.policy.select(&request, &clients) else { return Ok(()) };
                let work = chosen.batch_sizes.iter().zip(&chosen.local_epochs);
                let work = work
                    .map(|(&batch_size, &local_epochs)| Assignment { batch_size, local_epochs });
                chosen.ids.iter().copied().zip(work).collect()
            }
        };
        if given.is_empty() {
            return Ok(());
        }
        let waited_for = (given.len() as f64 / self.settings.over_selection).round() as u32;
        let deadline_us = self.deadline(now_us);
        let waited_for = waited_for.clamp(1, given.len() as u32);
        let mut job = self.job_in(Phase::Collecting { deadline_us, waited_for });
        if let Some(secure) = self.settings.secure {
            self.begin_secure(now_us, &secure, &mut job, given.len());
        }
        let (entries, _) = self.give(now_us, &mut job, &given);
        self.commit([vec![Entry::Job(job)], entries].concat())
    }

    /// New tasks, and the number of the last of them.
    fn give(&self, now_us: i64, job: &mut Job, given: &[(u32, Assignment)]) -> (Vec<Entry>, u64) {
        let mut entries = Vec::with_capacity(2 * given.len());
        for &(id, assignment) in given {
            let Some(client) = self.state.clients.get(&id) else { continue };
            let mut client = client.clone();
            client.given += 1;
            client.last_round = job.round;
            entries.push(Entry::Client(client));
            entries.push(Entry::Task(Task {
                id: job.next_task,
                client: id,
                round: job.round,
                base: job.version,
                assignment,
                given_us: now_us,
                deadline_us: self.deadline(now_us),
                state: TaskState::Open,
                update: None,
                secure: None,
            }));
            job.next_task += 1;
        }
        (entries, job.next_task.saturating_sub(1))
    }

    /// The job in another phase.
    pub(super) fn job_in(&self, phase: Phase) -> Job {
        Job { phase, ..self.state.job.clone() }
    }

    /// Commits, and only then changes the records in memory.
    pub(super) fn commit(&mut self, entries: Vec<Entry>) -> Result<(), FederateError> {
        self.ledger.commit(&entries)?;
        entries.into_iter().for_each(|entry| self.state.apply(entry));
        Ok(())
    }

    /// The versions that updates may still be based on, or that accepted ones are: a setting that
    /// was lowered since does not take away what they need.
    pub(super) fn versions(
        settings: &RoundSettings,
        state: &State,
        version: u64,
    ) -> std::ops::RangeInclusive<u64> {
        let oldest = version.saturating_sub(u64::from(settings.staleness_max));
        state.accepted().map(|task| task.base).fold(oldest, u64::min)..=version
    }

    /// When a round that begins now is over at the latest.
    fn deadline(&self, now_us: i64) -> i64 {
        let steps_s = self.settings.secure.map_or(0, |secure| 3 * i64::from(secure.step_s));
        now_us + (i64::from(self.settings.deadline_s) + steps_s) * SECOND_US
    }

    fn request(&self, now_us: i64, clients_min: u32, clients_max: u32) -> RoundRequest {
        let now_ms = u64::try_from(now_us / 1_000).unwrap_or(0);
        RoundRequest { round: self.state.job.round, now_ms, clients_min, clients_max }
    }

    /// Clients as a selector reads them: what was measured where it was.
    fn columns<'a>(&self, clients: impl Iterator<Item = &'a Client>) -> Clients {
        let mut columns = Clients::default();
        for client in clients {
            let Resources { samples, cpu_cores, memory_gib } = client.resources;
            columns.ids.push(client.id);
            columns.samples.push(samples);
            columns.cpu_cores.push(cpu_cores);
            columns.memory_gib.push(memory_gib);
            columns.bandwidth_mbps.push(client.bandwidth_mbps.unwrap_or(f32::NAN));
            columns.latency_ms.push(f32::NAN);
            columns.samples_per_second.push(client.samples_per_second.unwrap_or(f32::NAN));
            columns.last_loss.push(client.last_loss.unwrap_or(f32::NAN));
            columns.last_round.push(client.last_round);
            let share = client.finished as f32 / client.given.max(1) as f32;
            columns.completed_shares.push(if client.given == 0 { f32::NAN } else { share });
        }
        columns
    }
}
