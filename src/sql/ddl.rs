//! The statements that make a change.

use super::quote;
use crate::model::{Change, IndexKey, IndexSpec, Name};
use std::fmt::Write;

/// How an index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// Beside running writers; not inside a transaction.
    Concurrently,
    /// The parent of a partitioned index, without its partitions.
    OnlyParent,
    /// At once, writers wait.
    Plain,
}

/// The statements of one change, without semicolons. Indexes are made and dropped concurrently.
pub fn statements(change: &Change) -> Vec<String> {
    match change {
        Change::CreateIndex(index) => vec![create_index(index, Build::Concurrently)],
        Change::DropIndex(index) => vec![drop_index(&index.qualified(), Build::Concurrently)],
        Change::ReplacePolicy {
            table,
            policy,
            after,
            ..
        } => vec![alter_policy(
            table,
            policy,
            after.using.as_deref(),
            after.check.as_deref(),
        )],
        Change::CreateFunction { create, .. } => create.clone(),
        Change::DropFunction { drop, .. } => vec![drop.clone()],
    }
}

pub fn create_index(index: &IndexSpec, build: Build) -> String {
    let mut sql = String::from("create");
    if index.unique {
        sql.push_str(" unique");
    }
    sql.push_str(" index");
    if build == Build::Concurrently {
        sql.push_str(" concurrently");
    }
    let only = if build == Build::OnlyParent {
        "only "
    } else {
        ""
    };
    let method = if index.method.is_empty() {
        "btree"
    } else {
        &index.method
    };
    let keys: Vec<String> = index.keys.iter().map(key).collect();
    // Writing to a string cannot fail.
    let _ = write!(
        sql,
        " {} on {only}{} using {} ({})",
        quote::ident(&index.name),
        quote::name(&index.table),
        quote::ident(method),
        keys.join(", ")
    );
    if !index.include.is_empty() {
        let columns: Vec<String> = index.include.iter().map(|c| quote::ident(c)).collect();
        let _ = write!(sql, " include ({})", columns.join(", "));
    }
    if let Some(predicate) = &index.predicate {
        let _ = write!(sql, " where {predicate}");
    }
    sql
}

/// `IF EXISTS`, so that taking back what is half gone works.
pub fn drop_index(index: &Name, build: Build) -> String {
    let how = if build == Build::Concurrently {
        "concurrently "
    } else {
        ""
    };
    format!("drop index {how}if exists {}", quote::name(index))
}

pub fn attach_index(parent: &Name, child: &Name) -> String {
    format!(
        "alter index {} attach partition {}",
        quote::name(parent),
        quote::name(child)
    )
}

/// A clause that is `None` is left as it is: `ALTER POLICY` cannot take one away.
pub fn alter_policy(
    table: &Name,
    policy: &str,
    using: Option<&str>,
    check: Option<&str>,
) -> String {
    let mut sql = format!(
        "alter policy {} on {}",
        quote::ident(policy),
        quote::name(table)
    );
    if let Some(using) = using {
        let _ = write!(sql, "\n  using ({using})");
    }
    if let Some(check) = check {
        let _ = write!(sql, "\n  with check ({check})");
    }
    sql
}

/// Classes and collations are given as SQL writes them; columns are quoted here.
fn key(key: &IndexKey) -> String {
    let mut sql = match (&key.column, &key.expression) {
        (Some(column), _) => quote::ident(column),
        (None, Some(expression)) => format!("({expression})"),
        (None, None) => String::new(),
    };
    if let Some(collation) = &key.collation {
        let _ = write!(sql, " collate {collation}");
    }
    if let Some(opclass) = &key.opclass {
        let _ = write!(sql, " {opclass}");
    }
    if key.descending {
        sql.push_str(" desc");
    }
    // Nulls come last ascending and first descending unless it is said.
    match (key.descending, key.nulls_first) {
        (false, true) => sql.push_str(" nulls first"),
        (true, false) => sql.push_str(" nulls last"),
        _ => {}
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> IndexSpec {
        IndexSpec {
            table: Name::new("My schema", "order"),
            name: "a\"b".into(),
            method: "btree".into(),
            unique: true,
            keys: vec![
                IndexKey {
                    column: Some("Tenant".into()),
                    ..IndexKey::default()
                },
                IndexKey {
                    expression: Some("lower(name)".into()),
                    opclass: Some("text_pattern_ops".into()),
                    descending: true,
                    nulls_first: false,
                    ..IndexKey::default()
                },
            ],
            include: vec!["total".into()],
            predicate: Some("(deleted_at IS NULL)".into()),
        }
    }

    #[test]
    fn what_is_written_parses_back_with_its_names() {
        let sql = create_index(&spec(), Build::Concurrently);
        assert_eq!(
            sql,
            "create unique index concurrently \"a\"\"b\" on \"My schema\".\"order\" using btree (\"Tenant\", (lower(name)) text_pattern_ops desc nulls last) include (total) where (deleted_at IS NULL)"
        );
        let statement = crate::sql::script::parse(&sql).unwrap().remove(0);
        assert!(matches!(
            statement.kind,
            crate::sql::script::Kind::CreateIndexConcurrently { index: Some(name), .. } if name == "a\"b"
        ));
        for sql in [
            create_index(&spec(), Build::OnlyParent),
            drop_index(&spec().qualified(), Build::Concurrently),
            attach_index(&Name::new("s", "p"), &Name::new("s", "c")),
            alter_policy(&spec().table, "p q", Some("true"), None),
        ] {
            crate::sql::script::parse(&sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
    }
}
