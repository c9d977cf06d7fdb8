//! Columns that a made-up look-up may name.

use crate::model::{Catalog, Column, Index, Table};

/// The columns of the primary key, else of another unique index without NULLs.
pub(super) fn key(table: &Table) -> Vec<&Column> {
    let columns = |index: &Index| -> Option<Vec<&Column>> {
        index
            .keys
            .iter()
            .map(|k| table.column(k.column.as_deref()?).filter(|c| c.not_null))
            .collect()
    };
    let unique = table
        .indexes
        .iter()
        .filter(|i| i.unique && i.valid && i.predicate.is_none());
    let mut keys: Vec<(bool, Vec<&Column>)> = unique
        .filter_map(|i| Some((!i.primary, columns(i)?)))
        .collect();
    keys.sort_by_key(|(other, columns)| (*other, columns.len()));
    keys.into_iter().next().map(|(_, k)| k).unwrap_or_default()
}

/// The columns for which `role` holds `privilege`.
pub(super) fn permitted<'t>(
    catalog: &Catalog,
    table: &'t Table,
    role: &str,
    privilege: &str,
) -> Vec<&'t Column> {
    let held = catalog.roles.get(role);
    let holds = |grantee: &String, privileges: &Vec<String>| {
        privileges.iter().any(|p| p == privilege)
            && (grantee == role
                || grantee == "public"
                || held.is_some_and(|r| r.inherit && r.member_of.contains(grantee)))
    };
    let whole = table.owner == role
        || held.is_some_and(|r| r.superuser)
        || table.grants.iter().any(|(g, p)| holds(g, p));
    let granted = |c: &&Column| whole || c.grants.iter().any(|(g, p)| holds(g, p));
    table.columns.iter().filter(granted).collect()
}

/// The column that says when a row came.
pub(super) fn created<'a>(columns: &[&'a Column]) -> Option<&'a Column> {
    let says = |c: &&&Column| {
        c.name.starts_with("created")
            || c.name.starts_with("inserted")
            || c.default
                .as_ref()
                .is_some_and(|d| d.contains("now()") || d.contains("CURRENT_TIMESTAMP"))
    };
    columns
        .iter()
        .filter(|c| c.type_name.starts_with("timestamp"))
        .find(says)
        .copied()
}
