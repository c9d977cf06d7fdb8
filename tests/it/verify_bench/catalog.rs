//! What the generator of changes and the truth read of a database.

use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) type_name: String,
    pub(super) nullable: bool,
    /// Written by the server.
    pub(super) generated: bool,
    /// Part of a unique key, and the one whose value makes a row another.
    pub(super) unique: bool,
    pub(super) labels: Vec<String>,
    /// The table that a foreign key leads to.
    pub(super) references: Option<String>,
    /// Has privileges of its own, and whether INSERT is one of them.
    pub(super) granted: bool,
    pub(super) insertable: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Relation {
    /// With its schema.
    pub(super) name: String,
    /// As `pg_class` has it; `c` for a partition.
    pub(super) kind: char,
    pub(super) rls: bool,
    /// A view that asks as its caller.
    pub(super) asks_as_caller: bool,
    pub(super) columns: Vec<Column>,
    pub(super) key: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) table: String,
    pub(super) name: String,
    pub(super) permissive: bool,
    pub(super) roles: String,
    pub(super) command: String,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Function {
    /// With schema and types of arguments.
    pub(super) signature: String,
    pub(super) name: String,
    pub(super) arguments: i16,
    pub(super) definition: String,
    pub(super) body: String,
    pub(super) is_trigger: bool,
    pub(super) is_definer: bool,
    pub(super) has_path: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) table: String,
    pub(super) name: String,
    pub(super) definition: String,
}

#[derive(Clone, Debug)]
pub(super) struct Catalog {
    pub(super) relations: Vec<Relation>,
    pub(super) policies: Vec<Policy>,
    pub(super) functions: Vec<Function>,
    pub(super) triggers: Vec<Trigger>,
    /// Privileges of tables: table, role, privilege.
    pub(super) grants: Vec<(String, String, String)>,
    /// Name (without schema) and what its definition says: words lead from one to the other.
    texts: Vec<(String, String)>,
}

const OURS: &str = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'dbtune') and n.nspname not like 'pg\\_temp%'
  and not exists (select from pg_depend x where x.objid = o.oid and x.deptype = 'e')";

impl Catalog {
    pub(super) async fn read(client: &Client) -> Self {
        let of = |table: &str| {
            format!("select o.oid from {table} o join pg_namespace n on n.oid = o.NSP where {OURS}")
        };
        let classes = of("pg_class").replace("NSP", "relnamespace");
        let functions = of("pg_proc").replace("NSP", "pronamespace");
        let rows = async |sql: &str| {
            client
                .query(sql, &[])
                .await
                .unwrap_or_else(|e| panic!("{sql}: {e:?}"))
        };
        let mut relations = Vec::new();
        for row in rows(&format!(
            "select c.oid::regclass::text, case when c.relispartition then 'c' else c.relkind::text end, c.relrowsecurity,
                    coalesce((select array_agg(a.attname::text order by a.attnum) from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
                      where i.indrelid = c.oid and i.indisprimary), '{{}}'),
                    coalesce(c.reloptions::text ~ 'security_invoker(=(true|on))?[,}}]', false)
             from pg_class c where c.oid in ({classes}) and c.relkind in ('r', 'p', 'v', 'm') and c.relname <> '_sqlx_migrations' order by 1"
        )).await {
            relations.push(Relation {
                name: row.get(0),
                kind: row.get::<_, String>(1).chars().next().unwrap(),
                rls: row.get(2),
                asks_as_caller: row.get(4),
                columns: Vec::new(),
                key: row.get(3),
            });
        }
        for row in rows(&format!(
            "select c.oid::regclass::text, a.attname::text, format_type(a.atttypid, a.atttypmod), not a.attnotnull, a.attgenerated <> '' or a.attidentity <> '',
                    exists (select from pg_index i where i.indrelid = c.oid and i.indisunique and a.attnum = any (i.indkey)
                      and (i.indnkeyatts = 1 or i.indisprimary or a.atttypid in ('text'::regtype, 'int4'::regtype, 'date'::regtype))),
                    coalesce((select array_agg(e.enumlabel::text order by e.enumsortorder) from pg_enum e where e.enumtypid = a.atttypid), '{{}}'),
                    (select k.confrelid::regclass::text from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum] limit 1),
                    a.attacl is not null, coalesce(a.attacl::text ~ '=[a-zA-Z]*a', false)
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
             where c.oid in ({classes}) order by 1, a.attnum"
        )).await {
            let of: String = row.get(0);
            if let Some(relation) = relations.iter_mut().find(|r| r.name == of) {
                relation.columns.push(Column {
                    name: row.get(1),
                    type_name: row.get(2),
                    nullable: row.get(3),
                    generated: row.get(4),
                    unique: row.get(5),
                    labels: row.get(6),
                    references: row.get(7),
                    granted: row.get(8),
                    insertable: row.get(9),
                });
            }
        }
        let policies = rows(
            "select polrelid::regclass::text, polname::text, polpermissive,
                    case when 0 = any (polroles) then 'public' else (select string_agg(r::regrole::text, ', ' order by r::regrole::text) from unnest(polroles) r) end,
                    case polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete' else 'all' end,
                    pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) from pg_policy order by 1, 2",
        ).await.iter().map(|row| Policy {
            table: row.get(0),
            name: row.get(1),
            permissive: row.get(2),
            roles: row.get(3),
            command: row.get(4),
            using: row.get(5),
            check: row.get(6),
        }).collect();
        let functions = rows(&format!(
            "select p.oid::regprocedure::text, p.proname::text, p.pronargs, pg_get_functiondef(p.oid), p.prosrc, p.prorettype = 'trigger'::regtype, p.prosecdef,
                    coalesce(p.proconfig::text like '%search_path%', false)
             from pg_proc p where p.oid in ({functions}) and p.prokind = 'f' order by 1"
        )).await.iter().map(|row| Function {
            signature: row.get(0),
            name: row.get(1),
            arguments: row.get(2),
            definition: row.get(3),
            body: row.get(4),
            is_trigger: row.get(5),
            is_definer: row.get(6),
            has_path: row.get(7),
        }).collect();
        let triggers = rows(
            "select tgrelid::regclass::text, tgname::text, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal and tgparentid = 0 order by 1, 2",
        ).await.iter().map(|row| Trigger { table: row.get(0), name: row.get(1), definition: row.get(2) }).collect();
        let grants = rows(&format!(
            "select c.oid::regclass::text, case when a.grantee = 0 then 'public' else a.grantee::regrole::text end, lower(a.privilege_type)
             from pg_class c, aclexplode(c.relacl) a where c.oid in ({classes}) and c.relkind in ('r', 'p', 'v', 'm') and a.grantee <> c.relowner
               and a.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE') order by 1, 2, 3"
        )).await.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
        let texts = rows(&format!(
            "select c.relname::text, coalesce(pg_get_expr(p.polqual, p.polrelid), '') || ' ' || coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '')
               from pg_policy p join pg_class c on c.oid = p.polrelid
             union all select p.proname::text, p.prosrc from pg_proc p where p.oid in ({functions_again})
             union all select c.relname::text, pg_get_viewdef(c.oid) from pg_class c where c.oid in ({classes}) and c.relkind in ('v', 'm')
             union all select c.relname::text, pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid where not t.tgisinternal
             union all select c.relname::text, p.inhparent::regclass::text from pg_inherits p join pg_class c on c.oid = p.inhrelid
             order by 1, 2",
            functions_again = of("pg_proc").replace("NSP", "pronamespace")
        )).await.iter().map(|row| (row.get(0), row.get(1))).collect();
        Self {
            relations,
            policies,
            functions,
            triggers,
            grants,
            texts,
        }
    }

    /// Columns of a table named with or without its schema.
    pub(super) fn columns(&self, table: &str) -> &[Column] {
        let bare = bare(table);
        self.relations
            .iter()
            .find(|r| super::catalog::bare(&r.name) == bare)
            .map_or(&[], |r| &r.columns)
    }

    /// Other tables with two columns, or a key, of the same names as those of `table`.
    pub(super) fn tables_like(&self, table: &str) -> Vec<String> {
        let this: BTreeSet<&str> = self
            .columns(table)
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        let shared = |r: &Relation| {
            r.columns
                .iter()
                .filter(|c| this.contains(c.name.as_str()))
                .count()
        };
        let mut found: Vec<_> = self
            .relations
            .iter()
            .filter(|r| "rp".contains(r.kind) && bare(&r.name) != bare(table) && shared(r) >= 2)
            .collect();
        found.sort_by_key(|r| (std::cmp::Reverse(shared(r)), r.name.clone()));
        found.into_iter().take(3).map(|r| r.name.clone()).collect()
    }

    /// Names of relations and functions that `about` reaches: what says their names, and what says those.
    pub(super) fn reached(&self, about: &[String]) -> BTreeSet<String> {
        let mut reached: BTreeSet<String> = about.iter().map(|n| bare(n).to_owned()).collect();
        let said: BTreeMap<usize, BTreeSet<&str>> = self
            .texts
            .iter()
            .enumerate()
            .map(|(i, (_, text))| {
                (
                    i,
                    text.split(|c: char| !c.is_alphanumeric() && c != '_')
                        .collect(),
                )
            })
            .collect();
        loop {
            let before = reached.len();
            for (index, (name, _)) in self.texts.iter().enumerate() {
                if said[&index].iter().any(|word| reached.contains(*word)) {
                    reached.insert(name.clone());
                }
            }
            if reached.len() == before {
                return reached;
            }
        }
    }
}

/// A name without its schema and its arguments.
pub(super) fn bare(name: &str) -> &str {
    let name = name.split('(').next().unwrap();
    name.rsplit('.').next().unwrap()
}
