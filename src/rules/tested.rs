//! Which columns policies hold rows by, and what bodies and definitions touch: facts that several safety rules share.

use super::Facts;
use super::exposure::Reach;
use crate::model::{Function, Name, Table, TableKind};
use crate::sql::qual::Form;
use crate::sql::touches::Touches;
use std::collections::{BTreeMap, BTreeSet};

/// How deep functions are followed that ask who is there through each other.
const DEPTH: usize = 3;

/// Columns by which policies decide whose a row is, of each table: those a test holds against what the session says.
pub(super) fn scoping<'f>(facts: &'f Facts<'_>) -> BTreeMap<&'f Name, BTreeSet<&'f str>> {
    let mut found: BTreeMap<&Name, BTreeSet<&str>> = BTreeMap::new();
    for policy in &facts.policies {
        for (_, qual) in policy.quals() {
            for (scope, test) in qual.tests() {
                let column = match &test.form {
                    Form::Compare {
                        column, operator, ..
                    } if operator == "=" => column,
                    Form::AnyOfArray { column }
                    | Form::InSelect {
                        column,
                        negated: false,
                        ..
                    } => column,
                    _ => continue,
                };
                // A constant on the other side says what a row is, not whose.
                let session = !test.calls.is_empty() || !test.scopes.is_empty();
                if scope == 0 && column.scope == 0 && session {
                    let columns = found.entry(policy.name).or_default();
                    columns.insert(&column.column);
                }
            }
        }
    }
    found
}

/// Tables with row-level security among `relations` whose policies do not apply to `owner`, views followed.
pub(super) fn unguarded<'a>(
    facts: &Facts<'a>,
    owner: &str,
    relations: impl Iterator<Item = &'a Name>,
) -> BTreeSet<&'a Name> {
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut pending: Vec<(&str, &Name)> = relations.map(|r| (owner, r)).collect();
    while let Some((acting, name)) = pending.pop() {
        let Some(table) = facts.catalog.table(name) else {
            continue;
        };
        if !seen.insert((acting.to_owned(), name)) {
            continue;
        }
        if table.rls_enabled && !facts.meets_policies(acting, table) {
            found.insert(name);
        }
        if matches!(table.kind, TableKind::View | TableKind::MaterializedView) {
            // A view of the ordinary kind reads as its own owner, whoever asks.
            let acting = if invoker(table) { acting } else { &table.owner };
            pending.extend(table.reads.iter().map(|read| (acting, read)));
        }
    }
    found
}

/// Whether a view reads its tables as whoever reads it.
pub(super) fn invoker(view: &Table) -> bool {
    view.options.iter().any(|option| {
        option.split_once('=').is_some_and(|(name, value)| {
            name == "security_invoker" && matches!(value, "true" | "on" | "1" | "yes")
        })
    })
}

/// The tables that a function's body names, by its own search path or the reader's.
pub(super) fn named<'a>(
    facts: &Facts<'a>,
    function: &Function,
    touches: &Touches,
) -> Vec<&'a Name> {
    let own = path(function);
    touches
        .relations()
        .filter_map(|(schema, name)| {
            let mut own = own.iter().flatten();
            let direct = own.find_map(|s| facts.catalog.tables.get_key_value(&Name::new(*s, name)));
            match direct.filter(|_| schema.is_empty()) {
                Some((name, _)) => Some(name),
                None => facts.catalog.resolve(schema, name).map(|(name, _)| name),
            }
        })
        .collect()
}

/// The search path that a function sets for itself.
pub(super) fn path(function: &Function) -> Option<Vec<&str>> {
    let setting = function
        .config
        .iter()
        .find_map(|c| c.strip_prefix("search_path="))?;
    let parts = setting.split(',').map(|p| p.trim().trim_matches('"'));
    Some(parts.filter(|p| !p.is_empty()).collect())
}

/// Whether it asks who is there: the session's user, its claims or its settings.
pub(super) fn asks_session(facts: &Facts<'_>, touches: &Touches) -> bool {
    asks(facts, touches, DEPTH)
}

fn asks(facts: &Facts<'_>, touches: &Touches, depth: usize) -> bool {
    touches.names_user
        || touches.calls.iter().any(|(schema, name)| {
            let known = name == "current_setting"
                || schema == "auth" && matches!(name.as_str(), "uid" | "jwt" | "role" | "email");
            known
                || depth > 0
                    && facts
                        .catalog
                        .functions_named(schema, name)
                        .filter_map(Touches::of_function)
                        .any(|inner| asks(facts, &inner, depth - 1))
        })
}

/// The tables above: of a partition the partitioned ones, of a child those it inherits from.
pub(super) fn ancestors<'f>(
    facts: &'f Facts<'_>,
    table: &'f Table,
) -> impl Iterator<Item = (&'f Name, &'f Table)> {
    let mut found: BTreeMap<&Name, &Table> = BTreeMap::new();
    let mut pending: Vec<&Name> = table.partition_of.iter().chain(&table.parents).collect();
    while let Some(name) = pending.pop() {
        if let Some(above) = facts.catalog.table(name)
            && found.insert(name, above).is_none()
        {
            pending.extend(above.partition_of.iter().chain(&above.parents));
        }
    }
    found.into_iter()
}

/// Columns that say whose a row is, by their usual names.
pub(super) fn is_principal(name: &str) -> bool {
    matches!(
        name,
        "owner"
            | "owner_id"
            | "user_id"
            | "account_id"
            | "customer_id"
            | "tenant_id"
            | "org_id"
            | "organization_id"
            | "organisation_id"
            | "author_id"
            | "created_by"
    )
}

/// Whether the role sees less of a table by itself.
pub(super) fn hidden(facts: &Facts<'_>, reader: &Reach<'_>, read: &Name) -> bool {
    let Some(table) = facts.catalog.table(read) else {
        return false;
    };
    let readers = facts.exposure.with("SELECT", read, table);
    let may = |r: &Reach<'_>| r.role == reader.role || r.role == "public";
    table.rls_enabled || !readers.iter().any(may)
}
