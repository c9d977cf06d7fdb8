//! Where proposals are tried: the original through HypoPG, or a clone where everything can be made and run.

use super::catalog::decode;
use super::{Error, Explain, Limits, Result, Session, explain};
use crate::model::{Basis, Catalog, Change, IndexSpec, Name, Persona, Plan, Query, TableKind};
use crate::propose::{Lab, Pretence, Timing};
use crate::sql::{ddl, quote};
use std::collections::BTreeMap;
use std::time::Duration;

pub struct Workbench {
    pub(super) session: Session,
    is_clone: bool,
    hypopg: Option<String>,
    /// Leaf partitions of each partitioned table.
    leaves: BTreeMap<Name, Vec<Name>>,
    pub(super) timeout: Duration,
    /// Without HypoPG: the real indexes that stand for pretended ones, by handle.
    made: BTreeMap<u64, Name>,
}

impl Workbench {
    /// On the original: plans only.
    pub async fn original(session: Session, catalog: &Catalog, timeout: Duration) -> Result<Self> {
        Self::open(session, catalog, timeout, false).await
    }

    /// On a clone: everything.
    pub async fn on_clone(session: Session, catalog: &Catalog, timeout: Duration) -> Result<Self> {
        Self::open(session, catalog, timeout, true).await
    }

    async fn open(
        session: Session,
        catalog: &Catalog,
        timeout: Duration,
        is_clone: bool,
    ) -> Result<Self> {
        if is_clone && !catalog.server.extensions.contains_key("hypopg") {
            // Needs a superuser; without it candidates are built for real.
            let _ = session
                .execute("create HypoPG on the clone", "create extension hypopg")
                .await;
        }
        let hypopg = hypopg_schema(&session).await?;
        Ok(Self {
            session,
            is_clone,
            hypopg,
            leaves: leaves(catalog),
            timeout,
            made: BTreeMap::new(),
        })
    }

    /// The relations an index on `table` consists of.
    fn parts<'a>(&'a self, table: &'a Name) -> Vec<&'a Name> {
        match self.leaves.get(table) {
            Some(leaves) => leaves.iter().collect(),
            None => vec![table],
        }
    }

    fn within(&self, limit: Duration) -> Limits {
        Limits {
            statement: self.timeout.min(limit),
            ..Limits::default()
        }
    }

    pub(super) async fn in_transaction<T>(
        &self,
        query: &Query,
        limit: Duration,
        work: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let limits = self.within(limit);
        self.session.begin_query(query, limits).await?;
        let result = work(&self.session).await;
        self.session.end().await?;
        result
    }

    async fn hypothesise(&self, schema: &str, statement: &str) -> Result<(u64, String, u64)> {
        let doing = "make a hypothetical index";
        let sql = format!(
            "select h.indexrelid::int8 as oid, h.indexname::text as name, {0}.hypopg_relation_size(h.indexrelid) as bytes
             from {0}.hypopg_create_index({1}) h",
            quote::ident(schema),
            quote::literal(statement)
        );
        let rows = decode::query(&self.session, doing, &sql).await?;
        let row = rows
            .first()
            .ok_or_else(|| Error::new(doing, "HypoPG made none"))?;
        let oid: i64 = decode::get(row, "oid")?;
        let bytes: i64 = decode::get(row, "bytes")?;
        Ok((
            u64::try_from(oid).unwrap_or_default(),
            decode::get(row, "name")?,
            u64::try_from(bytes).unwrap_or_default(),
        ))
    }
}

impl Lab for Workbench {
    type Error = Error;

    fn basis(&self) -> Basis {
        match (self.is_clone, &self.hypopg) {
            (true, _) => Basis::Clone,
            (false, Some(_)) => Basis::HypoPg,
            (false, None) => Basis::Rule,
        }
    }

    fn can_make(&self) -> bool {
        self.is_clone
    }

    fn can_pretend(&self) -> bool {
        self.is_clone || self.hypopg.is_some()
    }

    async fn pretend(&mut self, index: &IndexSpec) -> Result<Pretence> {
        let mut pretence = Pretence::default();
        let Some(schema) = self.hypopg.clone() else {
            let handle = self.made.len() as u64 + 1;
            let name = format!("dbtune_try_{handle}");
            let real = IndexSpec {
                name: name.clone(),
                ..index.clone()
            };
            self.make(&Change::CreateIndex(real)).await?;
            self.made
                .insert(handle, Name::new(&index.table.schema, &name));
            pretence.handles.push(handle);
            pretence.names = index_names(&self.session, &index.table, &name).await?;
            return Ok(pretence);
        };
        for part in self.parts(&index.table) {
            let leaf = IndexSpec {
                table: part.clone(),
                ..index.clone()
            };
            let statement = ddl::create_index(&leaf, ddl::Build::Plain);
            let (oid, name, bytes) = self.hypothesise(&schema, &statement).await?;
            pretence.handles.push(oid);
            pretence.names.push(name);
            pretence.bytes += bytes;
        }
        Ok(pretence)
    }

    async fn forget(&mut self, pretence: &Pretence) -> Result<()> {
        let doing = "forget a hypothetical index";
        for handle in &pretence.handles {
            let sql = if let Some(schema) = &self.hypopg {
                format!(
                    "select {}.hypopg_drop_index({handle})",
                    quote::ident(schema)
                )
            } else {
                let Some(name) = self.made.get(handle) else {
                    continue;
                };
                ddl::drop_index(name, ddl::Build::Plain)
            };
            self.session.execute(doing, &sql).await?;
        }
        Ok(())
    }

    async fn make(&mut self, change: &Change) -> Result<()> {
        if !self.is_clone {
            return Err(Error::new(
                "try a change",
                "only a clone may be changed, and this is the original",
            ));
        }
        match change {
            Change::CreateIndex(index) => {
                let sql = ddl::create_index(index, ddl::Build::Plain);
                self.session
                    .execute(&format!("build index {}", index.name), &sql)
                    .await
            }
            Change::DropIndex(index) => {
                let sql = ddl::drop_index(&index.qualified(), ddl::Build::Plain);
                self.session.execute("drop an index", &sql).await
            }
            other => {
                for sql in ddl::statements(other) {
                    self.session.execute("rewrite a policy", &sql).await?;
                }
                Ok(())
            }
        }
    }

    async fn settle(&mut self) -> Result<()> {
        // Tables of others are skipped with a warning.
        self.session
            .execute("gather statistics on the clone", "vacuum analyze")
            .await
    }

    async fn plan(&mut self, query: &Query, draw: usize) -> Result<Plan> {
        self.in_transaction(query, self.timeout, async |session| {
            explain(session, query, draw, Explain::Plan).await
        })
        .await
    }

    async fn time(&mut self, query: &Query, draws: usize) -> Result<Timing> {
        self.timed(query, draws).await
    }

    async fn measure(&mut self, query: &Query, limit: Duration) -> Result<Timing> {
        self.measured(query, limit).await
    }

    async fn rows(
        &mut self,
        sql: &str,
        persona: Option<&Persona>,
        limit: Duration,
    ) -> Result<Vec<Vec<Option<String>>>> {
        let limits = self.within(limit);
        match persona {
            Some(persona) => self.session.begin_as(persona, true, limits).await?,
            None => self.session.begin_reading(limits).await?,
        }
        let rows = self.session.text_rows("draw rows to look up by", sql).await;
        self.session.end().await?;
        rows
    }
}

async fn hypopg_schema(session: &Session) -> Result<Option<String>> {
    let sql = "select n.nspname::text as schema from pg_extension e
        join pg_namespace n on n.oid = e.extnamespace where e.extname = 'hypopg'";
    let rows = decode::query(session, "look for HypoPG", sql).await?;
    rows.first()
        .map(|row| decode::get(row, "schema"))
        .transpose()
}

/// An index and those of the partitions below it, the topmost first.
async fn index_names(session: &Session, table: &Name, name: &str) -> Result<Vec<String>> {
    let top = quote::literal(&quote::name(&Name::new(&table.schema, name)));
    let sql = format!(
        "with recursive tree(oid) as (
           select {top}::regclass::oid
           union all select i.inhrelid from pg_inherits i join tree t on t.oid = i.inhparent)
         select c.relname::text as name from tree join pg_class c using (oid)"
    );
    let rows = decode::query(session, "read an index's partitions", &sql).await?;
    rows.iter().map(|row| decode::get(row, "name")).collect()
}

fn leaves(catalog: &Catalog) -> BTreeMap<Name, Vec<Name>> {
    let mut found: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
    for (name, table) in &catalog.tables {
        if table.kind != TableKind::Ordinary {
            continue;
        }
        let parents = std::iter::successors(table.partition_of.clone(), |parent| {
            catalog.table(parent)?.partition_of.clone()
        });
        for parent in parents {
            found.entry(parent).or_default().push(name.clone());
        }
    }
    found
}
