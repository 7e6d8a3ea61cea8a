//! Owns the choice of the index that answers a query.
//!
//! An owner's versions are few and come in the order of the list, so an owner's index comes first,
//! then metadata and tags, then the type, then the time alone. Where two are possible and one of
//! them goes by terms, both are counted up to [`PROBE_MAX`] and the shorter is taken.
//! Refuses to know how an index is walked. Bound: [`TERMS_MAX`].

use std::collections::BTreeSet;

use super::ModelQuery;
use crate::containment::{Json, JsonPattern};
use crate::registry::index::{Index, owner_type, tag_term, term_position};
use crate::registry::rows::LAST_TEXT;

/// Most terms that candidates are found by; the comparison looks at the rest.
pub(super) const TERMS_MAX: usize = 16;
/// Entries that are counted to compare two ways.
pub(super) const PROBE_MAX: usize = 64;

/// A key that bounds a range of an index.
pub(super) type Bound = (String, i64, String, u32);

/// A way to the candidates.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Access {
    /// No version can match.
    Nothing,
    /// A range of an index in the order of the list, walked from its end; the upper bound is not
    /// part of it.
    Ordered { index: Index, from: Bound, before: Bound },
    /// A range of the index by type and version; in its own order.
    Type { from: Bound, before: Bound },
    /// The versions that have all of these terms; in the order of ids.
    Terms(Vec<i64>),
}

impl Access {
    pub(super) fn index_name(&self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Ordered { index, .. } => index.name(),
            Self::Type { .. } => Index::TypeVersion.name(),
            Self::Terms(_) => Index::Json.name(),
        }
    }
}

/// The ways that answer `query`, the best first.
pub(super) fn ways(query: &ModelQuery) -> Vec<Access> {
    let pattern = query.metadata_contains.as_ref();
    // Metadata is an object, and only an object is contained in one.
    if pattern.is_some_and(|pattern| !matches!(pattern.json(), Json::Object(_))) {
        return vec![Access::Nothing];
    }
    let mut terms: BTreeSet<i64> =
        query.tags.iter().map(|tag| term_position(tag_term(tag))).collect();
    terms
        .extend(pattern.map(JsonPattern::terms).unwrap_or_default().into_iter().map(term_position));
    let by_terms = Access::Terms(terms.into_iter().take(TERMS_MAX).collect());
    let has_terms = by_terms != Access::Terms(Vec::new());
    let plain = match (&query.owner, &query.architecture) {
        (Some(owner), _) if query.active_only => ordered(query, Index::OwnerActive, owner.as_str()),
        (Some(owner), Some(kind)) => {
            ordered(query, Index::OwnerType, &owner_type(owner.as_str(), kind))
        }
        (Some(owner), None) => ordered(query, Index::Owner, owner.as_str()),
        (None, Some(kind)) => by_type(query, kind),
        (None, None) if has_terms => return vec![by_terms],
        (None, None) if query.active_only => ordered(query, Index::ActiveRecent, ""),
        (None, None) => ordered(query, Index::Created, ""),
    };
    if has_terms { vec![plain, by_terms] } else { vec![plain] }
}

fn ordered(query: &ModelQuery, index: Index, group: &str) -> Access {
    let from = (group.to_owned(), query.created_since_us.unwrap_or(i64::MIN), String::new(), 0);
    let before = match &query.before {
        Some(place) => {
            let id = place.id.as_str().to_owned();
            (group.to_owned(), place.created_us, id, place.version.0)
        }
        None => (group.to_owned(), i64::MAX, LAST_TEXT.to_owned(), 0),
    };
    // A page that begins before the time that is asked for is empty.
    if from < before { Access::Ordered { index, from, before } } else { Access::Nothing }
}

fn by_type(query: &ModelQuery, kind: &str) -> Access {
    let (first, last) = match query.version {
        Some(version) => (version.0, version.0),
        None => (0, u32::MAX),
    };
    let from = (kind.to_owned(), first.into(), String::new(), 0);
    let before = (kind.to_owned(), last.into(), LAST_TEXT.to_owned(), 0);
    Access::Type { from, before }
}
