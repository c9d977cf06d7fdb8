use super::exposure::{self, Reach, Trust};
use super::sink::Found;
use super::{Category, Facts, Sink, rule, tested};
use crate::model::{Command, ForeignKey, Name, ObjectKind, Severity, Table};

rule! {
    /// ## What it finds
    /// A foreign key to a table with row-level security, on a table that those who have not signed in may write, where
    /// the referenced value can be guessed and no policy looks at it first.
    ///
    /// ## Why it matters
    /// The server checks a foreign key past all policies. A row that refers to something hidden is taken, one that refers
    /// to nothing is refused: whoever may insert learns which keys there are.
    ///
    /// ## What to do
    /// Let the policy for INSERT look up the referenced row under the caller's policies, or revoke the grant.
    /// ```sql,bad
    /// create table account (code text primary key, tenant int);
    /// alter table account enable row level security;
    /// create policy own on account to app using (tenant = (select current_setting('app.tenant')::int));
    /// create table visit (id int primary key, account text references account);
    /// alter table visit enable row level security;
    /// create policy add on visit for insert to anon with check (id > 0);
    /// grant insert on visit to anon;
    /// ```
    /// ```sql,good
    /// create table account (code text primary key, tenant int);
    /// alter table account enable row level security;
    /// create policy own on account to app, anon using (tenant = (select current_setting('app.tenant')::int));
    /// create table visit (id int primary key, account text references account);
    /// alter table visit enable row level security;
    /// create policy add on visit for insert to anon with check (account in (select code from account));
    /// grant insert on visit to anon;
    /// ```
    "foreign-key-oracle" {
        summary: "a foreign key tells those who have not signed in which hidden rows exist",
        category: Category::Safety,
        severity: Severity::Note,
        also: &["pgrls SEC047"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let scoping = tested::scoping(facts);
    for (name, table) in &facts.catalog.tables {
        if table.foreign_keys.is_empty()
            || table.extension.is_some()
            || exposure::platform(&name.schema)
        {
            continue;
        }
        let mut writers = facts.exposure.of_table(name, table);
        writers.retain(|r| r.trust == Trust::Anonymous && writes(facts, table, r));
        if writers.is_empty() {
            continue;
        }
        for key in &table.foreign_keys {
            let looked_up = scoping
                .get(name)
                .is_some_and(|columns| key.columns.iter().any(|c| columns.contains(c.as_str())));
            let parent = facts.catalog.table(&key.references);
            if let Some(parent) = parent.filter(|p| p.rls_enabled)
                && !looked_up
                && guessable(parent, key)
            {
                report(name, key, &writers, sink);
            }
        }
    }
}

/// Whether a grant and, where row-level security is on, a policy let it write.
fn writes(facts: &Facts<'_>, table: &Table, writer: &Reach<'_>) -> bool {
    [("INSERT", Command::Insert), ("UPDATE", Command::Update)]
        .into_iter()
        .filter(|(privilege, _)| writer.privileges.contains(privilege))
        .any(|(_, command)| {
            !table.rls_enabled
                || table.policies.iter().any(|p| {
                    p.permissive
                        && p.command.covers(command)
                        && facts.catalog.applies_to(p, writer.role)
                })
        })
}

fn guessable(parent: &Table, key: &ForeignKey) -> bool {
    let mut columns = key
        .referenced_columns
        .iter()
        .filter_map(|c| parent.column(c));
    columns.any(|c| c.type_name != "uuid")
}

fn report(name: &Name, key: &ForeignKey, writers: &[Reach<'_>], sink: &mut Sink<'_>) {
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Table,
            name,
            Some(&key.name),
            format!(
                "refers to {}, whose policies it does not heed: by inserting, {} learns which keys there are",
                key.references,
                exposure::who(writers)
            ),
        )
        .evidence("references", key.references.to_string())
        .evidence("columns", key.columns.clone())
        .evidence("roles", exposure::roles(writers))
        .advice("Let the policy look up the referenced row as the caller, or revoke the grant."),
    );
}
