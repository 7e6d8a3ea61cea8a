//! Owns what others see of the federation: its status, and its events as they happen.
//!
//! Refuses to keep events for who is late: it is told that some are missing. Bound:
//! [`EVENTS_KEPT`] events, the watchers of the configuration.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const EVENTS_KEPT: usize = 256;
/// How often a watcher is told that the line is alive.
const STILL_HERE: Duration = Duration::from_secs(15);

/// The board that the federation's thread writes on.
pub struct Notices {
    status: Mutex<Value>,
    served: Mutex<PathBuf>,
    events: Mutex<Option<broadcast::Sender<Arc<str>>>>,
    watchers: Arc<Semaphore>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl Notices {
    /// An empty board.
    pub fn new(watchers_max: u32) -> Self {
        Self {
            status: Mutex::new(Value::Null),
            served: Mutex::default(),
            events: Mutex::new(Some(broadcast::channel(EVENTS_KEPT).0)),
            watchers: Arc::new(Semaphore::new(watchers_max as usize)),
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
        if let Some(events) = &*lock(&self.events) {
            // Nobody may be watching.
            let _ = events.send(event(name, data).into());
        }
    }

    /// Ends all watching.
    pub fn close(&self) {
        *lock(&self.events) = None;
    }

    /// What happens from now on; none where too many watch, or after the end.
    pub fn watch(&self) -> Option<BoxStream<'static, String>> {
        let permit = self.watchers.clone().try_acquire_owned().ok()?;
        let events = lock(&self.events).as_ref()?.subscribe();
        let first = event("status", &self.status());
        let rest = stream::unfold((events, permit), next);
        Some(stream::iter([first]).chain(rest).boxed())
    }
}

type Watcher = (broadcast::Receiver<Arc<str>>, OwnedSemaphorePermit);

async fn next((mut events, permit): Watcher) -> Option<(String, Watcher)> {
    let text = match tokio::time::timeout(STILL_HERE, events.recv()).await {
        Err(_) => ": still here\n\n".to_owned(),
        Ok(Ok(text)) => text.as_ref().to_owned(),
        Ok(Err(RecvError::Lagged(count))) => format!(": {count} events were missed\n\n"),
        Ok(Err(RecvError::Closed)) => return None,
    };
    Some((text, (events, permit)))
}
