//! Indexes: what takes the server longest to describe.

use super::Reader;
use super::decode::{get, unsigned};
use super::tables::Names;
use crate::db::Result;
use crate::model::{Catalog, Index, IndexKey, Name};
use std::collections::BTreeMap;
use tokio_postgres::Row;

/// An index, and what is known of it by oid.
pub(super) struct Described {
    table: u32,
    /// The partitioned index that it is a part of.
    parent: Option<u32>,
    /// Blocks found in shared buffers, and not.
    hit: i64,
    read: i64,
    index: Index,
}

impl Reader<'_> {
    /// Every index with the operators of it that leak, by table and name.
    pub(super) async fn read_indexes(&self) -> Result<Vec<Described>> {
        let sql = include_str!("../queries/leaks.sql");
        let mut leaks = BTreeMap::new();
        for row in self.rows("read which operators leak", sql).await? {
            let oid: u32 = get(&row, "index_oid")?;
            let keys: Vec<String> = get(&row, "operators")?;
            let words = |key: &String| {
                key.split(' ')
                    .filter(|w| !w.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            leaks.insert(oid, keys.iter().map(words).collect());
        }
        let sql = include_str!("../queries/indexes.sql");
        let rows = self.rows("read indexes", sql).await?;
        rows.iter()
            .map(|row| {
                let mut index = index(row)?;
                index.leaks = leaks.remove(&index.oid).unwrap_or_default();
                Ok(Described {
                    table: get(row, "oid")?,
                    parent: get(row, "parent")?,
                    hit: get(row, "hit")?,
                    read: get(row, "read")?,
                    index,
                })
            })
            .collect()
    }
}

/// Puts the indexes at their tables; those of system and temporary tables are dropped.
pub(super) fn place(indexes: Vec<Described>, catalog: &mut Catalog, names: &Names) {
    let by_oid: Names = indexes
        .iter()
        .map(|d| (d.index.oid, d.index.name.clone()))
        .collect();
    for mut described in indexes {
        let name = names.get(&described.table);
        let Some(table) = name.and_then(|name| catalog.tables.get_mut(name)) else {
            continue;
        };
        described.index.partition_of = described.parent.and_then(|p| by_oid.get(&p).cloned());
        table.activity.idx_scans += described.index.scans;
        table.activity.index_hit += described.hit;
        table.activity.index_read += described.read;
        table.indexes.push(described.index);
    }
}

fn index(row: &Row) -> Result<Index> {
    Ok(Index {
        name: Name::new(get::<&str>(row, "schema")?, get::<&str>(row, "name")?),
        oid: get(row, "index_oid")?,
        method: get(row, "method")?,
        unique: get(row, "unique")?,
        primary: get(row, "primary")?,
        valid: get(row, "valid")?,
        ready: get(row, "ready")?,
        live: get(row, "live")?,
        building: get(row, "building")?,
        constraint: get(row, "constraint")?,
        exclusion: get(row, "exclusion")?,
        replica_identity: get(row, "replica_identity")?,
        clustered: get(row, "clustered")?,
        keys: index_keys(row)?,
        include: get(row, "include")?,
        predicate: get(row, "predicate")?,
        definition: get(row, "definition")?,
        bytes: unsigned(row, "bytes")?,
        scans: get(row, "scans")?,
        last_scan: get(row, "last_scan")?,
        partition_of: None,
        nulls_not_distinct: get(row, "nulls_not_distinct")?,
        leaks: Vec::new(),
    })
}

fn index_keys(row: &Row) -> Result<Vec<IndexKey>> {
    let columns: Vec<Option<String>> = get(row, "columns")?;
    let expressions: Vec<Option<String>> = get(row, "expressions")?;
    let opclasses: Vec<Option<String>> = get(row, "opclasses")?;
    let collations: Vec<Option<String>> = get(row, "collations")?;
    let options: Vec<i32> = get(row, "options")?;
    let parts = columns
        .into_iter()
        .zip(expressions)
        .zip(opclasses.into_iter().zip(collations))
        .zip(options);
    Ok(parts
        .map(|(((column, expression), (opclass, collation)), option)| {
            IndexKey {
                column,
                expression,
                opclass,
                collation,
                // INDOPTION_DESC and INDOPTION_NULLS_FIRST of PostgreSQL's pg_index.
                descending: option & 1 != 0,
                nulls_first: option & 2 != 0,
            }
        })
        .collect())
}
