use super::measure::{database, float, span};
use super::sink::{Found, count, size};
use super::{Category, Facts, Sink, rule};
use crate::model::{Holder, HolderKind, ObjectKind, SessionGroup, Severity};
use crate::sql::quote;

rule! {
    /// ## What it finds
    /// What keeps VACUUM from removing dead rows for an hour or more: a query or transaction that runs that long, a
    /// prepared transaction that nobody ends, a replication slot that nobody reads. Sessions that are idle in a
    /// transaction are `idle-in-transaction`.
    ///
    /// ## Why it matters
    /// Rows that died after it began stay in every table of the database. A slot keeps the write-ahead log as well, until
    /// the disk is full.
    ///
    /// ## What to do
    /// End it: `rollback prepared`, `pg_drop_replication_slot`, `pg_terminate_backend`, after making sure that nobody
    /// needs it.
    /// ```sql,bad shown
    /// begin;
    /// update doc set org = 1 where id = 1;
    /// prepare transaction 'import';
    /// -- an hour later nobody has committed it
    /// ```
    /// ```sql,good shown
    /// begin;
    /// update doc set org = 1 where id = 1;
    /// prepare transaction 'import';
    /// commit prepared 'import';
    /// ```
    "vacuum-held-back" {
        summary: "something old keeps VACUUM from removing dead rows",
        category: Category::Workload,
        check: check,
    }
}

const MIN_SECONDS: f64 = 3600.0;
/// A slot has no time of its own: this many transactions are a busy server's hour.
const MIN_XIDS: i64 = 1_000_000;
const MIN_KEPT: u64 = 10 << 30;

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    for holder in server.holders.iter().filter(|h| holds(h)) {
        let found = Found::new(
            Severity::Warning,
            ObjectKind::Database,
            &database(server),
            None,
            format!("VACUUM is held back by {}", named(holder)),
        )
        .evidence("name", holder.name.clone())
        .evidence("xid_age", holder.xid_age)
        .evidence("age_s", holder.age_s)
        .evidence("kept_bytes", holder.kept_bytes);
        let name = quote::literal(&holder.name);
        sink.report(found.advice(match holder.kind {
            HolderKind::PreparedTransaction => format!(
                "Commit it, or if whoever prepared it is gone: rollback prepared {name};"
            ),
            HolderKind::ReplicationSlot => format!(
                "Start its reader, or if that is gone for good: select pg_drop_replication_slot({name});"
            ),
        }));
    }
    for group in server.sessions.groups.iter().filter(|g| runs_long(g)) {
        sink.report(
            Found::new(
                Severity::Note,
                ObjectKind::Role,
                &crate::model::Name::new("", &group.role),
                None,
                format!("VACUUM is held back by {}", running(group)),
            )
            .evidence("sessions", group.count)
            .evidence("application", group.application.clone())
            .evidence("oldest_transaction_s", group.oldest_transaction_s)
            .advice("Run long reports on a standby, or in shorter transactions."),
        );
    }
}

/// What holds VACUUM back the longest, in words.
pub(super) fn oldest(facts: &Facts<'_>) -> Option<String> {
    let server = &facts.catalog.server;
    let session = server
        .sessions
        .groups
        .iter()
        .filter(|g| g.here && g.holding > 0 && g.oldest_transaction_s >= 300.0)
        .max_by(|a, b| a.oldest_transaction_s.total_cmp(&b.oldest_transaction_s))
        .map(running);
    session.or_else(|| server.holders.iter().find(|h| holds(h)).map(named))
}

fn holds(holder: &Holder) -> bool {
    match holder.kind {
        HolderKind::PreparedTransaction => holder.age_s >= MIN_SECONDS,
        HolderKind::ReplicationSlot => {
            !holder.active && (holder.xid_age >= MIN_XIDS || holder.kept_bytes >= MIN_KEPT)
        }
    }
}

fn runs_long(group: &SessionGroup) -> bool {
    group.here
        && group.holding > 0
        && group.oldest_transaction_s >= MIN_SECONDS
        && !group.state.starts_with("idle in transaction")
}

fn named(holder: &Holder) -> String {
    match holder.kind {
        HolderKind::PreparedTransaction => format!(
            "the prepared transaction {} of {} ago",
            holder.name,
            span(holder.age_s)
        ),
        HolderKind::ReplicationSlot => format!(
            "the replication slot {} that nobody reads ({} transactions behind, {} of log kept)",
            holder.name,
            count(float(holder.xid_age)),
            size(holder.kept_bytes)
        ),
    }
}

fn running(group: &SessionGroup) -> String {
    let application = if group.application.is_empty() {
        String::new()
    } else {
        format!(" ({})", group.application)
    };
    format!(
        "a transaction of {}{application} that began {} ago",
        group.role,
        span(group.oldest_transaction_s)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn old_holders_are_named_and_young_or_read_ones_are_not() {
        let mut catalog = catalog();
        let holder = |kind, name: &str, xid_age, age_s, active| Holder {
            kind,
            name: name.to_owned(),
            xid_age,
            age_s,
            active,
            kept_bytes: 0,
            wal_status: String::new(),
        };
        catalog.server.holders = vec![
            holder(HolderKind::PreparedTransaction, "young", 10, 60.0, false),
            holder(HolderKind::ReplicationSlot, "read", 5_000_000, 0.0, true),
        ];
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        catalog.server.holders.extend([
            holder(
                HolderKind::PreparedTransaction,
                "import's",
                10,
                7200.0,
                false,
            ),
            holder(HolderKind::ReplicationSlot, "gone", 5_000_000, 0.0, false),
        ]);
        catalog.server.sessions.groups.push(SessionGroup {
            here: true,
            role: "report".to_owned(),
            state: "active".to_owned(),
            count: 1,
            oldest_transaction_s: 9000.0,
            holding: 1,
            ..SessionGroup::default()
        });
        let found = judge(&RULE, &catalog, &[]);
        let messages: Vec<_> = found.iter().map(|f| f.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "VACUUM is held back by the prepared transaction import's of 2 hours ago",
                "VACUUM is held back by the replication slot gone that nobody reads (5,000,000 transactions behind, 0 bytes of log kept)",
                "VACUUM is held back by a transaction of report that began 2 hours ago",
            ]
        );
        assert!(found[0].advice.as_ref().unwrap().contains("'import''s'"));
    }
}
