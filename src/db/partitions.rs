//! Partitions that a partitioned index does not reach yet.

use super::probe::get;
use super::{Error, Result, Session};
use crate::model::Name;
use crate::sql::quote;

/// A partition without its part of a partitioned index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// The index of the partition's parent.
    pub parent: Name,
    /// `pg_get_indexdef` of it.
    pub definition: String,
    pub partition: Name,
    pub oid: u32,
    /// It has partitions itself.
    pub partitioned: bool,
}

impl Session {
    /// Partitions whose parent's index is among `parents`, to which none of theirs is attached nor, by `children`, about
    /// to be. Foreign tables cannot be indexed and are left out.
    pub async fn unreached_partitions(
        &self,
        parents: &[Name],
        children: &[Name],
    ) -> Result<Vec<Unreached>> {
        let quoted = |names: &[Name]| names.iter().map(quote::name).collect::<Vec<_>>();
        let rows = self
            .client()
            .query(
                "select n.nspname::text, c.relname::text, pg_get_indexdef(c.oid),
                   pn.nspname::text, p.relname::text, p.oid, p.relkind = 'p'
                 from pg_index i
                 join pg_class c on c.oid = i.indexrelid join pg_namespace n on n.oid = c.relnamespace
                 join pg_inherits h on h.inhparent = i.indrelid
                 join pg_class p on p.oid = h.inhrelid join pg_namespace pn on pn.oid = p.relnamespace
                 where i.indexrelid in (select to_regclass(name) from unnest($1::text[]) name)
                   and p.relkind <> 'f'
                   and not exists (select from pg_index o where o.indrelid = p.oid
                     and (o.indexrelid in (select inhrelid from pg_inherits where inhparent = i.indexrelid)
                       or o.indexrelid in (select to_regclass(name) from unnest($2::text[]) name)))
                 order by 4, 5",
                &[&quoted(parents), &quoted(children)],
            )
            .await
            .map_err(|e| Error::pg("look for partitions without the index", &e))?;
        rows.iter()
            .map(|row| {
                Ok(Unreached {
                    parent: Name::new(get::<String>(row, 0)?, get::<String>(row, 1)?),
                    definition: get(row, 2)?,
                    partition: Name::new(get::<String>(row, 3)?, get::<String>(row, 4)?),
                    oid: get(row, 5)?,
                    partitioned: get(row, 6)?,
                })
            })
            .collect()
    }
}
