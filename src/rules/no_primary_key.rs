use super::measure::float;
use super::sink::{Found, count};
use super::{Category, Facts, Sink, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A table without a primary key. Where a unique index over columns that are never NULL could be one, the fix makes
    /// it one. Left out: partitions, whose parent is named instead, and tables of extensions and of the hosting platform.
    ///
    /// ## Why it matters
    /// Nothing names one row: tools cannot edit it, ORMs cannot load it, and duplicates cannot be told apart. A table in a
    /// publication refuses every UPDATE and DELETE without a key, unless its replica identity says what to use instead.
    ///
    /// ## What to do
    /// Promote a unique index, or add an identity column.
    /// ```sql,bad
    /// create table doc (code text not null, title text);
    /// create unique index doc_code on doc (code);
    /// insert into doc select n::text, 'title' from generate_series(1, 100) n;
    /// ```
    /// ```sql,good
    /// create table doc (code text primary key, title text);
    /// insert into doc select n::text, 'title' from generate_series(1, 100) n;
    /// ```
    "no-primary-key" {
        summary: "a table without a primary key",
        category: Category::Index,
        severity: Severity::Note,
        also: &["splinter 0004_no_primary_key"],
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        let stored = matches!(table.kind, TableKind::Ordinary | TableKind::Partitioned);
        let own = table.extension.is_none() && !of_the_platform(table);
        if stored && own && table.partition_of.is_none() && !table.indexes.iter().any(|i| i.primary)
        {
            report(name, table, sink);
        }
    }
}

/// Supabase's own services bring their tables and roles with them; nobody else may alter those.
fn of_the_platform(table: &Table) -> bool {
    table.owner.starts_with("supabase_")
}

fn report(name: &Name, table: &Table, sink: &mut Sink<'_>) {
    let identified =
        table.replica_identity_full || table.indexes.iter().any(|i| i.replica_identity && i.valid);
    let refused = table.published && !identified;
    let candidate = table.indexes.iter().find(|i| could_be_primary(i, table));
    let mut words = format!(
        "about {} rows and no primary key",
        count(table.row_estimate())
    );
    if let Some(index) = candidate {
        words = format!("{words}, though {} could be one", index.name);
    }
    if refused {
        words = format!("{words}; it is published, so every UPDATE and DELETE of it fails");
    }
    let found = Found::new(
        if refused {
            Severity::Error
        } else {
            Severity::Note
        },
        ObjectKind::Table,
        name,
        None,
        words,
    )
    .evidence("rows", table.row_estimate())
    .evidence("published", table.published)
    .evidence("candidate", candidate.map(|i| i.name.to_string()));
    let on = quote::name(name);
    sink.report(match candidate {
        Some(index) if index.constraint.is_none() && table.kind == TableKind::Ordinary => found.fix(format!(
            "alter table {on} add primary key using index {};",
            quote::ident(&index.name.name)
        )),
        Some(index) => {
            let columns: Vec<String> = index
                .keys
                .iter()
                .filter_map(|k| k.column.as_deref().map(quote::ident))
                .collect();
            found.advice(format!(
                "Its unique constraint may become the key: alter table {on} add primary key ({}); then drop the constraint if nothing refers to it.",
                columns.join(", ")
            ))
        }
        None => match surrogate(table) {
            Some(column) => found.advice(format!(
                "If its values are unique: create unique index concurrently on {on} ({0}); then make it the primary key by `using index`.",
                quote::ident(column)
            )),
            None => found.advice(format!(
                "Rewrites the table: alter table {on} add column id bigint generated always as identity primary key;"
            )),
        },
    });
}

/// Whether the server accepts the index as a primary key without looking at a row.
fn could_be_primary(index: &Index, table: &Table) -> bool {
    index.unique
        && index.valid
        && index.ready
        && index.method == "btree"
        && index.predicate.is_none()
        && !index.exclusion
        && index.partition_of.is_none()
        && index.keys.iter().all(|key| {
            let column = key.column.as_deref().and_then(|c| table.column(c));
            column.is_some_and(|c| c.not_null)
                && !key.descending
                && !key.nulls_first
                && key.opclass.is_none()
        })
}

/// A column that is never NULL and whose statistics promise a value of its own for each row.
fn surrogate(table: &Table) -> Option<&str> {
    let rows = table.row_estimate();
    let distinct = |n: f64| n <= -0.999 || rows > 0.0 && n >= rows;
    let unique = |c: &&crate::model::Column| {
        c.identity
            || rows >= float(1000) && c.stats.as_ref().is_some_and(|s| distinct(s.n_distinct))
    };
    table
        .columns
        .iter()
        .filter(|c| c.not_null)
        .find(unique)
        .map(|c| c.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Index, Name, Severity};
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    #[test]
    fn published_tables_and_partitions() {
        let mut catalog = catalog();
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found[0].severity, Severity::Note);
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.published = true;
        assert_eq!(judge(&RULE, &catalog, &[])[0].severity, Severity::Error);
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.replica_identity_full = true;
        assert_eq!(judge(&RULE, &catalog, &[])[0].severity, Severity::Note);
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.partition_of = Some(Name::new("public", "docs"));
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.partition_of = None;
        table.indexes.push(Index {
            primary: true,
            ..Index::default()
        });
        assert_eq!(judge(&RULE, &catalog, &[]), []);
    }
}
