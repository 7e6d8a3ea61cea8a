//! Owns one run of a query over one snapshot: it walks the chosen index, drops what does not match,
//! reads the rows whose metadata or tags decide, and counts all of it.
//!
//! Refuses to know which index is best. Bound: as [`super`].

use redb::{ReadOnlyTable, ReadTransaction};
use truststram_base::ModelEntry;

use super::access::{self, Access, PROBE_MAX};
use super::{ListedModel, ModelPlan, ModelQuery};
use crate::database_file::DatabaseFile;
use crate::error::{Damage, StoreError};
use crate::registry::index::{self, Index, Key};
use crate::registry::rows::{self, ACTIVE, LAST_TEXT, MODELS, RowKey};
use crate::stop::Stop;

type IndexTable = ReadOnlyTable<Key, &'static [u8]>;

/// One run of a query.
pub(super) struct Run<'a> {
    file: &'a DatabaseFile,
    transaction: &'a ReadTransaction,
    query: &'a ModelQuery,
    pub(super) plan: ModelPlan,
}

/// The rows of the model tables, open to look inside.
struct Rows {
    models: ReadOnlyTable<RowKey, &'static [u8]>,
    active: ReadOnlyTable<&'static str, &'static [u8]>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        file: &'a DatabaseFile,
        transaction: &'a ReadTransaction,
        query: &'a ModelQuery,
    ) -> Self {
        Self { file, transaction, query, plan: ModelPlan::default() }
    }

    /// The page, and one row more if there is a further page.
    pub(super) fn rows(&mut self) -> Result<Vec<ListedModel>, Stop> {
        let access = self.choose(access::ways(self.query))?;
        self.plan.index = access.index_name();
        let mut newest = Newest::new(self.query.limit() + 1);
        match access {
            Access::Nothing => {}
            Access::Ordered { index, from, before } => {
                let is_whole = matches!(index, Index::Created | Index::ActiveRecent);
                let is_compared = self.query.looks_inside() || self.query.version.is_some();
                let is_narrowed = self.query.created_since_us.is_some();
                self.plan.is_scan = is_whole && is_compared && !is_narrowed;
                self.walk(index, &from, &before, |row| newest.push_in_order(row))?;
            }
            Access::Type { from, before } => {
                self.walk(Index::TypeVersion, &from, &before, |row| newest.push(row))?;
            }
            Access::Terms(terms) => {
                self.plan.terms = terms.len();
                self.intersect(&terms, |row| newest.push(row))?;
            }
        }
        Ok(newest.finish())
    }

    /// The shortest way, the first of equals.
    fn choose(&mut self, mut ways: Vec<Access>) -> Result<Access, Stop> {
        if ways.len() > 1 {
            let mut best = (0, usize::MAX);
            for (at, way) in ways.iter().enumerate() {
                let length = self.probe(way)?;
                if length < best.1 {
                    best = (at, length);
                }
            }
            return Ok(ways.swap_remove(best.0));
        }
        Ok(ways.pop().unwrap_or(Access::Nothing))
    }

    /// How many entries a way has, counted up to [`PROBE_MAX`]; of terms the rarest.
    fn probe(&mut self, way: &Access) -> Result<usize, Stop> {
        let count = |run: &mut Self, index: Index, from: KeyRef<'_>, before: KeyRef<'_>| {
            let table = run.table(index)?;
            let mut length = 0;
            for entry in table.range(from..before)?.take(PROBE_MAX) {
                entry?;
                length += 1;
            }
            run.plan.seeks += 1;
            run.plan.entries_read += u64::try_from(length).unwrap_or(u64::MAX);
            Ok(length)
        };
        match way {
            Access::Nothing => Ok(0),
            Access::Ordered { index, from, before } => {
                count(self, *index, key_ref(from), key_ref(before))
            }
            Access::Type { from, before } => {
                count(self, Index::TypeVersion, key_ref(from), key_ref(before))
            }
            Access::Terms(terms) => {
                let mut rarest = usize::MAX;
                for &term in terms {
                    let (from, before) = (("", term, "", 0), ("", term, LAST_TEXT, 0));
                    rarest = rarest.min(count(self, Index::Json, from, before)?);
                }
                Ok(rarest)
            }
        }
    }

    /// Gives `take` what matches in a range of an index, from its end, until `take` has enough.
    fn walk(
        &mut self,
        index: Index,
        from: &access::Bound,
        before: &access::Bound,
        mut take: impl FnMut(ListedModel) -> bool,
    ) -> Result<(), Stop> {
        let table = self.table(index)?;
        let rows = if self.query.looks_inside() { Some(self.open_rows()?) } else { None };
        self.plan.seeks += 1;
        for entry in table.range(key_ref(from)..key_ref(before))?.rev() {
            let (key, frame) = entry?;
            let key = key.value();
            self.plan.entries_read += 1;
            let listed = index::listed(index, key, frame.value())
                .map_err(|damage| self.corrupt(index, key, damage))?;
            if !self.query.matches(&listed) {
                continue;
            }
            if let Some(rows) = &rows {
                let entry = self.row(rows, (key.2, key.3))?;
                if !self.recheck(&entry)? {
                    continue;
                }
            }
            if take(listed) {
                break;
            }
        }
        Ok(())
    }

    /// Gives `take` what has all of `terms` and matches. Each term's entries are entered at the
    /// first version that the others leave possible, so that the rarest term sets the pace.
    fn intersect(
        &mut self,
        terms: &[i64],
        mut take: impl FnMut(ListedModel) -> bool,
    ) -> Result<(), Stop> {
        let table = self.table(Index::Json)?;
        let rows = self.open_rows()?;
        let mut target = (String::new(), 0);
        let mut agreed = 0;
        for &term in terms.iter().cycle() {
            let from = ("", term, target.0.as_str(), target.1);
            self.plan.seeks += 1;
            let Some(entry) = table.range(from..("", term, LAST_TEXT, 0))?.next() else { break };
            let (key, frame) = entry?;
            let key = key.value();
            self.plan.entries_read += 1;
            index::check_empty(Index::Json, key, frame.value())
                .map_err(|damage| self.corrupt(Index::Json, key, damage))?;
            let found = (key.2, key.3);
            agreed = if found == (target.0.as_str(), target.1) { agreed + 1 } else { 1 };
            target = (key.2.to_owned(), key.3);
            if agreed < terms.len() {
                continue;
            }
            let entry = self.row(&rows, found)?;
            target = after(target);
            agreed = 0;
            let listed = listed(&entry);
            if self.query.matches(&listed) && self.recheck(&entry)? {
                take(listed);
            }
        }
        Ok(())
    }

    /// The row that an index names.
    fn row(&mut self, rows: &Rows, key: (&str, u32)) -> Result<ModelEntry, Stop> {
        self.plan.rows_read += 1;
        rows::get(self.file, &rows.models, &rows.active, key)?
            .ok_or_else(|| rows::corrupt(self.file, key, Damage::Missing).into())
    }

    /// Whether metadata and tags are as asked.
    fn recheck(&mut self, entry: &ModelEntry) -> Result<bool, StoreError> {
        self.plan.rechecked += 1;
        if !self.query.tags.iter().all(|tag| entry.tags.contains(tag)) {
            return Ok(false);
        }
        let Some(pattern) = &self.query.metadata_contains else { return Ok(true) };
        pattern.is_contained_in(&entry.metadata_json).map_err(|_| {
            rows::corrupt(self.file, (entry.id.as_str(), entry.version.0), Damage::Value)
        })
    }

    fn table(&self, index: Index) -> Result<IndexTable, Stop> {
        Ok(self.transaction.open_table(index.table())?)
    }

    fn open_rows(&self) -> Result<Rows, Stop> {
        let models = self.transaction.open_table(MODELS)?;
        Ok(Rows { models, active: self.transaction.open_table(ACTIVE)? })
    }

    fn corrupt(&self, index: Index, key: KeyRef<'_>, damage: Damage) -> StoreError {
        self.file.corrupt(index.name(), format!("{key:?}"), damage)
    }
}

type KeyRef<'k> = (&'k str, i64, &'k str, u32);

fn key_ref(bound: &access::Bound) -> KeyRef<'_> {
    (&bound.0, bound.1, &bound.2, bound.3)
}

/// The first possible version behind one.
fn after((mut id, version): (String, u32)) -> (String, u32) {
    match version.checked_add(1) {
        Some(version) => (id, version),
        None => {
            id.push('\0');
            (id, 0)
        }
    }
}

fn listed(entry: &ModelEntry) -> ListedModel {
    ListedModel {
        id: entry.id.clone(),
        version: entry.version,
        owner: entry.owner.clone(),
        name: entry.name.clone(),
        architecture: entry.architecture.clone(),
        created_us: entry.created_us,
        active: entry.active,
    }
}

/// The newest rows of those that were pushed.
struct Newest {
    rows: Vec<ListedModel>,
    count: usize,
}

impl Newest {
    fn new(count: usize) -> Self {
        Self { rows: Vec::new(), count }
    }

    /// Adds a row that is older than all before it. Whether there are enough.
    fn push_in_order(&mut self, row: ListedModel) -> bool {
        self.rows.push(row);
        self.rows.len() >= self.count
    }

    /// Adds a row in any order. There are never enough: a newer one may come.
    fn push(&mut self, row: ListedModel) -> bool {
        self.rows.push(row);
        if self.rows.len() >= self.count * 2 {
            self.cut();
        }
        false
    }

    fn cut(&mut self) {
        self.rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.position()));
        self.rows.truncate(self.count);
    }

    fn finish(mut self) -> Vec<ListedModel> {
        self.cut();
        self.rows
    }
}
