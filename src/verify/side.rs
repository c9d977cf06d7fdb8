//! What one side says of its tables: columns and policies, as PostgreSQL holds them.

use crate::db::{Error, Limits, Result, Session};
use crate::model::Name;
use crate::sql::quote;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The tables of one side by oid, which clones of one database share.
#[derive(Clone, Debug, Default)]
pub(super) struct Side {
    pub(super) tables: BTreeMap<u32, Guarded>,
}

/// A table that is guarded, or has policies.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Guarded {
    pub(super) oid: u32,
    schema: String,
    table: String,
    /// `relrowsecurity`.
    pub(super) rls: bool,
    /// `relforcerowsecurity`.
    pub(super) forced: bool,
    pub(super) columns: Vec<Column>,
    pub(super) policies: Vec<Policy>,
    pub(super) constraints: Vec<Constraint>,
    pub(super) references: Vec<Reference>,
    /// Column numbers of the primary key; empty where there is none.
    pub(super) key: Vec<i16>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Column {
    /// `attnum`.
    pub(super) number: i16,
    pub(super) name: String,
    /// `format_type`.
    pub(super) type_name: String,
    /// `pg_type.typcategory`, of the base type for a domain.
    pub(super) category: char,
    pub(super) labels: Vec<String>,
    pub(super) not_null: bool,
    /// Its type takes no NULL at all.
    pub(super) domain_not_null: bool,
    pub(super) generated: bool,
    /// Neither generated nor an identity that is always generated.
    pub(super) writable: bool,
    /// Whether equal by `=` means the same bytes, so that rows may be grouped by it.
    pub(super) image: bool,
    pub(super) default: Option<String>,
    /// Whether an index has it.
    pub(super) key: bool,
}

/// A foreign key that holds for every row at every moment.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Reference {
    pub(super) columns: Vec<i16>,
    /// The other table, ready for SQL, and its columns.
    pub(super) table: String,
    pub(super) keys: Vec<String>,
}

/// A CHECK constraint.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Constraint {
    pub(super) columns: Vec<i16>,
    pub(super) expression: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Policy {
    pub(super) name: String,
    /// `pg_policy.polcmd`: r, a, w, d or *.
    pub(super) command: char,
    pub(super) permissive: bool,
    /// 0 is PUBLIC.
    pub(super) roles: BTreeSet<u32>,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
    /// Columns of the table that its expressions read; system columns are negative.
    pub(super) reads: BTreeSet<i16>,
    /// Whether it reads the row as a whole, which leaves no trace but in the tree.
    pub(super) whole_row: bool,
    /// The two expressions as trees, without the places in a text and the names that operators were written with.
    pub(super) trees: (Option<String>, Option<String>),
}

impl Guarded {
    pub(super) fn name(&self) -> Name {
        Name::new(&self.schema, &self.table)
    }

    pub(super) fn quoted(&self) -> String {
        quote::name(&self.name())
    }

    /// What its own expressions call the row.
    pub(super) fn alias(&self) -> String {
        quote::ident(&self.table)
    }

    pub(super) fn column(&self, number: i16) -> Option<&Column> {
        self.columns.iter().find(|c| c.number == number)
    }
}

/// A policy's tree without what a text alone decides: places, names that operators were written with, and whether a coercion was
/// written out.
const TREE: &str = r"regexp_replace(regexp_replace(%s::text, ':(stmt_)?(location|len) -?\d+', '', 'g'),
  ':operName \([^)]*\)|:(func|relabel|coerce|coercion|convert|row_)(format|form) \d+', '', 'g')";

/// What an extension brings is not the application's.
const OWN: &str = "not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')";

/// Tables for which `only` holds, as JSON.
fn tables(only: &str) -> String {
    let (using, check) = (
        TREE.replace("%s", "p.polqual"),
        TREE.replace("%s", "p.polwithcheck"),
    );
    format!(
        r"
select json_build_object(
  'oid', c.oid::bigint, 'schema', n.nspname, 'table', c.relname, 'rls', c.relrowsecurity, 'forced', c.relforcerowsecurity,
  'columns', (
    select coalesce(json_agg(json_build_object(
        'number', a.attnum, 'name', a.attname, 'type_name', format_type(a.atttypid, a.atttypmod),
        'category', b.typcategory, 'not_null', a.attnotnull or t.typnotnull, 'domain_not_null', t.typnotnull, 'generated', a.attgenerated <> '',
        'writable', a.attgenerated = '' and a.attidentity <> 'a',
        'labels', (select coalesce(json_agg(e.enumlabel order by e.enumsortorder), '[]') from pg_enum e where e.enumtypid = b.oid),
        'default', case when a.attgenerated = '' then (
          select pg_get_expr(d.adbin, d.adrelid) from pg_attrdef d where d.adrelid = a.attrelid and d.adnum = a.attnum) end,
        'key', exists (select from pg_index i where i.indrelid = c.oid and a.attnum = any (i.indkey)),
        'image', exists (
          select from pg_opclass o
          join pg_amproc s on s.amprocfamily = o.opcfamily and s.amproclefttype = o.opcintype and s.amprocrighttype = o.opcintype
            and s.amprocnum = 4
          join pg_proc f on f.oid = s.amproc
          left join pg_collation k on k.oid = a.attcollation
          where o.opcmethod = (select oid from pg_am where amname = 'btree') and o.opcdefault
            and o.opcintype = case when b.typname = 'varchar' then 'text'::regtype::oid when b.typtype = 'e' then 'anyenum'::regtype::oid
              else b.oid end
            and (f.proname = 'btequalimage' or f.proname = 'btvarstrequalimage' and coalesce(k.collisdeterministic, true)))
      ) order by a.attnum), '[]')
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    join pg_type b on b.oid = case when t.typtype = 'd' then t.typbasetype else t.oid end
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped),
  'key', coalesce((select to_json(k.conkey) from pg_constraint k where k.conrelid = c.oid and k.contype = 'p'), '[]'),
  'constraints', (
    select coalesce(json_agg(json_build_object('columns', coalesce(k.conkey, '{{}}'), 'expression', pg_get_expr(k.conbin, k.conrelid))
      order by k.conname), '[]')
    from pg_constraint k where k.conrelid = c.oid and k.contype = 'c'),
  'references', (
    select coalesce(json_agg(json_build_object('columns', k.conkey, 'table', format('%I.%I', fn.nspname, f.relname),
        'keys', (select json_agg(a.attname order by u.at) from unnest(k.confkey) with ordinality u(number, at)
          join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.number)) order by k.conname), '[]')
    from pg_constraint k join pg_class f on f.oid = k.confrelid join pg_namespace fn on fn.oid = f.relnamespace
    where k.conrelid = c.oid and k.contype = 'f' and k.convalidated and not k.condeferrable
      and not exists (select from pg_trigger g where g.tgconstraint = k.oid and g.tgenabled in ('D', 'R'))),
  'policies', (
    select coalesce(json_agg(json_build_object(
        'name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive, 'roles', p.polroles::bigint[],
        'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid),
        'reads', (select coalesce(json_agg(distinct d.refobjsubid), '[]') from pg_depend d
          where d.classid = 'pg_policy'::regclass and d.objid = p.oid and d.refclassid = 'pg_class'::regclass
            and d.refobjid = c.oid and d.refobjsubid <> 0),
        'whole_row', coalesce(p.polqual::text, '') || coalesce(p.polwithcheck::text, '') like '%:varattno 0 :vartype ' || c.reltype || ' %',
        'trees', json_build_array({using}, {check})
      ) order by p.polname), '[]')
    from pg_policy p where p.polrelid = c.oid))::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and {only}
order by n.nspname, c.relname"
    )
}

/// Reads the tables `names` of a side. Names in expressions are written out in full, because they are read under an empty
/// search path.
pub(super) async fn read(
    session: &Session,
    names: &BTreeSet<Name>,
    limits: Limits,
) -> Result<Side> {
    if names.is_empty() {
        return Ok(Side::default());
    }
    let pairs: Vec<String> = names
        .iter()
        .map(|n| {
            format!(
                "({}, {})",
                quote::literal(&n.schema),
                quote::literal(&n.name)
            )
        })
        .collect();
    let only = format!("(n.nspname, c.relname) in ({})", pairs.join(", "));
    read_those(session, &only, limits).await
}

/// Every table that no extension brought, those that nothing guards as well.
pub(super) async fn read_all(session: &Session, limits: Limits) -> Result<Side> {
    read_those(session, OWN, limits).await
}

async fn read_those(session: &Session, only: &str, limits: Limits) -> Result<Side> {
    let mut side = Side::default();
    let doing = "read the policies of a side";
    session.begin_reading(limits).await?;
    let texts = async {
        session
            .execute(doing, "set local search_path = pg_catalog")
            .await?;
        session.texts(doing, &tables(only)).await
    };
    let texts = texts.await;
    session.end().await?;
    for text in texts? {
        let table: Guarded =
            serde_json::from_str(&text).map_err(|e| Error::new(doing, e.to_string()))?;
        side.tables.insert(table.oid, table);
    }
    Ok(side)
}

/// The policies of one table as they are now inside the session's open transaction, whose search path is empty.
pub(super) async fn policies_now(session: &Session, oid: u32) -> Result<Vec<Policy>> {
    let doing = "read the policies of a table";
    let texts = session
        .texts(doing, &tables(&format!("c.oid = {oid}")))
        .await?;
    let table: Guarded =
        serde_json::from_str(&texts.concat()).map_err(|e| Error::new(doing, e.to_string()))?;
    Ok(table.policies)
}
