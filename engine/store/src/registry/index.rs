//! Owns the indexes of the registered versions: their tables, keys and values, and what an entry
//! has in each.
//!
//! ```text
//! table            group         position      for the guide's
//! m_owner          owner         created_us    idx_models_owner_created, idx_models_list_covering
//! m_owner_active   owner         created_us    the same, active versions only
//! m_owner_type     owner NUL type  created_us  idx_models_owner_type_status
//! m_created        ""            created_us    idx_models_created_at_btree
//! m_active_recent  ""            created_us    idx_models_active_recent, idx_models_status
//! m_type_version   type          version       idx_models_type_version
//! m_json           ""            term          idx_models_metadata_gin
//! ```
//!
//! All have the key (group, position, id, version). The value is an envelope around what a list
//! shows of a version, so that lists read no rows; around nothing in `m_json`. An index holds
//! nothing but what follows from one entry, so it can be made again and verified.
//! Refuses to know queries. Bound: terms of one entry by the length of its metadata.

use std::collections::BTreeMap;

use redb::{TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use truststram_base::{ModelEntry, ModelId, ModelVersion, UserId};

use super::list::ListedModel;
use crate::containment::{self, Json};
use crate::envelope::{self, HEADER_BYTES};
use crate::error::Damage;
use crate::stop::Stop;

pub(crate) type Key = (&'static str, i64, &'static str, u32);

/// One of the indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Index {
    Owner,
    OwnerActive,
    OwnerType,
    Created,
    ActiveRecent,
    TypeVersion,
    Json,
}

impl Index {
    pub(crate) const ALL: [Self; 7] = [
        Self::Owner,
        Self::OwnerActive,
        Self::OwnerType,
        Self::Created,
        Self::ActiveRecent,
        Self::TypeVersion,
        Self::Json,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Owner => "m_owner",
            Self::OwnerActive => "m_owner_active",
            Self::OwnerType => "m_owner_type",
            Self::Created => "m_created",
            Self::ActiveRecent => "m_active_recent",
            Self::TypeVersion => "m_type_version",
            Self::Json => "m_json",
        }
    }

    pub(crate) fn table(self) -> TableDefinition<'static, Key, &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// A key, owned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IndexKey {
    pub(crate) group: String,
    pub(crate) position: i64,
    pub(crate) id: String,
    pub(crate) version: u32,
}

impl IndexKey {
    pub(crate) fn new((group, position, id, version): (&str, i64, &str, u32)) -> Self {
        Self { group: group.to_owned(), position, id: id.to_owned(), version }
    }

    pub(crate) fn borrowed(&self) -> (&str, i64, &str, u32) {
        (&self.group, self.position, &self.id, self.version)
    }
}

/// Index entries by place, each with its frame.
pub(crate) type Entries = BTreeMap<(Index, IndexKey), Vec<u8>>;

/// What a list shows of a version beside its key.
#[derive(Serialize, Deserialize)]
struct Covering {
    owner: Option<UserId>,
    name: String,
    architecture: String,
    created_us: i64,
    active: bool,
}

/// The group of an owner's versions of one type. Neither text has control characters.
pub(crate) fn owner_type(owner: &str, architecture: &str) -> String {
    format!("{owner}\0{architecture}")
}

/// The position of a term: its bits, since only equality matters.
pub(crate) fn term_position(term: u64) -> i64 {
    term.cast_signed()
}

/// The term of a tag.
pub(crate) fn tag_term(tag: &str) -> u64 {
    containment::word_term("tag", tag)
}

/// Everything that the indexes hold of an entry, whose flag says whether it is active.
pub(crate) fn entries(entry: &ModelEntry) -> Result<Entries, Damage> {
    let covering = Covering {
        owner: entry.owner.clone(),
        name: entry.name.clone(),
        architecture: entry.architecture.clone(),
        created_us: entry.created_us,
        active: entry.active,
    };
    let covering = postcard::to_stdvec(&covering).map_err(|_| Damage::Value)?;
    let metadata = Json::parse_object(&entry.metadata_json).map_err(|_| Damage::Value)?;
    let mut found = Entries::new();
    let mut add = |index: Index, group: &str, position: i64, body: &[u8]| {
        let key = IndexKey::new((group, position, entry.id.as_str(), entry.version.0));
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend_from_slice(body);
        envelope::seal(context(index, key.borrowed()), &mut frame);
        found.insert((index, key), frame);
    };
    let created_us = entry.created_us;
    add(Index::Created, "", created_us, &covering);
    add(Index::TypeVersion, &entry.architecture, entry.version.0.into(), &covering);
    if entry.active {
        add(Index::ActiveRecent, "", created_us, &covering);
    }
    if let Some(owner) = entry.owner.as_ref().map(UserId::as_str) {
        add(Index::Owner, owner, created_us, &covering);
        add(Index::OwnerType, &owner_type(owner, &entry.architecture), created_us, &covering);
        if entry.active {
            add(Index::OwnerActive, owner, created_us, &covering);
        }
    }
    let tags = entry.tags.iter().map(|tag| tag_term(tag));
    for term in containment::terms(&metadata).into_iter().chain(tags) {
        add(Index::Json, "", term_position(term), &[]);
    }
    Ok(found)
}

/// Takes the tables from one set of entries to another, touching what differs.
pub(crate) fn change(
    transaction: &WriteTransaction,
    before: &Entries,
    after: &Entries,
) -> Result<(), Stop> {
    for index in Index::ALL {
        let of_index = |entry: &(&(Index, IndexKey), &Vec<u8>)| entry.0.0 == index;
        let mut table = transaction.open_table(index.table())?;
        for (place, _) in before.iter().filter(of_index) {
            if !after.contains_key(place) {
                table.remove(place.1.borrowed())?;
            }
        }
        for (place, frame) in after.iter().filter(of_index) {
            if before.get(place) != Some(frame) {
                table.insert(place.1.borrowed(), &frame[..])?;
            }
        }
    }
    Ok(())
}

/// What the entry at `key` shows.
pub(crate) fn listed(
    index: Index,
    key: (&str, i64, &str, u32),
    frame: &[u8],
) -> Result<ListedModel, Damage> {
    let body = envelope::open(context(index, key), frame)?;
    let covering: Covering = postcard::from_bytes(body).map_err(|_| Damage::Value)?;
    Ok(ListedModel {
        id: ModelId::new(key.2).map_err(|_| Damage::Value)?,
        version: ModelVersion(key.3),
        owner: covering.owner,
        name: covering.name,
        architecture: covering.architecture,
        created_us: covering.created_us,
        active: covering.active,
    })
}

/// Checks an entry whose value is empty.
pub(crate) fn check_empty(
    index: Index,
    key: (&str, i64, &str, u32),
    frame: &[u8],
) -> Result<(), Damage> {
    let body = envelope::open(context(index, key), frame)?;
    if body.is_empty() { Ok(()) } else { Err(Damage::Length) }
}

/// Binds a value to its table and key.
pub(crate) fn context(index: Index, (group, position, id, version): (&str, i64, &str, u32)) -> u64 {
    let outer = envelope::context(&[index.name(), group], position.cast_unsigned());
    envelope::context(&[id], outer.wrapping_add(version.into()))
}
