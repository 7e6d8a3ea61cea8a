//! Owns the virtual clock and the order of events.
//!
//! Refuses to shorten the way: every update is written, judged, kept and aggregated as a real one.
//! Bound: the rounds and the time asked for.

use std::collections::BTreeMap;

use super::client::{Attack, Client, Sent};
use super::memory::{Memory, NoLedger};
use super::secure::{Act, Crowd, SecureCost};
use crate::codec::{Encoding, Schema};
use crate::error::FederateError;
use crate::privacy::Chance;
use crate::round::{
    Assignment, Claim, Federation, Files, Mode, NativePolicy, Resources, RoundSettings, Task,
    TaskState,
};

/// Who trains and tests. Rows are its own business.
pub trait Learner {
    /// How many examples a client has.
    fn examples(&self, client: usize) -> usize;

    /// What a client makes of a model; of wrong labels if `flips`.
    ///
    /// # Errors
    /// Why it cannot.
    fn train(
        &mut self,
        client: usize,
        model: &[f32],
        assignment: &Assignment,
        seed: u64,
        flips: bool,
    ) -> Result<Trained, FederateError>;

    /// The share of held-out rows that a model gets right.
    ///
    /// # Errors
    /// Why it cannot be asked.
    fn accuracy(&mut self, model: &[f32]) -> Result<f64, FederateError>;
}

/// What a client has learnt.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// The model after training.
    pub weights: Vec<f32>,
    /// On how many examples.
    pub examples: usize,
    /// The mean loss.
    pub loss: f32,
}

/// Under which conditions a federation lives.
#[derive(Clone, Debug)]
pub struct Conditions {
    /// How many clients there are.
    pub clients: usize,
    /// The rounds' settings.
    pub rounds: RoundSettings,
    /// The policies.
    pub policy: NativePolicy,
    /// How updates are written.
    pub encoding: Encoding,
    /// The usual time of one task, seconds.
    pub train_s: f64,
    /// How much longer some take: times the half of a standard normal distribution.
    pub straggling: f64,
    /// The share of tasks of which nothing is heard again.
    pub drop_out: f64,
    /// What hostile clients do.
    pub attack: Option<Attack>,
    /// How many of the clients are hostile.
    pub hostile_share: f64,
    /// Clients at work at a time where the mode is buffered.
    pub at_work: usize,
    /// The accuracy at which it ends.
    pub target: f64,
    /// The version at which it ends in any case.
    pub versions_max: u64,
    /// Of all that is drawn.
    pub seed: u64,
}

/// The model at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The version.
    pub version: u64,
    /// When it was made, virtual seconds.
    pub seconds: f64,
    /// Its accuracy.
    pub accuracy: f64,
}

/// What has happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Every version.
    pub points: Vec<Point>,
    /// The first version that reached the target.
    pub reached: Option<Point>,
    /// Updates that were accepted.
    pub accepted: u64,
    /// Updates that were refused.
    pub refused: u64,
    /// How many of them for which reason.
    pub refusals: BTreeMap<String, u64>,
    /// Tasks that were given, each with a model to fetch.
    pub given: u64,
    /// Bytes of the accepted updates.
    pub bytes: u64,
    /// Rounds that ended with the model as it was.
    pub kept: u64,
    /// What the models tell of any client, where privacy is kept.
    pub epsilon: Option<f64>,
    /// What secure aggregation took, where updates are masked.
    pub secure: Option<SecureCost>,
    /// Why it ended by itself, if it did.
    pub over: Option<String>,
}

/// Rounds without a new model after which nothing more is waited for.
const KEPT_MAX: u64 = 50;

/// Lives a federation from this model on.
///
/// # Errors
/// What the learner or the federation says.
pub fn run(
    conditions: &Conditions,
    schema: &Schema,
    first: Vec<f32>,
    learner: &mut dyn Learner,
) -> Result<History, FederateError> {
    let settings = RoundSettings { absent_s: 86_400, ..conditions.rounds };
    let memory = Memory::new(first);
    let policy = conditions.policy;
    let mut federation = Federation::open(settings, schema.clone(), NoLedger, memory, policy)?;
    federation.set_chance(Chance::Seeded(conditions.seed, 0));
    let mut clients = Vec::new();
    for index in 0..conditions.clients {
        let samples = learner.examples(index) as u64;
        let key = (index as u64).to_le_bytes().to_vec();
        federation.enrol(0, key, Resources { samples, ..Resources::default() })?;
        clients.push(Client::new(index, schema, conditions));
    }
    let mut world = World {
        conditions,
        federation,
        clients,
        crowd: Crowd::default(),
        events: BTreeMap::new(),
        now_us: 0,
        given: 0,
        refusals: BTreeMap::new(),
    };
    let mut history = History::default();
    loop {
        let next = world.federation.advance(world.now_us)?;
        let job = &world.federation.state().job;
        let (totals, version) = (job.totals, job.version);
        (history.accepted, history.refused) = (totals.accepted, totals.refused);
        (history.bytes, history.kept) = (totals.bytes, totals.kept);
        (history.given, history.refusals) = (world.given, world.refusals.clone());
        history.secure = conditions.rounds.secure.map(|_| world.crowd.cost);
        history.epsilon = world.federation.privacy().map(|privacy| privacy.epsilon);
        history.over = world.federation.over();
        // What is due at a moment is done there, so that a version is seen when it was made.
        if history.points.last().map_or(0, |point| point.version) < version {
            let model = world.federation.files().model(version)?;
            let accuracy = learner.accuracy(&model.values)?;
            let seconds = world.now_us as f64 / 1e6;
            let point = Point { version, seconds, accuracy };
            history.points.push(point);
            if accuracy >= conditions.target {
                history.reached = Some(point);
                break;
            }
        }
        let is_long = version >= conditions.versions_max || totals.kept > KEPT_MAX + version;
        if is_long || history.over.is_some() || !world.step(next, learner)? {
            break;
        }
    }
    Ok(history)
}

struct World<'a> {
    conditions: &'a Conditions,
    federation: Federation<NoLedger, Memory, NativePolicy>,
    clients: Vec<Client>,
    crowd: Crowd,
    /// Uploads and messages on their way, by the time at which they arrive and the task.
    events: BTreeMap<(i64, u64), Task>,
    now_us: i64,
    given: u64,
    refusals: BTreeMap<String, u64>,
}

impl World<'_> {
    /// Gives tasks and lives until the next event, or until something is due at `next`; false if
    /// there is neither.
    fn step(
        &mut self,
        next: Option<i64>,
        learner: &mut dyn Learner,
    ) -> Result<bool, FederateError> {
        self.give()?;
        let arrives = self.events.first_key_value().map(|((at, _), _)| *at);
        let moments = [arrives, next.or_else(|| self.given_up_us())];
        let Some(at) = moments.into_iter().flatten().min() else { return Ok(false) };
        self.now_us = self.now_us.max(at);
        if arrives == Some(at)
            && let Some((_, task)) = self.events.pop_first()
        {
            match self.conditions.rounds.secure {
                None => self.upload(&task, learner)?,
                Some(_) => self.act(&task, learner)?,
            }
        }
        Ok(true)
    }

    /// When the first task that was given meanwhile is given up.
    fn given_up_us(&self) -> Option<i64> {
        let tasks = self.federation.state().tasks.values();
        let open = tasks.filter(|task| task.state == TaskState::Open);
        open.map(|task| task.deadline_us).min()
    }

    /// Has clients take up their tasks.
    fn give(&mut self) -> Result<(), FederateError> {
        let buffered = self.conditions.rounds.mode == Mode::Buffered;
        for index in 0..self.clients.len() {
            let is_full = buffered && self.events.len() >= self.conditions.at_work;
            let is_busy = self.events.values().any(|t| t.client == index as u32 + 1);
            if is_full || is_busy {
                continue;
            }
            let Some(task) = self.federation.task_of(self.now_us, index as u32 + 1)? else {
                continue;
            };
            if self.crowd.knows(task.id) {
                continue;
            }
            self.given += 1;
            let client = &mut self.clients[index];
            if self.conditions.rounds.secure.is_some() {
                self.crowd.enter(client, task, self.conditions)?;
                continue;
            }
            let arrives = self.now_us + client.delay_us(self.conditions);
            // Of one that drops out nothing comes; it is given up at its deadline.
            let is_lost = client.drops_out(self.conditions);
            let at = if is_lost { task.deadline_us } else { arrives };
            self.events.insert((at, task.id), task);
        }
        for (after_us, task) in self.crowd.asked(&self.federation) {
            self.events.insert((self.now_us + after_us, task.id), task);
        }
        Ok(())
    }

    /// Has a client do what a round of secure aggregation asks it for.
    fn act(&mut self, task: &Task, learner: &mut dyn Learner) -> Result<(), FederateError> {
        let of = (task.client, task.id);
        let view = match self.federation.secure_view(self.now_us, of, None) {
            Ok(Some(view)) => view,
            // Its round is over.
            Ok(None) | Err(FederateError::Gone { .. } | FederateError::Unknown { .. }) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match self.crowd.act(task, view)? {
            None => Ok(()),
            Some(Act::Tell(message)) => {
                let told = self.federation.secure_message(self.now_us, of, message);
                self.count(told.map(|_| ()))
            }
            Some(Act::Train(view)) => {
                let client = &mut self.clients[task.client as usize - 1];
                let at = (&self.federation, task);
                match self.crowd.train(client, learner, at, &view) {
                    Ok(Some(sent)) => self.send(task, sent),
                    Ok(None) => Ok(()),
                    // An update of numbers that are none cannot be masked.
                    Err(error) => self.count(Err(error)),
                }
            }
        }
    }

    fn upload(&mut self, task: &Task, learner: &mut dyn Learner) -> Result<(), FederateError> {
        let is_open = self.federation.state().open_task(task.client).map(|open| open.id);
        if is_open != Some(task.id) || task.deadline_us <= self.now_us {
            return Ok(());
        }
        let Ok(model) = self.federation.files().model(task.base) else {
            // The client has it still, and is told that it is too old.
            *self.refusals.entry("its model is too old".to_owned()).or_default() += 1;
            return Ok(());
        };
        let model = model.values;
        let client = &mut self.clients[task.client as usize - 1];
        let schema = self.federation.schema().clone();
        let work = (task, model.as_slice());
        let sent = client.work(learner, &schema, work, self.conditions.encoding)?;
        self.send(task, sent)
    }

    fn send(&mut self, task: &Task, sent: Sent) -> Result<(), FederateError> {
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&task.id.to_le_bytes());
        let Sent { body, examples, loss: train_loss } = sent;
        let claim = Claim { sha256, examples, train_loss, upload_s: 1.0 };
        let of = (task.client, task.id);
        let told = self.federation.upload(self.now_us, of, claim, body);
        self.count(told.map(|_| ()))
    }

    /// A refusal is the client's affair, and counted.
    fn count(&mut self, told: Result<(), FederateError>) -> Result<(), FederateError> {
        let reason = match told {
            Ok(()) => return Ok(()),
            Err(FederateError::Tensor { .. }) => "values that the model cannot have".to_owned(),
            Err(FederateError::Field { field, .. }) => format!("a {field} that cannot be"),
            Err(FederateError::Refused { reason }) => reason,
            Err(FederateError::Gone { reason, .. }) => reason.to_owned(),
            Err(error) => return Err(error),
        };
        *self.refusals.entry(reason).or_default() += 1;
        Ok(())
    }
}
