//! Rounds of secure aggregation on a virtual clock and a disk that crashes: the model is made of
//! all inputs that are there, the server is told what it asks for alone, and nothing of it stays.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::SharedDisk;
use super::machine::{Machine, PARAMETERS, body, place, policy, schema};
use crate::codec::encode_masked;
use crate::error::FederateError;
use crate::privacy::{Chance, PrivacySettings};
use crate::round::{Message, Mode, Receipt, RoundSettings, SecureView, Step, TaskState};
use crate::secure::{InputBounds, SecureClient, SecureSettings};

const FEDAVG: &str = r#"{"policy": "fedavg"}"#;

fn settings() -> RoundSettings {
    let secure = SecureSettings { threshold: 0.6, step_s: 60, ..SecureSettings::default() };
    RoundSettings {
        clients_min: 3,
        over_selection: 1.0,
        secure: Some(secure),
        ..RoundSettings::default()
    }
}

/// Clients that live through rounds.
struct Crowd {
    machine: Machine,
    clients: BTreeMap<u64, SecureClient>,
    /// What is added to the 1 at the place of a task, where it is not nothing.
    size: f32,
}

type Outcome = Result<(), FederateError>;

impl Crowd {
    fn new(settings: RoundSettings, disk: SharedDisk) -> Self {
        let machine = Machine::new(settings, policy(FEDAVG, 1.0), disk);
        Self { machine, clients: BTreeMap::new(), size: 0.5 }
    }

    fn begin(count: u32) -> Self {
        let mut crowd = Self::new(settings(), SharedDisk::default());
        crowd.machine.enrol(count).unwrap();
        crowd.machine.advance().unwrap();
        crowd
    }

    fn view(&mut self, client: u32, task: u64) -> Result<Option<SecureView>, FederateError> {
        let now_us = self.machine.now_us();
        self.machine.running.secure_view(now_us, (client, task), None)
    }

    fn send(&mut self, client: u32, task: u64, message: Message) -> Result<Receipt, FederateError> {
        let now_us = self.machine.now_us();
        self.machine.running.secure_message(now_us, (client, task), message)
    }

    /// What a client does when it sees its round.
    fn act(&mut self, client: u32, task: u64) -> Outcome {
        let Some(view) = self.view(client, task)? else { return Ok(()) };
        let own = self
            .clients
            .entry(task)
            .or_insert_with(|| SecureClient::new(client, Chance::Seeded(task, 0)).unwrap());
        match view.step {
            Step::Keys => {
                let keys = own.keys();
                self.send(client, task, Message::Keys(keys))?;
            }
            Step::Shares => {
                let Ok(sealed) = own.share(view.roster) else { return Ok(()) };
                self.send(client, task, Message::Shares(sealed))?;
            }
            Step::Input => {
                let mut values = vec![0.0; PARAMETERS];
                values[place(task)] = self.size;
                let SecureView { range, clip_norm, has_clip_bit, .. } = view;
                let bounds = InputBounds { range, clip_norm, has_clip_bit };
                let base = self.machine.state().tasks[&task].base;
                let head = (&schema(), base);
                let Ok(bytes) = own.masked_update(&view.shares, bounds, values, head) else {
                    return Ok(());
                };
                self.machine.send(client, task, bytes, 1.0)?;
            }
            Step::Unmask => {
                let Ok(answers) = own.reveal(&view.survivors.unwrap()) else { return Ok(()) };
                self.send(client, task, Message::Answers(answers))?;
            }
        }
        Ok(())
    }

    /// The tasks of the round.
    fn tasks(&self) -> Vec<(u32, u64)> {
        let state = self.machine.state();
        let own = state.tasks.values().filter(|task| task.round == state.job.round);
        own.map(|task| (task.client, task.id)).collect()
    }

    /// Has all clients of the round act once, but for some.
    fn all_act(&mut self, but: &[u32]) {
        for (client, task) in self.tasks() {
            if !but.contains(&client) {
                match self.act(client, task) {
                    Ok(()) | Err(FederateError::Gone { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        self.machine.advance().unwrap();
    }

    fn step(&self) -> Option<Step> {
        self.machine.state().job.secure.as_ref().map(|secure| secure.step)
    }

    fn late(&mut self, seconds: i64) {
        self.machine.pass(seconds);
        self.machine.all_are_heard();
        self.machine.advance().unwrap();
    }

    /// The model has the mean of the inputs of these tasks.
    fn check_model(&self, tasks: &[u64], divisor: usize) {
        let model = self.machine.model().values;
        let expected = self.size / divisor as f32;
        for (at, found) in model.iter().enumerate() {
            let is_in = tasks.iter().any(|task| place(*task) == at);
            let wanted = if is_in { expected } else { 0.0 };
            assert!((found - wanted).abs() < 1e-6, "{at}: {found} {wanted}");
        }
    }

    fn check_secrets_are_gone(&self) {
        let state = self.machine.state();
        assert!(state.job.secure.is_none());
        assert!(state.tasks.values().all(|task| task.secure.is_none()));
    }
}

#[test]
fn a_round_makes_the_mean_of_inputs_that_nobody_sees() {
    let mut crowd = Crowd::begin(5);
    let tasks: Vec<u64> = crowd.tasks().iter().map(|(_, task)| *task).collect();
    for step in [Step::Keys, Step::Shares, Step::Input, Step::Unmask] {
        assert_eq!(crowd.step(), Some(step));
        crowd.all_act(&[]);
    }
    assert_eq!(crowd.machine.state().job.version, 1);
    crowd.check_model(&tasks, 5);
    let merged = crowd.machine.state().tasks.values();
    let merged = merged.filter(|task| task.state == TaskState::Merged { version: 1 });
    assert_eq!(merged.count(), 5);
    // The next round has begun, with keys of its own.
    assert_eq!(crowd.step(), Some(Step::Keys));
    for _ in 0..4 {
        crowd.all_act(&[]);
    }
    assert_eq!(crowd.machine.state().job.version, 2);
}

#[test]
fn who_drops_out_at_any_step_is_done_without() {
    let mut crowd = Crowd::begin(6);
    let of: BTreeMap<u32, u64> = crowd.tasks().into_iter().collect();
    crowd.all_act(&[1]);
    assert_eq!(crowd.step(), Some(Step::Keys));
    crowd.late(61);
    assert_eq!(crowd.step(), Some(Step::Shares));
    crowd.all_act(&[1]);
    assert_eq!(crowd.step(), Some(Step::Input));
    // Its shares are there and its input is not: its masks are in all other inputs.
    crowd.all_act(&[1, 2]);
    crowd.late(301);
    assert_eq!(crowd.step(), Some(Step::Unmask));
    let late = crowd.machine.upload(2, of[&2]).unwrap_err();
    assert!(matches!(late, FederateError::Gone { .. }), "{late}");
    crowd.all_act(&[1, 2, 3]);
    assert_eq!(crowd.machine.state().job.version, 1);
    crowd.check_model(&[of[&3], of[&4], of[&5], of[&6]], 4);
    assert!(crowd.machine.state().job.last.contains("4 masked updates, 1 dropped out"));
    let old = crowd.machine.state().tasks.values().filter(|task| task.round == 1);
    assert!(old.into_iter().all(|task| task.secure.is_none()));
}

#[test]
fn with_too_few_the_model_is_kept_and_nothing_counts_later() {
    for (step, silent) in [(0, 4), (1, 3), (2, 3), (3, 3)] {
        let mut crowd = Crowd::begin(6);
        for now in 0..=step {
            let but: Vec<u32> = if now == step { (1..=silent).collect() } else { Vec::new() };
            crowd.all_act(&but);
        }
        crowd.late(if step == 2 { 301 } else { 61 });
        let state = crowd.machine.state();
        assert_eq!((state.job.version, state.job.totals.kept), (0, 1), "{step}");
        assert_eq!(state.accepted().count(), 0, "{step}");
        assert!(state.job.last.contains("too few clients in step"), "{}", state.job.last);
        let old = state.tasks.values().filter(|task| task.round == 1);
        assert!(old.into_iter().all(|task| task.secure.is_none()));
    }
}

#[test]
fn what_is_out_of_step_is_refused() {
    let mut crowd = Crowd::begin(4);
    let tasks = crowd.tasks();
    let (client, task) = tasks[0];
    let plain = crowd.machine.send(client, task, body(task, 0, 0.5), 1.0).unwrap_err();
    assert!(plain.to_string().contains("after the shares"), "{plain}");
    crowd.act(client, task).unwrap();
    let keys = crowd.clients[&task].keys();
    assert_eq!(crowd.send(client, task, Message::Keys(keys)).unwrap(), Receipt::Again);
    let other = SecureClient::new(client, Chance::Seeded(99, 0)).unwrap().keys();
    let error = crowd.send(client, task, Message::Keys(other)).unwrap_err();
    assert!(matches!(error, FederateError::Conflict { .. }), "{error}");
    let error = crowd.send(tasks[1].0, tasks[1].1, Message::Keys(keys)).unwrap_err();
    assert!(error.to_string().contains("keys of its own"), "{error}");
    let early = Message::Shares(BTreeMap::new());
    assert!(crowd.send(client, task, early).unwrap_err().to_string().contains("step"));
    let error = crowd.send(client, tasks[1].1, Message::Keys(keys)).unwrap_err();
    assert!(matches!(error, FederateError::Unknown { .. }), "{error}");
    crowd.all_act(&[]);
    // Shares for some are no shares.
    let sealed = crowd.clients.get_mut(&task).unwrap();
    let roster = crowd.machine.running.secure_view(crowd.machine.now_us(), (client, task), None);
    let mut sealed = sealed.share(roster.unwrap().unwrap().roster).unwrap();
    sealed.pop_first();
    let error = crowd.send(client, task, Message::Shares(sealed)).unwrap_err();
    assert!(error.to_string().contains("each other client"), "{error}");
    // A plain update is none here, and a masked one is none elsewhere.
    let mut crowd = Crowd::begin(3);
    crowd.all_act(&[]);
    crowd.all_act(&[]);
    let (client, task) = crowd.tasks()[0];
    let error = crowd.machine.send(client, task, body(task, 0, 0.5), 1.0).unwrap_err();
    assert!(error.to_string().contains("aggregates securely"), "{error}");
    let plain = RoundSettings { secure: None, ..settings() };
    let mut machine = Machine::new(plain, policy(FEDAVG, 1.0), SharedDisk::default());
    machine.enrol(3).unwrap();
    machine.advance().unwrap();
    let task = machine.open_tasks()[0].clone();
    let masked = encode_masked(&vec![7; PARAMETERS], &schema(), 0).unwrap();
    let error = machine.send(task.client, task.id, masked, 1.0).unwrap_err();
    assert!(error.to_string().contains("no masked updates"), "{error}");
}

#[test]
fn a_crash_at_every_step_loses_no_round_for_good() {
    let life = |crash: Option<(u64, u64)>| {
        let disk = SharedDisk::default();
        let mut crowd = Crowd::new(settings(), disk.clone());
        crowd.machine.enrol(4).unwrap();
        let before = disk.steps();
        if let Some((step, outcome)) = crash {
            disk.crash_at(before + step, outcome);
        }
        for turn in 0..90 {
            crowd.machine.pass(10);
            crowd.machine.all_are_heard();
            let tasks = crowd.tasks();
            let done = crowd.machine.advance().and_then(|()| match tasks.get(turn % 4) {
                Some((client, task)) => match crowd.act(*client, *task) {
                    Err(FederateError::Gone { .. } | FederateError::Unknown { .. }) => Ok(()),
                    other => other,
                },
                None => Ok(()),
            });
            if done.is_err() || disk.0.borrow().is_down {
                crowd.machine.restart();
            }
            let state = crowd.machine.state();
            let round = &state.job.secure;
            // Whose inputs count does not change once it is fixed.
            if let Some(survivors) = round.as_ref().and_then(|round| round.survivors.as_ref()) {
                let alive: BTreeSet<u32> = state.accepted().map(|task| task.client).collect();
                assert_eq!(survivors.alive, alive, "{crash:?}");
            }
        }
        (disk.steps() - before, crowd.machine.state().job.version)
    };
    let (steps, version) = life(None);
    assert!(version >= 3, "{version}");
    for step in 0..steps.min(60) {
        for outcome in 0..3 {
            let (_, version) = life(Some((step, outcome)));
            assert!(version >= 2, "{step} {outcome}: {version}");
        }
    }
}

#[test]
fn privacy_and_masks_go_together() {
    let json = r#"{"noise_multiplier": 0.001, "clip_norm": 0.5, "population": 5}"#;
    let privacy: PrivacySettings = serde_json::from_str(json).unwrap();
    let both = RoundSettings { privacy: Some(privacy), ..settings() };
    both.check().unwrap();
    let mut crowd = Crowd::new(both, SharedDisk::default());
    crowd.machine.enrol(5).unwrap();
    crowd.machine.advance().unwrap();
    let (client, task) = crowd.tasks()[0];
    assert_eq!(crowd.view(client, task).unwrap().unwrap().clip_norm, Some(0.5));
    for _ in 0..4 {
        crowd.all_act(&[]);
    }
    assert_eq!(crowd.machine.running.privacy().unwrap().rounds, 1);
    let found = crowd.machine.model().values[place(task)];
    assert!((found - 0.1).abs() < 1e-3, "{found}");
}

#[test]
fn a_clip_adapts_though_nobody_sees_a_length() {
    let json = r#"{"noise_multiplier": 0.001, "clip_norm": 0.1, "clip_quantile": 0.5,
                   "count_noise": 0.001, "population": 5}"#;
    let adaptive: PrivacySettings = serde_json::from_str(json).unwrap();
    let both = RoundSettings { privacy: Some(adaptive), ..settings() };
    both.check().unwrap();
    let disk = SharedDisk::default();
    let mut crowd = Crowd::new(both, disk.clone());
    crowd.machine.enrol(5).unwrap();
    crowd.machine.advance().unwrap();
    let mut clips = Vec::new();
    // Updates of length 0.5 above the clip, then of 0.01 below it.
    for size in [0.5, 0.5, 0.01, 0.01] {
        crowd.size = size;
        let (client, task) = crowd.tasks()[0];
        let view = crowd.view(client, task).unwrap().unwrap();
        assert!(view.has_clip_bit);
        clips.push(view.clip_norm.unwrap());
        for _ in 0..4 {
            crowd.all_act(&[]);
        }
    }
    assert_eq!(crowd.machine.state().job.version, 4);
    clips.push(crowd.machine.running.privacy().unwrap().clip_norm);
    // All are longer: exp(0.2 * 0.5) for each round; then all are shorter.
    let factors: Vec<f64> = clips.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
    for (found, expected) in factors.iter().zip([0.1, 0.1, -0.1, -0.1]) {
        assert!((found - expected).abs() < 1e-3, "{clips:?}");
    }
    // The model is made of what the first clip has left of the first two.
    let first = crowd.machine.model().values;
    assert!(first.iter().all(|value| value.abs() < 0.1), "{first:?}");
    crowd.machine.restart();
    assert_eq!(crowd.machine.running.privacy().unwrap().clip_norm, clips[4]);
    // An update that does not say it does not count.
    let (client, task) = crowd.tasks()[0];
    for _ in 0..2 {
        crowd.all_act(&[]);
    }
    let base = crowd.machine.state().tasks[&task].base;
    let bare = encode_masked(&vec![7; PARAMETERS], &schema(), base).unwrap();
    let error = crowd.machine.send(client, task, bare, 1.0).unwrap_err().to_string();
    assert!(error.contains("truststram.clip_bit"), "{error}");
}

#[test]
fn settings_that_hide_nothing_are_refused() {
    let check = |settings: RoundSettings, json: &str, expected: &str| {
        let policy = policy(json, 1.0);
        let error = settings.check().and_then(|()| settings.check_policy(&policy)).unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let good = settings();
    good.check().unwrap();
    let with = |secure| RoundSettings { secure: Some(secure), ..good };
    check(with(SecureSettings { threshold: 0.5, ..Default::default() }), FEDAVG, "`threshold`");
    check(with(SecureSettings { range: 0.0, ..Default::default() }), FEDAVG, "`range`");
    check(RoundSettings { mode: Mode::Buffered, ..good }, FEDAVG, "masks cancel");
    check(RoundSettings { clients_max: 300, ..good }, FEDAVG, "at most 255");
    check(RoundSettings { clients_min: 1, ..good }, FEDAVG, "hides nothing");
    for rule in ["median", "trimmed-mean", "multi-krum", "fedbuff"] {
        check(good, &format!(r#"{{"policy": "{rule}"}}"#), "looks at each of them");
    }
    check(good, r#"{"clip_norm": 1.0}"#, "does not go with `rounds.secure`");
}

#[test]
fn what_was_sent_goes_with_the_round() {
    let mut crowd = Crowd::begin(3);
    crowd.machine.running.set_versions_max(1);
    for _ in 0..4 {
        crowd.all_act(&[]);
    }
    assert_eq!(crowd.machine.state().job.version, 1);
    crowd.check_secrets_are_gone();
    assert!(crowd.machine.running.over().is_some());
    crowd.late(10);
    assert!(crowd.machine.open_tasks().is_empty(), "no round is begun after the last version");
}
