use super::measure::{bytes, database, number, whole};
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// Memory settings that cannot both be true: `effective_cache_size` below `shared_buffers`, or a `work_mem` that, used
    /// once by every connection allowed, is more than twice what `effective_cache_size` says the machine has for caching.
    /// A server's memory cannot be seen by SQL, so a default `effective_cache_size` is not taken for its size.
    ///
    /// ## Why it matters
    /// With too small a cache size the planner shuns index scans. With too much work memory promised the operating
    /// system ends the server when everybody sorts at once.
    ///
    /// ## What to do
    /// Set `effective_cache_size` to what the operating system has free for caching plus `shared_buffers`; lower
    /// `work_mem` or `max_connections` and raise `work_mem` for the statements that spill.
    /// ```sql,bad shown
    /// alter system set shared_buffers = '8GB';
    /// alter system set effective_cache_size = '4GB';
    /// ```
    /// ```sql,good shown
    /// alter system set shared_buffers = '8GB';
    /// alter system set effective_cache_size = '24GB';
    /// ```
    "contradicting-settings" {
        summary: "memory settings that cannot both be true",
        category: Category::Workload,
        severity: Severity::Note,
        check: check,
    }
}

const DEFAULT_CACHE: f64 = 4.0 * 1024.0 * 1024.0 * 1024.0;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let (Some(cache), Some(buffers)) = (
        bytes(server, "effective_cache_size"),
        bytes(server, "shared_buffers"),
    ) else {
        return;
    };
    let found = |severity, message: String| {
        let object = database(server);
        Found::new(severity, ObjectKind::Database, &object, None, message)
            .evidence("effective_cache_size", cache)
            .evidence("shared_buffers", buffers)
    };
    if cache < buffers {
        let megabytes = 3.0 * buffers / 1024.0 / 1024.0;
        let message = format!(
            "effective_cache_size is {}, less than the {} of shared_buffers alone",
            size(whole(cache)),
            size(whole(buffers))
        );
        sink.report(found(Severity::Warning, message).fix(format!(
            "alter database {} set effective_cache_size = '{megabytes:.0}MB';",
            quote::ident(&server.database)
        )));
    }
    let (Some(work), Some(connections)) =
        (bytes(server, "work_mem"), number(server, "max_connections"))
    else {
        return;
    };
    let default = (cache - DEFAULT_CACHE).abs() < 1.0;
    if !default && work * connections > 2.0 * cache.max(buffers) {
        let message = format!(
            "work_mem of {} for each of {connections:.0} connections is {}, against {} for caching: everybody sorting at once runs out of memory",
            size(whole(work)),
            size(whole(work * connections)),
            size(whole(cache))
        );
        sink.report(
            found(Severity::Note, message)
                .evidence("work_mem", work)
                .evidence("max_connections", connections)
                .advice("Lower work_mem and set it higher for the roles or transactions that need it, or lower max_connections behind a pooler."),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::RULE;
    use crate::rules::traffic::fixture::{catalog, judge};

    fn messages(settings: [(&str, &str); 4]) -> Vec<String> {
        let mut catalog = catalog();
        let settings = settings.map(|(n, v)| (n.to_owned(), v.to_owned()));
        catalog.server.settings.extend(settings);
        let found = judge(&RULE, &catalog, &[]);
        found.into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn defaults_are_silent_and_contradictions_are_not() {
        let with = |cache, work, connections| {
            messages([
                ("shared_buffers", "8GB"),
                ("effective_cache_size", cache),
                ("work_mem", work),
                ("max_connections", connections),
            ])
        };
        assert_eq!(with("24GB", "16MB", "200"), Vec::<String>::new());
        assert!(with("4GB", "256MB", "100")[0].contains("effective_cache_size is 4.0 GB"));
        assert!(with("24GB", "256MB", "500")[0].contains("125.0 GB"));
        assert_eq!(
            messages([
                ("shared_buffers", "128MB"),
                ("effective_cache_size", "4GB"),
                ("work_mem", "64MB"),
                ("max_connections", "500"),
            ]),
            Vec::<String>::new(),
            "a default says nothing of the machine"
        );
    }
}
