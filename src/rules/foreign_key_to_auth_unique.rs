use super::sink::Found;
use super::{Category, Facts, Sink, exposure, rule};
use crate::model::{ForeignKey, Name, ObjectKind, Severity, Table};

rule! {
    /// ## What it finds
    /// A foreign key to a table of the sign-in service's schema `auth` by other columns than its primary key.
    ///
    /// ## Why it matters
    /// The service owns these tables and changes their unique constraints when it is upgraded, which a foreign key that
    /// depends on one prevents. Only the primary key is promised to stay.
    ///
    /// ## What to do
    /// Refer to the primary key.
    /// ```sql,bad
    /// create table auth.users (id uuid primary key, email text unique);
    /// create table profile (id int primary key, email text references auth.users (email));
    /// ```
    /// ```sql,good
    /// create table auth.users (id uuid primary key, email text unique);
    /// create table profile (id int primary key, user_id uuid references auth.users);
    /// ```
    "foreign-key-to-auth-unique" {
        summary: "a foreign key depends on a constraint that the sign-in service may change",
        category: Category::Safety,
        also: &["splinter 0021_fkey_to_auth_unique"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if table.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        for key in &table.foreign_keys {
            let parent = facts.catalog.table(&key.references);
            if let Some(parent) = parent.filter(|_| key.references.schema == "auth")
                && !is_primary(parent, key)
            {
                report(name, key, sink);
            }
        }
    }
}

fn is_primary(parent: &Table, key: &ForeignKey) -> bool {
    parent.indexes.iter().filter(|i| i.primary).any(|index| {
        let keys: Vec<_> = index
            .keys
            .iter()
            .filter_map(|k| k.column.as_ref())
            .collect();
        keys.len() == key.referenced_columns.len()
            && keys.iter().all(|k| key.referenced_columns.contains(k))
    })
}

fn report(name: &Name, key: &ForeignKey, sink: &mut Sink<'_>) {
    sink.report(
        Found::new(
            Severity::Warning,
            ObjectKind::Table,
            name,
            Some(&key.name),
            format!(
                "refers to {} by ({}), which is not its primary key: upgrades of the sign-in service may fail on it",
                key.references,
                key.referenced_columns.join(", ")
            ),
        )
        .evidence("references", key.references.to_string())
        .evidence("columns", key.columns.clone())
        .advice("Refer to the primary key instead."),
    );
}
