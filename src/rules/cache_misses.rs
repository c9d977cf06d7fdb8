use super::measure::{bytes, database, float, percent, whole};
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A busy database that finds less than 90 % of its blocks in shared buffers; less than 99 % where `shared_buffers` is
    /// still the default of 128 MB and the database is a gigabyte or more. Names the tables that cause most of the reads.
    ///
    /// ## Why it matters
    /// Each miss asks the operating system, at best a copy, at worst a wait for the disk.
    ///
    /// ## What to do
    /// Look first at the tables named: a missing index that makes scans read everything is cheaper to mend than memory.
    /// Then raise `shared_buffers`, a quarter of the machine's memory being the usual start.
    /// ```sql,bad shown
    /// alter system set shared_buffers = '128MB';  -- a database of 40 GB finds 71 % in them
    /// ```
    /// ```sql,good shown
    /// alter system set shared_buffers = '8GB';    -- finds 99.6 %
    /// ```
    "cache-misses" {
        summary: "too many blocks are read from outside shared buffers",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

/// Eight gigabytes asked for, one of them read.
const MIN_BLOCKS: f64 = 1_000_000.0;
const MIN_READ: i64 = 131_072;
const MIN_BYTES: u64 = 1 << 30;
const DEFAULT_BUFFERS: f64 = 128.0 * 1024.0 * 1024.0;
const SHOWN: usize = 5;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let load = &server.load;
    let asked = float(load.blocks_hit + load.blocks_read);
    let hit = percent(float(load.blocks_hit), asked);
    let buffers = bytes(server, "shared_buffers");
    let small = buffers.is_some_and(|b| b <= DEFAULT_BUFFERS) && server.database_bytes >= MIN_BYTES;
    let enough = if small { 99.0 } else { 90.0 };
    if asked < MIN_BLOCKS || load.blocks_read < MIN_READ || hit >= enough {
        return;
    }
    let mut tables: Vec<(i64, &Name)> = facts
        .catalog
        .tables
        .iter()
        .map(|(name, t)| (t.activity.heap_read + t.activity.index_read, name))
        .filter(|(read, _)| percent(float(*read), float(load.blocks_read)) >= 5.0)
        .collect();
    tables.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    tables.truncate(SHOWN);
    let worst = tables.first().map_or_else(String::new, |(read, name)| {
        let share = percent(float(*read), float(load.blocks_read));
        format!("; {share:.0} % of the reads are of {name}")
    });
    let listed: Vec<_> = tables
        .iter()
        .map(|(read, name)| serde_json::json!({"table": name.to_string(), "blocks_read": read}))
        .collect();
    let found = Found::new(
        if hit < 80.0 {
            Severity::Warning
        } else {
            Severity::Note
        },
        ObjectKind::Database,
        &database(server),
        None,
        format!(
            "{hit:.1} % of the blocks asked for were in shared buffers ({}) for {} of data{worst}",
            buffers.map_or_else(|| "of unknown size".to_owned(), |b| size(whole(b))),
            size(server.database_bytes)
        ),
    )
    .evidence("hit_percent", hit)
    .evidence("blocks_read", load.blocks_read)
    .evidence("database_bytes", server.database_bytes)
    .evidence("shared_buffers", buffers)
    .evidence("tables", listed);
    sink.report(found.advice(if small {
        "shared_buffers is the default; a quarter of the machine's memory is the usual start (needs a restart)."
    } else {
        "Look at the scans of the tables named before buying memory."
    }));
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Severity;
    use crate::rules::traffic::fixture::{catalog, doc, judge};

    #[test]
    fn judged_by_use_and_size() {
        let mut catalog = catalog();
        let load = &mut catalog.server.load;
        (load.blocks_hit, load.blocks_read) = (1_900_000, 100_000);
        assert_eq!(judge(&RULE, &catalog, &[]), [], "95 % is well");
        catalog.server.load.blocks_read = 900_000;
        let table = catalog.tables.get_mut(&doc()).unwrap();
        table.activity.heap_read = 800_000;
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(
            found[0]
                .message
                .contains("89 % of the reads are of public.doc"),
            "{found:?}"
        );
        let load = &mut catalog.server.load;
        (load.blocks_hit, load.blocks_read) = (19_000_000, 1_000_000);
        let setting = ("shared_buffers".to_owned(), "128MB".to_owned());
        catalog.server.settings.extend([setting]);
        assert_eq!(judge(&RULE, &catalog, &[]), [], "a small database");
        catalog.server.database_bytes = 40 << 30;
        assert_eq!(judge(&RULE, &catalog, &[]).len(), 1);
    }
}
