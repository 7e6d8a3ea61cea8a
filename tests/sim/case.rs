//! Owns one case: a store on a simulated disk, what was done to it, and what it must have kept.
//!
//! One thread submits and waits, and rows move into month files only when the case says so; so a
//! seed means one order of operations. Refuses to know how the store works.
//! Bound: some hundred rows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use truststram_base::{
    Kind, ManualClock, ModelEntry, ModelId, ModelVersion, PredictionRecord, RequestId, UserId,
};
use truststram_store::{
    Applies, CommitFailure, Finding, PredictionQuery, Store, StoreError, StoreOptions,
    verify_directory,
};

use crate::disk::SimDisk;
use crate::random::Random;

const DIRECTORY: &str = "/data";
const MODELS: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 4] = ["ana", "ben", "eve", "li"];
/// 2026-11-30T23:59:00Z: the cases go over the end of a month.
const START_US: i64 = 1_796_083_140_000_000;

/// How a store ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Close,
    Kill,
    PowerLoss,
}

/// What came of a disk that lied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lies {
    NothingLost,
    Detected,
    EndLost,
}

pub struct Case {
    pub disk: SimDisk,
    pub random: Random,
    store: Option<Store>,
    clock: Arc<ManualClock>,
    /// Everything that was ever submitted, by request.
    submitted: HashMap<u128, PredictionRecord>,
    /// Requests whose rows were acknowledged, in order.
    acknowledged: Vec<u128>,
    /// Requests of rows that nobody waited for since the last flush.
    accepted: Vec<u128>,
    models: Vec<u32>,
    next_request: u128,
}

impl Case {
    pub fn new(seed: u64) -> Self {
        Self {
            disk: SimDisk::new(seed ^ 0x5eed),
            random: Random::new(seed),
            store: None,
            clock: Arc::new(ManualClock::at(START_US)),
            submitted: HashMap::new(),
            acknowledged: Vec::new(),
            accepted: Vec::new(),
            models: Vec::new(),
            next_request: 1,
        }
    }

    pub fn is_open(&self) -> bool {
        self.store.is_some()
    }

    fn open(&self) -> Result<Store, StoreError> {
        let options = StoreOptions {
            // Only a durable submission or a flush ends the gathering of a group.
            group_wait_us: u64::MAX >> 20,
            log_rows_max: 60,
            // So that a group is several entries, and may end one turn and begin the next.
            entry_bytes_max: 1_500,
            queue_rows_max: 2_000,
            cache_bytes: 1 << 20,
            applies: Applies::OnRequest,
            ..StoreOptions::default()
        };
        let disk = Arc::new(self.disk.clone());
        Store::open_on(disk, Path::new(DIRECTORY), &options, self.clock.clone())
    }

    fn row(&mut self) -> PredictionRecord {
        let random = &mut self.random;
        let request = self.next_request;
        self.next_request += 1;
        // Clocks jump, also over the end of the month and back.
        let jump_us = random.below(240_000_000) as i64 - 60_000_000;
        let feature_count = if random.chance(2) { 3_000 } else { random.below(20) };
        let row = PredictionRecord {
            request: RequestId(request),
            model: ModelId::new(MODELS[random.below(3) as usize]).unwrap(),
            version: ModelVersion(1 + random.below(3) as u32),
            user: random.chance(80).then(|| UserId::new(USERS[random.below(4) as usize]).unwrap()),
            timestamp_us: START_US + jump_us,
            features: (0..feature_count).map(|at| (at as f32) + random.below(9) as f32).collect(),
            class: random.below(3) as u32,
            confidence: random.below(1_000) as f32 / 1_000.0,
        };
        self.submitted.insert(request, row.clone());
        row
    }

    /// Does this and that until something fails or it is enough.
    pub fn work(&mut self) {
        if self.store.is_none() {
            match self.open() {
                Ok(store) => self.store = Some(store),
                Err(error) => {
                    self.assert_fault(&error);
                    return;
                }
            }
        }
        for _ in 0..self.random.below(30) + 5 {
            if self.disk.is_off() {
                return;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..60 => self.submit_durably(),
            60..75 => self.submit(),
            75..82 => self.flush(),
            82..87 => self.with_store(|store| store.apply_now()),
            87..91 => self.with_store(|store| store.checkpoint()),
            91..95 => self.register(),
            95..97 => {
                self.end(Ending::Close);
                match self.open() {
                    Ok(store) => self.store = Some(store),
                    Err(error) => self.assert_fault(&error),
                }
            }
            97 => self.with_store(|store| store.compact(&mut |_| true).map(drop)),
            _ => {
                let Some(store) = &self.store else { return };
                if let Err(error) = store.predictions(&PredictionQuery::default()) {
                    self.assert_fault(&error);
                }
            }
        }
    }

    fn with_store(&mut self, operation: impl Fn(&Store) -> Result<(), StoreError>) {
        let Some(store) = &self.store else { return };
        if let Err(error) = operation(store) {
            self.assert_fault(&error);
        }
    }

    /// A fault of the disk is an error, but never looks like damage.
    fn assert_fault(&self, error: &StoreError) {
        assert!(error.kind() != Kind::Corrupt, "{error}");
    }

    fn submit_durably(&mut self) {
        let count = self.random.below(20) + 1;
        let mut rows: Vec<_> = (0..count).map(|_| self.row()).collect();
        let requests: Vec<u128> = rows.iter().map(|row| row.request.0).collect();
        let Some(store) = &self.store else { return };
        let (sender, receiver) = sync_channel(1);
        let on_commit =
            Box::new(move |result: Result<(), CommitFailure>| sender.send(result).unwrap());
        if store.submit_many_durable(&mut rows, on_commit).is_err() {
            return;
        }
        match receiver.recv().unwrap() {
            Ok(()) => {
                // What was submitted before is in the same group or an earlier one.
                self.acknowledged.append(&mut self.accepted);
                self.acknowledged.extend(requests);
            }
            Err(failure) => self.assert_fault(failure.error()),
        }
    }

    fn submit(&mut self) {
        let count = self.random.below(5) + 1;
        let rows: Vec<_> = (0..count).map(|_| self.row()).collect();
        let Some(store) = &self.store else { return };
        for row in rows {
            let request = row.request.0;
            if store.submit(row).is_ok() {
                self.accepted.push(request);
            }
        }
    }

    /// Submits rows that nobody waits for until one is refused, and says for what kind of reason.
    pub fn submit_until_refused(&mut self) -> Kind {
        for _ in 0..2_000 {
            for _ in 0..20 {
                let row = self.row();
                let request = row.request.0;
                let Some(store) = &self.store else { return Kind::Internal };
                match store.submit(row) {
                    Ok(()) => self.accepted.push(request),
                    Err(refused) => return refused.error.kind(),
                }
            }
            self.flush();
        }
        Kind::Internal
    }

    fn flush(&mut self) {
        let Some(store) = &self.store else { return };
        match store.flush() {
            Ok(()) => self.acknowledged.append(&mut self.accepted),
            Err(error) => self.assert_fault(&error),
        }
    }

    fn register(&mut self) {
        let version = self.models.iter().max().map_or(1, |last| last + 1);
        let Some(store) = &self.store else { return };
        match store.register_model(&entry(version)) {
            Ok(()) => self.models.push(version),
            Err(error) => self.assert_fault(&error),
        }
    }

    /// Ends the store.
    pub fn end(&mut self, ending: Ending) {
        if ending == Ending::PowerLoss {
            self.disk.arm(crate::disk::Faults {
                power_loss_at: Some(1),
                ..crate::disk::Faults::default()
            });
        }
        let store = self.store.take();
        if ending == Ending::Close
            && let Some(store) = &store
        {
            match store.close() {
                Ok(()) => self.acknowledged.append(&mut self.accepted),
                Err(error) => self.assert_fault(&error),
            }
        }
        if ending == Ending::Kill {
            // The threads find every operation failing; what is written stays.
            self.disk.turn_off();
        }
        drop(store);
        match ending {
            Ending::Close => {}
            Ending::Kill => self.disk.kill_process(),
            Ending::PowerLoss => self.disk.lose_power(),
        }
        self.accepted.clear();
    }

    /// Opens the store, which may fail.
    pub fn try_recovery(&mut self) {
        match self.open() {
            Ok(store) => self.store = Some(store),
            Err(error) => self.assert_fault(&error),
        }
    }

    /// The faults are over: everything works again, at the second try at the latest.
    pub fn settle(&mut self) {
        if self.store.is_none() {
            self.store = Some(self.open().unwrap());
        }
        let store = self.store.as_ref().unwrap();
        if store.checkpoint().is_err() {
            store.checkpoint().unwrap();
        }
        self.acknowledged.append(&mut self.accepted);
        self.check();
        self.submit_durably();
    }

    /// Opens the store if need be, and checks everything.
    pub fn recover_and_check(&mut self) {
        if self.store.is_none() {
            self.store = Some(self.open().unwrap());
        }
        self.check();
        self.store.as_ref().unwrap().checkpoint().unwrap();
        self.check();
    }

    fn found(&self) -> Result<Vec<PredictionRecord>, StoreError> {
        let store = self.store.as_ref().unwrap();
        let mut query = PredictionQuery { limit: 1_000, ..PredictionQuery::default() };
        let mut rows = Vec::new();
        loop {
            let page = store.predictions(&query)?;
            rows.extend(page.rows.into_iter().map(|row| row.record));
            match page.next {
                None => break,
                Some(next) => query.before = Some(next),
            }
        }
        rows.reverse();
        Ok(rows)
    }

    /// What is there is what was submitted, with everything acknowledged in it, and every index and
    /// figure agrees.
    pub fn check(&mut self) {
        let found = self.found().unwrap();
        self.check_rows(&found);
        let missing = self.missing(&found);
        assert!(missing.is_empty(), "{} of {} lost", missing.len(), self.acknowledged.len());
        self.check_order(&found);
        self.check_agreement(&found);
        let store = self.store.as_ref().unwrap();
        let versions: Vec<u32> =
            store.models().unwrap().iter().map(|entry| entry.version.0).collect();
        assert!(self.models.iter().all(|version| versions.contains(version)), "{versions:?}");
        // One whose registration failed may be there all the same.
        self.models = versions;
    }

    fn check_rows(&self, found: &[PredictionRecord]) {
        let mut seen = std::collections::HashSet::new();
        for row in found {
            assert_eq!(self.submitted.get(&row.request.0), Some(row));
            assert!(seen.insert(row.request.0), "twice: {row:?}");
        }
    }

    /// Places, among the acknowledged, of those that are not there.
    fn missing(&self, found: &[PredictionRecord]) -> Vec<usize> {
        let there: std::collections::HashSet<u128> =
            found.iter().map(|row| row.request.0).collect();
        let places = self.acknowledged.iter().enumerate();
        places.filter(|(_, request)| !there.contains(request)).map(|(at, _)| at).collect()
    }

    fn check_order(&self, found: &[PredictionRecord]) {
        let order: HashMap<u128, usize> =
            found.iter().enumerate().map(|(at, row)| (row.request.0, at)).collect();
        let places: Vec<_> = self.acknowledged.iter().filter_map(|id| order.get(id)).collect();
        assert!(places.is_sorted(), "rows are not in the order in which they came");
    }

    fn check_agreement(&self, found: &[PredictionRecord]) {
        let store = self.store.as_ref().unwrap();
        assert_eq!(store.verify(&mut |_| true).unwrap().findings, []);
        for model in MODELS {
            let of: Vec<_> = found.iter().filter(|row| row.model.as_str() == model).collect();
            let performance = store.performance(&ModelId::new(model).unwrap()).unwrap();
            assert_eq!(performance.all.rows, of.len() as u64, "{model}");
            let positive = of.iter().filter(|row| row.class > 0).count();
            assert_eq!(performance.all.positive_rows, positive as u64, "{model}");
            let last_us = of.iter().map(|row| row.timestamp_us).max();
            assert_eq!(performance.all.last_prediction_us(), last_us, "{model}");
        }
        for user in USERS {
            let user = UserId::new(user).unwrap();
            let query = PredictionQuery {
                user: Some(user.clone()),
                limit: 1_000,
                ..PredictionQuery::default()
            };
            let page = store.predictions(&query).unwrap();
            let expected = found.iter().rev().filter(|row| row.user.as_ref() == Some(&user));
            assert!(page.rows.iter().map(|row| &row.record).eq(expected.take(1_000)), "{user}");
        }
    }

    /// What came of syncs that were not done.
    pub fn judge_lies(&mut self) -> Lies {
        let opened = match self.open() {
            Ok(store) => self.store.insert(store),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                return Lies::Detected;
            }
        };
        let verified = opened.verify(&mut |_| true);
        let found = match (verified, self.found()) {
            (Ok(report), Ok(found)) if report.findings.is_empty() => found,
            (Err(error), _) | (_, Err(error)) => {
                assert_eq!(error.kind(), Kind::Corrupt, "{error}");
                return Lies::Detected;
            }
            _ => return Lies::Detected,
        };
        self.check_rows(&found);
        self.check_order(&found);
        self.check_agreement(&found);
        match self.missing(&found).first() {
            None => Lies::NothingLost,
            Some(&first) => {
                let kept_after = self.acknowledged.len() - first - self.missing(&found).len();
                assert_eq!(kept_after, 0, "rows are missing in the middle, and nobody says so");
                Lies::EndLost
            }
        }
    }

    /// What `truststram db verify` finds.
    pub fn verify_directory(&self) -> Vec<Finding> {
        let disk = Arc::new(self.disk.clone());
        let directory = PathBuf::from(DIRECTORY);
        let clock = self.clock.clone();
        let report = verify_directory(disk, &directory, &[], clock, &mut |_| true).unwrap();
        assert!(report.is_sealed || !report.findings.is_empty());
        report.findings
    }
}

fn entry(version: u32) -> ModelEntry {
    ModelEntry {
        id: ModelId::new("a").unwrap(),
        version: ModelVersion(version),
        architecture: "dense".to_owned(),
        path: format!("models/a/{version}/model.safetensors"),
        sha256: "00".repeat(32),
        bytes: 9,
        created_us: START_US,
        feature_count: 64,
        classes: vec!["no".to_owned(), "yes".to_owned()],
        metrics: Vec::new(),
        active: true,
        owner: Some(UserId::new(USERS[version as usize % USERS.len()]).unwrap()),
        name: format!("model a, version {version}"),
        tags: vec!["sim".to_owned()],
        metadata_json: format!(r#"{{"version":{version}}}"#),
    }
}
