//! Owns what is asked of a federation, one request after the other: who asks is checked first.
//!
//! Refuses to read bodies, which arrive elsewhere. Bound: the waiters of the configuration.

mod clients;
mod operate;
mod secure;
mod updates;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use truststram_api::ports::{FederatedFailure, FederatedTask, Signed};
use truststram_base::{Clock, Kind};
use truststram_federate::FederateError;
use truststram_federate::identity::{Gate, Proof, Request, hexadecimal, random_bytes};
use truststram_store::Store;

use super::ledger::{RUN, failed as store_failed};
use super::notices::Notices;
use super::policy::Plugins;
use super::run::{Run, failed};
use super::spec::Record;
use super::status;
use crate::config::raw;
use crate::registry::Versions;
use crate::wire::background::Background;
use crate::wire::sink::Ticket;

pub use updates::Awaited;

/// How long a federation rests that failed to be taken up.
const REST_US: i64 = 5_000_000;

/// What a federation works with.
pub struct Means {
    /// Its records.
    pub store: Arc<Store>,
    /// The registry.
    pub versions: Arc<Versions<Ticket>>,
    /// The thread that owns versions.
    pub models: Arc<Background>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where its files are.
    pub data_dir: PathBuf,
    /// Its limits.
    pub limits: raw::Federated,
    /// Files that the process may have open.
    pub open_files: u64,
    /// Plugins that decide about rounds.
    pub plugins: Plugins,
    /// The board.
    pub notices: Arc<Notices>,
}

/// The desk.
pub struct Desk {
    means: Means,
    gate: Gate,
    epoch: String,
    run: Option<Run>,
    /// When a federation that failed is taken up again.
    again_us: Option<i64>,
    waiters: BTreeMap<u32, oneshot::Sender<Option<FederatedTask>>>,
    secure_waiters: BTreeMap<u32, secure::Waiter>,
}

type Answer<T> = Result<T, FederatedFailure>;

fn denied(detail: &str) -> FederatedFailure {
    FederatedFailure::new(Kind::Denied, detail)
}

impl Desk {
    /// Takes up the federation that the store has records of, if any.
    pub fn open(means: Means) -> Self {
        // Without an epoch nobody is let in, which says enough.
        let epoch = random_bytes::<16>().map(|bytes| hexadecimal(&bytes)).unwrap_or_default();
        let again_us = Some(i64::MIN);
        Self {
            means,
            gate: Gate::new(),
            epoch,
            run: None,
            again_us,
            waiters: BTreeMap::new(),
            secure_waiters: BTreeMap::new(),
        }
    }

    fn now_us(&self) -> i64 {
        self.means.clock.utc_us()
    }

    /// Does what is due, and tells those who wait.
    pub fn turn(&mut self) {
        let now_us = self.now_us();
        if self.again_us.is_some_and(|again| again <= now_us) {
            self.again_us = None;
            match self.take_up() {
                Ok(run) => self.run = run,
                Err(error) => self.broken(&error),
            }
        }
        if let Some(run) = &mut self.run
            && run.record.ended.is_none()
        {
            match run.advance(&self.means, now_us).map(|()| run.rounds.over()) {
                Ok(Some(reason)) => {
                    if let Err(error) = self.end(&reason) {
                        tracing::error!(error.detail, "the federation cannot be ended");
                    }
                }
                Ok(None) => {}
                Err(error) => self.broken(&error),
            }
        }
        self.wake(now_us);
        self.wake_secure(now_us);
        let status = self.status();
        self.means.notices.set_status(status);
    }

    /// How long nothing is due.
    pub fn rest(&self) -> Option<Duration> {
        let run = self.run.as_ref().filter(|run| run.record.ended.is_none());
        let next = [self.again_us, run.and_then(|run| run.next_us)].into_iter().flatten().min()?;
        let left_us = next.saturating_sub(self.now_us()).max(1_000);
        Some(Duration::from_micros(left_us as u64))
    }

    fn take_up(&self) -> Result<Option<Run>, FederateError> {
        let records =
            self.means.store.federation_records(RUN).map_err(|error| store_failed(&error))?;
        let Some((_, body)) = records.iter().find(|(name, _)| name == RUN) else {
            return Ok(None);
        };
        let record: Record = serde_json::from_slice(body).map_err(|error| FederateError::Port {
            message: format!("the federation's record {RUN}: {error}"),
            kind: Kind::Corrupt,
        })?;
        let run = Run::open(&self.means, record)?;
        self.means.notices.set_served(run.served.folder().to_owned());
        let (model, version) = (&run.record.spec.model, run.rounds.state().job.version);
        tracing::info!(model, version, "the federation is taken up");
        Ok(Some(run))
    }

    /// A federation whose records or files failed is taken up anew, from what is on disk.
    fn broken(&mut self, error: &FederateError) {
        tracing::error!(%error, "the federation rests");
        self.run = None;
        self.again_us = Some(self.now_us() + REST_US);
    }

    /// Tells an error, after which the federation may have to be taken up anew.
    fn told(&mut self, error: &FederateError) -> FederatedFailure {
        if matches!(error, FederateError::Io(_) | FederateError::Port { kind: Kind::Internal, .. })
        {
            self.broken(error);
        }
        failed(error)
    }

    fn status(&self) -> Value {
        match &self.run {
            Some(run) => status::of(run, &self.epoch, self.now_us(), self.waiters.len()),
            None => {
                let state = if self.again_us.is_some() { "resting" } else { "none" };
                json!({ "state": state, "epoch": self.epoch })
            }
        }
    }

    /// The federation.
    fn run(&mut self) -> Answer<&mut Run> {
        let detail = "no federation runs; an operator starts one by `truststram federate start`";
        self.run.as_mut().ok_or_else(|| FederatedFailure::new(Kind::Unavailable, detail))
    }

    /// The federation, which is not over.
    fn going(&mut self) -> Answer<&mut Run> {
        let run = self.run()?;
        match &run.record.ended {
            None => Ok(run),
            Some(reason) => {
                let detail = format!("the federation is over: {reason}");
                Err(FederatedFailure::new(Kind::Gone, detail))
            }
        }
    }

    fn check(&mut self, signed: &Signed, key: &[u8]) -> Answer<()> {
        let now_us = self.now_us();
        let Signed { client, time_us, nonce, signature, method, path, body_sha256 } = signed;
        let request = Request { epoch: &self.epoch, method, path, body_sha256: *body_sha256 };
        let proof = Proof { client: *client, signed_us: *time_us, nonce: *nonce, signature };
        self.gate.admit(now_us, key, &request, &proof).map_err(|error| failed(&error))
    }

    /// The client that has signed.
    fn admit(&mut self, signed: &Signed) -> Answer<u32> {
        let known = self.run()?.rounds.state().clients.get(&signed.client);
        let key = known.map(|client| client.public_key.clone());
        self.check(signed, &key.ok_or_else(|| denied("no client has this number; enrol"))?)?;
        Ok(signed.client)
    }

    /// All records.
    pub fn records(&self) -> Value {
        match &self.run {
            Some(run) => status::records(run, self.status()),
            None => self.status(),
        }
    }
}
