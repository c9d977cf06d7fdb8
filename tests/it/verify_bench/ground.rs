//! A database that changes are made on: how it is built, who asks it, and which values are tried.

use super::catalog::{Catalog, Column, Relation};
use crate::server::{self, Db};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;

/// Somebody who asks: a role and the settings of a fresh connection. What is not set has never been set.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) settings: Vec<(&'static str, String)>,
    /// Values that mean something to this identity, by domain (`user`, `tenant`): its own first, then somebody else's.
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
}

/// What differs from one schema to the next.
pub(super) struct Scheme {
    pub(super) name: &'static str,
    /// Owns everything, and runs the changes.
    pub(super) owner: &'static str,
    pub(super) workload: &'static str,
    /// Roles that requests run as, the one of everybody first.
    pub(super) roles: &'static [&'static str],
    /// Whose value a column holds.
    pub(super) domain: fn(&str, &Column) -> Option<&'static str>,
    /// Values for columns that the types of columns do not give: table and column, values.
    pub(super) extra: &'static [(&'static str, &'static [&'static str])],
    /// Reads of one value beside those of relations.
    pub(super) reads: &'static [&'static str],
    /// Search paths that a function may be given.
    pub(super) paths: &'static [&'static str],
    /// Constants that a mutation may put for another.
    pub(super) constants: &'static [&'static str],
}

/// A relation and the rows of it that statements are tried on.
pub(super) struct Table {
    pub(super) relation: Relation,
    pub(super) rows: Vec<Row>,
}

/// Where a row is, the same in every copy of the database, and what it holds as text.
pub(super) struct Row {
    pub(super) part: String,
    pub(super) place: String,
    pub(super) values: Vec<Option<String>>,
}

pub(super) struct Ground {
    pub(super) scheme: &'static Scheme,
    pub(super) catalog: Catalog,
    pub(super) identities: Vec<Identity>,
    pub(super) tables: Vec<Table>,
    /// What the program is shown.
    pub(super) template: String,
    /// The same, but deleting a row that another one refers to is let pass, so that every statement reaches its policies.
    pub(super) lenient: String,
}

/// Deleting or changing what others refer to raises no error and takes nothing along.
const LENIENT: &str = "
do $$
declare
  action record;
begin
  for action in
    select tgrelid::regclass as of, tgname from pg_trigger
    where tgisinternal and tgname like 'RI_ConstraintTrigger_a_%' and tgparentid = 0
  loop
    execute format('alter table %s disable trigger %I', action.of, action.tgname);
  end loop;
end
$$";

impl Ground {
    /// From the template database `template`, of which a lenient copy is made.
    pub(super) async fn new(
        scheme: &'static Scheme,
        template: String,
        identities: Vec<Identity>,
    ) -> Self {
        let lenient = server::fresh_from(&format!("{}_lenient", scheme.name), &template).await;
        let client = lenient.client().await;
        client.batch_execute(LENIENT).await.unwrap();
        let catalog = Catalog::read(&client).await;
        let mut tables = Vec::new();
        for relation in &catalog.relations {
            let rows = if "rpc".contains(relation.kind) {
                rows(&client, relation, &identities).await
            } else {
                Vec::new()
            };
            tables.push(Table {
                relation: relation.clone(),
                rows,
            });
        }
        server::close(client, &lenient.name).await;
        Self {
            scheme,
            catalog,
            identities,
            tables,
            template,
            lenient: lenient.name,
        }
    }

    /// A copy for the truth.
    pub(super) async fn copy(&self) -> Db {
        owned(self.scheme, &self.lenient).await
    }

    /// A copy for the program.
    pub(super) async fn shown(&self) -> Db {
        owned(self.scheme, &self.template).await
    }

    /// The values to try in `column` as `who`; none where no policy is likely to ask for it.
    pub(super) fn values(
        &self,
        relation: &Relation,
        column: &Column,
        who: &Identity,
    ) -> Vec<Option<String>> {
        values(self.scheme, relation, column, who)
    }
}

async fn owned(scheme: &Scheme, template: &str) -> Db {
    let db = server::fresh_from(scheme.name, template).await;
    let client = db.client().await;
    let sql = format!("alter database \"{}\" owner to {}", db.name, scheme.owner);
    client.batch_execute(&sql).await.unwrap();
    server::close(client, &db.name).await;
    db
}

fn values(
    scheme: &Scheme,
    relation: &Relation,
    column: &Column,
    who: &Identity,
) -> Vec<Option<String>> {
    let some = |values: &[&str]| {
        values
            .iter()
            .map(|v| Some((*v).to_owned()))
            .collect::<Vec<_>>()
    };
    let mut found = if let Some(domain) = (scheme.domain)(&relation.name, column) {
        who.values
            .get(domain)
            .map_or(Vec::new(), |v| v.iter().cloned().map(Some).collect())
    } else if !column.labels.is_empty() {
        column.labels.iter().cloned().map(Some).collect()
    } else {
        match column.type_name.as_str() {
            "boolean" => some(&["true", "false"]),
            "timestamp with time zone" | "date" if column.nullable => {
                some(&["2020-01-01", "2040-01-01"])
            }
            "integer[]" => some(&["{}", "{999}"]),
            _ => Vec::new(),
        }
    };
    if column.type_name == "integer[]" {
        let mine = ["user", "group"]
            .iter()
            .filter_map(|d| who.values.get(d)?.first());
        found.extend(mine.map(|m| Some(format!("{{{m}}}"))));
    }
    let name = format!("{}.{}", relation.name, column.name);
    for (_, more) in scheme.extra.iter().filter(|(of, _)| *of == name) {
        found.extend(some(more));
    }
    if !found.is_empty() && column.nullable {
        found.push(None);
    }
    found
}

/// Rows that differ in what policies ask for: flags, states, what is NULL, whose they are.
async fn rows(client: &Client, relation: &Relation, identities: &[Identity]) -> Vec<Row> {
    const MOST: usize = 10;
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|c| format!("{}::text", c.name))
        .collect();
    let sql = format!(
        "select tableoid::regclass::text, ctid::text, array[{}] from {} t order by md5(t::text), ctid limit 3000",
        columns.join(", "),
        relation.name
    );
    let mut all: Vec<(Row, BTreeSet<String>)> = Vec::new();
    for row in client.query(&sql, &[]).await.unwrap() {
        let row = Row {
            part: row.get(0),
            place: row.get(1),
            values: row.get(2),
        };
        let mut features = BTreeSet::new();
        for (column, value) in relation.columns.iter().zip(&row.values) {
            let flag = column.type_name == "boolean" || !column.labels.is_empty();
            let Some(value) = value else {
                features.insert(format!("{} is null", column.name));
                continue;
            };
            if flag {
                features.insert(format!("{} = {value}", column.name));
            }
            let mine = |i: &&Identity| i.values.values().any(|all| all.first() == Some(value));
            features.extend(
                identities
                    .iter()
                    .filter(mine)
                    .map(|i| format!("{} is {}'s", column.name, i.name)),
            );
        }
        all.push((row, features));
    }
    let (mut chosen, mut known) = (Vec::new(), BTreeSet::new());
    while chosen.len() < MOST && !all.is_empty() {
        let new = |features: &BTreeSet<String>| features.difference(&known).count();
        // The first of the best: max_by_key takes the last, so it is walked backwards.
        let best = (0..all.len())
            .rev()
            .max_by_key(|i| new(&all[*i].1))
            .unwrap();
        if new(&all[best].1) == 0 && chosen.len() >= 2 {
            break;
        }
        let (row, features) = all.remove(best);
        known.extend(features);
        chosen.push(row);
    }
    chosen
}
