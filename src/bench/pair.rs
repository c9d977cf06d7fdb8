//! Two copies of one database that differ in nothing but what is done to the second.

use crate::db::{
    Clone, Result, Session, Target, clone_database, clone_name, maintenance, remove_leftovers,
};

/// Both copies; end with [`Pair::close`], or the next run removes them.
pub struct Pair {
    maintenance: Session,
    before: Clone,
    after: Clone,
}

impl Pair {
    /// Clones `source`, vacuums and analyses the clone, and clones that: even the sampled statistics are the same.
    pub async fn open(source: &Target) -> Result<Self> {
        let maintenance = maintenance(source).await?;
        remove_leftovers(&maintenance).await?;
        let before = clone_database(&maintenance, &source.dbname, &clone_name("before")).await?;
        if let Err(error) = vacuum(&before.target).await {
            before.drop(&maintenance).await?;
            return Err(error);
        }
        let (before, after) = before.twin(&maintenance, &clone_name("after")).await?;
        Ok(Self {
            maintenance,
            before,
            after,
        })
    }

    pub fn before(&self) -> &Target {
        &self.before.target
    }

    /// The one to change. Call [`Pair::settle`] afterwards.
    pub fn after(&self) -> &Target {
        &self.after.target
    }

    /// Vacuums and analyses what the change touched, and nothing else, so that statistics stay equal elsewhere.
    pub async fn settle(&self) -> Result<()> {
        let session = Session::connect(self.after(), "settle").await?;
        for table in changed_tables(&session).await? {
            session
                .execute(
                    &format!("vacuum and analyse {table} on the clone"),
                    &format!("vacuum (analyze) {table}"),
                )
                .await?;
        }
        Ok(())
    }

    /// Drops both.
    pub async fn close(self) -> Result<()> {
        let first = self.before.drop(&self.maintenance).await;
        let second = self.after.drop(&self.maintenance).await;
        first.and(second)
    }
}

async fn vacuum(target: &Target) -> Result<()> {
    let session = Session::connect(target, "vacuum").await?;
    session
        .execute("vacuum and analyse the clone", "vacuum (analyze)")
        .await
}

/// Tables written since the clone was made, and tables with an index on an expression that has no statistics yet.
async fn changed_tables(session: &Session) -> Result<Vec<String>> {
    session
        .texts(
            "find the tables that the change touched",
            "select format('%I.%I', n.nspname, c.relname)
             from pg_class c join pg_namespace n on n.oid = c.relnamespace
             where c.relkind in ('r', 'm') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
               and pg_has_role(c.relowner, 'usage')
               and (coalesce(pg_stat_get_ins_since_vacuum(c.oid), 0) > 0 or coalesce(pg_stat_get_mod_since_analyze(c.oid), 0) > 0
                 or c.reltuples < 0
                 or exists (select from pg_index i join pg_class x on x.oid = i.indexrelid
                      where i.indrelid = c.oid and i.indexprs is not null
                        and not exists (select from pg_stats s where s.schemaname = n.nspname and s.tablename = x.relname)))
             order by 1",
        )
        .await
}
