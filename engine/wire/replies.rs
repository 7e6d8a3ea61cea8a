//! Owns the way of answers back from workers to network threads.
//!
//! A worker that completed each request's future itself would write to the network thread's event
//! descriptor once per request. Instead it puts a batch's answers into the thread's mailbox and
//! wakes it once; a task there completes the futures, which on their own thread costs no system
//! call. Refuses to know what an answer is. Bound: a mailbox holds at most the requests that the
//! inference queue accepted.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

thread_local! {
    /// Which network thread this is, if it is one.
    static NETWORK_THREAD: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Which network thread the calling one is, if it is one.
pub fn network_thread() -> Option<usize> {
    NETWORK_THREAD.get()
}

/// One answer and the future that waits for it.
type Parcel<T> = (oneshot::Sender<T>, T);

/// The answers that wait for one network thread.
struct Mailbox<T> {
    parcels: Mutex<Vec<Parcel<T>>>,
    arrived: Notify,
}

/// The mailboxes of all network threads.
pub struct Replies<T> {
    mailboxes: Vec<Mailbox<T>>,
}

/// Where one answer goes.
pub struct Address<T> {
    future: oneshot::Sender<T>,
    network_thread: Option<usize>,
}

impl<T: Send + 'static> Replies<T> {
    /// Mailboxes for `network_threads` threads.
    pub fn new(network_threads: usize) -> Arc<Self> {
        let mailbox = || Mailbox { parcels: Mutex::new(Vec::new()), arrived: Notify::new() };
        Arc::new(Self { mailboxes: (0..network_threads).map(|_| mailbox()).collect() })
    }

    /// Makes the calling thread network thread `index`: starts the task that empties its mailbox.
    /// Must be called inside the thread's event loop.
    pub fn adopt_thread(self: &Arc<Self>, index: usize) {
        NETWORK_THREAD.set(Some(index));
        let replies = self.clone();
        tokio::spawn(async move {
            let mailbox = &replies.mailboxes[index];
            let mut parcels = Vec::new();
            loop {
                mailbox.arrived.notified().await;
                std::mem::swap(&mut *lock(&mailbox.parcels), &mut parcels);
                for (future, answer) in parcels.drain(..) {
                    // The client may have gone; then nobody waits.
                    let _ = future.send(answer);
                }
            }
        });
    }

    /// An address for an answer to the calling thread, and the future to wait on.
    pub fn address(&self) -> (Address<T>, oneshot::Receiver<T>) {
        let (future, waiting) = oneshot::channel();
        (Address { future, network_thread: network_thread() }, waiting)
    }
}

/// Answers on their way from one worker; sorted by network thread, sent together.
pub struct Outbox<T> {
    replies: Arc<Replies<T>>,
    by_thread: Vec<Vec<Parcel<T>>>,
}

impl<T: Send + 'static> Outbox<T> {
    /// An empty outbox.
    pub fn new(replies: Arc<Replies<T>>) -> Self {
        let by_thread = replies.mailboxes.iter().map(|_| Vec::new()).collect();
        Self { replies, by_thread }
    }

    /// Adds one answer.
    pub fn put(&mut self, address: Address<T>, answer: T) {
        match address.network_thread {
            Some(index) if network_thread() != Some(index) => {
                self.by_thread[index].push((address.future, answer));
            }
            // Nobody is there to be woken, or it is this thread that waits.
            _ => {
                let _ = address.future.send(answer);
            }
        }
    }

    /// Sends what was added, waking each network thread at most once.
    pub fn send(&mut self) {
        for (mailbox, parcels) in self.replies.mailboxes.iter().zip(&mut self.by_thread) {
            if parcels.is_empty() {
                continue;
            }
            lock(&mailbox.parcels).append(parcels);
            mailbox.arrived.notify_one();
        }
    }
}

/// A list of parcels is whole at every moment, so a poisoned lock is sound.
fn lock<T>(parcels: &Mutex<Vec<Parcel<T>>>) -> std::sync::MutexGuard<'_, Vec<Parcel<T>>> {
    parcels.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_reach_their_thread_and_threads_that_are_none() {
        let replies = Replies::<u32>::new(1);
        let (outside, outside_waiting) = replies.address();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            replies.adopt_thread(0);
            let (inside, inside_waiting) = replies.address();
            let (here, mut here_waiting) = replies.address();
            let mut outbox = Outbox::new(replies.clone());
            outbox.put(here, 3);
            assert_eq!(here_waiting.try_recv(), Ok(3), "its own answer waits for no mail");
            let mut outbox = std::thread::scope(|scope| {
                let worker = scope.spawn(|| {
                    outbox.put(inside, 1);
                    outbox.put(outside, 2);
                    outbox
                });
                worker.join().unwrap()
            });
            outbox.send();
            assert_eq!(inside_waiting.await, Ok(1));
            assert_eq!(outside_waiting.await, Ok(2));
        });
        NETWORK_THREAD.set(None);
    }
}
