//! Rows that are not there, but may be one day.

use super::catalog::{Column, Relation};
use super::ground::{Ground, Identity, Table};
use super::probes::{MOMENT, literal, text};
use std::collections::BTreeSet;

/// At most so many rows are imagined for each identity in each table.
const MOST: usize = 120;

type Values = Vec<Option<String>>;

pub(super) struct Imagined<'a> {
    pub(super) relation: &'a Relation,
    /// Those that a statement may give.
    pub(super) columns: Vec<&'a Column>,
    pub(super) rows: Vec<Values>,
    /// Places of columns that need another value for each row.
    keys: BTreeSet<usize>,
}

impl<'a> Imagined<'a> {
    /// A row of the identity's own, each value of each column, and every pair of them as far as [`MOST`] goes.
    pub(super) fn new(ground: &Ground, table: &'a Table, who: &Identity) -> Self {
        let relation = &table.relation;
        let by_column = relation.columns.iter().any(|c| c.insertable);
        let columns: Vec<(usize, &Column)> = relation
            .columns
            .iter()
            .enumerate()
            .filter(|(_, c)| !c.generated && (!by_column || c.insertable))
            .collect();
        let tried: Vec<Values> = columns
            .iter()
            .map(|(_, c)| ground.values(relation, c, who))
            .collect();
        let (mut base, mut keys) = (Values::new(), BTreeSet::new());
        for (at, ((place, column), tried)) in columns.iter().zip(&tried).enumerate() {
            let own = (ground.scheme.domain)(&relation.name, column).and(tried.first());
            let held = || {
                table
                    .rows
                    .first()
                    .and_then(|row| row.values[*place].clone())
            };
            // A part of a table takes no other time.
            let is_free = column.type_name != "timestamp with time zone" || held().is_none();
            base.push(if column.unique && tried.is_empty() && is_free {
                keys.insert(at);
                Some(fresh(column, 0))
            } else if let Some(own) = own {
                own.clone()
            } else {
                held()
                    .or_else(|| tried.first().cloned().flatten())
                    .or_else(|| filler(column))
            });
        }
        let whose = |at: usize| (ground.scheme.domain)(&relation.name, columns[at].1).is_some();
        let rows = varied(&base, &tried, whose);
        Self {
            relation,
            columns: columns.into_iter().map(|(_, c)| c).collect(),
            rows,
            keys,
        }
    }

    pub(super) fn insert(&self, row: &[Option<String>]) -> String {
        self.statement(&tuple(row))
    }

    /// All rows at once, those that another one keeps out aside.
    pub(super) fn all(&self) -> String {
        let numbered = self.rows.iter().enumerate().map(|(number, row)| {
            let mut row = row.clone();
            for at in &self.keys {
                row[*at] = Some(fresh(self.columns[*at], number));
            }
            tuple(&row)
        });
        let tuples: Vec<String> = numbered.collect();
        format!(
            "{} on conflict do nothing",
            self.statement(&tuples.join(", "))
        )
    }

    fn statement(&self, tuples: &str) -> String {
        let names: Vec<&str> = self.columns.iter().map(|c| c.name.as_str()).collect();
        let (table, names) = (&self.relation.name, names.join(", "));
        format!("insert into {table} ({names}) values {tuples}")
    }

    /// Reads what a new row came to be, where a key tells it from the others.
    pub(super) fn look(&self) -> Option<String> {
        let [key] = self.relation.key.as_slice() else {
            return None;
        };
        let column = self.columns.iter().find(|c| c.name == *key)?;
        Some(format!(
            "select {} from {} t where {key} = '{}'",
            text(self.relation, &MOMENT),
            self.relation.name,
            fresh(column, 0)
        ))
    }
}

/// `base`, with each value that is `tried`, and with two of them.
fn varied(base: &Values, tried: &[Values], whose: impl Fn(usize) -> bool) -> Vec<Values> {
    let singles: Vec<(usize, &Option<String>)> = tried
        .iter()
        .enumerate()
        .flat_map(|(at, values)| values.iter().map(move |v| (at, v)))
        .collect();
    let mut pairs: Vec<_> = singles
        .iter()
        .flat_map(|a| singles.iter().filter(|b| a.0 < b.0).map(move |b| (a, b)))
        .collect();
    // Pairs that change whose the row is first; beyond that an order that mixes them, the same every time.
    pairs.sort_by_cached_key(|((a, v), (b, w))| {
        let text = format!("{a} {v:?} {b} {w:?}");
        (!whose(*a) && !whose(*b), super::mixed(&text))
    });
    let with = |changes: &[&(usize, &Option<String>)]| {
        let mut row = base.clone();
        for (at, value) in changes {
            row[*at].clone_from(value);
        }
        row
    };
    let mut found = vec![base.clone()];
    found.extend(singles.iter().map(|a| with(&[a])));
    found.extend(pairs.into_iter().map(|(a, b)| with(&[a, b])));
    let mut seen = BTreeSet::new();
    found.retain(|row| seen.insert(row.clone()));
    found.truncate(MOST);
    found
}

fn tuple(row: &[Option<String>]) -> String {
    let values: Vec<String> = row.iter().map(|v| literal(v.as_deref())).collect();
    format!("({})", values.join(", "))
}

/// A value of a key that no row has.
fn fresh(column: &Column, number: usize) -> String {
    match column.type_name.as_str() {
        "uuid" => format!("ffffffff-0000-4000-8000-{number:012}"),
        "integer" | "bigint" | "smallint" => (30_001 + number).to_string(),
        "date" => "2039-01-01".to_owned(),
        "timestamp with time zone" => "2039-01-01 00:00+00".to_owned(),
        _ => format!("fresh{number}@x.example"),
    }
}

/// A value for a column of an empty table.
fn filler(column: &Column) -> Option<String> {
    let value = match column.type_name.as_str() {
        "integer" | "bigint" | "smallint" => "1",
        "date" | "timestamp with time zone" => "2025-01-01",
        "uuid" => "ffffffff-0000-4000-8000-900000000000",
        "jsonb" => "{}",
        "text" | "citext" => "filler",
        _ => return None,
    };
    Some(value.to_owned())
}
