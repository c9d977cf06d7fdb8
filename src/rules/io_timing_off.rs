use super::measure::{database, float, is_off};
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};

rule! {
    /// ## What it finds
    /// `track_io_timing` off on a database that reads from disk: a gigabyte or more since its statistics began.
    ///
    /// ## Why it matters
    /// Whether a statement waits for the disk or computes cannot be told, neither from `pg_stat_statements` nor from
    /// EXPLAIN (BUFFERS).
    ///
    /// ## What to do
    /// Switch it on. `pg_test_timing` shows what asking the clock costs; on today's machines it is nothing.
    /// ```sql,bad shown
    /// alter system set track_io_timing = off;
    /// ```
    /// ```sql,good shown
    /// alter system set track_io_timing = on;
    /// ```
    "io-timing-off" {
        summary: "time spent on reading from disk is not measured",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

/// Blocks of 8 kB: a gigabyte.
const MIN_READ: i64 = 131_072;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let read = server.load.blocks_read;
    if !is_off(server, "track_io_timing") || read < MIN_READ {
        return;
    }
    let bytes = super::measure::whole(float(read) * 8192.0);
    sink.report(
        Found::new(
            Severity::Note,
            ObjectKind::Database,
            &database(server),
            None,
            format!(
                "{} were read from outside shared buffers, and how long that took was not measured",
                size(bytes)
            ),
        )
        .evidence("blocks_read", read)
        .fix("alter system set track_io_timing = on;")
        .advice("Then reload the configuration: select pg_reload_conf();"),
    );
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn only_where_there_was_something_to_measure() {
        let mut catalog = catalog();
        catalog.server.load.blocks_read = 1_000_000;
        assert_eq!(judge(&RULE, &catalog, &[]), [], "unknown is not off");
        let mut set = |value: &str| {
            let setting = ("track_io_timing".to_owned(), value.to_owned());
            catalog.server.settings.extend([setting]);
            catalog.clone()
        };
        assert_eq!(judge(&RULE, &set("on"), &[]), []);
        let mut off = set("off");
        assert_eq!(
            judge(&RULE, &off, &[])[0].evidence["blocks_read"],
            1_000_000
        );
        off.server.load.blocks_read = 1000;
        assert_eq!(judge(&RULE, &off, &[]), []);
    }
}
