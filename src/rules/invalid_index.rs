use super::sink::{Found, size};
use super::{Category, Facts, Sink, fix, rule};
use crate::model::{Index, ObjectKind, Severity, TableKind};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// An index that is not valid or not ready: left behind by a concurrent build or drop that was ended half way.
    /// The index of a partitioned table, which is not valid until every partition has its own, is left out.
    ///
    /// ## Why it matters
    /// It answers no query, yet may still be kept up to date by every write. `create index … if not exists` takes it
    /// for the index that is wanted and reports success. A unique one guarantees nothing.
    ///
    /// ## What to do
    /// Rebuild it concurrently, or drop it.
    /// ```sql,bad
    /// create table doc (id int primary key, code int);
    /// insert into doc select n, n % 10 from generate_series(1, 2000) n;
    /// create unique index concurrently doc_code on doc (code);
    /// ```
    /// ```sql,good
    /// create table doc (id int primary key, code int);
    /// insert into doc select n, n from generate_series(1, 2000) n;
    /// create unique index concurrently doc_code on doc (code);
    /// ```
    "invalid-index" {
        summary: "an index that no query uses because its build did not end well",
        category: Category::Index,
        check: check,
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    for table in facts.catalog.tables.values() {
        if table.kind == TableKind::Partitioned {
            continue;
        }
        for index in &table.indexes {
            if !(index.valid && index.ready && index.live) {
                report(index, sink);
            }
        }
    }
}

fn report(index: &Index, sink: &mut Sink<'_>) {
    let upkeep = if index.ready {
        ", but every write still maintains it"
    } else {
        ""
    };
    let found = |severity, words: &str| {
        Found::new(
            severity,
            ObjectKind::Index,
            &index.name,
            None,
            format!(
                "is invalid: no query uses it{upkeep} ({}){words}",
                size(index.bytes)
            ),
        )
        .evidence("ready", index.ready)
        .evidence("live", index.live)
        .evidence("unique", index.unique)
        .evidence("bytes", index.bytes)
        .evidence("definition", index.definition.clone())
    };
    if index.building {
        let words = "; another session may be building it right now";
        sink.report(
            found(Severity::Note, words)
                .advice("Look again when no index is being built on the table."),
        );
        return;
    }
    // What REINDEX CONCURRENTLY leaves behind is a copy of an index that is still there.
    let copy = ["_ccnew", "_ccold"].iter().any(|mark| {
        index
            .name
            .name
            .trim_end_matches(|c: char| c.is_ascii_digit())
            .ends_with(mark)
    });
    let rebuild = format!("reindex index concurrently {};", quote::name(&index.name));
    sink.report(if copy || !index.live {
        found(Severity::Error, "").fix(fix::drop_index(&index.name))
    } else if index.unique {
        // Whether it can be built now depends on the rows.
        found(Severity::Error, "").advice(format!(
            "Remove duplicates if there are any, then: {rebuild}"
        ))
    } else {
        found(Severity::Error, "")
            .fix(rebuild)
            .advice("If it is not wanted any more, drop it concurrently instead.")
    });
}
