//! Owns what is kept of decisions, so that they can be asked again: runs of questions that one
//! instance was asked one after the other, with what it had learnt before the first of them.
//!
//! Refuses to know where runs are kept; a [`DecisionLog`] does. Bound: one open run for each
//! instance, of `Kind::RUN_QUESTIONS` questions and [`RUN_BYTES_MAX`]; for kinds that are asked
//! often one run per interval and plugin is opened.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::stats::Refusal;

/// Most bytes of one run; a larger one is dropped and counted.
pub const RUN_BYTES_MAX: usize = 4 << 20;

/// Where runs are kept.
pub trait DecisionLog: Send + Sync {
    /// Takes the encoded run of a plugin and returns whether there was room. Called on the thread
    /// of the decision, so it must not wait.
    fn keep(&self, plugin: &str, run: Vec<u8>) -> bool;
}

/// Questions that one instance was asked one after the other.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(bound = "")]
pub struct Run<K: Kind> {
    /// The name of the kind.
    pub kind: String,
    /// SHA-256 of the component, in hexadecimal.
    pub sha256: String,
    /// The settings, the text of one JSON object.
    pub settings_json: String,
    /// When the first question was asked, microseconds since 1970.
    pub begun_us: i64,
    /// Where the sequence of seeds stood before the first question.
    pub seed: u64,
    /// What the instance had learnt before the first question: its snapshot.
    pub state: Vec<u8>,
    /// The questions in their order.
    pub decisions: Vec<Decided<K>>,
}

/// One question and what became of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(bound = "")]
pub struct Decided<K: Kind> {
    /// What was asked.
    pub question: K::Question,
    /// What was answered, or why nothing was.
    pub answer: Result<K::Answer, Refusal>,
    /// Time of the call, nanoseconds.
    pub elapsed_ns: u64,
}

impl<K: Kind> Run<K> {
    /// The run as bytes; none if they are too many.
    fn encode(&self) -> Option<Vec<u8>> {
        postcard::to_stdvec(self).ok().filter(|bytes| bytes.len() <= RUN_BYTES_MAX)
    }

    /// Reads what a [`DecisionLog`] was given; none if it is no run of this kind.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        // The kind comes first, and the questions of another kind may look like those of this one.
        let (kind, _) = postcard::take_from_bytes::<&str>(bytes).ok()?;
        if kind != K::NAME {
            return None;
        }
        postcard::from_bytes(bytes).ok()
    }
}

/// When runs are opened, and where they go.
pub(crate) struct Recording {
    log: Arc<dyn DecisionLog>,
    every_us: u64,
    origin: Instant,
    next_us: AtomicU64,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("every_us", &self.every_us).finish_non_exhaustive()
    }
}

impl Recording {
    /// Runs of a kind of which all is recorded are opened by every question.
    pub(crate) fn new<K: Kind>(log: Arc<dyn DecisionLog>, every: Duration) -> Self {
        let every_us = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
        let every_us = if K::RUN_QUESTIONS > 1 { every_us } else { 0 };
        Self { log, every_us, origin: Instant::now(), next_us: AtomicU64::new(0) }
    }

    /// Whether a run begins now; says so to one caller for each interval.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        if self.every_us == 0 {
            return true;
        }
        let elapsed = now.saturating_duration_since(self.origin).as_micros();
        let now_us = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let next_us = self.next_us.load(Ordering::Relaxed);
        let following = now_us.saturating_add(self.every_us);
        now_us >= next_us
            && self
                .next_us
                .compare_exchange(next_us, following, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Hands a run over and returns whether it was taken.
    pub(crate) fn keep<K: Kind>(&self, plugin: &str, run: &Run<K>) -> bool {
        run.encode().is_some_and(|bytes| self.log.keep(plugin, bytes))
    }
}
