//! What is really there: indexes by name and their state, sizes, and what makes a server unfit for DDL.

use super::{Error, Result, Session};
use crate::model::Name;
use crate::sql::quote;
use std::collections::BTreeSet;
use tokio_postgres::Row;

/// One index as the catalog has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFacts {
    pub name: Name,
    pub table: Name,
    pub valid: bool,
    /// Maintained by writers, whether valid or not.
    pub ready: bool,
    /// The index of a partitioned table: invalid until every partition has its own, which is no defect.
    pub partitioned: bool,
    pub bytes: u64,
    pub scans: i64,
}

/// An index with those of its table's partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexFamily {
    /// Without schema, as EXPLAIN prints them.
    pub names: BTreeSet<String>,
    pub tables: BTreeSet<Name>,
    /// It guards something: uniqueness, an exclusion, or the identity that replication goes by.
    pub guards: bool,
    /// Plans of transactions older than the index leave it alone, and there may be some.
    pub too_new: bool,
}

/// How big an index on a table would be.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SizeFacts {
    pub rows: f64,
    pub table_bytes: u64,
    /// Average width of the columns that were asked for.
    pub key_width: i64,
}

const INDEX: &str = "select n.nspname::text, c.relname::text, tn.nspname::text, t.relname::text,
    i.indisvalid, i.indisready, c.relkind = 'I', pg_relation_size(c.oid),
    coalesce(pg_stat_get_numscans(c.oid), 0)
  from pg_index i
  join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
  join pg_class t on t.oid = i.indrelid join pg_namespace tn on tn.oid = t.relnamespace";

impl Session {
    /// The index `name` that lives in the schema of `table`.
    pub async fn index_on(&self, table: &Name, name: &str) -> Result<Option<IndexFacts>> {
        let sql = format!(
            "{INDEX} where c.relname = $2 and c.relnamespace =
             (select relnamespace from pg_class where oid = to_regclass($1))"
        );
        self.one_index(&sql, &[&quote::name(table), &name]).await
    }

    /// The index `name`, by the search path where it has no schema.
    pub async fn index_named(&self, name: &Name) -> Result<Option<IndexFacts>> {
        let sql = format!("{INDEX} where c.oid = to_regclass($1)");
        self.one_index(&sql, &[&quote::name(name)]).await
    }

    /// The index `name` in the schema of `table`, and at any depth those attached to it; `None` where it is not there.
    pub async fn index_family(&self, table: &Name, name: &str) -> Result<Option<IndexFamily>> {
        let rows = self
            .client()
            .query(
                "with recursive family as (
                   select c.oid from pg_class t join pg_class c on c.relnamespace = t.relnamespace
                   where t.oid = to_regclass($1) and c.relname = $2 and c.relkind in ('i', 'I')
                   union all
                   select p.inhrelid from family f join pg_inherits p on p.inhparent = f.oid)
                 select c.relname::text, n.nspname::text, t.relname::text,
                   i.indisunique or i.indisexclusion or i.indisreplident, i.indcheckxmin
                 from family f join pg_class c on c.oid = f.oid join pg_index i on i.indexrelid = f.oid
                 join pg_class t on t.oid = i.indrelid join pg_namespace n on n.oid = t.relnamespace",
                &[&quote::name(table), &name],
            )
            .await
            .map_err(|e| Error::pg(format!("look up index {name}"), &e))?;
        let mut family = IndexFamily::default();
        for row in &rows {
            family.names.insert(get(row, 0)?);
            family
                .tables
                .insert(Name::new(get::<String>(row, 1)?, get::<String>(row, 2)?));
            family.guards |= get::<bool>(row, 3)?;
            family.too_new |= get::<bool>(row, 4)?;
        }
        Ok((!rows.is_empty()).then_some(family))
    }

    async fn one_index(
        &self,
        sql: &str,
        params: &[&(dyn tokio_postgres::types::ToSql + Sync)],
    ) -> Result<Option<IndexFacts>> {
        let doing = "look up an index";
        let row = self
            .client()
            .query_opt(sql, params)
            .await
            .map_err(|e| Error::pg(doing, &e))?;
        row.map(|row| facts(&row)).transpose()
    }

    /// Every invalid index outside the system schemas, except those of partitioned tables and those being built or
    /// dropped now. Of another role's build only its lock is seen.
    pub async fn invalid_indexes(&self) -> Result<Vec<IndexFacts>> {
        let sql = format!(
            "{INDEX} where not i.indisvalid and c.relkind = 'i' and n.nspname !~ '^pg_'
             and not exists (select from pg_stat_progress_create_index p
                 left join pg_locks l on l.pid = p.pid and l.relation = i.indrelid
                   and l.mode = 'ShareUpdateExclusiveLock'
                 where p.index_relid = c.oid or (p.index_relid is null and l.pid is not null))
             and not exists (select from pg_locks l where l.relation = c.oid
                 and l.mode in ('ShareUpdateExclusiveLock', 'AccessExclusiveLock'))
             order by 1, 2"
        );
        let rows = self
            .client()
            .query(&sql, &[])
            .await
            .map_err(|e| Error::pg("look for invalid indexes", &e))?;
        rows.iter().map(facts).collect()
    }

    /// Indexes of partitioned tables that some partition has no part of yet.
    pub async fn invalid_parents(&self) -> Result<Vec<IndexFacts>> {
        let sql = format!(
            "{INDEX} where not i.indisvalid and c.relkind = 'I' and n.nspname !~ '^pg_' order by 1, 2"
        );
        let rows = self
            .client()
            .query(&sql, &[])
            .await
            .map_err(|e| Error::pg("look for invalid indexes", &e))?;
        rows.iter().map(facts).collect()
    }

    /// Rows and bytes of `table`, and the width of `columns`; `None` where the table is not there.
    pub async fn size_facts(&self, table: &Name, columns: &[String]) -> Result<Option<SizeFacts>> {
        let row = self
            .client()
            .query_opt(
                "select greatest(c.reltuples, 0)::float8, pg_table_size(c.oid),
                   coalesce((select sum(avg_width) from pg_stats s where s.schemaname = n.nspname
                     and s.tablename = c.relname and s.attname = any($2)), 8)::int8
                 from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = to_regclass($1)",
                &[&quote::name(table), &columns],
            )
            .await
            .map_err(|e| Error::pg("estimate the size of an index", &e))?;
        row.map(|row| {
            Ok(SizeFacts {
                rows: get(&row, 0)?,
                table_bytes: unsigned(get(&row, 1)?),
                key_width: get(&row, 2)?,
            })
        })
        .transpose()
    }

    /// Whether the server is a replica, which takes no changes.
    pub async fn in_recovery(&self) -> Result<bool> {
        let row = self
            .client()
            .query_one("select pg_is_in_recovery()", &[])
            .await
            .map_err(|e| Error::pg("ask whether the server is a replica", &e))?;
        get(&row, 0)
    }
}

pub(super) fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    column: usize,
) -> Result<T> {
    row.try_get(column)
        .map_err(|e| Error::pg("read an answer of the server", &e))
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn facts(row: &Row) -> Result<IndexFacts> {
    Ok(IndexFacts {
        name: Name::new(get::<String>(row, 0)?, get::<String>(row, 1)?),
        table: Name::new(get::<String>(row, 2)?, get::<String>(row, 3)?),
        valid: get(row, 4)?,
        ready: get(row, 5)?,
        partitioned: get(row, 6)?,
        bytes: unsigned(get(row, 7)?),
        scans: get(row, 8)?,
    })
}
