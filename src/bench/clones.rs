//! Copies of one database that differ in nothing but what is done to them.

use crate::db::{
    Clone, Result, Session, Target, clone_database, clone_name, maintenance, remove_clones,
    remove_leftovers,
};

/// One or two copies; end with [`Clones::close`], or the next run removes them.
pub struct Clones {
    source: Target,
    names: Vec<String>,
    maintenance: Session,
    /// The server process of `maintenance`.
    pid: i32,
    made: Vec<Clone>,
}

impl Clones {
    /// Clones `source`, vacuums and analyses the clone, and clones that where a second part is asked for: even the sampled
    /// statistics are the same. `parts` tell the clones apart for who looks at the list of databases.
    ///
    /// `None` where `stop` came first. Then, and where it fails, no clone is left.
    pub async fn open(
        source: &Target,
        parts: &[&str],
        stop: impl Future<Output = ()>,
    ) -> Result<Option<Self>> {
        let names: Vec<String> = parts.iter().map(|part| clone_name(part)).collect();
        let maintenance = maintenance(source).await?;
        let pid = maintenance
            .texts("clone a database", "select pg_backend_pid()::text")
            .await?
            .concat()
            .parse()
            .unwrap_or_default();
        remove_leftovers(&maintenance).await?;
        let made = tokio::select! {
            made = make(&maintenance, source, &names) => Some(made),
            () = stop => None,
        };
        match made {
            Some(Ok(made)) => Ok(Some(Self {
                source: source.clone(),
                names,
                maintenance,
                pid,
                made,
            })),
            Some(Err(error)) => {
                if maintenance.client().is_closed() {
                    // What went wrong first is the one to tell.
                    let _ = remove_clones(source, &names, pid).await;
                }
                Err(error)
            }
            None => {
                drop(maintenance);
                remove_clones(source, &names, pid).await?;
                Ok(None)
            }
        }
    }

    /// Where to connect to them, in the order of their parts.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.made.iter().map(|clone| &clone.target)
    }

    /// Drops them, through another session where the server has thrown the first one out.
    pub async fn close(self) -> Result<()> {
        if self.maintenance.client().is_closed() {
            return remove_clones(&self.source, &self.names, self.pid).await;
        }
        let mut outcome = Ok(());
        for clone in self.made {
            outcome = outcome.and(clone.drop(&self.maintenance).await);
        }
        if outcome.is_err() && self.maintenance.client().is_closed() {
            return remove_clones(&self.source, &self.names, self.pid).await;
        }
        outcome
    }
}

/// As many clones as there are names: none, one or two.
async fn make(maintenance: &Session, source: &Target, names: &[String]) -> Result<Vec<Clone>> {
    let Some((first, others)) = names.split_first() else {
        return Ok(Vec::new());
    };
    let clone = clone_database(maintenance, &source.dbname, first).await?;
    if let Err(error) = vacuum(&clone.target).await {
        let _ = clone.drop(maintenance).await;
        return Err(error);
    }
    match others.first() {
        None => Ok(vec![clone]),
        Some(second) => {
            let (clone, twin) = clone.twin(maintenance, second).await?;
            Ok(vec![clone, twin])
        }
    }
}

async fn vacuum(target: &Target) -> Result<()> {
    let session = Session::connect(target, "vacuum").await?;
    session
        .execute("vacuum and analyse the clone", "vacuum (analyze)")
        .await
}

/// Vacuums and analyses what a change touched on a clone, and nothing else, so that statistics stay equal elsewhere.
pub async fn settle(clone: &Target) -> Result<()> {
    let session = Session::connect(clone, "settle").await?;
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
