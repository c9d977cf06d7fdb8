use super::duplicate_index::needed;
use super::measure::days;
use super::sink::{Found, size};
use super::traffic::Traffic;
use super::{Category, Facts, Sink, rule};
use crate::model::{Index, Name, ObjectKind, Severity, Table, TableKind};
use crate::sql::{quote, words};
use std::collections::BTreeSet;

rule! {
    /// ## What it finds
    /// A partial index, never used in a day or more of statistics, whose predicate speaks of columns that no statement on
    /// its table speaks of, together with the table's policies. Needs `pg_stat_statements` with every statement readable
    /// and none thrown out; a table that a view or a function reads is left out, and so are unique indexes.
    ///
    /// ## Why it matters
    /// The planner uses a partial index only where the statement's and the policies' conditions imply its predicate. One
    /// without `deleted_at is null` never reaches an index that has it, so it is written and never read.
    ///
    /// ## What to do
    /// Say the same in the statement or in the policy, or drop the index.
    /// ```sql,bad shown
    /// create index doc_live on doc (org) where deleted_at is null;
    /// select * from doc where org = $1;
    /// ```
    /// ```sql,good shown
    /// create index doc_live on doc (org) where deleted_at is null;
    /// select * from doc where org = $1 and deleted_at is null;
    /// ```
    "unreachable-partial-index" {
        summary: "a partial index whose predicate no statement or policy implies",
        category: Category::Index,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_DAYS: f64 = 1.0;
const MIN_BYTES: u64 = 128 * 1024;
/// Calls on the table from which on its statements can be taken for known.
const MIN_CALLS: i64 = 100;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for (name, table) in &facts.catalog.tables {
        for index in &table.indexes {
            if let Some(columns) = unreachable(facts, name, table, index) {
                report(name, table, index, &columns, sink);
            }
        }
    }
}

/// The columns of the predicate, where no statement can imply it.
pub(super) fn unreachable(
    facts: &Facts<'_>,
    name: &Name,
    table: &Table,
    index: &Index,
) -> Option<BTreeSet<String>> {
    let server = &facts.catalog.server;
    let predicate = index.predicate.as_deref()?;
    let idle = index.valid && index.scans == 0 && index.bytes >= MIN_BYTES;
    let own = table.kind == TableKind::Ordinary && table.partition_of.is_none();
    if !idle || !own || index.unique || needed(index, table) || server.in_recovery {
        return None;
    }
    let traffic = facts.traffic()?;
    let complete = traffic.unreadable == 0 && facts.statements?.evicted == Some(0);
    if !complete || days(server)? < MIN_DAYS || traffic.hours? < 24.0 * MIN_DAYS {
        return None;
    }
    let columns = words::columns(predicate)?;
    let silent = !columns.is_empty()
        && known(traffic, name)
        && !traffic.read_elsewhere(facts.catalog, name)
        && !spoken_of(facts, traffic, name, &columns);
    silent.then_some(columns)
}

fn known(traffic: &Traffic<'_>, name: &Name) -> bool {
    let calls = traffic.on(name).map(|u| u.statement.calls);
    calls.sum::<i64>() >= MIN_CALLS
}

/// Whether a statement on the table, with the table's policies, names all the columns.
fn spoken_of(
    facts: &Facts<'_>,
    traffic: &Traffic<'_>,
    name: &Name,
    columns: &BTreeSet<String>,
) -> bool {
    let policies: BTreeSet<String> = facts
        .policies_of(name)
        .iter()
        .flat_map(|p| [&p.policy.using, &p.policy.check])
        .flatten()
        .filter_map(|text| words::words(text))
        .flatten()
        .collect();
    let rest: BTreeSet<&String> = columns.difference(&policies).collect();
    rest.is_empty()
        || traffic.on(name).any(|used| {
            words::words(used.text).is_none_or(|words| rest.iter().all(|c| words.contains(*c)))
        })
}

fn report(
    name: &Name,
    table: &Table,
    index: &Index,
    columns: &BTreeSet<String>,
    sink: &mut Sink<'_>,
) {
    let predicate = index.predicate.as_deref().unwrap_or_default();
    let activity = &table.activity;
    let writes = activity.inserted + activity.updated + activity.deleted;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Index,
            &index.name,
            None,
            format!(
                "its predicate {predicate} is implied by no statement or policy on {name}: none speaks of {} ({}, never used)",
                columns.join(", "),
                size(index.bytes)
            ),
        )
        .evidence("predicate", predicate)
        .evidence("columns", columns)
        .evidence("bytes", index.bytes)
        .evidence("writes", writes)
        .advice(format!(
            "Say {predicate} in the statements or the policy that should use it; if none should and no replica does: drop index concurrently {};",
            quote::name(&index.name)
        )),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::{Catalog, Function, Index, Name, Policy};
    use crate::rules::traffic::fixture::{catalog, doc, judge, statement};

    fn partial() -> Catalog {
        let mut catalog = catalog();
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.indexes.push(Index {
            name: Name::new("public", "doc_live"),
            valid: true,
            bytes: 1 << 20,
            predicate: Some("(seen IS NULL)".to_owned()),
            ..Index::default()
        });
        catalog
    }

    #[test]
    fn only_where_nothing_speaks_of_the_column() {
        let plain = statement("select id from doc where org = $1", 500, 1.0);
        let found = judge(&RULE, &partial(), std::slice::from_ref(&plain));
        assert_eq!(found[0].object.to_string(), "public.doc_live");
        assert_eq!(found[0].evidence["columns"], serde_json::json!(["seen"]));
        let saying = statement("select id from doc where org = $1 and Seen is null", 5, 1.0);
        assert_eq!(judge(&RULE, &partial(), &[plain.clone(), saying]), []);
        let broken = statement("select from from", 5, 1.0);
        assert_eq!(
            judge(&RULE, &partial(), &[plain.clone(), broken]),
            [],
            "not all is known"
        );
        let mut guarded = partial();
        guarded
            .tables
            .get_mut(&doc())
            .unwrap()
            .policies
            .push(Policy {
                using: Some("(seen IS NULL)".to_owned()),
                ..Policy::default()
            });
        assert_eq!(judge(&RULE, &guarded, std::slice::from_ref(&plain)), []);
        let mut hidden = partial();
        hidden.functions.push(Function {
            body: "begin return query select * from doc where seen is null; end".to_owned(),
            ..Function::default()
        });
        assert_eq!(judge(&RULE, &hidden, std::slice::from_ref(&plain)), []);
        let mut used = partial();
        used.tables.get_mut(&doc()).unwrap().indexes[0].scans = 1;
        assert_eq!(judge(&RULE, &used, &[plain]), []);
    }
}
