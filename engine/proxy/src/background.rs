//! Owns how the threads beside those of the network begin: each has an event loop of its own, and
//! ends with what it runs there.
//!
//! Refuses to know what that is. Bound: one task a thread, and those that it starts.

use truststram_machine::{Priority, Thread, ThreadSpec, spawn};

use crate::error::ProxyError;

/// A thread that does one thing until it is told to stop.
pub(crate) type Background = Thread<Result<(), ProxyError>>;

/// Starts a thread that runs what `begin` makes.
pub(crate) fn start<F: Future<Output = ()>>(
    name: &str,
    priority: Priority,
    begin: impl FnOnce() -> F + Send + 'static,
) -> Result<Background, ProxyError> {
    let spec = ThreadSpec { name: name.to_owned(), priority, ..ThreadSpec::default() };
    Ok(spawn(spec, move |_placement| {
        event_loop()?.block_on(begin());
        Ok(())
    })?)
}

/// An event loop for this thread.
pub(crate) fn event_loop() -> Result<tokio::runtime::Runtime, ProxyError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(ProxyError::EventLoop)
}
