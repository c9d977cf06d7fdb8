use super::measure::database;
use super::sink::{Found, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{Holder, HolderKind, ObjectKind, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// A replication slot whose reader can no longer catch up because the write-ahead log that it needs is removed
    /// (`wal_status` is `lost`) or about to be (`unreserved`), and one that nobody reads and that keeps more and more
    /// of the log without a bound.
    ///
    /// ## Why it matters
    /// A lost slot keeps nothing and serves nobody: the standby or subscriber behind it has stopped for good, and what
    /// watches only for old transactions does not see it. A slot without a bound fills the disk and stops the server.
    ///
    /// ## What to do
    /// Make the standby or the subscription anew and drop the slot. Set `max_slot_wal_keep_size`, so that a reader that
    /// is gone costs its own copy and not the server.
    /// ```sql,bad shown
    /// alter system set max_slot_wal_keep_size = '1GB';
    /// select pg_create_physical_replication_slot('gone', true);
    /// -- more than that is written, and nobody reads: wal_status is lost
    /// ```
    /// ```sql,good shown
    /// select pg_create_physical_replication_slot('standby', true);
    /// -- a standby with primary_slot_name = 'standby' reads it
    /// ```
    "lost-replication-slot" {
        summary: "a replication slot has lost its log, or keeps it without a bound",
        category: Category::Workload,
        check: check,
    }
}

/// What a reader that restarts may be behind.
const MIN_KEPT: u64 = 1 << 30;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    let bound = server.settings.get("max_slot_wal_keep_size");
    let unbound = bound.is_some_and(|v| v.starts_with('-'));
    let slots = server.holders.iter();
    for slot in slots.filter(|h| h.kind == HolderKind::ReplicationSlot) {
        let Some((severity, message)) = judge(slot, unbound) else {
            continue;
        };
        let name = quote::literal(&slot.name);
        sink.report(
            Found::new(
                severity,
                ObjectKind::Database,
                &database(server),
                None,
                message,
            )
            .evidence("name", slot.name.clone())
            .evidence("wal_status", slot.wal_status.clone())
            .evidence("kept_bytes", slot.kept_bytes)
            .evidence("active", slot.active)
            .advice(format!(
                "Make what reads it anew, then: select pg_drop_replication_slot({name});"
            )),
        );
    }
}

fn judge(slot: &Holder, unbound: bool) -> Option<(Severity, String)> {
    let name = &slot.name;
    match slot.wal_status.as_str() {
        "lost" => Some((
            Severity::Warning,
            format!(
                "the replication slot {name} is lost: the log that its reader needs is removed, it keeps nothing"
            ),
        )),
        "unreserved" => Some((
            Severity::Warning,
            format!(
                "the replication slot {name} is unreserved: the next checkpoint may remove the log that its reader needs"
            ),
        )),
        _ if !slot.active && unbound && slot.kept_bytes >= MIN_KEPT => Some((
            Severity::Warning,
            format!(
                "the replication slot {name} that nobody reads keeps {} of log, and nothing bounds how much it may become",
                size(slot.kept_bytes)
            ),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn by_status_and_by_what_bounds_it() {
        let mut catalog = catalog();
        let slot = |name: &str, wal_status: &str, active, kept_bytes| Holder {
            kind: HolderKind::ReplicationSlot,
            name: name.to_owned(),
            wal_status: wal_status.to_owned(),
            active,
            kept_bytes,
            ..Holder::default()
        };
        catalog.server.holders = vec![
            slot("read", "extended", true, 5 << 30),
            slot("new", "reserved", false, 1 << 20),
            slot("gone", "lost", false, 0),
            slot("late", "unreserved", true, 3 << 30),
            slot("grows", "extended", false, 2 << 30),
        ];
        let found = |catalog: &crate::model::Catalog| -> Vec<String> {
            let found = judge(&RULE, catalog, &[]);
            let named = found.iter().filter_map(|f| f.evidence.get("name").cloned());
            named
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        assert_eq!(found(&catalog), ["gone", "late"]);
        let settings = &mut catalog.server.settings;
        settings.insert("max_slot_wal_keep_size".to_owned(), "1GB".to_owned());
        assert_eq!(found(&catalog), ["gone", "late"]);
        let settings = &mut catalog.server.settings;
        settings.insert("max_slot_wal_keep_size".to_owned(), "-1".to_owned());
        assert_eq!(found(&catalog), ["gone", "late", "grows"]);
    }
}
