//! Owns one worker's copy of one model, with the requests that wait for it.
//!
//! Refuses to know other workers. Bound: built, used and dropped on the worker's thread, so that
//! the thread's memory policy decides where the weights lie.

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Weak};

use super::inbox::Queued;
use super::registry::ReplicaKey;
use crate::dense::DenseNet;
use crate::error::ModelError;
use crate::file::ModelFile;
use crate::spec::ModelSpec;

/// Bytes of a model file, shared by the workers while they build.
pub type SharedBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// The order to build a replica.
pub struct Load {
    pub key: ReplicaKey,
    pub alive: Weak<()>,
    pub bytes: SharedBytes,
    pub done: SyncSender<Result<Arc<ModelSpec>, ModelError>>,
}

impl std::fmt::Debug for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Load").field("key", &self.key).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug)]
pub struct Replica<T> {
    pub key: ReplicaKey,
    pub net: DenseNet,
    /// Each with its place in the worker's order of arrival.
    pub queue: VecDeque<(u64, Queued<T>)>,
    alive: Weak<()>,
}

impl<T> Replica<T> {
    /// Reads the file and builds the network, both on the calling thread.
    pub fn build(load: &Load, batch_max: usize) -> Result<Self, ModelError> {
        let file = ModelFile::parse(load.bytes.as_ref().as_ref())?;
        let net = DenseNet::new(file, batch_max)?;
        Ok(Self { key: load.key, net, queue: VecDeque::new(), alive: Weak::clone(&load.alive) })
    }

    /// Whether any handle still names the model; a queued request is such a handle.
    pub fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}
