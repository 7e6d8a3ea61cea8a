//! Owns events as they happen, told to whoever watches, in the form of server-sent events.
//!
//! Refuses to keep events for who is late: it is told that some are missing. Bound:
//! [`EVENTS_KEPT`] events, the watchers of the configuration.

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

/// The way from those who tell to those who watch.
pub struct Events {
    told: Mutex<Option<broadcast::Sender<Told>>>,
    watchers: Arc<Semaphore>,
}

/// Something that happened to one thing of several.
#[derive(Clone)]
struct Told {
    topic: u64,
    text: Arc<str>,
    is_last: bool,
}

/// An event as its watchers read it.
pub fn event(name: &str, data: &Value) -> String {
    format!("event: {name}\ndata: {data}\n\n")
}

impl Events {
    /// For so many watchers at a time.
    pub fn new(watchers_max: u32) -> Self {
        Self {
            told: Mutex::new(Some(broadcast::channel(EVENTS_KEPT).0)),
            watchers: Arc::new(Semaphore::new(watchers_max as usize)),
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Option<broadcast::Sender<Told>>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells who watches a topic.
    pub fn tell(&self, topic: u64, name: &str, data: &Value) {
        self.send(Told { topic, text: event(name, data).into(), is_last: false });
    }

    /// Tells who watches a topic that this was the last of it.
    pub fn end(&self, topic: u64, name: &str, data: &Value) {
        self.send(Told { topic, text: event(name, data).into(), is_last: true });
    }

    fn send(&self, told: Told) {
        if let Some(events) = &*self.told() {
            // Nobody may be watching.
            let _ = events.send(told);
        }
    }

    /// Ends all watching.
    pub fn close(&self) {
        *self.told() = None;
    }

    /// What happens to a topic from now on; none where too many watch, or after the end. `first`
    /// is asked when nothing can be missed any more, and says whether there is more to come.
    pub fn watch(
        &self,
        topic: u64,
        first: impl FnOnce() -> (String, bool),
    ) -> Option<BoxStream<'static, String>> {
        let permit = self.watchers.clone().try_acquire_owned().ok()?;
        let events = self.told().as_ref()?.subscribe();
        let (first, is_more) = first();
        let watcher = is_more.then_some(Watcher { topic, events, _permit: permit });
        let rest = stream::unfold(watcher, next);
        Some(stream::iter([first]).chain(rest).boxed())
    }
}

struct Watcher {
    topic: u64,
    events: broadcast::Receiver<Told>,
    _permit: OwnedSemaphorePermit,
}

async fn next(watcher: Option<Watcher>) -> Option<(String, Option<Watcher>)> {
    let mut watcher = watcher?;
    loop {
        let text = match tokio::time::timeout(STILL_HERE, watcher.events.recv()).await {
            Err(_) => ": still here\n\n".to_owned(),
            Ok(Ok(told)) if told.topic != watcher.topic => continue,
            Ok(Ok(told)) if told.is_last => return Some((told.text.as_ref().to_owned(), None)),
            Ok(Ok(told)) => told.text.as_ref().to_owned(),
            Ok(Err(RecvError::Lagged(count))) => format!(": {count} events were missed\n\n"),
            Ok(Err(RecvError::Closed)) => return None,
        };
        return Some((text, Some(watcher)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(stream: BoxStream<'static, String>) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(stream.collect())
    }

    #[test]
    fn a_watcher_sees_its_topic_to_the_end_and_no_other() {
        let events = Events::new(2);
        let watch = |topic| events.watch(topic, || ("first".to_owned(), true));
        let (one, two) = (watch(1).unwrap(), watch(2).unwrap());
        assert!(watch(1).is_none(), "too many watch");
        events.tell(1, "step", &json!(1));
        events.tell(2, "step", &json!(2));
        events.end(1, "state", &json!("done"));
        events.tell(1, "step", &json!("never seen"));
        let step = event("step", &json!(1));
        assert_eq!(read(one), ["first".to_owned(), step, event("state", &json!("done"))]);
        let over = events.watch(1, || ("all".to_owned(), false)).unwrap();
        assert_eq!(read(over), ["all"]);
        events.close();
        assert_eq!(read(two), ["first".to_owned(), event("step", &json!(2))]);
        assert!(watch(1).is_none(), "it is closed");
    }
}
