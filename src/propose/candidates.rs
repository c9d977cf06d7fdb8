//! Indexes worth a try: the policy's columns first, then what the statement filters, orders and joins by.
//!
//! Under RLS a condition whose operator is not leakproof is no index condition, so a column of such a type is
//! a key only behind the policy's, or the constant of a partial index, whose proof runs no operator.

use super::policies::Reads;
use crate::model::{Catalog, Column, IndexKey, IndexSpec, Name, Table, TableKind};
use crate::sql::access::{Access, OrderKey, Predicate};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Smaller tables are read whole faster than through an index.
pub const SMALL_TABLE_ROWS: f64 = 1_000.0;
const MOST_KEYS: usize = 4;
/// Constants of a column with more values than this are no partial index.
const MOST_CONSTANTS: f64 = 50.0;

/// Every candidate, without those an existing index already serves; named, each once.
pub(super) fn indexes(catalog: &Catalog, reads: &Reads) -> Vec<IndexSpec> {
    let mut found = BTreeSet::new();
    for (name, table) in &catalog.tables {
        let plain = matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned);
        let small = table.row_estimate() < SMALL_TABLE_ROWS;
        if !plain || small || table.partition_of.is_some() || table.extension.is_some() {
            continue;
        }
        let mut shapes = BTreeSet::new();
        let bases = reads.policy_branches(name);
        for access in reads.of(name) {
            for base in &bases {
                shapes.extend(combine(table, base, access));
            }
        }
        found.extend(
            shapes
                .into_iter()
                .filter(|shape| !is_served(table, shape))
                .map(|shape| spec(name, shape)),
        );
    }
    found.into_iter().collect()
}

/// Indexes for foreign keys without one: what a DELETE of the referenced rows looks for.
pub(super) fn foreign_keys(catalog: &Catalog, referenced: &BTreeSet<Name>) -> Vec<IndexSpec> {
    let mut found = Vec::new();
    for (name, table) in &catalog.tables {
        if table.row_estimate() < SMALL_TABLE_ROWS || table.partition_of.is_some() {
            continue;
        }
        for key in &table.foreign_keys {
            let shape = Shape {
                keys: key.columns.iter().map(|c| ascending(c)).collect(),
                predicate: None,
            };
            if referenced.contains(&key.references) && !is_served(table, &shape) {
                found.push(spec(name, shape));
            }
        }
    }
    found
}

/// Indexes for what functions look up: a function that is not inlined shows in no plan.
pub(super) fn in_functions(catalog: &Catalog, reads: &Reads) -> Vec<IndexSpec> {
    let mut found = BTreeSet::new();
    for (name, table) in &catalog.tables {
        if table.row_estimate() < SMALL_TABLE_ROWS || table.partition_of.is_some() {
            continue;
        }
        for access in reads.in_functions(name) {
            let mut keys = ascending_all(&access.equals);
            keys.extend(ascending_all(&access.returns));
            keys.dedup_by(|a, b| a.column == b.column);
            keys.retain(|k| indexable(table, &k.column));
            keys.truncate(MOST_KEYS);
            let shape = Shape {
                keys,
                predicate: None,
            };
            let first = Shape {
                keys: shape.keys.iter().take(1).cloned().collect(),
                predicate: None,
            };
            if !access.equals.is_empty() && !shape.keys.is_empty() && !is_served(table, &first) {
                found.insert(spec(name, shape));
            }
        }
    }
    found.into_iter().collect()
}

/// Keys and predicate, before it has a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shape {
    keys: Vec<OrderKey>,
    predicate: Option<String>,
}

/// Every sensible index for one branch of the policy and one access.
fn combine(table: &Table, base: &Access, access: &Access) -> Vec<Shape> {
    let policy = ascending_all(&base.equals);
    let own: Vec<OrderKey> = access
        .equals
        .iter()
        .filter(|c| searchable(table, c))
        .map(|c| ascending(c))
        .collect();
    let joins = ascending_all(&access.joins);
    let range: Vec<OrderKey> = access.ranges.iter().take(1).map(|c| ascending(c)).collect();
    let policy_range: Vec<OrderKey> = base.ranges.iter().take(1).map(|c| ascending(c)).collect();
    let returned = ascending_all(&access.returns);
    let order = &access.order;
    let mut orders = vec![
        vec![&policy],
        vec![&policy, &own],
        vec![&own],
        vec![&own, &policy],
        vec![&policy, &range],
        vec![&policy, &own, &range],
        vec![&own, &range],
        vec![&range],
        vec![&policy, &policy_range],
        vec![&policy, &joins],
        vec![&joins],
        vec![&own, &joins],
    ];
    if !order.is_empty() {
        orders.extend([
            vec![&policy, order],
            vec![&policy, &own, order],
            vec![&own, order],
        ]);
        if access.limited {
            orders.push(vec![order]);
        }
    }
    // A set that a policy computes needs nothing but its keys and what it returns.
    if access.returns.len() == 1 {
        orders.push(vec![&own, &returned]);
    }
    let predicates = predicates(table, base, access);
    let mut shapes = Vec::new();
    for parts in orders {
        for (predicate, constants) in &predicates {
            let mut keys: Vec<OrderKey> = Vec::new();
            for key in parts.iter().copied().flatten() {
                let known = keys.iter().any(|k| k.column == key.column);
                if !known && !constants.contains(&key.column) && indexable(table, &key.column) {
                    keys.push(key.clone());
                }
            }
            keys.truncate(MOST_KEYS);
            if !keys.is_empty() {
                shapes.push(Shape {
                    keys,
                    predicate: predicate.clone(),
                });
            }
        }
    }
    shapes
}

/// No predicate, the policy's constant tests, and those with the statement's; each with the columns it fixes.
fn predicates(table: &Table, base: &Access, access: &Access) -> Vec<(Option<String>, Vec<String>)> {
    let usable = |tests: &[Predicate]| -> Vec<Predicate> {
        tests
            .iter()
            .filter(|p| {
                table
                    .column(&p.column)
                    .is_some_and(|c| few_values(c, table, p))
            })
            .cloned()
            .collect()
    };
    let policy = usable(&base.predicates);
    let mut both = policy.clone();
    both.extend(usable(&access.predicates));
    both.sort();
    both.dedup();
    let join = |tests: &[Predicate]| {
        let text = tests
            .iter()
            .map(|p| p.text.clone())
            .collect::<Vec<_>>()
            .join(" AND ");
        let fixed = tests
            .iter()
            .filter(|p| p.equality)
            .map(|p| p.column.clone())
            .collect();
        ((!tests.is_empty()).then_some(text), fixed)
    };
    let mut all = vec![join(&[]), join(&policy), join(&both)];
    all.dedup();
    all
}

/// A constant is worth an index of its own where it cannot be a key (its operator is not leakproof, and proving a
/// predicate runs no operator), and where few values exist, so that it stands for a state and not for a row.
fn few_values(column: &Column, table: &Table, predicate: &Predicate) -> bool {
    if !predicate.equality {
        return true;
    }
    if searchable(table, &column.name) {
        return false;
    }
    if column.type_kind == 'e' {
        return true;
    }
    let distinct = column.stats.as_ref().map_or(f64::MAX, |s| {
        if s.n_distinct < 0.0 {
            -s.n_distinct * table.row_estimate()
        } else {
            s.n_distinct
        }
    });
    distinct <= MOST_CONSTANTS
}

/// Whether an equality on the column can be an index condition before the policy was checked.
fn searchable(table: &Table, column: &str) -> bool {
    !table.rls_enabled
        || table
            .column(column)
            .is_some_and(|c| c.equality_leakproof == Some(true))
}

/// Types without a btree order are no keys.
fn indexable(table: &Table, column: &str) -> bool {
    table.column(column).is_some_and(|c| {
        c.ordering_leakproof.is_some() && !matches!(c.type_name.as_str(), "jsonb" | "tsvector")
    })
}

/// Whether a valid index without predicate starts with the same keys.
fn is_served(table: &Table, shape: &Shape) -> bool {
    table.indexes.iter().any(|index| {
        let same_predicate = index.predicate.is_none() && shape.predicate.is_none();
        index.valid
            && index.method == "btree"
            && same_predicate
            && index.keys.len() >= shape.keys.len()
            && index.keys.iter().zip(&shape.keys).all(|(have, want)| {
                have.column.as_deref() == Some(want.column.as_str())
                    && have.descending == want.descending
                    && have.opclass.is_none()
            })
    })
}

fn spec(table: &Name, shape: Shape) -> IndexSpec {
    let mut words: Vec<&str> = vec![&table.name];
    words.extend(shape.keys.iter().map(|k| k.column.as_str()));
    if shape.predicate.is_some() {
        words.push("partial");
    }
    let mut name = words.join("_");
    // Two partial indexes on the same keys differ in their predicate alone.
    if let Some(predicate) = &shape.predicate {
        // Writing to a string cannot fail.
        let _ = write!(name, "_{:04x}", checksum(predicate));
    }
    while name.len() > 59 {
        name.pop();
    }
    IndexSpec {
        table: table.clone(),
        name: format!("{name}_idx"),
        method: "btree".to_owned(),
        unique: false,
        keys: shape
            .keys
            .into_iter()
            .map(|key| IndexKey {
                column: Some(key.column),
                descending: key.descending,
                nulls_first: key.nulls_first,
                ..IndexKey::default()
            })
            .collect(),
        include: Vec::new(),
        predicate: shape.predicate,
    }
}

fn checksum(text: &str) -> u16 {
    text.bytes().fold(0u16, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

fn ascending(column: &str) -> OrderKey {
    OrderKey {
        column: column.to_owned(),
        descending: false,
        nulls_first: false,
    }
}

fn ascending_all(columns: &[String]) -> Vec<OrderKey> {
    columns.iter().map(|c| ascending(c)).collect()
}
