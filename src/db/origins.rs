//! Which statement made which object, written down by the server itself while a throwaway database is built.

use super::catalog::decode::{get, query};
use super::{Result, Session};
use crate::model::{Name, Object, ObjectKind};
use crate::sql::quote;

/// An event trigger reports every object that a command makes or changes, those made inside functions and `DO` blocks
/// among them; a rolled-back command leaves no trace.
const BEGIN: &str = "
create schema dbtune_origins;
create table dbtune_origins.seen (
  number bigint generated always as identity, at text, class oid, object oid
);
create function dbtune_origins.note() returns event_trigger
language plpgsql security definer set search_path = pg_catalog as $$
begin
  insert into dbtune_origins.seen (at, class, object)
  select current_setting('dbtune.at', true), c.classid, c.objid
  from pg_event_trigger_ddl_commands() c
  where c.objid is not null;
end
$$;
create event trigger dbtune_origins on ddl_command_end execute function dbtune_origins.note();
";

const END: &str = "
drop event trigger dbtune_origins;
drop schema dbtune_origins cascade;
";

/// What there is now of all that was seen, in the order of the commands.
const READ: &str = "
with objects as (
  select 'pg_class'::regclass::oid as class, c.oid as object,
    case when c.relkind in ('i', 'I') then 'index' else 'table' end as kind,
    n.nspname::text as schema, c.relname::text as name, null::text as part
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'i', 'I')
  union all
  select 'pg_policy'::regclass, p.oid, 'policy', n.nspname, c.relname, p.polname
  from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
  union all
  select 'pg_proc'::regclass, p.oid, 'function', n.nspname, p.proname, null
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
)
select s.at, o.kind, o.schema, o.name, o.part
from dbtune_origins.seen s join objects o on o.class = s.class and o.object = s.object
where o.schema <> 'dbtune_origins'
order by s.number
";

/// Records in the database behind a superuser's session.
pub struct Recorder<'a> {
    session: &'a Session,
}

/// An object, and the label under which a command made or changed it; empty outside any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub at: String,
    pub object: Object,
}

impl<'a> Recorder<'a> {
    pub async fn begin(session: &'a Session) -> Result<Self> {
        session.execute("watch what is made", BEGIN).await?;
        Ok(Self { session })
    }

    /// What follows is recorded under `label`.
    pub async fn label(&self, label: &str) -> Result<()> {
        let sql = format!("set dbtune.at = {}", quote::literal(label));
        self.session
            .execute("note the place of a statement", &sql)
            .await
    }

    /// Everything seen that is still there, oldest first; the database is then as if nobody had watched.
    pub async fn end(self) -> Result<Vec<Made>> {
        let doing = "read what was made";
        let rows = query(self.session, doing, READ).await?;
        let made = rows
            .iter()
            .map(|row| {
                let kind = match get::<&str>(row, "kind")? {
                    "index" => ObjectKind::Index,
                    "policy" => ObjectKind::Policy,
                    "function" => ObjectKind::Function,
                    _ => ObjectKind::Table,
                };
                Ok(Made {
                    at: get::<Option<String>>(row, "at")?.unwrap_or_default(),
                    object: Object {
                        kind,
                        name: Name::new(get::<&str>(row, "schema")?, get::<&str>(row, "name")?),
                        part: get(row, "part")?,
                    },
                })
            })
            .collect::<Result<_>>()?;
        self.session.execute(doing, END).await?;
        Ok(made)
    }
}
