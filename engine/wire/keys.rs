//! Owns the joint of the API's keys, the store that keeps them and the gateway that asks for them.
//!
//! Refuses to know how a key is made. Bound: the queue of the thread that changes them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::Value;
use truststram_api::ports::{Failure, KeyChange, Keys, StoreFailure};
use truststram_base::Clock;
use truststram_proxy::Authority;
use truststram_store::Store;

use super::background::Background;
use crate::keys::{self, KeyError};

/// The keys as the API sees them.
pub struct StoredKeys {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// What requests are held against.
    pub authority: Arc<Authority>,
    /// The thread that changes them, one change at a time.
    pub thread: Arc<Background>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

type Answered = BoxFuture<'static, Result<Value, StoreFailure>>;

impl Keys for StoredKeys {
    fn list(&self) -> Answered {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        let listed = move || keys::list(&store, |id| authority.keys().last_used_us(id));
        of(self.thread.run(listed))
    }

    fn change(&self, change: KeyChange) -> Answered {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        let clock = self.clock.clone();
        of(self.thread.run(move || {
            let changed = keys::change(&store, &change, clock.utc_us())?;
            match changed.record {
                Some(record) => authority.keys().put(record),
                None => authority.keys().remove(&changed.id),
            }
            Ok(changed.shown)
        }))
    }
}

fn of(done: BoxFuture<'static, Result<Result<Value, KeyError>, Failure>>) -> Answered {
    let failed = |error: KeyError| StoreFailure { kind: error.kind(), detail: error.to_string() };
    done.map(move |done| match done {
        Ok(result) => result.map_err(failed),
        Err(failure) => Err(failure.into()),
    })
    .boxed()
}
