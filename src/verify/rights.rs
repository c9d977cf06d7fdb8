//! What a role may do with a table before any policy is asked.

use super::effective::Clause;
use super::side::Guarded;
use crate::db::{Error, Limits, Result, Session};
use crate::sql::quote;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A role on one side.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Rights {
    /// Itself, and the roles whose rights it holds: not those that it would have to take by SET ROLE.
    pub(super) roles: BTreeSet<u32>,
    /// Superuser or BYPASSRLS.
    pub(super) bypass: bool,
    /// By oid.
    tables: BTreeMap<u32, OnTable>,
}

/// Column numbers, and rights on the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct OnTable {
    usage: bool,
    owner: bool,
    delete: bool,
    select: BTreeSet<i16>,
    insert: BTreeSet<i16>,
    update: BTreeSet<i16>,
}

impl Rights {
    /// Whether no policy of the table is asked of this role.
    pub(super) fn exempt(&self, table: &Guarded) -> bool {
        let owner = self.tables.get(&table.oid).is_some_and(|t| t.owner);
        self.bypass || owner && !table.forced
    }

    /// Names of the columns on which the clause can be asked; empty where the role lacks the privilege. DELETE has none, and
    /// gives all.
    pub(super) fn columns<'a>(&self, table: &'a Guarded, clause: Clause) -> BTreeSet<&'a str> {
        let Some(on) = self.tables.get(&table.oid).filter(|on| on.usage) else {
            return BTreeSet::new();
        };
        let allowed = |number: i16| match clause {
            Clause::Select => on.select.contains(&number),
            Clause::Insert => on.insert.contains(&number),
            Clause::Update | Clause::UpdateCheck => on.update.contains(&number),
            Clause::Delete => on.delete,
        };
        let columns = table.columns.iter().filter(|c| allowed(c.number));
        columns.map(|c| c.name.as_str()).collect()
    }
}

/// Rights of `role` on the tables with these oids.
pub(super) async fn read(
    session: &Session,
    role: &str,
    oids: &[u32],
    limits: Limits,
) -> Result<Rights> {
    let doing = format!("read the rights of role {role}");
    let role = quote::literal(role);
    let oids: Vec<String> = oids.iter().map(u32::to_string).collect();
    let columns = |privilege: &str| {
        format!(
            "(select coalesce(json_agg(a.attnum), '[]') from pg_attribute a where a.attrelid = c.oid and a.attnum > 0
               and not a.attisdropped and has_column_privilege({role}, c.oid, a.attnum, '{privilege}'))"
        )
    };
    let sql = format!(
        "select json_build_object(
           'roles', (select json_agg(r.oid::bigint) from pg_roles r where pg_has_role({role}, r.oid, 'usage')),
           'bypass', (select r.rolsuper or r.rolbypassrls from pg_roles r where r.rolname = {role}),
           'tables', (select coalesce(json_object_agg(c.oid::bigint, json_build_object(
               'usage', has_schema_privilege({role}, c.relnamespace, 'usage'),
               'owner', pg_has_role({role}, c.relowner, 'usage'),
               'delete', has_table_privilege({role}, c.oid, 'delete'),
               'select', {}, 'insert', {}, 'update', {})), '{{}}')
             from pg_class c where c.oid = any ('{{{}}}'::oid[])))::text",
        columns("select"),
        columns("insert"),
        columns("update"),
        oids.join(",")
    );
    session.begin_reading(limits).await?;
    let texts = session.texts(&doing, &sql).await;
    session.end().await?;
    serde_json::from_str(&texts?.concat()).map_err(|e| Error::new(doing, e.to_string()))
}
