use super::measure::span;
use super::sink::Found;
use super::{Category, Facts, Sink, rule};
use crate::model::{Name, ObjectKind, SessionGroup, Severity};
use crate::sql::quote;
use std::collections::BTreeMap;

rule! {
    /// ## What it finds
    /// Sessions of this database that have been idle inside a transaction for a minute or more; one finding a role.
    ///
    /// ## Why it matters
    /// They keep their locks and, with a snapshot, the dead rows of every table. A migration queues behind them, and
    /// everybody else behind the migration.
    ///
    /// ## What to do
    /// Commit before waiting for anything outside the database, and end what forgets to by
    /// `idle_in_transaction_session_timeout`.
    /// ```sql,bad shown
    /// begin;
    /// select * from doc where id = 1;
    /// -- the application calls another service and waits
    /// ```
    /// ```sql,good shown
    /// begin;
    /// select * from doc where id = 1;
    /// commit;
    /// -- the application calls another service and waits
    /// ```
    "idle-in-transaction" {
        summary: "sessions that are idle inside a transaction",
        category: Category::Workload,
        check: check,
    }
}

const MIN_SECONDS: f64 = 60.0;
/// From here on others have felt it.
const LONG_SECONDS: f64 = 300.0;

fn plural(sessions: i64) -> String {
    match sessions {
        1 => "1 session of another role".to_owned(),
        n => format!("{n} sessions of other roles"),
    }
}

fn check(facts: &Facts<'_>, sink: &mut Sink<'_>) {
    let server = &facts.catalog.server;
    if server.sessions.hidden > 0 {
        sink.gap(
            format!(
                "{} may not see in pg_stat_activity the state of {}",
                server.user,
                plural(server.sessions.hidden),
            ),
            Some(format!(
                "grant pg_read_all_stats to {};",
                quote::ident(&server.user)
            )),
        );
    }
    let mut by_role: BTreeMap<&str, Vec<&SessionGroup>> = BTreeMap::new();
    for group in &server.sessions.groups {
        if group.here
            && group.state.starts_with("idle in transaction")
            && group.longest_state_s >= MIN_SECONDS
        {
            by_role.entry(&group.role).or_default().push(group);
        }
    }
    for (role, groups) in by_role {
        let count: i64 = groups.iter().map(|g| g.count).sum();
        let holding: i64 = groups.iter().map(|g| g.holding).sum();
        let longest = groups.iter().map(|g| g.longest_state_s).fold(0.0, f64::max);
        let applications: Vec<&str> = groups.iter().map(|g| g.application.as_str()).collect();
        let sessions = if count == 1 {
            "session is"
        } else {
            "sessions are"
        };
        sink.report(
            Found::new(
                if longest >= LONG_SECONDS { Severity::Warning } else { Severity::Note },
                ObjectKind::Role,
                &Name::new("", role),
                None,
                format!(
                    "{count} {sessions} idle in transaction, the longest for {}; {holding} of them hold back VACUUM",
                    span(longest)
                ),
            )
            .evidence("sessions", count)
            .evidence("longest_s", longest)
            .evidence("holding", holding)
            .evidence("applications", applications)
            .advice(format!(
                "alter role {} set idle_in_transaction_session_timeout = '60s'; counts for new sessions",
                quote::ident(role)
            )),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::traffic::fixture::{catalog, judge};

    #[test]
    fn long_idle_transactions_of_this_database_are_found() {
        let mut catalog = catalog();
        let group = |state: &str, here, longest_state_s| SessionGroup {
            here,
            role: "app".to_owned(),
            application: "api".to_owned(),
            state: state.to_owned(),
            count: 2,
            longest_state_s,
            oldest_transaction_s: longest_state_s,
            holding: 1,
        };
        catalog.server.sessions.groups = vec![
            group("idle", true, 9000.0),
            group("idle in transaction", true, 5.0),
            group("idle in transaction", false, 9000.0),
        ];
        assert_eq!(judge(&RULE, &catalog, &[]), []);
        let more = [
            group("idle in transaction", true, 400.0),
            group("idle in transaction (aborted)", true, 80.0),
        ];
        catalog.server.sessions.groups.extend(more);
        let found = judge(&RULE, &catalog, &[]);
        assert_eq!(found.len(), 1, "one a role");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(found[0].evidence["sessions"], 4);
        assert_eq!(found[0].evidence["longest_s"], 400.0);
    }
}
