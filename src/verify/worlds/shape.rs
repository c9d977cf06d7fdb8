//! The tables of a world as the server has them: columns with their types, keys, and who may do what.

use super::kind::Kind;
use crate::db::{Result, Session};
use crate::model::{Catalog, Name};
use crate::sql::quote;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) name: Name,
    pub(super) columns: Vec<Column>,
    /// Places in `columns` of each key.
    pub(super) keys: Vec<Vec<usize>>,
    pub(super) parents: Vec<Parent>,
    /// Triggers that are switched on.
    pub(super) triggers: Vec<String>,
    pub(super) owner: String,
    pub(super) forced: bool,
}

/// A column that rows of a world give a value to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) not_null: bool,
    /// Its default is a constant.
    pub(super) constant_default: bool,
    /// A policy or what it calls may read it.
    pub(super) read: bool,
}

/// A foreign key to another table of the world, or to the table itself.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    pub(super) columns: Vec<usize>,
    /// Place among the shapes.
    pub(super) table: usize,
    pub(super) referenced: Vec<usize>,
}

impl Shape {
    pub(super) fn quoted(&self) -> String {
        quote::name(&self.name)
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }

    /// Whether the column is all of a key.
    pub(super) fn is_key(&self, column: usize) -> bool {
        self.keys.iter().any(|key| key.as_slice() == [column])
    }
}

const COLUMNS: &str = "
select json_build_object('schema', n.nspname, 'table', c.relname, 'name', a.attname,
    'type', t.typname, 'kind', t.typtype, 'element', e.typname, 'element_kind', e.typtype,
    'labels', (select json_agg(l.enumlabel order by l.enumsortorder) from pg_enum l where l.enumtypid in (t.oid, e.oid)),
    'limit', case when t.typname in ('varchar', 'bpchar') and a.atttypmod > 4 then a.atttypmod - 4 end,
    'not_null', a.attnotnull, 'generated', a.attgenerated <> '', 'default', pg_get_expr(d.adbin, d.adrelid))::text
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
  cross join lateral (
    with recursive base (oid) as (
      select a.atttypid
      union all select x.typbasetype from base b join pg_type x on x.oid = b.oid where x.typtype = 'd')
    select x.* from base b join pg_type x on x.oid = b.oid where x.typtype <> 'd') t
  left join pg_type e on e.oid = t.typelem and t.typcategory = 'A'
  where c.oid = any ({tables}::regclass[])
  order by n.nspname, c.relname, a.attnum";

#[derive(Deserialize)]
struct Found {
    schema: String,
    table: String,
    name: String,
    #[serde(rename = "type")]
    type_name: String,
    kind: String,
    element: Option<String>,
    element_kind: Option<String>,
    labels: Option<Vec<String>>,
    limit: Option<usize>,
    not_null: bool,
    generated: bool,
    default: Option<String>,
}

type Columns = BTreeMap<Name, Vec<Column>>;

pub(super) async fn columns(
    session: &Session,
    tables: &BTreeSet<Name>,
    words: &BTreeSet<String>,
) -> Result<Columns> {
    let names: Vec<_> = tables.iter().map(quote::name).collect();
    let names: Vec<_> = names.iter().map(|n| quote::literal(n)).collect();
    let list = format!("array[{}]", names.join(", "));
    let sql = COLUMNS.replace("{tables}", &list);
    let mut found = Columns::new();
    for text in session.texts("read the columns of a table", &sql).await? {
        let Ok(column) = serde_json::from_str::<Found>(&text) else {
            continue;
        };
        if column.generated {
            continue;
        }
        let name = Name::new(&column.schema, &column.table);
        let is_call = |d: &String| d.contains('(');
        found.entry(name).or_default().push(Column {
            read: words.contains(&column.name),
            not_null: column.not_null,
            constant_default: column.default.as_ref().is_some_and(|d| !is_call(d)),
            kind: Kind::new(
                &column.type_name,
                &column.kind,
                column
                    .element
                    .as_deref()
                    .zip(column.element_kind.as_deref()),
                column.labels.unwrap_or_default(),
                column.limit,
            ),
            name: column.name,
        });
    }
    Ok(found)
}

/// The shapes of `tables` that both sides have, parents before their children; what is not alike on both sides is left out.
pub(super) fn shapes(catalog: &Catalog, before: &Columns, after: &Columns) -> Vec<Shape> {
    let mut shapes = Vec::new();
    for name in ordered(catalog, before) {
        let (Some(table), Some(old), Some(new)) =
            (catalog.table(&name), before.get(&name), after.get(&name))
        else {
            continue;
        };
        let both = old.iter().filter(|c| new.contains(c)).cloned();
        let mut shape = Shape {
            columns: both.collect(),
            keys: Vec::new(),
            parents: Vec::new(),
            triggers: table
                .triggers
                .iter()
                .filter(|t| t.enabled)
                .map(|t| t.name.clone())
                .collect(),
            owner: table.owner.clone(),
            forced: table.rls_forced,
            name,
        };
        for index in table
            .indexes
            .iter()
            .filter(|i| i.unique && i.predicate.is_none())
        {
            let key: Option<Vec<usize>> = index
                .keys
                .iter()
                .map(|k| shape.place(k.column.as_deref()?))
                .collect();
            shape.keys.extend(key);
        }
        shapes.push(shape);
    }
    link(catalog, &mut shapes);
    shapes
}

fn link(catalog: &Catalog, shapes: &mut [Shape]) {
    let all = shapes.to_vec();
    for shape in shapes.iter_mut() {
        let Some(table) = catalog.table(&shape.name) else {
            continue;
        };
        for key in &table.foreign_keys {
            let Some((at, parent)) = all
                .iter()
                .enumerate()
                .find(|(_, s)| s.name == key.references)
            else {
                continue;
            };
            let places = |shape: &Shape, columns: &[String]| -> Option<Vec<usize>> {
                columns.iter().map(|c| shape.place(c)).collect()
            };
            let own = places(shape, &key.columns);
            let referenced = places(parent, &key.referenced_columns);
            if let (Some(columns), Some(referenced)) = (own, referenced) {
                shape.parents.push(Parent {
                    columns,
                    table: at,
                    referenced,
                });
            }
        }
    }
}

/// `tables` with those that their foreign keys point to, at any depth.
pub(super) fn with_parents(catalog: &Catalog, tables: &BTreeSet<Name>) -> BTreeSet<Name> {
    let mut found = BTreeSet::new();
    let mut pending: Vec<Name> = tables.iter().cloned().collect();
    while let Some(name) = pending.pop() {
        let Some(table) = catalog.table(&name) else {
            continue;
        };
        if found.insert(name) {
            pending.extend(table.foreign_keys.iter().map(|k| k.references.clone()));
        }
    }
    found
}

/// Parents first; a ring is broken where it is met.
fn ordered(catalog: &Catalog, tables: &Columns) -> Vec<Name> {
    fn visit(
        name: &Name,
        catalog: &Catalog,
        tables: &Columns,
        path: &mut Vec<Name>,
        out: &mut Vec<Name>,
    ) {
        if !tables.contains_key(name) || out.contains(name) || path.contains(name) {
            return;
        }
        path.push(name.clone());
        for key in catalog
            .table(name)
            .into_iter()
            .flat_map(|t| &t.foreign_keys)
        {
            visit(&key.references, catalog, tables, path, out);
        }
        path.pop();
        out.push(name.clone());
    }
    let mut out = Vec::new();
    for name in tables.keys() {
        visit(name, catalog, tables, &mut Vec::new(), &mut out);
    }
    out
}

/// What one role may do with the table, as far as its grants go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) select: BTreeSet<String>,
    pub(super) insert: BTreeSet<String>,
    pub(super) update: BTreeSet<String>,
    pub(super) delete: bool,
    /// Policies filter what it sees.
    pub(super) guarded: bool,
}

impl Rights {
    pub(super) fn merge(&mut self, other: Self) {
        self.select.extend(other.select);
        self.insert.extend(other.insert);
        self.update.extend(other.update);
        self.delete |= other.delete;
        self.guarded |= other.guarded;
    }
}

/// The rights of a role; asked as that role, because only then the server says whether policies filter.
pub(super) async fn rights(session: &Session, table: &Name, role: &str) -> Result<Rights> {
    let doing = format!("ask what {role} may do with {table}");
    let table = quote::literal(&quote::name(table));
    let sql = format!(
        "begin; set local role {}; select row_security_active({table}::regclass)::text; rollback;
         select has_table_privilege({role}, {table}, 'delete')::text;
         select kind || ':' || a.attname from pg_attribute a, unnest(array['select', 'insert', 'update']) kind
         where a.attrelid = {table}::regclass and a.attnum > 0 and not a.attisdropped
           and has_column_privilege({role}, {table}, a.attnum, kind)",
        quote::ident(role),
        role = quote::literal(role),
    );
    let mut rights = Rights::default();
    let texts = match session.texts_at_once(&doing, &sql).await {
        Ok(texts) => texts,
        // Without USAGE on the schema it may do nothing.
        Err(error) if error.is("42501") => {
            session.end().await?;
            return Ok(rights);
        }
        Err(error) => return Err(error),
    };
    for (at, text) in texts.iter().enumerate() {
        match (at, text.split_once(':')) {
            (0, _) => rights.guarded = text == "true",
            (1, _) => rights.delete = text == "true",
            (_, Some(("select", column))) => {
                rights.select.insert(column.to_owned());
            }
            (_, Some(("insert", column))) => {
                rights.insert.insert(column.to_owned());
            }
            (_, Some((_, column))) => {
                rights.update.insert(column.to_owned());
            }
            _ => {}
        }
    }
    Ok(rights)
}
