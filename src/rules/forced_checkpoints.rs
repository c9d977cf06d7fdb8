use super::measure::{bytes, database, float, percent, whole};
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// A third or more of the server's checkpoints were asked for, mostly because the write-ahead log was full, instead
    /// of coming when their time was up.
    ///
    /// ## Why it matters
    /// After each checkpoint the first change of a page writes the whole page to the log: more log, more I/O, slower
    /// writes.
    ///
    /// ## What to do
    /// Raise `max_wal_size` until most checkpoints are timed. It is disk space, not memory.
    /// ```sql,bad shown
    /// alter system set max_wal_size = '1GB';   -- 300 of 400 checkpoints requested
    /// ```
    /// ```sql,good shown
    /// alter system set max_wal_size = '16GB';  -- 3 of 400 checkpoints requested
    /// ```
    "forced-checkpoints" {
        summary: "checkpoints forced by a full write-ahead log",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const MIN_REQUESTED: i64 = 30;
/// Backups and new databases ask for checkpoints too, but have little to write: eight gigabytes are work.
const MIN_BUFFERS: i64 = 1_000_000;
const MIN_SHARE: f64 = 33.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let known = &server.checkpoints;
    let share = percent(float(known.requested), float(known.requested + known.timed));
    if known.requested < MIN_REQUESTED || known.buffers_written < MIN_BUFFERS || share < MIN_SHARE {
        return;
    }
    let now = bytes(server, "max_wal_size");
    let shown = now.map_or_else(|| "unknown".to_owned(), |b| size(whole(b)));
    let more = now.map_or_else(
        || "Raise max_wal_size.".to_owned(),
        |b| {
            let megabytes = 4.0 * b / 1024.0 / 1024.0;
            format!("If the disk has room: alter system set max_wal_size = '{megabytes:.0}MB'; select pg_reload_conf();")
        },
    );
    sink.report(
        Found::new(
            if share >= 66.0 { Severity::Warning } else { Severity::Note },
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "{} of {} checkpoints of the server were asked for ({share:.0} %); max_wal_size is {shown}",
                known.requested,
                known.requested + known.timed
            ),
        )
        .evidence("requested", known.requested)
        .evidence("timed", known.timed)
        .evidence("buffers_written", known.buffers_written)
        .advice(more),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::model::Checkpoints;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn requests_with_nothing_to_write_do_not_count() {
        let mut catalog = catalog();
        let setting = ("max_wal_size".to_owned(), "1GB".to_owned());
        catalog.server.settings.extend([setting]);
        let checkpoints = |timed, requested, buffers_written| Checkpoints {
            timed,
            requested,
            buffers_written,
        };
        for silent in [checkpoints(400, 40, 9_000_000), checkpoints(10, 90, 5_000)] {
            catalog.server.checkpoints = silent;
            assert_eq!(judge(&RULE, &catalog, &[]), []);
        }
        catalog.server.checkpoints = checkpoints(100, 300, 9_000_000);
        let found = judge(&RULE, &catalog, &[]);
        assert!(found[0].message.contains("300 of 400"), "{found:?}");
        assert!(found[0].advice.as_ref().unwrap().contains("'4096MB'"));
    }
}
