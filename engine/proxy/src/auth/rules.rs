//! Owns what the configuration says of authentication, as far as a reload exchanges it.
//!
//! Refuses to know keys of ours. Bound: one list of paths, one of issuers.

use std::sync::Arc;

use super::certificate::HolderSpec;
use super::fetched::Fetched;
use super::issuer::{Issuer, IssuerSpec};
use crate::route::path::normalise;
use crate::route::spec::Fault;

use http::Method;

/// Whom the public side lets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthSpec {
    /// Whether a request must say who it is from, unless its route says otherwise.
    pub is_required: bool,
    /// Paths of this process that everybody may ask for, with all below them.
    pub open: Vec<String>,
    /// Others whose tokens are believed.
    pub issuers: Vec<IssuerSpec>,
    /// Those who come by client certificates.
    pub holders: Vec<HolderSpec>,
}

/// What a route says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteAuth {
    /// Whether a request must say who it is from; `None` for what holds without the route.
    pub is_required: Option<bool>,
    /// Whether the upstream server sees the credential.
    pub forwards: bool,
    /// Whether the connection must have shown a certificate of the authorities of clients.
    pub needs_certificate: bool,
}

/// The compiled rules.
#[derive(Debug, Default)]
pub(crate) struct AuthRules {
    pub(crate) is_required: bool,
    open: Vec<String>,
    pub(crate) issuers: Vec<Issuer>,
    pub(crate) holders: Vec<HolderSpec>,
}

impl AuthRules {
    /// Sets of keys that `before` has fetched stay.
    pub(crate) fn compile(spec: &AuthSpec, before: Option<&Self>, faults: &mut Vec<Fault>) -> Self {
        for path in &spec.open {
            if normalise(&Method::GET, path) != Ok(None) {
                let message = format!("`{path}` is not a path in its plain form");
                faults.push(Fault::new("auth.open", message));
            }
        }
        let open = spec.open.iter().map(|path| path.trim_end_matches('/').to_owned());
        let mut issuers = Vec::new();
        for (index, one) in spec.issuers.iter().enumerate() {
            let key = format!("auth.issuers[{index}]");
            if issuers.iter().any(|known: &Issuer| known.is_named(&one.issuer)) {
                faults.push(Fault::new(format!("{key}.issuer"), "is there already"));
            }
            issuers.extend(Issuer::compile(one, &key, before, faults));
        }
        Self {
            is_required: spec.is_required,
            open: open.collect(),
            issuers,
            holders: spec.holders.clone(),
        }
    }

    /// The sets of keys that are fetched.
    pub(crate) fn fetched(&self) -> impl Iterator<Item = &Arc<Fetched>> {
        self.issuers.iter().filter_map(|issuer| issuer.fetched().map(|(_, set)| set))
    }

    /// Whether everybody may ask for `path`.
    pub(crate) fn is_open(&self, path: &str) -> bool {
        self.open.iter().any(|open| {
            let below = path.strip_prefix(open.as_str());
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_path_is_open_with_all_below_it() {
        let open = vec!["/v2/".to_owned(), "/docs".to_owned()];
        let spec = AuthSpec { open, is_required: true, ..AuthSpec::default() };
        let mut faults = Vec::new();
        let rules = AuthRules::compile(&spec, None, &mut faults);
        let open = |path: &str| rules.is_open(path);
        assert!(open("/v2") && open("/v2/models") && open("/docs"));
        assert!(!open("/v20") && !open("/") && !open("/api/v2"));
        assert_eq!(faults, []);
        let spec = AuthSpec { open: vec!["/a/../b".to_owned()], ..spec };
        AuthRules::compile(&spec, None, &mut faults);
        assert_eq!(faults[0].key, "auth.open");
    }
}
