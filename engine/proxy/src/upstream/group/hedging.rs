//! Owns which servers of a group may be asked beside one that has not answered yet, and how often.
//!
//! Refuses to ask servers that rest. Bound: a share of all requests, within that of retries.

use super::{Ask, Group, Lease};
use crate::upstream::rotation::Servers;
use crate::upstream::spec::Policy;

impl Group {
    /// The servers that may be asked beside those that were tried: sound ones, and backups only
    /// where all of these are backups.
    pub(crate) fn others(&self, ask: &Ask) -> Servers {
        let mut found = [0, 0];
        for (place, server) in self.servers.iter().enumerate() {
            if !server.spec.drain && server.may_be_asked(ask.now_us) {
                found[usize::from(server.spec.backup)] |= 1 << place;
            }
        }
        found.into_iter().find(|servers| *servers != 0).unwrap_or(0) & !ask.tried
    }

    /// Whether a second server may be asked by both budgets; it is then taken from them.
    pub(crate) fn may_hedge(&self) -> bool {
        let may = self.hedges.as_ref().is_some_and(|hedges| {
            let is_within = hedges.take();
            let may = is_within && self.budget.take();
            if is_within && !may {
                hedges.give_back();
            }
            may
        });
        if !may {
            self.stats.hedges_refused.add(1);
        }
        may
    }
}

impl Lease {
    /// Another server's answer was taken: this one would have taken longer than until now.
    pub(crate) fn lost(&self, now_us: u64) {
        if self.group.spec.policy == Policy::Ewma {
            let latency_us = now_us.saturating_sub(self.began_us);
            self.server().state.health().measured_at_least(latency_us, now_us);
        }
    }
}
