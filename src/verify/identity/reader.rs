//! Reads values on the side before the change, in one transaction that is rolled back.

use crate::db::{Error, Limits, Result, Session};
use crate::model::{Catalog, Gap, Name};
use crate::sql::quote;
use crate::sql::ties::Place;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

pub(super) struct Reader<'a> {
    session: &'a Session,
    catalog: &'a Catalog,
    gaps: Vec<Gap>,
}

/// One table to the connecting role: whether its policies filter, whether it may read, whether it owns.
const READABLE: &str = "
select json_build_array(n.nspname, c.relname, row_security_active(c.oid),
  has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select'), pg_has_role(c.relowner, 'usage'))::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join unnest($1::text[], $2::text[]) as wanted(schema, name) on wanted.schema = n.nspname and wanted.name = c.relname
order by 1";

impl<'a> Reader<'a> {
    pub(super) async fn open(session: &'a Session, catalog: &'a Catalog) -> Result<Self> {
        session.begin_trying(Limits::default()).await?;
        Ok(Self {
            session,
            catalog,
            gaps: Vec::new(),
        })
    }

    /// Rolls everything back.
    pub(super) async fn close(self, gaps: &mut Vec<Gap>) -> Result<()> {
        gaps.extend(self.gaps);
        self.session.end().await
    }

    /// Sees to it that the rows of `tables` are seen, as far as the connecting role can: FORCE is lifted for the
    /// transaction where it owns the table.
    pub(super) async fn uncover(&mut self, tables: &BTreeSet<Name>) -> Result<()> {
        let schemas: Vec<String> = tables.iter().map(|n| n.schema.clone()).collect();
        let names: Vec<String> = tables.iter().map(|n| n.name.clone()).collect();
        let rows = self
            .ask("look at who may read what", READABLE, &[schemas, names])
            .await?;
        for row in rows.unwrap_or_default() {
            let (Some(schema), Some(name)) = (text(&row, 0), text(&row, 1)) else {
                continue;
            };
            let name = Name::new(schema, name);
            if !flag(&row, 3) {
                self.unreadable(&name);
            } else if flag(&row, 2) {
                let lifted = flag(&row, 4) && self.lift(&name).await?;
                if !lifted {
                    self.filtered(&name);
                }
            }
        }
        Ok(())
    }

    async fn lift(&self, table: &Name) -> Result<bool> {
        let sql = format!(
            "alter table {} no force row level security",
            quote::name(table)
        );
        let lifted = self.guarded(&sql).await?;
        let sql = format!(
            "select json_build_array(row_security_active({}::regclass))::text",
            quote::literal(&quote::name(table))
        );
        let rows = self.query("look at a table's policies", &sql, &[]).await?;
        Ok(lifted && rows.first().is_some_and(|row| !flag(row, 0)))
    }

    /// Runs a statement; an error of it takes only itself back.
    async fn guarded(&self, sql: &str) -> Result<bool> {
        let session = self.session;
        session.execute("set a savepoint", "savepoint look").await?;
        match session.execute("look behind a table's policies", sql).await {
            Ok(()) => Ok(true),
            Err(error) => self.back(error).await.map(|()| false),
        }
    }

    async fn back(&self, error: Error) -> Result<()> {
        if error.sqlstate.is_none() {
            return Err(error);
        }
        let sql = "rollback to savepoint look";
        self.session.execute("go back to a savepoint", sql).await
    }

    /// Rows of JSON arrays; `None`, and a gap, where the server refuses.
    pub(super) async fn ask(
        &mut self,
        doing: &str,
        sql: &str,
        values: &[Vec<String>],
    ) -> Result<Option<Vec<Value>>> {
        let session = self.session;
        session.execute("set a savepoint", "savepoint look").await?;
        match self.query(doing, sql, values).await {
            Ok(rows) => Ok(Some(rows)),
            Err(error) => {
                self.gaps.push(Gap {
                    what: format!("identities: {doing}"),
                    why: error.message.clone(),
                    remedy: error.advice.clone(),
                });
                self.back(error).await.map(|()| None)
            }
        }
    }

    async fn query(&self, doing: &str, sql: &str, values: &[Vec<String>]) -> Result<Vec<Value>> {
        let client = self.session.client();
        let rows = match values {
            [] => client.query(sql, &[]).await,
            [a] => client.query(sql, &[a]).await,
            [a, b, ..] => client.query(sql, &[a, b]).await,
        };
        let rows = rows.map_err(|e| Error::pg(doing, &e))?;
        let texts = rows
            .iter()
            .filter_map(|row| row.try_get::<_, String>(0).ok());
        Ok(texts
            .filter_map(|t| serde_json::from_str(&t).ok())
            .collect())
    }

    /// Names of roles that the columns hold, of those that there are.
    pub(super) async fn role_names(&mut self, places: &BTreeSet<Place>) -> Result<Vec<String>> {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for (table, column) in places {
            let Some(table) = self.catalog.tables.get_key_value(table) else {
                continue;
            };
            let sql = format!(
                "select json_build_array(r.rolname, t.n)::text from pg_roles r join \
                 (select {0}::text as name, count(*) as n from {1} group by 1) t on t.name = r.rolname order by r.rolname",
                quote::ident(column),
                quote::name(table.0)
            );
            let rows = self.ask("find roles named in rows", &sql, &[]).await?;
            for row in rows.unwrap_or_default() {
                if let Some(name) = text(&row, 0) {
                    *found.entry(name).or_default() += number(&row, 1);
                }
            }
        }
        let mut sorted: Vec<(u64, String)> = found.into_iter().map(|(n, c)| (c, n)).collect();
        sorted.sort();
        Ok(sorted.into_iter().map(|(_, name)| name).rev().collect())
    }

    fn unreadable(&mut self, table: &Name) {
        let user = quote::ident(&self.catalog.server.user);
        self.gaps.push(Gap {
            what: table.to_string(),
            why: "the connecting role may not read it: nobody is found by its rows".to_owned(),
            remedy: Some(format!("grant select on {} to {user};", quote::name(table))),
        });
    }

    fn filtered(&mut self, table: &Name) {
        let user = &self.catalog.server.user;
        self.gaps.push(Gap {
            what: table.to_string(),
            why: format!(
                "its policies filter what {user} reads, who is not its owner: whoever those rows name is not found"
            ),
            remedy: Some("connect as the owner of the tables, or as a role with BYPASSRLS".to_owned()),
        });
    }
}

pub(super) fn text(row: &Value, at: usize) -> Option<String> {
    match row.get(at)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn number(row: &Value, at: usize) -> u64 {
    row.get(at).and_then(Value::as_u64).unwrap_or_default()
}

fn flag(row: &Value, at: usize) -> bool {
    row.get(at).and_then(Value::as_bool).unwrap_or_default()
}
