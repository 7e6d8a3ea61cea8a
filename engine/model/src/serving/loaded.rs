//! Owns one loaded version: its programs, one per NUMA node, its sessions, one per worker, and
//! what is known about it.
//!
//! Refuses to know queues and which version is active. Bound: everything of it is freed with the
//! last handle.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwapOption;
use truststram_base::{ModelId, ModelVersion};

use super::answer::Labels;
use super::estimate::Estimate;
use super::figures::{Figures, FiguresOfWorkers};
use super::shadow::ShadowCounts;
use crate::artifact::{Signature, Summary};
use crate::encoder::Tokenizer;
use crate::program::{MemoryReport, Program, Session};
use crate::spec::ModelSpec;

/// What a version is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelState {
    /// It is being built and checked.
    Loading,
    /// It can answer, and does so for whoever names it.
    Ready,
    /// It answers whoever names the model alone.
    Active,
    /// It answers what was accepted and nothing more.
    Draining,
    /// It was unloaded.
    Retired,
    /// It could not be loaded.
    Failed,
}

impl ModelState {
    const ALL: [Self; 6] =
        [Self::Loading, Self::Ready, Self::Active, Self::Draining, Self::Retired, Self::Failed];

    /// In lower case, for the status page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Ready => "ready",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Failed => "failed",
        }
    }
}

/// What outlives a version: whether it is there, and why not.
#[derive(Debug)]
pub struct Status {
    state: AtomicU8,
    evicted: AtomicBool,
    failure: OnceLock<Arc<str>>,
}

impl Status {
    /// Of a version that loads.
    pub fn loading() -> Self {
        let state = AtomicU8::new(ModelState::Loading as u8);
        Self { state, evicted: AtomicBool::new(false), failure: OnceLock::new() }
    }

    pub fn state(&self) -> ModelState {
        ModelState::ALL[usize::from(self.state.load(Ordering::Acquire)).min(5)]
    }

    pub fn set(&self, state: ModelState) {
        self.state.store(state as u8, Ordering::Release);
    }

    pub fn fail(&self, reason: &str) {
        let _ = self.failure.set(reason.into());
        self.set(ModelState::Failed);
    }

    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.get().cloned()
    }

    pub fn is_evicted(&self) -> bool {
        self.evicted.load(Ordering::Relaxed)
    }

    pub fn evict(&self) {
        self.evicted.store(true, Ordering::Relaxed);
        self.set(ModelState::Draining);
    }
}

/// What all loaded versions take together, and the numbers under which queues know them.
#[derive(Debug, Default)]
pub struct Residents {
    bytes: AtomicU64,
    slots: Mutex<Vec<bool>>,
    next_key: AtomicU64,
}

impl Residents {
    /// Bytes of all versions that are in memory, with their workers' buffers.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// What was counted as `old` bytes is `new` bytes now.
    fn change(&self, old: u64, new: u64) {
        // Adding what is missing to 2^64 takes away.
        self.bytes.fetch_add(new.wrapping_sub(old), Ordering::AcqRel);
    }

    /// A place for one more version.
    pub fn enter(self: &Arc<Self>, bytes: u64, status: Arc<Status>) -> Resident {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().position(|taken| !taken);
        let slot = free.unwrap_or_else(|| {
            slots.push(false);
            slots.len() - 1
        });
        slots[slot] = true;
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        Resident { residents: Arc::clone(self), bytes, slot, key, status }
    }
}

/// The place of one version; given up when dropped, after the version's memory.
#[derive(Debug)]
pub struct Resident {
    residents: Arc<Residents>,
    bytes: u64,
    slot: usize,
    key: u64,
    status: Arc<Status>,
}

impl Drop for Resident {
    fn drop(&mut self) {
        if self.status.state() != ModelState::Failed {
            self.status.set(ModelState::Retired);
        }
        self.residents.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        let mut slots = self.residents.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get_mut(self.slot) {
            *slot = false;
        }
    }
}

/// How much of a version may run and wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most rows of one batch.
    pub batch_max: u32,
    /// Most tokens of one batch of texts.
    pub tokens_max: u32,
    /// Requests that may be accepted and not answered.
    pub requests_max: usize,
}

/// The buffers of one worker, which it alone uses, so that the lock is never waited for.
#[derive(Debug, Default)]
struct KeptSession {
    session: Mutex<Option<Session>>,
    /// Its bytes after the last batch.
    bytes: AtomicU64,
}

/// What a loaded version is made of.
#[derive(Debug)]
pub struct Parts {
    pub id: ModelId,
    pub version: ModelVersion,
    pub signature: Signature,
    pub dense: Option<ModelSpec>,
    pub tokenizer: Option<Tokenizer>,
    pub summary: Summary,
    pub limits: Limits,
    pub keep_warm: bool,
    /// One per node.
    pub programs: Vec<Arc<Program>>,
    pub memory: MemoryReport,
    pub worker_count: usize,
    pub resident: Resident,
}

/// One loaded version. Whoever holds it can submit requests to it, even after it was retired; its
/// memory is freed with the last handle.
pub struct LoadedModel {
    id: ModelId,
    version: ModelVersion,
    signature: Signature,
    dense: Option<ModelSpec>,
    tokenizer: Option<Tokenizer>,
    summary: Summary,
    labels: Labels,
    limits: Limits,
    keep_warm: AtomicBool,
    programs: Vec<Arc<Program>>,
    memory: MemoryReport,
    /// By worker.
    sessions: Box<[KeptSession]>,
    pub(super) estimate: Estimate,
    pub(super) figures: FiguresOfWorkers,
    unanswered: AtomicUsize,
    last_used_us: AtomicU64,
    /// Who is asked the same after this one has answered.
    pub(super) shadow: ArcSwapOption<LoadedModel>,
    pub(super) shadow_counts: ShadowCounts,
    // The last field: what it gives up is free by then.
    resident: Resident,
}

impl LoadedModel {
    pub(super) fn new(parts: Parts) -> Self {
        let sessions = (0..parts.worker_count).map(|_| KeptSession::default()).collect();
        Self {
            labels: Labels::new(parts.signature.classes()),
            id: parts.id,
            version: parts.version,
            signature: parts.signature,
            dense: parts.dense,
            tokenizer: parts.tokenizer,
            summary: parts.summary,
            limits: parts.limits,
            keep_warm: AtomicBool::new(parts.keep_warm),
            programs: parts.programs,
            memory: parts.memory,
            sessions,
            estimate: Estimate::default(),
            figures: FiguresOfWorkers::new(parts.worker_count, parts.limits.batch_max),
            unanswered: AtomicUsize::new(0),
            last_used_us: AtomicU64::new(0),
            shadow: ArcSwapOption::empty(),
            shadow_counts: ShadowCounts::default(),
            resident: parts.resident,
        }
    }

    /// The model's id.
    pub fn id(&self) -> &ModelId {
        &self.id
    }

    /// The version.
    pub fn version(&self) -> ModelVersion {
        self.version
    }

    /// What callers give and get.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The description of a dense network that was trained here.
    pub fn dense(&self) -> Option<&ModelSpec> {
        self.dense.as_ref()
    }

    /// What makes tokens of the texts that it reads.
    pub fn tokenizer(&self) -> Option<&Tokenizer> {
        self.tokenizer.as_ref()
    }

    /// What it consists of.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        self.signature.classes()
    }

    /// How much of it may run and wait.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether it is there, and for whom.
    pub fn state(&self) -> ModelState {
        self.resident.status.state()
    }

    /// What it did since it was loaded.
    pub fn figures(&self) -> Figures {
        self.figures.total()
    }

    /// Whether it stays in memory however long nobody asks for it.
    pub fn is_kept_warm(&self) -> bool {
        self.keep_warm.load(Ordering::Relaxed)
    }

    /// Where its constants and packed weights lie, all nodes together.
    pub fn memory(&self) -> &MemoryReport {
        &self.memory
    }

    /// Bytes of the buffers that workers have made for it, each after its last batch.
    pub fn session_bytes(&self) -> u64 {
        self.sessions.iter().map(|kept| kept.bytes.load(Ordering::Relaxed)).sum()
    }

    /// Requests accepted and not answered yet.
    pub fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Acquire)
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    pub(super) fn status(&self) -> &Arc<Status> {
        &self.resident.status
    }

    pub(super) fn set_kept_warm(&self, keep_warm: bool) {
        self.keep_warm.store(keep_warm, Ordering::Relaxed);
    }

    /// Never used by two versions.
    pub(super) fn key(&self) -> u64 {
        self.resident.key
    }

    /// A small number that no other version in memory has.
    pub(super) fn slot(&self) -> usize {
        self.resident.slot
    }

    pub(super) fn used(&self, now_us: u64) {
        self.last_used_us.store(now_us, Ordering::Relaxed);
    }

    /// When it was asked last, monotonic microseconds of the engine's clock.
    pub fn last_used_us(&self) -> u64 {
        self.last_used_us.load(Ordering::Relaxed)
    }

    /// Counts one more request, if it may wait.
    pub(super) fn accept(&self) -> bool {
        let accepted = self.unanswered.fetch_add(1, Ordering::AcqRel) < self.limits.requests_max;
        if !accepted {
            self.answered();
        }
        accepted
    }

    pub(super) fn answered(&self) {
        self.unanswered.fetch_sub(1, Ordering::AcqRel);
    }

    /// The session of a worker, or a new one of its node's program.
    pub(super) fn take_session(&self, worker: usize, node: usize) -> Option<Session> {
        let kept = &self.sessions.get(worker)?.session;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        kept.or_else(|| Some(Session::new(Arc::clone(self.programs.get(node)?))))
    }

    /// Keeps a session for the worker's next batch, and counts what its buffers take by now.
    pub(super) fn keep_session(&self, worker: usize, session: Session) {
        let Some(kept) = self.sessions.get(worker) else { return };
        let new = session.bytes() as u64;
        let old = kept.bytes.swap(new, Ordering::Relaxed);
        if new != old {
            self.resident.residents.change(old, new);
        }
        *kept.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }
}

impl Drop for LoadedModel {
    fn drop(&mut self) {
        self.resident.residents.change(self.session_bytes(), 0);
    }
}

impl fmt::Debug for LoadedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadedModel")
            .field("id", &self.id)
            .field("version", &self.version)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
