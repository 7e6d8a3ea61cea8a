//! Owns the thread that reads the strain of the machine and says which figure has come to its
//! limit.
//!
//! Refuses to read on a request's path. Bound: one reading a second, none where nothing is limited.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use truststram_machine::Priority;

use super::spec::{Strain, StrainSource};
use crate::background::{self, Background};
use crate::error::ProxyError;
use crate::gateway::Stop;
use crate::live::Live;

const EVERY: Duration = Duration::from_secs(1);

/// Starts the thread; it ends with `stop`.
pub(crate) fn start(
    live: &Arc<Live>,
    read: &StrainSource,
    stop: &watch::Receiver<Stop>,
) -> Result<Background, ProxyError> {
    let (live, read, stop) = (live.clone(), read.clone(), stop.clone());
    background::start("overload", Priority::Normal, move || async move {
        keep(&live, &read, stop).await;
    })
}

async fn keep(live: &Live, read: &StrainSource, mut stop: watch::Receiver<Stop>) {
    let mut changed = live.changes();
    loop {
        let limits = live.table().overload.as_ref().map(|spec| spec.strain_max);
        let limits = limits.filter(|limits| !limits.is_empty());
        let reached = limits.and_then(|limits| read().reached(&limits));
        let before = live.strained();
        live.valve().set_strained(reached);
        match (before, reached.map(Strain::name)) {
            (None, Some(what)) => tracing::warn!(what, "under strain: low priorities are refused"),
            (Some(what), None) => tracing::info!(what, "the strain is over"),
            _ => {}
        }
        let rest = async {
            match limits {
                Some(_) => tokio::time::sleep(EVERY).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop != Stop::Serve) => return,
            seen = changed.changed() => if seen.is_err() { return },
            () = rest => {}
        }
    }
}
