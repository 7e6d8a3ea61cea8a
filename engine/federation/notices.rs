//! Owns what others see of the federation: its status, and its events as they happen.
//!
//! Refuses to know who watches. Bound: those of the events.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use futures_util::stream::BoxStream;
use serde_json::Value;

use crate::events::{Events, event};

/// There is one federation at a time.
const TOPIC: u64 = 0;

/// The board that the federation's thread writes on.
pub struct Notices {
    status: Mutex<Value>,
    served: Mutex<PathBuf>,
    events: Events,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Notices {
    /// An empty board.
    pub fn new(watchers_max: u32) -> Self {
        Self {
            status: Mutex::new(Value::Null),
            served: Mutex::default(),
            events: Events::new(watchers_max),
        }
    }

    /// Where the federation stands.
    pub fn status(&self) -> Value {
        lock(&self.status).clone()
    }

    /// The folder of the models that clients fetch.
    pub fn served(&self) -> PathBuf {
        lock(&self.served).clone()
    }

    pub(super) fn set_status(&self, status: Value) {
        *lock(&self.status) = status;
    }

    pub(super) fn set_served(&self, folder: PathBuf) {
        *lock(&self.served) = folder;
    }

    /// Tells who watches.
    pub(super) fn tell(&self, name: &str, data: &Value) {
        self.events.tell(TOPIC, name, data);
    }

    /// Ends all watching.
    pub fn close(&self) {
        self.events.close();
    }

    /// What happens from now on; none where too many watch, or after the end.
    pub fn watch(&self) -> Option<BoxStream<'static, String>> {
        self.events.watch(TOPIC, || (event("status", &self.status()), true))
    }
}
