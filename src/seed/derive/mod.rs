//! A specification for a database that has none, from its tables alone.

mod column;
mod keys;

use super::error::Error;
use super::spec::{ColumnSpec, Generator, Spec, TableSpec};
use crate::db::{Loader, Session, TableShape};
use crate::model::{Gap, Name};
use std::collections::{BTreeMap, BTreeSet};

/// How much smaller a table is than those that refer to it.
const FAN_OUT: u64 = 10;

/// What [`derive()`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Derived {
    pub spec: Spec,
    /// What the rows will not respect, or which columns stay empty, and why.
    pub gaps: Vec<Gap>,
}

/// Reads the database's tables and derives a specification; see [`derive()`].
pub async fn derive_from(session: &Session, rows: u64, seed: u64) -> Result<Derived, Error> {
    let shapes = Loader::new(session).shapes().await?;
    if shapes.is_empty() {
        return Err(Error::NoTables);
    }
    Ok(derive(&shapes, rows, seed))
}

/// A specification that fills every table: `rows` in those that no other refers to, a tenth of that in those they
/// refer to, and so on. Types, NOT NULL, enum labels, foreign keys and unique keys are respected; check and
/// exclusion constraints cannot be, and are named in the gaps.
pub fn derive(shapes: &[TableShape], rows: u64, seed: u64) -> Derived {
    let mut derivation = Derivation {
        shapes,
        lists: BTreeMap::new(),
        gaps: Vec::new(),
        cut: circles(shapes),
        sizes: sizes(shapes, rows),
    };
    let tables = shapes.iter().map(|shape| derivation.table(shape)).collect();
    Derived {
        spec: Spec {
            version: 1,
            seed,
            lists: derivation.lists,
            tables,
        },
        gaps: derivation.gaps,
    }
}

struct Derivation<'a> {
    shapes: &'a [TableShape],
    /// Labels of enum arrays, by list name.
    lists: BTreeMap<String, Vec<String>>,
    gaps: Vec<Gap>,
    /// Foreign keys (table, name) that would close a circle.
    cut: BTreeSet<(Name, String)>,
    sizes: BTreeMap<Name, u64>,
}

impl Derivation<'_> {
    fn table(&mut self, shape: &TableShape) -> TableSpec {
        let mut columns = BTreeMap::new();
        for column in &shape.columns {
            if column.generated {
                continue;
            }
            if let Some(generator) = self.by_type(shape, column) {
                let null_fraction = if column.not_null { 0.0 } else { 0.1 };
                columns.insert(
                    column.name.clone(),
                    ColumnSpec {
                        null_fraction,
                        ..generator.into()
                    },
                );
            }
        }
        self.follow_references(shape, &mut columns);
        let rows = self.make_unique(shape, &mut columns);
        if !shape.checks.is_empty() {
            self.gaps.push(Gap {
                what: format!("constraints of {}: {}", shape.name, shape.checks.join(", ")),
                why: "check and exclusion constraints are not read; the server refuses rows that break them".to_owned(),
                remedy: Some("write a seed specification with ranges that keep them".to_owned()),
            });
        }
        TableSpec {
            table: shape.name.to_string(),
            rows,
            fixed: false,
            at_least: 0,
            columns,
        }
    }

    fn size(&self, table: &Name) -> u64 {
        self.sizes.get(table).copied().unwrap_or(1)
    }
}

/// Puts `generator` in a column, keeping its share of NULL.
fn set(columns: &mut BTreeMap<String, ColumnSpec>, column: &str, generator: Generator) {
    let null_fraction = columns.get(column).map_or(0.0, |c| c.null_fraction);
    columns.insert(
        column.to_owned(),
        ColumnSpec {
            null_fraction,
            ..generator.into()
        },
    );
}

/// Rows by how many tables deep the children of a table go.
fn sizes(shapes: &[TableShape], rows: u64) -> BTreeMap<Name, u64> {
    let mut depth: BTreeMap<&Name, u32> = shapes.iter().map(|s| (&s.name, 0)).collect();
    // Three rounds: deeper tables would be too small to be of use.
    for _ in 0..3 {
        for shape in shapes {
            let own = depth.get(&shape.name).copied().unwrap_or_default();
            for parent in shape.references.iter().filter(|r| r.table != shape.name) {
                if let Some(above) = depth.get_mut(&parent.table) {
                    *above = (*above).max(own + 1).min(3);
                }
            }
        }
    }
    depth
        .into_iter()
        .map(|(name, depth)| (name.clone(), (rows / FAN_OUT.pow(depth)).max(1)))
        .collect()
}

/// Foreign keys to leave out, so that the others form no circle: nullable ones first, those met later first.
fn circles(shapes: &[TableShape]) -> BTreeSet<(Name, String)> {
    let mut cut = BTreeSet::new();
    let mut kept: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
    for nullable in [false, true] {
        for shape in shapes {
            for reference in shape.references.iter().filter(|r| r.table != shape.name) {
                let optional = reference
                    .columns
                    .iter()
                    .any(|c| shape.column(c).is_some_and(|c| !c.not_null));
                if optional != nullable {
                    continue;
                }
                if reaches(&kept, &reference.table, &shape.name) {
                    cut.insert((shape.name.clone(), reference.name.clone()));
                } else {
                    kept.entry(&shape.name)
                        .or_default()
                        .insert(&reference.table);
                }
            }
        }
    }
    cut
}

fn reaches(edges: &BTreeMap<&Name, BTreeSet<&Name>>, from: &Name, to: &Name) -> bool {
    let mut seen = BTreeSet::from([from]);
    let mut next = vec![from];
    while let Some(name) = next.pop() {
        if name == to {
            return true;
        }
        let parents = edges.get(name).into_iter().flatten().copied();
        next.extend(parents.filter(|parent| seen.insert(*parent)));
    }
    false
}
