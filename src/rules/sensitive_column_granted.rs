use super::exposure::{self, Trust};
use super::sensitive::is_sensitive;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A column whose name says that it holds a secret or what identifies a person, granted by itself to PUBLIC or to
    /// the role of those who have not signed in.
    ///
    /// ## Why it matters
    /// A grant on single columns is there to keep others back; this one hands out the one that should be. Policies
    /// decide about rows, never about columns.
    ///
    /// ## What to do
    /// Revoke the grant on the column.
    /// ```sql,bad
    /// create table person (id int primary key, name text, password_hash text);
    /// alter table person enable row level security;
    /// grant select (id, name, password_hash) on person to anon;
    /// ```
    /// ```sql,good
    /// create table person (id int primary key, name text, password_hash text);
    /// alter table person enable row level security;
    /// grant select (id, name) on person to anon;
    /// ```
    "sensitive-column-granted" {
        summary: "a column that holds a secret is granted to everybody",
        category: Category::Safety,
        also: &["pgrls SEC045"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        if table.extension.is_some() || exposure::platform(&name.schema) {
            continue;
        }
        for column in table.columns.iter().filter(|c| is_sensitive(c)) {
            for (role, privileges) in &column.grants {
                let open = role == "public" || facts.exposure.trust(role) == Some(Trust::Anonymous);
                let content: Vec<&str> = ["SELECT", "INSERT", "UPDATE"]
                    .into_iter()
                    .filter(|p| privileges.iter().any(|held| held == p))
                    .collect();
                if !open || content.is_empty() {
                    continue;
                }
                let quoted = quote::ident(&column.name);
                // A list of columns belongs to the privilege before it alone.
                let list: Vec<String> = content
                    .iter()
                    .map(|p| format!("{} ({quoted})", p.to_lowercase()))
                    .collect();
                let grantee = if role == "public" {
                    "public".to_owned()
                } else {
                    quote::ident(role)
                };
                let severity = if content.contains(&"SELECT") {
                    Severity::Warning
                } else {
                    Severity::Note
                };
                sink.report(
                    Found::new(
                        severity,
                        ObjectKind::Column,
                        name,
                        Some(&column.name),
                        format!("{} on this column is granted to {role}", content.join(", ")),
                    )
                    .evidence("role", role.clone())
                    .evidence("privileges", content.clone())
                    .fix(format!(
                        "revoke {} on {} from {grantee};",
                        list.join(", "),
                        quote::name(name)
                    )),
                );
            }
        }
    }
}
