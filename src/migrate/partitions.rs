//! Partitions that came after the files were written: their indexes are built and attached with the others.

use super::build::Unbuilt;
use super::plan::Task;
use super::runner::Runner;
use crate::db::{Error, Result, Unreached};
use crate::model::Name;
use crate::sql::ddl::{self, Build};
use crate::sql::partition::index_like;
use crate::sql::script::{self, Kind, Statement};

/// PostgreSQL's limit on a name, in bytes.
const LONGEST_NAME: usize = 63;

impl Runner<'_> {
    /// `task` with what it attaches made complete: the indexes of partitions that it does not know of are built, outside
    /// a transaction, and their attachment is added to it. `None` where it knows of all.
    ///
    /// What is built is written down first, with the statements that take it back in the step's own down text.
    pub(super) async fn completed(&mut self, task: &Task) -> Result<Option<Task>> {
        if !task.attaches() {
            return Ok(None);
        }
        let (mut parents, mut children) = attached(&task.statements);
        let mut task = task.clone();
        let mut more = Vec::new();
        loop {
            let unreached = self.watch.unreached_partitions(&parents, &children).await?;
            if unreached.is_empty() {
                break;
            }
            // A partitioned one brings its own partitions in the next round.
            let mut next = Vec::new();
            for one in &unreached {
                let child = child_of(one);
                if let Some(down) = &mut task.down {
                    // After the parent, whose drop takes along what was attached to it.
                    *down = format!("{down}\n{};", ddl::drop_index(&child, Build::Plain));
                }
                self.begin_step(&task).await?;
                self.make(one, &child).await?;
                more.push(statement(&ddl::attach_index(&one.parent, &child))?);
                children.push(child.clone());
                next.push(child);
            }
            self.note(format!(
                "{}: {} came after the files were written and got the index too",
                task.label(),
                listed(&unreached)
            ));
            parents = next;
        }
        if more.is_empty() {
            return Ok(None);
        }
        // Below first: what is attached last makes the whole valid.
        more.reverse();
        task.statements.splice(0..0, more);
        Ok(Some(task))
    }

    async fn make(&mut self, one: &Unreached, child: &Name) -> Result<()> {
        let build = if one.partitioned {
            Build::OnlyParent
        } else {
            Build::Concurrently
        };
        let sql = index_like(&one.definition, &one.partition, &child.name, build).map_err(|e| {
            Error::new(
                format!("read the definition of {}", one.parent),
                e.to_string(),
            )
        })?;
        let statement = statement(&sql)?;
        if !one.partitioned {
            return match self.raise(&statement, (&one.partition, &child.name)).await {
                Ok(()) => Ok(()),
                Err(Unbuilt::Nothing(error) | Unbuilt::Remains(error)) => Err(error),
            };
        }
        if self
            .watch
            .index_on(&one.partition, &child.name)
            .await?
            .is_some()
        {
            return Ok(());
        }
        self.writer
            .limit_locks(self.options.lock_timeout, false)
            .await?;
        self.run_statement(&statement).await
    }
}

/// The parents and the children of the attachments among `statements`.
fn attached(statements: &[Statement]) -> (Vec<Name>, Vec<Name>) {
    let pairs = statements.iter().filter_map(|s| match &s.kind {
        Kind::AttachIndex { parent, child } => Some((parent.clone(), child.clone())),
        _ => None,
    });
    pairs.unzip()
}

/// The same at every run, so that a later one knows what an earlier one left.
fn child_of(one: &Unreached) -> Name {
    let suffix = format!("_p{}", one.oid);
    let mut name = one.parent.name.clone();
    while name.len() + suffix.len() > LONGEST_NAME {
        name.pop();
    }
    Name::new(&one.partition.schema, name + &suffix)
}

fn statement(sql: &str) -> Result<Statement> {
    let unreadable = |message: String| Error::new("read a statement of dbtune's own", message);
    script::parse(sql)
        .map_err(|p| unreadable(p.message))?
        .pop()
        .ok_or_else(|| unreadable("it is empty".to_owned()))
}

fn listed(unreached: &[Unreached]) -> String {
    let names: Vec<String> = unreached.iter().map(|u| u.partition.to_string()).collect();
    names.join(", ")
}
