//! Which columns hold nothing but keys that whoever uses a policy can read.

use super::Domain;
use crate::model::{Catalog, Column, Command, ForeignKey, Name, Policy, Role, Table, TableKind};
use crate::sql::tree::{boolean_literal, parse_expression, parts};
use pg_query::{Node, NodeEnum};
use std::collections::BTreeSet;

/// The referenced table must be smaller than the policy's by this factor.
const SMALLER: f64 = 20.0;
/// Types whose `=` is identity, so that a function cannot tell equal values apart.
const IDENTITY: [&str; 6] = ["uuid", "smallint", "integer", "bigint", "date", "oid"];

/// The NOT NULL columns of a table whose keys everybody who uses the policy can read.
pub(super) fn domains(policy: &Policy, name: &Name, catalog: &Catalog) -> Vec<Domain> {
    let Some(table) = catalog.table(name) else {
        return Vec::new();
    };
    let stored = |t: &Table| matches!(t.kind, TableKind::Ordinary | TableKind::Partitioned);
    if !stored(table) || table.inherited {
        return Vec::new();
    }
    let domain = |k: &ForeignKey| {
        let ([column], [key]) = (k.columns.as_slice(), k.referenced_columns.as_slice()) else {
            return None;
        };
        let keys = catalog.table(&k.references)?;
        let (from, to) = (table.column(column)?, keys.column(key)?);
        let holds = k.enforced && from.not_null && same_plain_type(from, to);
        let smaller = keys.row_estimate() * SMALLER <= table.row_estimate();
        let whole = k.references != *name
            && stored(keys)
            && readers(policy, table, catalog)
                .iter()
                .all(|role| sees_every_row(role, keys));
        (holds && smaller && whole).then(|| Domain {
            column: column.clone(),
            keys: k.references.clone(),
            key: key.clone(),
            identity: IDENTITY.contains(&from.type_name.as_str()),
        })
    };
    table.foreign_keys.iter().filter_map(domain).collect()
}

fn same_plain_type(a: &Column, b: &Column) -> bool {
    a.type_kind == 'b' && b.type_kind == 'b' && a.type_name == b.type_name
}

/// The roles that a statement may run as when it uses the policy.
fn readers(policy: &Policy, table: &Table, catalog: &Catalog) -> BTreeSet<String> {
    if !policy.roles.iter().any(|r| r == "public") {
        return policy.roles.iter().cloned().collect();
    }
    // A policy for everybody is used by those who may reach the table at all.
    let mut found: BTreeSet<String> = table.grants.keys().cloned().collect();
    if !table.rls_forced {
        found.remove(&table.owner);
    }
    let reads_everything = |r: &Role| {
        r.member_of
            .iter()
            .any(|m| matches!(m.as_str(), "pg_read_all_data" | "pg_write_all_data"))
    };
    for (name, role) in &catalog.roles {
        if reads_everything(role) && *name != table.owner {
            found.insert(name.clone());
        }
    }
    found.retain(|name| {
        let free = |r: &Role| r.superuser || r.bypass_rls;
        !catalog.roles.get(name).is_some_and(free)
    });
    found
}

/// Whether `role`, and so everybody who has its rights, may read the table and no policy of it hides a row.
fn sees_every_row(role: &str, table: &Table) -> bool {
    let given = [role, "public"];
    let may_read = given
        .iter()
        .filter_map(|g| table.grants.get(*g))
        .flatten()
        .any(|privilege| privilege == "SELECT");
    if !may_read || !table.rls_enabled {
        return may_read;
    }
    let mut reading = table
        .policies
        .iter()
        .filter(|p| p.command.covers(Command::Select));
    let unhidden = reading.clone().any(|p| {
        let text = p.using.as_deref().and_then(|u| parse_expression(u).ok());
        p.permissive
            && p.roles.iter().any(|r| given.contains(&r.as_str()))
            && text.as_ref().and_then(boolean_literal) == Some(true)
    });
    // A restrictive policy could hide rows, and one that reads a table could end in a circle.
    unhidden
        && reading.all(|p| {
            let text = p.using.as_deref().map(parse_expression);
            p.permissive && text.is_none_or(|t| t.is_ok_and(|e| !has_select(&e)))
        })
}

fn has_select(node: &Node) -> bool {
    matches!(node.node, Some(NodeEnum::SubLink(_)))
        || parts(node).is_none_or(|inside| inside.iter().any(has_select))
}
