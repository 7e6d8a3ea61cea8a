//! Owns the joint of the API's federation and the thread that runs it: bodies received, waits
//! timed.
//!
//! Refuses to decide: each question is one job on the federation's thread. Bound: updates that
//! arrive by the configuration, each on disk but for one chunk; the queues of both threads.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{FutureExt, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use truststram_api::ports::{
    ArtifactChunks, Failure, Federated, FederatedAnswer, FederatedFailure, FederatedTask,
    ModelFacts, ModelFailure, NewClient, SecureMessage, SecureRound, SecureStep, Signed,
    UpdateClaim, UpdateReceipt,
};
use truststram_base::{Clock, Kind, ModelId};
use truststram_machine::{MachineError, raise_open_files};

use super::background::Background;
use super::operate::Parts;
use super::sink::Ticket;
use crate::config::Plan;
use crate::federation::arriving::{Adding, Arriving, gathered};
use crate::federation::{Awaited, Desk, FederationThread, Means, Notices, Plugins, place};
use crate::registry::Versions;
use crate::threads::Threads;

/// Bytes of a model that are read at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// What a federation is served with.
pub struct Running {
    /// The thread that runs it.
    pub thread: FederationThread,
    /// The thread that writes what arrives and reads what is fetched.
    pub files: Arc<Background>,
    /// The board.
    pub notices: Arc<Notices>,
    /// The right to send.
    pub uploads: Arc<Semaphore>,
    /// How long bodies take.
    pub clock: Arc<dyn Clock>,
}

/// The federation as the API sees it; none where it is off.
#[derive(Clone)]
pub struct Federation(pub Option<Arc<Running>>);

fn off() -> FederatedFailure {
    let detail = "federated learning is off; set `federated.enabled` and restart";
    FederatedFailure::new(Kind::Unavailable, detail)
}

impl Federation {
    /// Starts it, where the configuration has one.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        plan: &Plan,
        versions: &Arc<Versions<Ticket>>,
        plugins: &Plugins,
        parts: &Parts,
        threads: &Threads,
    ) -> Result<Self, MachineError> {
        if !plan.federated.enabled {
            return Ok(Self(None));
        }
        let notices = Arc::new(Notices::new(plan.federated.watchers_max));
        // Set once, here.
        let _ = parts.federation.set(notices.clone());
        let means = Means {
            store: parts.store.clone(),
            versions: versions.clone(),
            models: threads.models.clone(),
            clock: parts.clock.clone(),
            data_dir: plan.data_dir.clone(),
            limits: plan.federated.clone(),
            open_files: raise_open_files(),
            plugins: plugins.clone(),
            notices: notices.clone(),
        };
        Ok(Self(Some(Arc::new(Running {
            thread: FederationThread::start(means)?,
            files: threads.federation_files.clone(),
            notices,
            uploads: Arc::new(Semaphore::new(plan.federated.uploads_max as usize)),
            clock: parts.clock.clone(),
        }))))
    }

    /// Lets nobody wait any longer, so that a drain ends.
    pub fn send_away(&self) {
        if let Some(running) = &self.0 {
            running.notices.close();
            running.thread.send_away();
        }
    }

    /// Has something done by the federation's thread.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Desk) -> Result<T, FederatedFailure> + Send + 'static,
    ) -> FederatedAnswer<T> {
        match &self.0 {
            Some(running) => running.thread.run(job).map(flat).boxed(),
            None => ready(Err(off())).boxed(),
        }
    }

    /// Has something done by it whose steps are apart.
    fn steps<T, F>(&self, work: impl FnOnce(Arc<Running>) -> F) -> FederatedAnswer<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, FederatedFailure>> + Send + 'static,
    {
        match &self.0 {
            Some(running) => work(running.clone()).boxed(),
            None => ready(Err(off())).boxed(),
        }
    }
}

fn flat<T>(done: Result<Result<T, FederatedFailure>, Failure>) -> Result<T, FederatedFailure> {
    done?
}

impl Running {
    fn permit(&self) -> Result<tokio::sync::OwnedSemaphorePermit, FederatedFailure> {
        let full = |_| Failure::QueueFull("update").into();
        self.uploads.clone().try_acquire_owned().map_err(full)
    }

    /// Notes that a body was refused while it arrived.
    async fn refuse(&self, of: (u32, u64), failure: FederatedFailure) -> FederatedFailure {
        let told = failure.clone();
        // The refusal counts whether it is noted or not.
        let _ = self.thread.run(move |desk| desk.refused(of.0, of.1, &told)).await;
        failure
    }

    async fn receive(
        &self,
        path: std::path::PathBuf,
        bytes_max: u64,
        sha256: [u8; 32],
        mut body: ArtifactChunks,
    ) -> Result<crate::federation::arriving::Arrived, FederatedFailure> {
        let created = self.files.run(move || Arriving::create(path, bytes_max));
        let mut arriving = flat(created.await)?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            let written = self.files.run(move || arriving.write(&chunk).map(|()| arriving));
            arriving = flat(written.await)?;
        }
        flat(self.files.run(move || arriving.finish(sha256)).await)
    }

    async fn update(
        &self,
        signed: Signed,
        claim: UpdateClaim,
        body: ArtifactChunks,
    ) -> Result<UpdateReceipt, FederatedFailure> {
        let (client, task, sha256) = (signed.client, claim.task, signed.body_sha256);
        let awaited = flat(self.thread.run(move |desk| desk.await_update(&signed, task)).await)?;
        let Awaited::Into(path, bytes_max) = awaited else { return Ok(UpdateReceipt::Again) };
        let _permit = self.permit()?;
        let begun_us = self.clock.monotonic_us();
        let arrived = match self.receive(path, bytes_max, sha256, body).await {
            Ok(arrived) => arrived,
            Err(failure) => return Err(self.refuse((client, task), failure).await),
        };
        let upload_s = (self.clock.monotonic_us() - begun_us) as f64 / 1e6;
        let taken = move |desk: &mut Desk| desk.take(client, claim, arrived, upload_s);
        flat(self.thread.run(taken).await)
    }

    async fn append(
        &self,
        signed: Signed,
        task: u64,
        offset: u64,
        mut body: ArtifactChunks,
    ) -> Result<u64, FederatedFailure> {
        let _permit = self.permit()?;
        let sha256 = signed.body_sha256;
        let turn = self.thread.run(move |desk| desk.part_turn(&signed, task, offset));
        let turn = flat(turn.await)?;
        let (path, bytes) = (turn.path.clone(), turn.bytes);
        let opened = self.files.run(move || Adding::open(&path, offset, bytes));
        let mut adding = flat(opened.await)?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            let written = self.files.run(move || adding.write(&chunk).map(|()| adding));
            adding = flat(written.await)?;
        }
        let end = flat(self.files.run(move || adding.finish(sha256)).await)?;
        self.thread.run(move |desk| desk.part_added(task, end)).await?;
        drop(turn);
        Ok(end)
    }

    async fn commit(
        &self,
        signed: Signed,
        claim: UpdateClaim,
    ) -> Result<UpdateReceipt, FederatedFailure> {
        let (client, task) = (signed.client, claim.task);
        let whole = flat(self.thread.run(move |desk| desk.gathered(&signed, task)).await)?;
        let Some(whole) = whole else { return Ok(UpdateReceipt::Again) };
        let arrived = self.files.run(move || gathered(whole.path, whole.sha256));
        let arrived = match flat(arrived.await) {
            Ok(arrived) => arrived,
            Err(failure) => return Err(self.refuse((client, task), failure).await),
        };
        // How long it took is not known where it came in parts.
        let taken = move |desk: &mut Desk| desk.take(client, claim, arrived, 1.0);
        flat(self.thread.run(taken).await)
    }
}

impl Federated for Federation {
    fn enrol(&self, signed: Signed, client: NewClient) -> FederatedAnswer<u32> {
        self.ask(move |desk| desk.enrol(&signed, &client))
    }

    fn heartbeat(&self, signed: Signed) -> FederatedAnswer<()> {
        self.ask(move |desk| desk.heartbeat(&signed))
    }

    fn task(&self, signed: Signed, wait_ms: u64) -> FederatedAnswer<Option<FederatedTask>> {
        self.steps(|running| async move {
            let asked = running.thread.run(move |desk| desk.task(&signed, wait_ms > 0));
            let waiting = flat(asked.await)?;
            let limit = Duration::from_millis(wait_ms.max(1_000));
            match tokio::time::timeout(limit, waiting).await {
                Ok(Ok(task)) => Ok(task),
                // The time is over, or another wait took the place of this one.
                Ok(Err(_)) | Err(_) => Ok(None),
            }
        })
    }

    fn model(&self, signed: Signed, model: ModelId, version: u64) -> FederatedAnswer<ModelFacts> {
        self.ask(move |desk| desk.model(&signed, &model, version))
    }

    fn model_bytes(&self, _: ModelFacts, version: u64, range: Range<u64>) -> ArtifactChunks {
        let Some(running) = self.0.clone() else { return stream::empty().boxed() };
        let path = place(&running.notices.served(), version);
        stream::unfold(Some((None::<Arc<File>>, range)), move |state| {
            let (running, path) = (running.clone(), path.clone());
            async move {
                let (file, range) = state.filter(|(_, range)| !range.is_empty())?;
                let read = move || -> std::io::Result<(Arc<File>, Vec<u8>)> {
                    let file = match file {
                        Some(file) => file,
                        None => Arc::new(File::open(&path)?),
                    };
                    let mut chunk = vec![0; CHUNK_BYTES.min(range.end - range.start) as usize];
                    file.read_exact_at(&mut chunk, range.start)?;
                    Ok((file, chunk))
                };
                let read = match running.files.run(read).await {
                    Ok(read) => read.map_err(|error| ModelFailure {
                        kind: Kind::Internal,
                        detail: format!("the model cannot be read: {error}"),
                    }),
                    Err(failure) => Err(failure.into()),
                };
                Some(match read {
                    Ok((file, chunk)) => {
                        let rest = range.start + chunk.len() as u64..range.end;
                        (Ok(Bytes::from(chunk)), Some((Some(file), rest)))
                    }
                    Err(failure) => (Err(failure), None),
                })
            }
        })
        .boxed()
    }

    fn update(
        &self,
        signed: Signed,
        claim: UpdateClaim,
        body: ArtifactChunks,
    ) -> FederatedAnswer<UpdateReceipt> {
        self.steps(|running| async move { running.update(signed, claim, body).await })
    }

    fn open_upload(
        &self,
        signed: Signed,
        task: u64,
        bytes: u64,
        sha256: [u8; 32],
    ) -> FederatedAnswer<u64> {
        self.ask(move |desk| desk.begin_parts(&signed, task, bytes, sha256))
    }

    fn upload_offset(&self, signed: Signed, task: u64) -> FederatedAnswer<u64> {
        self.ask(move |desk| desk.offset(&signed, task))
    }

    fn append(
        &self,
        signed: Signed,
        task: u64,
        offset: u64,
        body: ArtifactChunks,
    ) -> FederatedAnswer<u64> {
        self.steps(|running| async move { running.append(signed, task, offset, body).await })
    }

    fn commit(&self, signed: Signed, claim: UpdateClaim) -> FederatedAnswer<UpdateReceipt> {
        self.steps(|running| async move { running.commit(signed, claim).await })
    }

    fn secure_round(
        &self,
        signed: Signed,
        task: u64,
        after: Option<SecureStep>,
        wait_ms: u64,
    ) -> FederatedAnswer<Option<SecureRound>> {
        self.steps(|running| async move {
            let asked = move |desk: &mut Desk| desk.secure_round(&signed, task, after, wait_ms > 0);
            let waiting = flat(running.thread.run(asked).await)?;
            let limit = Duration::from_millis(wait_ms.max(1_000));
            match tokio::time::timeout(limit, waiting).await {
                Ok(Ok(round)) => Ok(round),
                // The time is over, or the round is, which the next question is told.
                Ok(Err(_)) | Err(_) => Ok(None),
            }
        })
    }

    fn secure_message(
        &self,
        signed: Signed,
        task: u64,
        message: SecureMessage,
    ) -> FederatedAnswer<UpdateReceipt> {
        self.ask(move |desk| desk.secure_message(&signed, task, message))
    }

    fn status(&self) -> Value {
        match &self.0 {
            Some(running) => running.notices.status(),
            None => json!({ "state": "off" }),
        }
    }

    fn events(&self) -> Option<BoxStream<'static, String>> {
        self.0.as_ref()?.notices.watch()
    }

    fn start(&self, spec: Value) -> FederatedAnswer<Value> {
        self.ask(move |desk| desk.start(spec))
    }

    fn stop(&self) -> FederatedAnswer<Value> {
        self.ask(Desk::stop)
    }

    fn tokens(&self, count: usize, valid_s: u64) -> FederatedAnswer<Vec<String>> {
        self.ask(move |desk| desk.tokens(count, valid_s))
    }

    fn records(&self) -> FederatedAnswer<Value> {
        self.ask(|desk| Ok(desk.records()))
    }
}
