//! Owns the joint of the API's keys, the store that keeps them and the gateway that asks for them.
//!
//! Refuses to know how a key is made. Bound: the queue of the thread that changes them.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::Value;
use truststram_api::ports::{Failure, KeyChange, Keys, StoreFailure, TokenAsk, TokenGiven};
use truststram_base::{Clock, Identity, Kind, Role, Scopes, UserId};
use truststram_proxy::{Authority, Live, day_of};
use truststram_store::Store;

use super::background::Background;
use crate::keys::{self, KeyError, signers};
use crate::quotas;

/// The keys as the API sees them.
pub struct StoredKeys {
    /// Where they are kept.
    pub store: Arc<Store>,
    /// What requests are held against.
    pub authority: Arc<Authority>,
    /// The thread that changes them, one change at a time.
    pub thread: Arc<Background>,
    /// Whose limits count what keys use of a day.
    pub live: Arc<Live>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seconds for which a token is good, at most.
    pub token_ttl_s: u32,
}

fn done_to(change: &KeyChange) -> &'static str {
    match change {
        KeyChange::Create(_) => "made",
        KeyChange::Rotate(..) => "given another secret",
        KeyChange::Revoke(_) => "revoked",
    }
}

type Answered = BoxFuture<'static, Result<Value, StoreFailure>>;

impl Keys for StoredKeys {
    fn list(&self) -> Answered {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        let (zones, day) = (self.live.zones().days, day_of(self.clock.utc_us()));
        let listed = move || {
            let last_used_us = |id: &str| authority.keys().last_used_us(id);
            let used_today = |id: &str, user: &UserId| quotas::used_now(&zones, day, id, user);
            keys::list(&store, last_used_us, used_today)
        };
        of(self.thread.run(listed))
    }

    fn change(&self, change: KeyChange) -> Answered {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        let clock = self.clock.clone();
        of(self.thread.run(move || {
            let changed = keys::change(&store, &change, clock.utc_us())?;
            tracing::info!(key = %changed.id, "an API key was {}", done_to(&change));
            match changed.record {
                Some(record) => authority.keys().put(record),
                None => authority.keys().remove(&changed.id),
            }
            Ok(changed.shown)
        }))
    }

    fn rotate_signer(&self) -> Answered {
        let (store, authority) = (self.store.clone(), self.authority.clone());
        let clock = self.clock.clone();
        of(self.thread.run(move || {
            authority.signers().replace(&signers::rotate(&store, clock.utc_us())?);
            Ok(authority.signers().jwks())
        }))
    }

    fn token(&self, identity: &Identity, ask: &TokenAsk) -> Result<TokenGiven, StoreFailure> {
        let invalid = |detail: String| StoreFailure { kind: Kind::Invalid, detail };
        let scopes = match &ask.scopes {
            None => identity.scopes,
            Some(names) => Scopes::named(names.iter().map(String::as_str))
                .map_err(|error| invalid(format!("scopes: {error}")))?,
        };
        if !identity.scopes.covers(scopes) {
            let held = identity.scopes;
            return Err(invalid(format!("scopes: the key has {held}, and cannot give more")));
        }
        let role = match ask.role.as_deref() {
            None => identity.role,
            Some(name) => Role::named(name).map(Some).ok_or_else(|| {
                invalid(format!("role: `{name}` is no role; known: viewer, operator, admin"))
            })?,
        };
        if role > identity.role {
            return Err(invalid("role: the key has not so much to give".to_owned()));
        }
        let ttl_s = ask.ttl_s.unwrap_or(self.token_ttl_s);
        if !(1..=self.token_ttl_s).contains(&ttl_s) {
            let most = self.token_ttl_s;
            return Err(invalid(format!("ttl_s: must be 1 to {most} (auth.token_ttl_s)")));
        }
        let now_us = self.clock.utc_us();
        let text = self.authority.signers().issue(identity, scopes, role, now_us, ttl_s);
        let text = text.ok_or_else(|| StoreFailure {
            kind: Kind::Internal,
            detail: "no token can be signed now".to_owned(),
        })?;
        Ok(TokenGiven { text, ttl_s, scopes })
    }

    fn jwks(&self) -> Value {
        self.authority.signers().jwks()
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
